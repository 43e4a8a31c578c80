# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A transaction as the controller sees it: armed on the host, confirmed by a login, or taken back."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible.errors import AnsibleError
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError, Malformed, Refused
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import arm as engine
from ansible_collections.latchkey.ssh.plugins.plugin_utils import connections, failures, proofs, results

COMMITTED, REVERTED, REVERT_FAILED, UNKNOWN = "COMMITTED", "REVERTED", "REVERT_FAILED", "UNKNOWN"


class Transaction(NamedTuple):
    """One armed transaction: what its confirmation says, and by when (seconds since the epoch) the host goes back."""

    id: str
    nonce: str
    goes_back: float

    def confirmation(self) -> dict[str, str]:
        """Return what the login that confirms has to say."""
        return {"id": self.id, "nonce": self.nonce}

    def deadline(self) -> str:
        """Return the time by which the host goes back by itself, as people read it."""
        return time.strftime("%H:%M:%S UTC", time.gmtime(self.goes_back)) if self.goes_back else "its deadline"


def from_data(told: Mapping[str, Any]) -> Transaction:
    """Return the transaction that a task was given (what the module guard returned)."""
    try:
        return Transaction(str(told["id"]), str(told["nonce"]), float(told.get("goes_back") or 0))
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(
            "this is not what guard returned", 'give `confirm: "{{ guard.transaction }}"`', "confirm"
        ) from error


def ways(caller: proofs.Caller) -> list[Callable[[], Any]]:
    """Return the ways to a host that has no connection open: by key, and as Ansible is configured."""
    return [
        lambda: connections.fresh(caller.action, caller.who, caller.policy),
        lambda: connections.configured(caller.action, caller.policy),
    ]


def check_timeout(seconds: Any) -> int:
    """Return how long a host waits for its confirmation; raises what arming would refuse, before anything is done."""
    try:
        timeout = int(seconds)
    except (TypeError, ValueError) as error:
        raise Malformed(f"`{seconds}` is no number of seconds", "give a whole number", "harden_timeout") from error
    if not engine.SHORTEST <= timeout <= engine.LONGEST:
        remedy = f"give {engine.SHORTEST} to {engine.LONGEST} seconds"
        raise Refused(f"{timeout} s is no deadline", remedy, "harden_timeout")
    return timeout


def arm(caller: proofs.Caller, connection: Any, arguments: Mapping[str, Any]) -> tuple[Transaction, dict[str, Any]]:
    """Arm a transaction on the host; raises where it cannot be armed, and then nothing has changed."""
    done = run(caller, connection, dict(arguments, state="armed", by=who_asks()))
    told = done["transaction"]
    return Transaction(told["id"], told["nonce"], time.time() + told["timeout"] + 1), done


def run(caller: proofs.Caller, connection: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run the module ``guard`` over a connection of ours; raises what went wrong."""
    done, reached = proofs.run_module(caller, connection, "guard", dict(arguments))
    if done is None:
        raise failures.of_login(reached, connections.user_of(caller.action), caller.policy)
    problem = failures.of_module(done, reached)
    if problem is not None:
        raise problem
    if done.get("failed"):
        raise results.error_of(done)
    return done


class Reverted(NamedTuple):
    """How it stands after an attempt to take a transaction back: its state, and a note for people."""

    state: str
    note: str


def revert(caller: proofs.Caller, transaction: Transaction, ways: Sequence[Any], *, asked: bool = False) -> Reverted:
    """Take a transaction back over the first way that still works; ``asked``: a confirmation may have got there."""
    said = ""
    for way in ways:
        try:
            done = run(caller, way(), {"state": "reverted", "transaction": transaction.id})
            notes = (done.get("status") or {}).get("notes") or []
            return Reverted(REVERTED, "; ".join(["the host is back as it was", *notes]))
        except LatchkeyError as error:
            if error.where == COMMITTED:
                return Reverted(COMMITTED, "the host had taken the confirmation before")
            if error.where == REVERT_FAILED:
                return Reverted(REVERT_FAILED, error.reason)
            said = said or ("" if failures.UNREACHABLE in error.where else error.reason)
    note = f"the host cannot be reached and goes back by itself by {transaction.deadline()}"
    note += ", unless the confirmation has reached it" if asked else ""
    return Reverted(UNKNOWN, f"{note} ({said})" if said else note)


def committed_all_the_same(caller: proofs.Caller, transaction: Transaction, reached: connections.Reached) -> bool:
    """Settle by one more login whether a confirmation arrived whose answer was lost on the way.

    Args:
        reached: how the login that should have confirmed ended; where it was refused there is nothing to settle.
    """
    if reached.transcript.refused is not None:
        return False
    try:
        return status(caller, transaction) == COMMITTED
    except (LatchkeyError, AnsibleError):
        return False


def status(caller: proofs.Caller, transaction: Transaction) -> str:
    """Return what became of a transaction, by one read over another fresh login."""
    connection = connections.fresh(caller.action, caller.who, caller.policy)
    done, _reached = proofs.run_module(caller, connection, "guard_info", {})
    told = (done or {}).get("status") or {}
    state = str(told.get("state", UNKNOWN)) if told.get("id") == transaction.id else UNKNOWN
    # What has been confirmed is never taken back, also where the host was interrupted over it.
    return COMMITTED if state == "COMMITTING" else state


def problem_of(answer: Mapping[str, Any]) -> LatchkeyError | None:
    """Say what a host answered to a confirmation, as an error; None where this login confirmed what lies with it."""
    said = answer.get("answer")
    if said in (COMMITTED, "WAITING_FOR"):
        return None
    if said == "TOO_LATE":
        remedy = "give it more time: harden_timeout"
        return Refused("the confirmation came too late: the host has gone back", remedy, "transaction")
    return HostError(f"the host did not take the confirmation: {answer.get('reason') or said}", "", "transaction")


def who_asks() -> str:
    """Return who runs this, for people on the host."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "somebody"
    return f"{name}@{socket.gethostname()}"


__all__ = ["COMMITTED", "REVERTED", "REVERT_FAILED", "UNKNOWN", "Reverted", "Transaction"]
__all__ += [
    "arm",
    "check_timeout",
    "committed_all_the_same",
    "from_data",
    "problem_of",
    "revert",
    "run",
    "status",
    "ways",
    "who_asks",
]
