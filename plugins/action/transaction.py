# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action transaction: change one host in one task, with a way back whatever dies.

Steps: keys are added and proven; arm; rehearse; what widens; what narrows; a look by a brand-new login; a proof that
carries the plan once more and confirms. What fails between arm and confirmation is taken back at once.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError, Refused
from ansible_collections.latchkey.ssh.plugins.plugin_utils import (
    connections,
    failures,
    guards,
    host_key,
    identity,
    lifeline,
    operators,
    passages,
    proofs,
    rehearsals,
    results,
)

# Seconds that the connection outlives the deadline.
_SPARE = 30
FACET_MODULES = {"keys": "authorized_keys", "server": "sshd_config", "revert": "revert"}


class ActionModule(ActionBase):
    """Bring one host to its desired state. Never fails: what went wrong is data until the summary."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        result.update(changed=False, diff=[], changes=[], proofs=[], predicted=[], conflicts=[], refused=[])
        try:
            connections.check_task(self)
            with tempfile.TemporaryDirectory(prefix="latchkey-") as scratch:
                _Run(self, task_vars or {}, os.path.join(scratch, "known_hosts"), result).steps()
        except (LatchkeyError, AnsibleError) as error:
            result["refused"] = [*result["refused"], results.describe(error)]
        return result


class _Run:
    """The steps on one host; what has happened so far is in ``result`` at any time."""

    def __init__(self, action: ActionModule, task_vars: dict[str, Any], scratch: str, result: dict[str, Any]) -> None:
        args = action._task.args
        self._result = result
        self._desired = {name: value for name, value in args["desired"].items() if value}
        self._plan = args["plan"]
        policy = host_key.policy(args.get("host_key", "strict"), scratch if action._task.check_mode else "")
        self._caller = proofs.Caller(action, identity.from_data(args["identity"]), policy, task_vars)
        self._operators = list(args.get("operators") or [])
        self._timeout = guards.check_timeout(args.get("timeout", 300))
        self._asked_to_confirm = False
        self._result["conflicts"] = list(self._plan["conflicts"])

    def steps(self) -> None:
        """Add keys, prove, and change the rest inside a transaction."""
        if self._caller.action._task.check_mode:
            self._result["changes"] = list(self._plan["changes"])
            self._result["changed"] = bool(self._plan["changes"])
            return
        by_key = self._plan["reached"] == "key"
        if self._has("widen", "keys"):
            self._apply("keys", "widen", self._way(by_key=by_key))
        # Where sshd takes no keys yet, there is nothing to prove before that is changed.
        opens = self._has("widen", "server")
        if not opens:
            self._noting("nothing was taken away", lambda: self._prove_before(proven=by_key))
        if opens or any(self._has("narrow", facet) for facet in FACET_MODULES):
            self._guarded(by_key=by_key or not opens, opens=opens)

    def _has(self, phase: str, facet: str) -> bool:
        return any((change["phase"], change["facet"]) == (phase, facet) for change in self._plan["changes"])

    def _guarded(self, *, by_key: bool, opens: bool) -> None:
        """Arm, change, confirm; whatever goes wrong in between is taken back at once.

        All of it but the proofs goes over one connection that stays open, and is there when no other can be made.
        """
        narrows = any(self._has("narrow", facet) for facet in FACET_MODULES)
        passage = passages.find(self._caller) if by_key and narrows else None
        with lifeline.Lifeline(self._caller, by_key=by_key, seconds=self._timeout + _SPARE) as line:
            transaction, stage = self._arm(line)
            before = len(self._result["changes"])
            with contextlib.ExitStack() as cut_off:
                # Whoever ends this task (its `timeout`, Ctrl-C) does not wait for the deadline either.
                cut_off.callback(self._taken_back, transaction, line, before, HostError("the task was ended"))
                try:
                    proof = self._change(transaction, line, stage, opens=opens, passage=passage)
                except (LatchkeyError, AnsibleError) as error:
                    cut_off.pop_all()
                    raise self._taken_back(transaction, line, before, error) from error
                cut_off.pop_all()
        # What is wrong from here on is said, and stays: the host has its new state for good.
        self._result["transaction"]["state"] = guards.COMMITTED
        self._take_proof(proof)
        self._prove_effective(proof)

    def _change(
        self,
        transaction: guards.Transaction,
        line: lifeline.Lifeline,
        stage: dict[str, Any],
        *,
        opens: bool,
        passage: passages.Passage | None,
    ) -> proofs.Proof:
        if stage:
            self._result["rehearsal"] = rehearsals.rehearse(self._caller, stage, line)
        if opens:
            self._apply("server", "widen", line.connection(), transaction)
            self._prove_before(proven=False)
        for facet in FACET_MODULES:
            if self._has("narrow", facet):
                self._apply(facet, "narrow", line.connection(), transaction)
        self._look_first(passage)
        return self._confirm(transaction)

    def _arm(self, line: lifeline.Lifeline) -> tuple[guards.Transaction, dict[str, Any]]:
        me = connections.user_of(self._caller.action)
        required = [me, *operators.provable(self._caller, self._operators, self._desired)]
        arguments = {"timeout": self._timeout, "operators": required, "desired": self._desired, "rehearse": me}
        try:
            transaction, done = guards.arm(self._caller, line.connection(), arguments)
        except LatchkeyError as error:
            if failures.UNREACHABLE not in error.where:
                raise
            note = f"nothing was taken away; if it was armed it ends that by itself within {self._timeout} s"
            raise type(error)(f"{error.reason} ({note})", error.remedy, error.where) from error
        self._result["transaction"] = {"id": transaction.id, "state": "ARMED", "deadline": transaction.deadline()}
        return transaction, done.get("stage") or {}

    def _taken_back(
        self, transaction: guards.Transaction, line: lifeline.Lifeline, before: int, error: Exception
    ) -> LatchkeyError:
        """Take the transaction back, and return the error with how that went."""
        ways = [line.connection, *guards.ways(self._caller)]
        done = guards.revert(self._caller, transaction, ways, asked=self._asked_to_confirm)
        if done.state == guards.REVERTED:
            taken = self._result["changes"][before:]
            self._result.update(changes=self._result["changes"][:before], taken_back=taken, proofs=[], diff=[])
            self._result["changed"] = bool(before)
        self._result["transaction"].update(state=done.state, note=done.note)
        if isinstance(error, LatchkeyError):
            return type(error)(f"{error.reason} ({done.note})", error.remedy, error.where)
        return HostError(f"{' '.join(str(error).split())} ({done.note})")

    def _noting(self, note: str, prove: Callable[[], None]) -> None:
        try:
            prove()
        except LatchkeyError as error:
            raise type(error)(f"{error.reason} ({note})", error.remedy, error.where) from error

    def _way(self, *, by_key: bool) -> Any:
        caller = self._caller
        if by_key:
            return connections.fresh(caller.action, caller.who, caller.policy)
        return connections.configured(caller.action, caller.policy)

    def _apply(self, facet: str, phase: str, way: Any, transaction: guards.Transaction | None = None) -> None:
        arguments = dict(self._desired[facet], phase=phase, transaction=transaction.id if transaction else None)
        done, reached = proofs.run_module(self._caller, way, FACET_MODULES[facet], arguments)
        if done is None:
            raise failures.of_login(reached, connections.user_of(self._caller.action), self._caller.policy)
        problem = failures.of_module(done, reached)
        if problem is not None:
            raise problem
        self._result["changed"] = self._result["changed"] or bool(done.get("changed"))
        self._result["changes"] += done.get("changes", [])
        self._result["diff"] += done.get("diff", [])
        if done.get("failed"):
            raise results.error_of(done)

    def _prove_before(self, *, proven: bool) -> None:
        if not proven:
            self._take_proof(self._by_plan({}))
        self._prove_others(None)

    def _look_first(self, passage: passages.Passage | None) -> None:
        """See by a login that confirms nothing what only the client sees: the key taken, the methods offered.

        What is confirmed stays. Nor is a host confirmed through which another one cannot be reached any more.
        """
        seen = self._by_plan({})
        self._judge(seen)
        self._prove_effective(seen)
        if passage is not None and not passages.still_open(self._caller, passage):
            raise Refused(
                f"{passage.host} cannot be reached through this host any more",
                "let it forward: AllowTcpForwarding yes, PermitOpen any",
                "proof",
            )

    def _confirm(self, transaction: guards.Transaction) -> proofs.Proof:
        """Confirm by brand-new logins: the further operators first, the one that carries the plan last."""
        self._result["proofs"] = []
        self._asked_to_confirm = True
        self._prove_others(transaction)
        proof = self._by_plan({"confirm": transaction.confirmation()})
        answer = proof.result.get("confirm") or {}
        if answer.get("answer") == guards.COMMITTED:
            return proof
        if not answer and guards.committed_all_the_same(self._caller, transaction, proof.reached):
            return self._by_plan({})
        if not answer:
            self._take_proof(proof)
        self._prove_effective(proof)
        raise guards.problem_of(answer) or HostError("the host did not confirm", "see guard_info", "transaction")

    def _by_plan(self, arguments: Mapping[str, Any]) -> proofs.Proof:
        # What is offered may depend on who asks.
        me, key = connections.user_of(self._caller.action), self._caller.who.public_key
        asked = {"desired": self._desired, "stranded": "report", "identity_user": me, "identity_key": key}
        return proofs.by_plan(self._caller, {**asked, **arguments})

    def _take_proof(self, proof: proofs.Proof) -> None:
        self._judge(proof)
        self._result["proofs"].append(proof.record())

    def _judge(self, proof: proofs.Proof) -> None:
        if not proof.reached.transcript.authenticated:
            error = failures.of_login(proof.reached, proof.operator, self._caller.policy)
            raise Refused(f"the key was not taken: {error.reason}", error.remedy, "proof")
        if proof.problem is not None:
            raise proof.problem

    def _prove_others(self, transaction: guards.Transaction | None) -> None:
        confirm = transaction.confirmation() if transaction else None
        done = operators.prove(self._caller, self._operators, self._desired, confirm=confirm)
        self._result["proofs"] += [proof.record() for proof in done.proven]
        self._result["predicted"] = done.predicted
        for proof in done.failed:
            problem = proof.problem or HostError("the login failed")
            raise Refused(
                f"the operator {proof.operator} could not be proven: {problem.reason}", problem.remedy, "proof"
            )
        for proof in done.proven if transaction else []:
            refused = guards.problem_of(proof.result.get("confirm") or {})
            if refused is not None:
                raise refused

    def _prove_effective(self, proof: proofs.Proof) -> None:
        left = [change["what"] for change in proof.result.get("changes", [])]
        left += [results.sentence(refusal) for refusal in proof.result.get("refused", [])]
        if left:
            raise HostError(f"after the change this was still to do: {'; '.join(left)}", "look at the host", "proof")
        problem = proofs.offer_problem(proof, self._desired)
        if problem is not None:
            raise problem


__all__ = ["ActionModule"]
