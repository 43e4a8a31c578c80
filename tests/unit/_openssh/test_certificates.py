# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins by certificate: what a cert-authority line, the certificate and the moment make of each other."""

import struct

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Malformed
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.authorized_keys import (
    AuthorizedKeys,
    LoginRequest,
    authorises,
)
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.certificates import FOREVER, parse_certificate
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.key_blob import write_string
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.keys import PublicKey, parse_public_key
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import EL8, EL9

CA = parse_public_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK1GHeKj0tzR3PmKQvqbd4ZFXjAFKv3sb/aC9W3hapgF", "ca")
NAME = "ssh-ed25519-cert-v01@openssh.com"
PTY = [("permit-pty", b"")]


def packed(pairs):
    return write_string(b"".join(write_string(name.encode()) + write_string(data) for name, data in pairs))


def certificate(**changes):
    """Return a user certificate for alice that permits a terminal, with the named claims changed."""
    claims = {
        "kind": 1,
        "principals": ["alice"],
        "after": 100,
        "before": FOREVER,
        "critical": [],
        "extensions": PTY,
        "tail": b"",
    }
    claims.update(changes)
    blob = b"".join(map(write_string, (NAME.encode(), b"nonce", b"k" * 32)))
    blob += struct.pack(">QI", 7, claims["kind"]) + write_string(b"id")
    blob += write_string(b"".join(write_string(name.encode()) for name in claims["principals"]))
    blob += struct.pack(">QQ", claims["after"], claims["before"])
    blob += packed(claims["critical"]) + packed(claims["extensions"]) + write_string(b"")
    return PublicKey(NAME, blob + write_string(CA.blob) + write_string(b"signature") + claims["tail"], "")


def login(cert, options="cert-authority", sshd=EL9, now=200):
    line = "%s %s\n" % (options, CA.text)
    document = AuthorizedKeys.parse(line.encode(), sshd)
    return authorises(document, cert, LoginRequest(sshd, "alice", "10.0.0.1", "10.0.0.1", now))


def critical(name, value):
    return [(name, write_string(value))]


ACCEPTED = [
    ({}, "cert-authority", "pty"),
    ({"principals": []}, "cert-authority", "pty"),
    ({"principals": ["ops"]}, 'cert-authority,principals="x,ops"', "pty"),
    ({"extensions": []}, "cert-authority", ""),
    ({"extensions": PTY + [("new@example.org", b"x")]}, "cert-authority", "pty"),
    ({"critical": critical("force-command", b"uptime")}, "cert-authority", "command pty"),
    ({"critical": critical("force-command", b"uptime")}, 'cert-authority,command="uptime"', "command pty"),
    ({}, 'cert-authority,command="uptime"', "command pty"),
    ({}, "cert-authority,restrict", ""),
    ({"critical": critical("source-address", b"10.0.0.0/8")}, "cert-authority", "pty"),
    ({"critical": [("verify-required", b"")]}, "cert-authority", "pty uv"),
    ({"extensions": [("no-touch-required", b"")]}, "cert-authority,no-touch-required", "no-touch-required"),
]


@pytest.mark.parametrize("claims, options, effective", ACCEPTED)
def test_lets_in(claims, options, effective):
    verdict = login(certificate(**claims), options)
    assert (verdict.ok, verdict.line, verdict.options) == (True, 1, effective)


REFUSED = [
    ({"principals": ["bob"]}, "cert-authority", "not a listed principal"),
    ({"principals": ["bob"]}, 'cert-authority,principals="ops"', "authorized principal"),
    ({"principals": []}, 'cert-authority,principals="ops"', "authorized principal"),
    ({"before": 200}, "cert-authority", "expired"),
    ({"after": 201}, "cert-authority", "not yet valid"),
    ({"kind": 2}, "cert-authority", "Invalid certificate options"),
    ({"critical": critical("force-command", b"a")}, 'cert-authority,command="b"', "do not match"),
    ({"critical": critical("source-address", b"192.0.2.0/24")}, "cert-authority", "source-address"),
    ({"critical": critical("source-address", b"10.*")}, "cert-authority", "contents invalid"),
    ({"critical": critical("new@example.org", b"x")}, "cert-authority", "is not supported"),
    ({"critical": critical("force-command", b"a") * 2}, "cert-authority", "multiple"),
    ({"extensions": [("permit-pty", b"x")]}, "cert-authority", "corrupt"),
    ({}, 'cert-authority,from="192.0.2.1"', "not from a permitted host"),
    ({}, 'cert-authority,expiry-time="19700101000130"', "entry expired"),
]


@pytest.mark.parametrize("claims, options, reason", REFUSED)
def test_refuses(claims, options, reason):
    verdict = login(certificate(**claims), options)
    assert not verdict.ok
    assert len(verdict.why) == 1
    assert reason in verdict.why[0]


def test_a_plain_line_of_the_ca_key_trusts_no_certificate():
    assert login(certificate(), "no-pty") == (False, 0, "", (), "")


def test_an_old_sshd_refuses_a_critical_option_it_does_not_know():
    assert not login(certificate(critical=[("verify-required", b"")]), sshd=EL8).ok


@pytest.mark.parametrize("blob", [CA.blob, certificate().blob[:-60], certificate().blob[:80], b"", b"\0\0\0\x04ssh-"])
def test_what_is_no_certificate_is_named(blob):
    with pytest.raises(Malformed):
        parse_certificate(blob)
    assert not login(PublicKey(NAME, blob, "")).ok
