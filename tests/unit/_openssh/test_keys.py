# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public keys: what is read, what is refused and how the refusal reads."""

import base64

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Malformed
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import certificates, key_blob, keys
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import EL8, EL9, U99

RSA2048 = (
    "ssh-rsa "
    "AAAAB3NzaC1yc2EAAAADAQABAAABAQDQwFr0xFNlAG32QQKTSuClMTd4jUy3xJ+IficahjpItANHEkpHNDOQIOGCe+jmEiFk"
    "U0KXh1CJm66Fkl4qjRZ3GPeRMZksSePZ/Cfe0WgVyVezcQWvH4bwmKjPf6oLprDQMMTcsgdpypfty+frN0fdenHpAryrWmLI"
    "aAwMMtBTbsFqqzuKtCLo7y72LjfRIUqdJwZPWgghl7dqwORWLqADblM52uLPvvGzmEia3XeRZaoE0Lweyy3VeHoPkMqOojcf"
    "bPx1JXqPn8eC+zSkK9KSFV3bAKqarg5d7nG2826olMJjer6eu0lwRpnnrFy/qB8QbXTHOajQOz0AW+phfUDZ"
)
RSA1024 = (
    "ssh-rsa "
    "AAAAB3NzaC1yc2EAAAADAQABAAAAgQC83B4nCjrTf1WR8Dn0JyhHQtB4JeWDlPXQfbdWd9TcyTPwvQkgwhiBzkc5pM71Ojl4"
    "TmiqdqZzg1GYqlB/b4c9vKZIDNu5KL9Zd6W1UADJ+j1BQE+pZjDONoFL+8ah+3OrJ63BcIWQqgeL/Xrc+6SaBSsF/xYmwu24"
    "QRhy6iskBQ=="
)
EC256 = (
    "ecdsa-sha2-nistp256 "
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBCIlwIWiEa8XURqKDgWgod0FtIQGXqGmRARSppIKz0Pq"
    "mM5qIh9jR4fNNVI/j+Axe6W4gU+iYgurMRcDA7NifBE="
)
EC384 = (
    "ecdsa-sha2-nistp384 "
    "AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBFfMrZTJHH/deE4chRy2RYJTy7NLSCHMUELKwz2i6CML"
    "k2NcED8vOcXb9imUKzJmHu7h2RRq9bvg0gt+HI1oz9LIYH0GrvOw6DhPV3v9HlDPSrdBo3bdD43mLSHCl5CQjA=="
)
EC521 = (
    "ecdsa-sha2-nistp521 "
    "AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAC8I2N/iDgT7scl3vAHElvRJWnhQHzB9qvpgeQKqZm2"
    "wNYvgGztiw/RDO4F1YYqVD1IAjSBHcHSpTZGBPKzndCINgBuPRg3lP7x69ttJrfye4ta8HHX0WCMPXVPErRcNm+4rQQSIi+N"
    "py7hYApU2uLy3dA8chfcmtsL2wFpcJG0ULNucA=="
)
ED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIXj0C022VOqiRLaobZzPKI8axuKDdar2Shh4hKm64Mc"
DSA = (
    "ssh-dss "
    "AAAAB3NzaC1kc3MAAACBALk/6V/UdZoguNraQvXQACfO/+pnLcgyF/wMEBEZop0wn4aS2qzxgbkHuRl70Cas255xOSwzqcd1"
    "B+QxQQ/MwAfNlixEt+gfxbsZvYWwKuNZysydflPFlVwAbum//SSntC4DdKFSmdems7gh2DxuI58NNncgJxFHWzXCsPYfA6Tb"
    "AAAAFQCPafvaFzyuVp1+W+FukucfqQKAhQAAAIEArIn+n3da314R50v23dbW6hAMxCgNlQ/5VaqrPT2xcXiF1Nrg0LEZzKuq"
    "xbgGq4KzTrh2ETiS3NvEV0ZtFCYWCPoczKH25Mat0746po6Mx1Rjhgao3L9yjewz9IaOKaiOvjy4FGY9R/2tof30P8y14LzU"
    "GjNXfOmFYR3Os9AUnYIAAACAWdm8ZuOSNrVivmnpZW1hkcUhj/IvVixfzD9zkke2pf/yIowstC7+YYMw9ikyzFcCLAOezjZt"
    "4TmfLipSTBlSGfveJ8ILQxa2xZdDeEsTSPx7l2y1u3sjba445vbnLSXngjH9hfQ15zsSn4KZCHM4zlS8IZZOkExj9aibGhaF"
    "HUo="
)
CERT = (
    "ecdsa-sha2-nistp256-cert-v01@openssh.com "
    "AAAAKGVjZHNhLXNoYTItbmlzdHAyNTYtY2VydC12MDFAb3BlbnNzaC5jb20AAAAgOS+tsYqC9CkkSLrOPw+MAeoqj+2gCAot"
    "ySZtNRjUBSQAAAAIbmlzdHAyNTYAAABBBCIlwIWiEa8XURqKDgWgod0FtIQGXqGmRARSppIKz0PqmM5qIh9jR4fNNVI/j+Ax"
    "e6W4gU+iYgurMRcDA7NifBEAAAAAAAAAAAAAAAEAAAACaWQAAAAQAAAABWFsaWNlAAAAA29wcwAAAAAAAAAA//////////8A"
    "AABNAAAADWZvcmNlLWNvbW1hbmQAAAAKAAAABnVwdGltZQAAAA5zb3VyY2UtYWRkcmVzcwAAABgAAAAUMTAuMC4wLjAvOCwx"
    "MjcuMC4wLjEAAACCAAAAFXBlcm1pdC1YMTEtZm9yd2FyZGluZwAAAAAAAAAXcGVybWl0LWFnZW50LWZvcndhcmRpbmcAAAAA"
    "AAAAFnBlcm1pdC1wb3J0LWZvcndhcmRpbmcAAAAAAAAACnBlcm1pdC1wdHkAAAAAAAAADnBlcm1pdC11c2VyLXJjAAAAAAAA"
    "AAAAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIIXj0C022VOqiRLaobZzPKI8axuKDdar2Shh4hKm64McAAAAUwAAAAtzc2gtZWQy"
    "NTUxOQAAAECyLZ4ftj3r1WoqUP3uCFwQEI9aiYdZK8SiMFprzmWTPpNW5aM0Q6sRW//QqusBnKifkWvsc/fqdrDQMdUfVQgC"
)


