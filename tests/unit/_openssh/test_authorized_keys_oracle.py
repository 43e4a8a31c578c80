# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our reading of authorized_keys, modes and owners against logins that AlmaLinux's sshd granted or refused.

The fixture holds what the patched 8.0p1 (el8) and 8.7p1 (el9) and upstream's 9.9p1 (u99) did with real logins from
127.0.0.1 as alice, uid 1001, StrictModes and PermitUserEnvironment on, UseDNS off.
"""

import base64
import collections
import gzip
import json
import os
import re
import struct

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import strict_modes, version
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.authorized_keys import (
    AuthorizedKeys,
    LoginRequest,
    authorises,
)
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.keys import PublicKey, parse_public_key

FIXTURE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "fixtures", "authorized-keys-oracle.json.gz")
BINARIES = {"el8": version.EL8, "el9": version.EL9, "u99": version.U99}
UIDS = {"root": 0, "alice": 1001, "bob": 1002}
HOME, SSH_DIR = "/home/alice", "/home/alice/.ssh"
# The logins were recorded in 2026; every date in the cases lies far from that.
NOW = 1790000000
PERMISSIONS = (
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
)


def load():
    with gzip.open(FIXTURE, "rb") as stream:
        return json.loads(stream.read().decode("utf-8"))


RECORDS = load()


def string(data):
    return struct.pack(">I", len(data)) + data


def certificate(subject, authority, principals):
    """Return the certificate of the records: signed by ``authority``, with all extensions, no critical options."""
    extensions = b"".join(string(name.encode()) + string(b"") for name in PERMISSIONS)
    name = "ssh-ed25519-cert-v01@openssh.com"
    body = string(name.encode()) + string(b"nonce") + subject.blob[4 + len(subject.type) :]
    body += struct.pack(">QI", 0, 1) + string(b"id") + string(b"".join(string(item) for item in principals))
    body += struct.pack(">QQ", 0, 2**64 - 1) + string(b"") + string(extensions) + string(b"")
    return PublicKey(name, body + string(authority.blob) + string(b"signature"), "")


def offered(name):
    """Return the keys that the client offered in one try, in its order: a certificate, then its plain key."""
    keys = {key: parse_public_key(text, key) for key, text in RECORDS["keys"].items()}
    if name != "cert":
        return [keys[name]]
    return [certificate(keys["other"], keys["ca"], [b"alice", b"ops"]), keys["other"]]


def stats(modes):
    """Return the components of the path of authorized_keys as the case's modes and links make them."""

    def directory(path, name, mode):
        return strict_modes.PathStat(
            path,
            "dir",
            int(modes.get(name, mode), 8),
            UIDS[modes.get(name + "_owner", "alice")],
            UIDS[modes.get(name + "_group", "alice")],
        )

    root = strict_modes.PathStat("/", "dir", 0o755, 0, 0)
    above = [strict_modes.PathStat("/home", "dir", int(modes.get("parent", "0755"), 8), 0, 0), root]
    temporary = [strict_modes.PathStat("/tmp", "dir", 0o1777, 0, 0), root]
    home, ssh_dir = directory(HOME, "home", "0700"), directory(SSH_DIR, "dir", "0700")
    opened = directory(SSH_DIR + "/authorized_keys", "file", "0600")._replace(kind="file")
    return {
        "": [opened, ssh_dir, home] + above,
        "file-to-home": [opened, home] + above,
        "file-to-tmp": [opened] + temporary,
        "dir-to-tmp": [opened, ssh_dir._replace(path="/tmp/dir")] + temporary,
        "dir-to-home": [opened, ssh_dir._replace(path=HOME + "/dir"), home] + above,
        "file-is-dir": [opened._replace(kind="dir"), ssh_dir, home] + above,
        "file-dangling": [opened._replace(kind="missing"), ssh_dir, home] + above,
    }[modes.get("link", "")]


