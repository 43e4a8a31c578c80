# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action proof: one brand-new key login that becomes root, for plays that make their own changes.

With ``confirm`` that login also confirms a transaction; what fails takes the transaction back at once.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError
from ansible_collections.latchkey.ssh.plugins.plugin_utils import (
    connections,
    failures,
    guards,
    host_key,
    identity,
    proofs,
    results,
)


class ActionModule(ActionBase):
    """Prove one operator, or fail saying why."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        try:
            connections.check_task(self)
            with tempfile.TemporaryDirectory(prefix="latchkey-") as scratch:
                args = self._task.args
                known_hosts = os.path.join(scratch, "known_hosts") if self._task.check_mode else ""
                policy = host_key.policy(args.get("host_key", "strict"), known_hosts)
                caller = proofs.Caller(self, identity.from_data(args["identity"]), policy, task_vars or {})
                result.update(changed=False, **self._prove_or_revert(caller))
        except (LatchkeyError, AnsibleError) as error:
            described = results.describe(error)
            result.update(failed=True, changed=False, msg=results.sentence(described), error=described)
        return result

    def _prove_or_revert(self, caller: proofs.Caller) -> dict[str, Any]:
        confirm = None if self._task.check_mode else self._task.args.get("confirm")
        if not confirm:
            return {"proof": self._prove(caller, None).record()}
        transaction = guards.from_data(confirm)
        try:
            proof = self._prove(caller, transaction)
        except LatchkeyError as error:
            # A connection that Ansible shares (ControlPersist) is older than the change, and may be the last one.
            ways = [lambda: connections.shared(self), *guards.ways(caller)]
            done = guards.revert(caller, transaction, ways, asked=True)
            raise type(error)(f"{error.reason} ({done.note})", error.remedy, error.where) from error
        answer = proof.result["confirm"]
        return {"proof": proof.record(), "answer": answer["answer"], "waiting_for": answer.get("operators", [])}

    def _prove(self, caller: proofs.Caller, transaction: guards.Transaction | None) -> proofs.Proof:
        args = self._task.args
        user = args.get("user") or connections.user_of(self)
        proof = self._login(caller, user, transaction)
        if not proof.reached.transcript.authenticated:
            raise failures.of_login(proof.reached, user, caller.policy)
        if proof.problem is not None:
            raise proof.problem
        wanted = set(args.get("methods") or ())
        if wanted and not proofs.offers_only(proof.offered, wanted):
            raise HostError(
                f"the host offers {', '.join(proof.offered)}, not {', '.join(sorted(wanted))}", "", "methods"
            )
        if transaction:
            problem = guards.problem_of(proof.result.get("confirm") or {})
            if problem is not None:
                raise problem
        return proof

    def _login(self, caller: proofs.Caller, user: str, transaction: guards.Transaction | None) -> proofs.Proof:
        """Log in; with a desired state or expected methods, prove them first and confirm by a second login."""
        if transaction is None:
            return proofs.by_command(caller, user)
        if self._task.args.get("methods"):
            seen = proofs.by_command(caller, user)
            if seen.problem is not None or not proofs.offers_only(seen.offered, set(self._task.args["methods"])):
                return seen
        desired = {name: value for name, value in (self._task.args.get("desired") or {}).items() if value}
        if desired and user == connections.user_of(self):
            arguments = {"desired": desired, "stranded": "report", "confirm": transaction.confirmation()}
            return proofs.by_plan(caller, arguments)
        return proofs.by_command(caller, user, transaction.confirmation())


__all__ = ["ActionModule"]
