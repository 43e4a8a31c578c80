# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must end, stop or be told: programs that hang, operators that fail, methods that differ."""

import os
import subprocess
import sys
import types

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, Malformed, Refused

pytest.importorskip("ansible")
connections = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.connections")
deadline = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.deadline")
host_key = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.host_key")
identity = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.identity")
operators = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.operators")
programs = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.programs")
proofs = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.proofs")
results = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.results")
transcript = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.transcript")

WHO = identity.Identity("harden_key", "/k", "ssh-ed25519 AAAA me", "SHA256:mine")
ENDLESS = [sys.executable, "-c", "import sys; sys.stdin.read()"]


def test_a_deadline_ends_the_children_of_this_process_and_says_so():
    child = subprocess.Popen(ENDLESS, stdin=subprocess.PIPE)
    with deadline.Deadline(0.1) as watch:
        assert child.wait(timeout=20) != 0
    assert watch.passed


@pytest.mark.parametrize("known", ["_by_proc", "_by_ps"])
def test_children_are_found_by_proc_and_by_ps(known):
    child = subprocess.Popen(ENDLESS, stdin=subprocess.PIPE)
    try:
        assert (child.pid, os.getpid()) in getattr(deadline, known)()
    finally:
        child.kill()
        child.wait()


def test_without_ps_nothing_is_found_by_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert deadline._by_ps() == []


def test_a_deadline_that_is_not_reached_ends_nothing():
    child = subprocess.Popen(ENDLESS, stdin=subprocess.PIPE)
    with deadline.Deadline(60) as watch:
        pass
    assert not watch.passed and child.poll() is None
    child.stdin.close()
    assert child.wait(timeout=20) == 0


def test_a_missing_program_is_named():
    with pytest.raises(HostError, match="`no-such-ssh` is not installed on the controller"):
        programs.run(["no-such-ssh", "-V"])


def test_a_program_that_hangs_is_named(monkeypatch):
    monkeypatch.setattr(programs, "_SECONDS", 0.2)
    with pytest.raises(HostError, match="does not answer"):
        programs.run([sys.executable, "-c", "import time; time.sleep(60)"])


@pytest.mark.parametrize("kind", [Refused, Malformed, HostError])
def test_an_error_comes_back_as_what_it_was(kind):
    error = kind("what was found", "what to do", "where:7")
    again = results.error_of({"failed": True, "error": results.describe(error)})
    assert (type(again), str(again)) == (kind, str(error))


def test_a_failure_of_no_kind_of_ours_keeps_its_words():
    assert str(results.error_of({"failed": True, "msg": "it broke"})) == "it broke"


def proof(offered, methods=None, problem=None):
    said = transcript.Transcript("publickey", offered, "SHA256:mine", None, "", False, "")
    result = {} if methods is None else {"methods": methods}
    return proofs.Proof("admin", "SHA256:mine", offered, problem, connections.Reached(said, ""), result)


@pytest.mark.parametrize(
    "offered, asked, has, fits",
    [
        (("publickey",), ["publickey"], None, True),
        (("publickey", "password"), ["publickey"], None, False),
        (("publickey",), ["publickey", "gssapi-with-mic"], ["publickey"], True),
        (("publickey",), ["publickey", "gssapi-with-mic"], ["publickey", "gssapi-with-mic"], False),
        (("publickey", "password"), [], None, True),
    ],
)
def test_methods_offered_are_held_against_those_asked_for(offered, asked, has, fits):
    found = proofs.offer_problem(proof(offered, has), {"server": {"methods": asked}})
    assert (found is None) is fits


def test_operators_are_tried_until_one_fails(monkeypatch):
    """Each failed login is a penalty for this address."""
    tried = []

    def by_command(caller, user, confirm=None):
        tried.append(user)
        return proof(("publickey",), problem=Refused("no") if user == "bob" else None)._replace(operator=user)

    monkeypatch.setattr(proofs, "by_command", by_command)
    monkeypatch.setattr(connections, "user_of", lambda action: "admin")
    wishes = [
        {"user": name, "key": [WHO.public_key], "state": "present"} for name in ("admin", "alice", "bob", "carol")
    ]
    wishes.append({"user": "dave", "key": [WHO.public_key], "state": "absent"})
    caller = proofs.Caller(types.SimpleNamespace(), WHO, host_key.policy("strict"), {})
    names = ["admin", "alice", "dave", "erin", "bob", "carol"]
    done = operators.prove(caller, names, {"keys": {"accounts": wishes}})
    assert tried == ["alice", "bob"]
    assert [one.operator for one in done.proven] == ["alice"] and [one.operator for one in done.failed] == ["bob"]
    assert done.predicted == ["dave", "erin"]


def test_what_is_no_identity_is_named():
    with pytest.raises(Malformed, match="source"):
        identity.from_data({})