def path_problem(modes):
    components = stats(modes)
    problem = strict_modes.open_problem(components, UIDS["alice"], [UIDS["alice"]])
    return problem or strict_modes.strict_modes_problem(components, UIDS["alice"], HOME)


def ours(case, name, sshd):
    """Return (accepted, line, options, why) as this project predicts them."""
    problem = path_problem(case.get("modes", {}))
    if problem:
        return False, None, None, (problem,)
    request = LoginRequest(sshd, "alice", "127.0.0.1", "127.0.0.1", NOW, permit_user_environment=True)
    document = AuthorizedKeys.parse(case["text"].encode("latin-1"), sshd)
    verdicts = [authorises(document, key, request) for key in offered(name)]
    why = tuple(reason for verdict in verdicts for reason in verdict.why)
    for verdict in verdicts:
        if verdict.ok:
            # Of a certificate sshd logs the options of the line, then those of the certificate: the last are on record.
            return True, verdict.line, verdict.certificate_options or verdict.options, why
    return False, None, None, why


def comparisons(binary):
    for case in RECORDS["cases"]:
        for name, said in sorted(case["says"].get(binary, {}).items()):
            yield case, name, said, ours(case, name, BINARIES[binary])


def agrees(said, answer):
    if not said["ok"] or not answer[0]:
        return said["ok"] == answer[0]
    return (said["line"], said["options"]) == (answer[1], answer[2])


def describe(case, name, said, answer):
    return "%s %s: sshd %s, ours %s; %r %r" % (
        case["id"],
        name,
        (said["ok"], said.get("line"), said.get("options")),
        answer,
        case["text"][:300],
        case.get("modes"),
    )


@pytest.mark.parametrize("binary", sorted(BINARIES))
def test_agrees_with_recorded_logins(binary, capsys):
    total, right = collections.Counter(), collections.Counter()
    wrong, closed = [], []
    for case, name, said, answer in comparisons(binary):
        total[case["kind"]] += 1
        right[case["kind"]] += agrees(said, answer)
        if not agrees(said, answer):
            wrong.append(describe(case, name, said, answer))
        if said["ok"] and not answer[0]:
            closed.append(wrong[-1])
    share = 100.0 * sum(right.values()) / sum(total.values())
    with capsys.disabled():
        print("\nauthorized_keys, %s: %d of %d logins (%.2f %%)" % (binary, *counts(right, total), share))
        for kind in sorted(total):
            print("  %-16s %4d of %4d" % (kind, right[kind], total[kind]))
        print("\n".join(wrong[:20]))
    assert sum(total.values()) > 600
    assert not closed, "ours says refused where sshd let in"
    assert not wrong


def counts(right, total):
    return sum(right.values()), sum(total.values())


def test_every_kind_of_the_records_is_held():
    kinds = {case["kind"] for case in RECORDS["cases"]}
    assert len(RECORDS["cases"]) == 521
    assert {"option", "line", "key", "certificate", "mode-dir", "owner", "link", "random"} <= kinds


@pytest.mark.parametrize("binary", sorted(BINARIES))
def test_names_the_lines_that_sshd_passed_over(binary):
    """Where sshd tells why it passed a line of the key over, we name the same line."""
    checked = 0
    for case, name, said, answer in comparisons(binary):
        for words in said["why"]:
            found = re.match(r"AK:(\d+): (entry expired|principals on non-CA key|Authentication tried)", words)
            if not found or name == "cert":
                continue
            checked += 1
            assert any(reason.startswith("line %s: " % found.group(1)) for reason in answer[3]), describe(
                case, name, said, answer
            )
    assert checked > 20


def test_recorded_documents_render_as_they_were():
    for case in RECORDS["cases"]:
        data = case["text"].encode("latin-1")
        for sshd in BINARIES.values():
            assert AuthorizedKeys.parse(data, sshd).render() == data


def test_the_certificate_of_the_records_reads_as_one():
    cert = offered("cert")[0]
    assert cert.is_certificate
    assert base64.b64decode(cert.base64) == cert.blob
