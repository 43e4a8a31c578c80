# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the host's key is known: what the client is told, and the command that holds a host to a fingerprint."""

import shlex
import shutil
import subprocess

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Malformed, Unsupported

pytest.importorskip("ansible")
host_key = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.host_key")

ONE, TWO = "SHA256:" + "a" * 43, "SHA256:" + "B+/9" * 10 + "xyz"


@pytest.fixture(autouse=True)
def new_client(monkeypatch):
    monkeypatch.setattr(host_key, "client_version", lambda: (9, 2))


@pytest.mark.parametrize(
    "wanted, scratch, known, arguments",
    [
        ("strict", "", "", ["-o", "StrictHostKeyChecking=yes"]),
        ("strict", "/s", "/kh", ["-o", "StrictHostKeyChecking=yes"]),
        ("accept_new", "", "", ["-o", "StrictHostKeyChecking=accept-new"]),
        ("accept_new", "/s", "/a /b", ["-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile=/s /a /b"]),
        ("accept_new", "/s", "", ["-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile=/s"]),
    ],
)
def test_what_the_client_is_told(wanted, scratch, known, arguments):
    assert host_key.policy(wanted, scratch).arguments(known) == arguments


@pytest.mark.parametrize("wanted", [ONE, [ONE], [ONE, TWO], (TWO,)])
def test_fingerprints(wanted):
    found = host_key.policy(wanted)
    assert found.mode == "pinned" and set(found.fingerprints) <= {ONE, TWO}
    arguments = found.arguments()
    assert "StrictHostKeyChecking=yes" in arguments
    assert "UserKnownHostsFile=/dev/null" in arguments and "GlobalKnownHostsFile=/dev/null" in arguments


def answer(policy, fingerprint):
    """Run the command as ssh does: split into words, tokens filled in, no shell of its own."""
    command = next(one for one in policy.arguments() if one.startswith("KnownHostsCommand=")).partition("=")[2]
    tokens = {"%f": fingerprint, "%H": "[host.invalid]:24", "%t": "ssh-ed25519", "%K": "AAAA", "%%": "%"}
    words = []
    for word in shlex.split(command):
        for token, value in tokens.items():
            word = word.replace(token, value)
        words.append(word)
    return subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.decode()


@pytest.mark.parametrize("fingerprint", [ONE, TWO])
def test_a_pinned_key_is_answered_as_a_line_of_known_hosts(fingerprint):
    assert answer(host_key.policy([ONE, TWO]), fingerprint) == "[host.invalid]:24 ssh-ed25519 AAAA\n"


@pytest.mark.parametrize("fingerprint", ["SHA256:" + "b" * 43, ONE[:-1], "", "*", "SHA256:*", "NONE", "a b", ONE + "=",
                                         "%s", "'; echo x; '"])
def test_any_other_is_not(fingerprint):
    assert answer(host_key.policy([ONE]), fingerprint) == ""


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh client on this machine")
def test_the_client_reads_it():
    arguments = host_key.policy([ONE]).arguments()
    done = subprocess.run(["ssh", "-F", "none", "-G"] + arguments + ["host.invalid"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    shown = done.stdout.decode().splitlines()
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("knownhostscommand /bin/sh -c") for line in shown)
    assert "stricthostkeychecking true" in shown and "userknownhostsfile /dev/null" in shown


NO_POLICIES = [
    "accept-new", "no", "", [], None, True, 5, {}, "SHA256:short", "MD5:aa:bb", [ONE, ""], ONE + "=", ONE + "\n"
]


@pytest.mark.parametrize("wanted", NO_POLICIES)
def test_what_is_no_policy_is_said(wanted):
    with pytest.raises(Malformed) as caught:
        host_key.policy(wanted)
    assert caught.value.where == "harden_host_key" and "fingerprint" in str(caught.value)


def test_an_old_client_cannot_pin(monkeypatch):
    monkeypatch.setattr(host_key, "client_version", lambda: (8, 4))
    assert host_key.policy("strict").mode == "strict"
    with pytest.raises(Unsupported) as caught:
        host_key.policy(ONE)
    assert "8.5" in caught.value.reason and "known_hosts" in caught.value.remedy
