# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private key files without a passphrase or a library: format, public half, comment. The keys here are nobody's."""

import base64

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Malformed
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import private_key
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.keys import parse_public_key

ED = b"""-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACDil4/0RH+H6QvnHLjmr8Un0qUU3iLaSaUODXdoSmmiRQAAAJiCAmOyggJj
sgAAAAtzc2gtZWQyNTUxOQAAACDil4/0RH+H6QvnHLjmr8Un0qUU3iLaSaUODXdoSmmiRQ
AAAEA4/Qg4jJWljc2WduWXq3l13xc8LXMbtrl0da9c30ZSd+KXj/REf4fpC+ccuOavxSfS
pRTeItpJpQ4Nd2hKaaJFAAAADmluc2lkZSBjb21tZW50AQIDBAUGBw==
-----END OPENSSH PRIVATE KEY-----
"""
ED_PUB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOKXj/REf4fpC+ccuOavxSfSpRTeItpJpQ4Nd2hKaaJF inside comment"
EC = b"""-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAiAAAABNlY2RzYS
1zaGEyLW5pc3RwMzg0AAAACG5pc3RwMzg0AAAAYQRHwLwYy15WaUA25SiUQfd1zz8tBMTT
N8kZ3M5WPP3YFve6Hf7qB+rPAdcd1TU4r2LmBBS/ldWs1OmyzLicCTvM3vogjzsTR3TuiK
/1NyGqxhEutk+kMEbBeCYdzes6E6oAAADQyp0Ql8qdEJcAAAATZWNkc2Etc2hhMi1uaXN0
cDM4NAAAAAhuaXN0cDM4NAAAAGEER8C8GMteVmlANuUolEH3dc8/LQTE0zfJGdzOVjz92B
b3uh3+6gfqzwHXHdU1OK9i5gQUv5XVrNTpssy4nAk7zN76II87E0d07oiv9TchqsYRLrZP
pDBGwXgmHc3rOhOqAAAAMBj1b82qyzVTVzrMJNr4OtDUzIN31jHhm3+wv/krud/cih1A3m
OKYOZZ2hmUtPveZQAAAAJlYwECAwQFBg==
-----END OPENSSH PRIVATE KEY-----
"""
EC_PUB = (
    "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBEfAvBjLXlZpQDblKJRB93XPPy0E"
    "xNM3yRnczlY8/dgW97od/uoH6s8B1x3VNTivYuYEFL+V1azU6bLMuJwJO8ze+iCPOxNHdO6Ir/U3IarGES62T6QwRsF4Jh3N6zoTqg== ec"
)
RSA = b"""-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAlwAAAAdzc2gtcn
NhAAAAAwEAAQAAAIEAuIzfCR6UGPwNYQEMYTSKmMHiHBfguIyWHry/G/4Dfqo0pJRx1hJM
Uf2SJv6ncLdR5nhL4HJmRW9fAjAr0TCGKZn+xCKbVYpS2RoI9smSGjSxQRS9bDpui17cWB
RmPnhsqMMi3hG/j9BhL7MCpdExrAATMsKifU8sgBP3igzjO1cAAAIAAVYR3gFWEd4AAAAH
c3NoLXJzYQAAAIEAuIzfCR6UGPwNYQEMYTSKmMHiHBfguIyWHry/G/4Dfqo0pJRx1hJMUf
2SJv6ncLdR5nhL4HJmRW9fAjAr0TCGKZn+xCKbVYpS2RoI9smSGjSxQRS9bDpui17cWBRm
PnhsqMMi3hG/j9BhL7MCpdExrAATMsKifU8sgBP3igzjO1cAAAADAQABAAAAgHKipqRehz
Xh01mvMgZrgbATtyUmO+PHCDT9n2R+66LRjTOyNef4o8nGTfPE+TNN3CTiEpfP1/FHleeh
Doa5souzjDpb7UEJNQAu4F+GnEB1p090WXkyS3qB+X98vhaWR7IRFvMrwtEfEfXD2wwTBx
th8NTXxEIwLWZveo5+L/WxAAAAQQDtudWsNS2CsYHLUgeP/QSbDGbzkcOszuiOl3A1Bw62
Qnp+4F4n9LQouI01/HJ93uSGdNLGeq+LVb0MIRYSdJHxAAAAQQDwCWtCulTCFUFI+aM5Vj
1Tj9X/0Nkl3XZxHNjkIu3Og/VHSmfiQ7HEUSNC95yxi7uU+p+OerdCdGSpEE/ytwjfAAAA
QQDE0s4JBvk1OH8yorVTOU8pXLMbQdMkos901pxPKUQSXbdLxQQQHeExLVd0a83XVDK7DA
5Phb5WUqGlq23wtASJAAAAA3JzYQECAwQFBgc=
-----END OPENSSH PRIVATE KEY-----
"""
RSA_PUB = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC4jN8JHpQY/A1hAQxhNIqYweIcF+C4jJYevL8b/gN+qjSklHHWEkxR/ZIm/qdw"
    "t1HmeEvgcmZFb18CMCvRMIYpmf7EIptVilLZGgj2yZIaNLFBFL1sOm6LXtxYFGY+eGyowyLeEb+P0GEvswKl0TGsABMywqJ9TyyA"
    "E/eKDOM7Vw== rsa"
)
LOCKED = b"""-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABCfu+JoD7
c4x5JvPSeOqslBAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIMCweYms2ThXGrEl
enqQU+tLzPxbc8Vun2QrNFPysEPSAAAAkKfRq170OTcZVtw7VSiDlv6FEt0fQXHRf2dkrc
ySlJJhLR8lSKNNbiPQbzV8Rrptvm52RRQc/v8koVjYtSeEo1zEIxhmXrCZYuffZ97ezBPi
6l5x/77+ltlJ+Rp/TiOhUrlhsN1tClIxgm1wOM0Jj9JA3pwsjmitZ6tHDGRawH20W8Vm5z
0bWeOXZKGcJt3f6w==
-----END OPENSSH PRIVATE KEY-----
"""
LOCKED_PUB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMCweYms2ThXGrElenqQU+tLzPxbc8Vun2QrNFPysEPS locked"