def with_type(line, name, tail=b""):
    """Return a key line like ``line`` whose blob says ``name`` and ends in ``tail``."""
    blob = base64.b64decode(line.split()[1])
    rest = blob[4 + len(line.split()[0]) :]
    return "%s %s" % (name, base64.b64encode(key_blob.write_string(name.encode()) + rest + tail).decode())


SK_ED = with_type(ED, "sk-ssh-ed25519@openssh.com", key_blob.write_string(b"ssh:"))
SK_EC = with_type(EC256, "sk-ecdsa-sha2-nistp256@openssh.com", key_blob.write_string(b"ssh:"))
ED448 = with_type(ED, "ssh-ed448", b"")

# What ssh-keygen -l printed for these keys.
FINGERPRINTS = [
    (DSA, 1024, "SHA256:Hqt7rU+lEv33RFabM6vHaUOwwiNW1j2F/cUdvBvlML0"),
    (EC256, 256, "SHA256:epB+SyGogiC4advDi+AKj1ewMp0oVHrJ8ieVlazz42U"),
    (EC384, 384, "SHA256:jud3i3Z8Cqq4YFHBTZT1/1eVN0OwcMuwYhryvUSdV0Q"),
    (EC521, 521, "SHA256:Jht4oM3MgN80cmlKzLvy15y4+d3KlzUmch59BMDAfV8"),
    (ED, 256, "SHA256:roaX6rVYWfmiMhAHOUim2WWsTDDLD+tcTgrwzdWUeBg"),
    (RSA1024, 1024, "SHA256:+Cxbqo4mpkYOhVEKjWvJnU8kwjmhrqG0Qz4yzKTJyCI"),
    (RSA2048, 2048, "SHA256:x+KjqLqjL655k3Tq2x95tO4SHcSBz/LxShFBcIBmhV8"),
    (CERT, 256, "SHA256:epB+SyGogiC4advDi+AKj1ewMp0oVHrJ8ieVlazz42U"),
]


