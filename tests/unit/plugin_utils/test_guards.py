# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller makes of a host's answers while it takes a transaction back."""

import pytest

pytest.importorskip("ansible")
guards = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.guards")
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import (  # noqa: E402
    HostError,
    LatchkeyError,
    Malformed,
    Refused,
)

TRANSACTION = guards.Transaction("id", "nonce", 0.0)


def answering(monkeypatch, *answers):
    """Have the host answer one after the other; returns the ways over which it is asked."""
    said = list(answers)

    def run(caller, connection, arguments):
        answer = said.pop(0)
        if isinstance(answer, LatchkeyError):
            raise answer
        return answer

    monkeypatch.setattr(guards, "run", run)
    return [lambda: None] * len(answers)


GONE = HostError("no route", "", guards.failures.UNREACHABLE)


@pytest.mark.parametrize(
    "answers, state, words",
    [
        ([{"status": {"notes": ["kept"]}}], "REVERTED", "back as it was; kept"),
        ([GONE, {"status": {}}], "REVERTED", "back as it was"),
        ([Refused("it is committed", "", "COMMITTED")], "COMMITTED", "taken the confirmation"),
        ([GONE, HostError("not complete: x", "", "REVERT_FAILED"), GONE], "REVERT_FAILED", "not complete: x"),
        ([GONE, GONE], "UNKNOWN", "goes back by itself by its deadline"),
    ],
)
def test_what_became_of_it_is_what_the_host_says(monkeypatch, answers, state, words):
    done = guards.revert(None, TRANSACTION, answering(monkeypatch, *answers))
    assert done.state == state and words in done.note and "unless" not in done.note


def test_a_host_that_may_have_been_asked_to_confirm_is_not_promised_to_go_back(monkeypatch):
    done = guards.revert(None, TRANSACTION, answering(monkeypatch, GONE), asked=True)
    assert done.note.endswith("unless the confirmation has reached it")


@pytest.mark.parametrize(
    "told, state", [("COMMITTING", "COMMITTED"), ("COMMITTED", "COMMITTED"), ("APPLIED", "APPLIED")]
)
def test_a_commit_that_was_interrupted_is_a_commit(monkeypatch, told, state):
    monkeypatch.setattr(guards.connections, "fresh", lambda *unused: None)
    answer = {"status": {"id": "id", "state": told}}, None
    monkeypatch.setattr(guards.proofs, "run_module", lambda *unused: answer)
    caller = guards.proofs.Caller(None, None, None, {})
    assert guards.status(caller, TRANSACTION) == state


@pytest.mark.parametrize("told", [5, "300", 3600])
def test_a_deadline_that_can_be_armed(told):
    assert guards.check_timeout(told) == int(told)


@pytest.mark.parametrize("told, error", [(4, Refused), (3601, Refused), ("soon", Malformed), (None, Malformed)])
def test_one_that_cannot_be_is_refused_before_anything_is_done(told, error):
    with pytest.raises(error) as raised:
        guards.check_timeout(told)
    assert raised.value.where == "harden_timeout"


REFUSED = "u@h: Permission denied (publickey)."


@pytest.mark.parametrize(
    "stderr, told, settled, asked",
    [
        ("", "COMMITTED", True, 1),
        ("", "REVERTED", False, 1),
        (REFUSED, "COMMITTED", False, 0),
    ],
)
def test_a_lost_answer_is_settled_by_one_more_login_and_a_refusal_by_none(monkeypatch, stderr, told, settled, asked):
    """A login that was refused has confirmed nothing, and another one would be one more that fails."""
    logins = []
    monkeypatch.setattr(guards, "status", lambda caller, transaction: logins.append(1) or told)
    reached = guards.connections.Reached(guards.connections.transcript.read(stderr), "x")
    assert guards.committed_all_the_same(None, TRANSACTION, reached) is settled
    assert len(logins) == asked