@pytest.mark.parametrize("data, public", [(ED, ED_PUB), (EC, EC_PUB), (RSA, RSA_PUB)])
def test_tells_the_public_half_and_the_comment(data, public):
    facts = private_key.recognise(data)
    assert (facts.format, facts.encrypted, facts.public) == ("openssh", False, parse_public_key(public, "pub"))
    assert private_key.recognise(data.replace(b"\n", b"\r\n")) == facts


def test_an_encrypted_key_tells_its_public_half_but_not_its_comment():
    facts = private_key.recognise(LOCKED)
    assert facts.encrypted
    assert facts.public == parse_public_key(LOCKED_PUB, "pub")._replace(comment="")
    with pytest.raises(Malformed) as caught:
        container = private_key.parse_container(LOCKED)
        private_key.parse_section(container.section, container.public)
    assert "passphrase" in caught.value.reason


@pytest.mark.parametrize("data", [ED, EC, RSA, LOCKED])
def test_a_container_renders_as_ssh_keygen_wrote_it(data):
    assert private_key.render_container(private_key.parse_container(data)) == data


@pytest.mark.parametrize("data", [ED, EC, RSA])
@pytest.mark.parametrize("block", [8, 16])
def test_a_section_gets_another_comment_and_right_padding(data, block):
    container = private_key.parse_container(data)
    section = private_key.parse_section(container.section, container.public)._replace(comment="caf\u00e9")
    again = private_key.render_section(section, b"abcd", block)
    assert len(again) % block == 0
    assert private_key.parse_section(again, container.public) == section
    same = private_key.parse_section(container.section, container.public)
    assert private_key.render_section(same, container.section[:4], 8) == container.section


@pytest.mark.parametrize("padding", [b"\x00", b"\x01\x03", b"\x02", b"\x01\x02\x03\x00"])
def test_wrong_padding_is_damage(padding):
    container = private_key.parse_container(ED)
    plain = container.section.rstrip(b"\x01\x02\x03\x04\x05\x06\x07")
    with pytest.raises(Malformed) as caught:
        private_key.parse_section(plain + padding, container.public)
    assert "padding" in caught.value.reason


def test_two_halves_that_do_not_belong_together_are_damage():
    container = private_key.parse_container(ED)
    for other in (parse_public_key(LOCKED_PUB, "pub"), parse_public_key(EC_PUB, "pub")):
        with pytest.raises(Malformed) as caught:
            private_key.recognise(private_key.render_container(container._replace(public=other.blob)))
        assert "two halves" in caught.value.reason


@pytest.mark.parametrize(
    "data, found",
    [
        (b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n", ("pkcs1", False)),
        (b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n", ("pkcs1", True)),
        (b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n", ("pkcs1", False)),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n", ("pkcs8", False)),
        (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n", ("pkcs8", True)),
        (b"PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\n", ("putty", False)),
        (b"PuTTY-User-Key-File-2: ssh-rsa\nEncryption: aes256-cbc\n", ("putty", True)),
    ],
)
def test_names_other_formats(data, found):
    facts = private_key.recognise(data)
    assert (facts.format, facts.encrypted, facts.public) == found + (None,)


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "not a private key"),
        (b"hello\n", "not a private key"),
        (ED_PUB.encode(), "a public key"),
        (ED[:-40], "damaged"),
        (ED.replace(b"b3Bl", b"b3Bm"), "damaged"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n%%%%\n-----END OPENSSH PRIVATE KEY-----\n", "damaged"),
    ],
)
def test_what_is_no_private_key_is_named(data, reason):
    with pytest.raises(Malformed) as caught:
        private_key.recognise(data)
    assert reason in caught.value.reason


def test_any_cut_of_a_key_is_damage_and_nothing_worse():
    raw = base64.b64decode(b"".join(ED.split(b"\n")[1:-2]))
    for end in range(len(raw)):
        text = b"\n".join([private_key.BEGIN, base64.b64encode(raw[:end]), private_key.END, b""])
        with pytest.raises(Malformed):
            private_key.recognise(text)


def test_secrets_are_not_shown():
    container = private_key.parse_container(ED)
    shown = repr(container) + repr(private_key.parse_section(container.section, container.public))
    assert repr(container.section)[5:20] not in shown
    assert "body" not in shown