@pytest.mark.parametrize("line, bits, fingerprint", FINGERPRINTS)
def test_names_keys_as_ssh_keygen_does(line, bits, fingerprint):
    key = keys.parse_public_key(line + " a comment\n", "key")
    assert (key.bits, key.fingerprint, key.comment) == (bits, fingerprint, "a comment")
    assert key.text == line + " a comment"


@pytest.mark.parametrize("line", [SK_ED, SK_EC])
def test_reads_security_keys(line):
    key = keys.parse_public_key(line, "key")
    assert key.is_security_key
    assert not key.is_certificate
    assert key.bits == 256


def test_a_certificate_says_what_it_is():
    key = keys.parse_public_key(CERT, "key")
    claims = certificates.parse_certificate(key.blob)
    assert key.is_certificate
    assert claims.principals == ("alice", "ops")
    assert claims.critical[0][0] == "force-command"
    grant = certificates.grant_of(claims, EL8)
    assert grant.options.command == "uptime"
    assert grant.source_address == "10.0.0.0/8,127.0.0.1"
    assert certificates.address_permitted(grant, "10.1.2.3")
    assert not certificates.address_permitted(grant, "192.0.2.1")


def test_space_around_a_key_and_a_byte_order_mark_do_not_matter():
    plain = keys.parse_public_key(ED, "key")
    for text in ("  %s  ", "\t%s\r\n", "\ufeff%s\n", "\n%s\n\n"):
        assert keys.parse_public_key(text % ED, "key") == plain
    assert keys.parse_public_key(ED.replace(" ", "\t") + "\tcomment here ", "key").comment == "comment here"


def test_a_type_newer_than_this_table_is_taken():
    """A list of names that is the reject rule goes stale: policy decides, by ``usable``."""
    key = keys.parse_public_key(ED448, "key")
    assert (key.type, key.bits) == ("ssh-ed448", 0)
    assert "not known" in keys.usable(key, U99, 0)


def body(line):
    return line.split()[1]


REFUSED = [
    ("", "no public key"),
    ("  \n ", "no public key"),
    (ED + "\n" + EC256, "several lines"),
    (ED + "\r" + EC256, "several lines"),
    ("ssh-ed25519", "no key data"),
    ("ssh-rsa\n", "no key data"),
    ("hello world", "not a key type"),
    (body(ED), "not a key type"),
    ("~/.ssh/id_ed25519.pub", "file name"),
    ("https://example.org/alice.keys", "address"),
    ("2048 65537 1234567890123", "protocol 1"),
    ('from="10.0.0.1" ' + ED, "before the key type"),
    ("no-pty " + ED, "no-pty"),
    ("ssh-ed25519 %%%%", "not base64"),
    ("ssh-ed25519 " + body(ED)[:-1], "base64"),
    ("ssh-ed25519 " + body(ED) + "==", "base64"),
    ("ssh-ed25519 " + body(ED)[:-4], "ends early"),
    ("ssh-rsa " + body(ED), "says 'ssh-rsa', the key data 'ssh-ed25519'"),
    ("rsa-sha2-256 " + body(RSA2048), "says 'rsa-sha2-256'"),
    (with_type(ED, "ssh-ed25519", b"x"), "behind the end"),
    (with_type(EC256, "ecdsa-sha2-nistp384"), "the curve is not"),
    ("ssh-ed25519 AAAA", "ends early"),
    (ED + " two\u2028lines", "U+2028"),
    (ED + " bell\x07", "U+0007"),
    (ED + " a\x85b", "U+0085"),
    ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----", "RFC 4716"),
    ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "PKCS#8"),
    ("-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----", "PKCS#1"),
]


