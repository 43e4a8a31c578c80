# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action transaction: change one host in one task, and take nothing away before the way in was proven.

Steps: what widens, a proof where it was needed, what narrows, a proof that carries the plan once more.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError, Refused
from ansible_collections.latchkey.ssh.plugins.plugin_utils import (
    connections,
    failures,
    host_key,
    identity,
    operators,
    proofs,
    results,
)

FACET_MODULES = (("keys", "authorized_keys"), ("server", "sshd_config"))


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
        self._result["conflicts"] = list(self._plan["conflicts"])

    def steps(self) -> None:
        """Widen, prove, narrow, prove."""
        changes = self._plan["changes"]
        proven = self._plan["reached"] == "key"
        if any(change["phase"] == "widen" for change in changes):
            self._apply("widen", self._way(by_key=proven))
        self._noting("nothing was taken away", lambda: self._prove_before(proven=proven))
        if any(change["phase"] == "narrow" for change in changes):
            self._apply("narrow", self._way(by_key=True))
            self._noting("passwords are off already: keep open sessions open, or go to a console", self._prove_after)

    def _prove_before(self, *, proven: bool) -> None:
        if not proven:
            self._prove_by_plan()
        self._prove_others()

    def _prove_after(self) -> None:
        self._result["proofs"] = []
        self._prove_effective(self._prove_by_plan())
        self._prove_others()

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

    def _apply(self, phase: str, connection: Any) -> None:
        concerned = {change["facet"] for change in self._plan["changes"] if change["phase"] == phase}
        for facet, module in FACET_MODULES:
            if facet not in concerned:
                continue
            arguments = dict(self._desired[facet], phase=phase)
            done, reached = proofs.run_module(self._caller, connection, module, arguments)
            self._take(done, reached)

    def _take(self, done: dict[str, Any] | None, reached: connections.Reached) -> None:
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

    def _prove_by_plan(self) -> proofs.Proof:
        proof = proofs.by_plan(self._caller, {"desired": self._desired, "stranded": "report"})
        if not proof.reached.transcript.authenticated:
            error = failures.of_login(proof.reached, proof.operator, self._caller.policy)
            raise Refused(f"the key was not taken: {error.reason}", error.remedy, "proof")
        if proof.problem is not None:
            raise proof.problem
        self._result["proofs"].append(proof.record())
        return proof

    def _prove_others(self) -> None:
        done = operators.prove(self._caller, self._operators, self._desired)
        self._result["proofs"] += [proof.record() for proof in done.proven]
        self._result["predicted"] = done.predicted
        for proof in done.failed:
            problem = proof.problem or HostError("the login failed")
            raise Refused(
                f"the operator {proof.operator} could not be proven: {problem.reason}", problem.remedy, "proof"
            )

    def _prove_effective(self, proof: proofs.Proof) -> None:
        left = [change["what"] for change in proof.result.get("changes", [])]
        left += [results.sentence(refusal) for refusal in proof.result.get("refused", [])]
        if left:
            raise HostError(f"after the change this was still to do: {'; '.join(left)}", "look at the host", "proof")
        problem = proofs.offer_problem(proof, self._desired)
        if problem is not None:
            raise problem


__all__ = ["ActionModule"]