@pytest.mark.parametrize("text, reason", REFUSED)
def test_refuses_what_is_no_public_key_and_says_why(text, reason):
    with pytest.raises(Malformed) as caught:
        keys.parse_public_key(text, "accounts[0].keys[1]")
    assert reason in caught.value.reason
    assert caught.value.where == "accounts[0].keys[1]"
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n",
        "PuTTY-User-Key-File-3: ssh-ed25519\nc2VjcmV0\n",
        "b3BlbnNzaC1rZXktdjEAAAAAc2VjcmV0",
        "ssh-ed25519 b3BlbnNzaC1rZXktdjEAAAAAc2VjcmV0",
    ],
)
def test_a_private_key_is_named_and_never_echoed(text):
    with pytest.raises(Malformed) as caught:
        keys.parse_public_key(text, "key")
    assert caught.value.reason == "this is a private key"
    assert "replace this key" in caught.value.remedy
    assert "c2VjcmV0" not in str(caught.value)


def test_a_point_off_its_curve_is_damage():
    blob = bytearray(base64.b64decode(body(EC256)))
    blob[-1] ^= 1
    with pytest.raises(Malformed) as caught:
        keys.parse_public_key("ecdsa-sha2-nistp256 " + base64.b64encode(bytes(blob)).decode(), "key")
    assert "curve" in caught.value.reason


USABLE = [
    (ED, EL8, 0, None),
    (EC521, EL8, 2048, None),
    (RSA2048, EL9, 2048, None),
    (RSA2048, EL9, 3072, "2048 bits is too short"),
    (RSA1024, EL8, 0, None),
    (RSA1024, EL9, 2048, "at least 2048"),
    (SK_ED, EL8, 0, "need OpenSSH 8.2"),
    (SK_EC, EL8, 0, "need OpenSSH 8.2"),
    (SK_ED, EL9, 0, None),
    (SK_EC, U99, 0, None),
    (DSA, EL8, 0, "since 7.0"),
    (DSA, U99, 0, "since 7.0"),
    (CERT, U99, 0, "trust its CA"),
]


@pytest.mark.parametrize("line, sshd, floor, reason", USABLE)
def test_says_which_keys_a_host_would_never_take(line, sshd, floor, reason):
    found = keys.usable(keys.parse_public_key(line, "key"), sshd, floor)
    assert found is None if reason is None else reason in found


def test_reads_a_line_as_sshd_does():
    """A signature algorithm stands for its key type, case counts, short RSA keys are no keys."""
    rsa = keys.parse_public_key(RSA2048, "key")
    assert keys.read_key(b"rsa-sha2-512", body(RSA2048).encode() + b"\r\n", EL8) == rsa
    for name, data, sshd in ((b"SSH-RSA", RSA2048, EL9), (b"ssh-ed25519", RSA2048, EL9), (SK_ED, SK_ED, EL8)):
        name = name if isinstance(name, bytes) else name.split()[0].encode()
        with pytest.raises(Malformed):
            keys.read_key(name, body(data).encode(), sshd)


def test_an_rsa_key_below_sshds_floor_is_no_key():
    fields = [b"ssh-rsa", b"\x01\x00\x01", b"\x7f" + b"\xff" * 127]
    data = base64.b64encode(b"".join(key_blob.write_string(field) for field in fields))
    assert keys.parse_public_key("ssh-rsa " + data.decode(), "key").bits == 1023
    with pytest.raises(Malformed) as caught:
        keys.read_key(b"ssh-rsa", data, EL9)
    assert "1023 bits is too short" in caught.value.reason


def test_the_table_of_types_is_consistent():
    for name, kind in key_blob.KEY_TYPES.items():
        assert name == kind.name
        assert kind.inner in key_blob.KEY_TYPES
        assert key_blob.KEY_TYPES[kind.inner].family == kind.family
        assert kind.certificate == name.endswith(key_blob.CERTIFICATE_SUFFIX)
        assert kind.family in key_blob.FIELDS
