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
        user = self._task.args.get("user") or connections.user_of(self)
        confirm = None if self._task.check_mode else self._task.args.get("confirm")
        if not confirm:
            return {"proof": self._judged(caller, proofs.by_command(caller, user)).record()}
        transaction = guards.from_data(confirm)
        try:
            return self._confirmed(caller, user, transaction)
        except (LatchkeyError, AnsibleError) as error:
            # A connection that Ansible shares (ControlPersist) is older than the change, and may be the last one.
            ways = [lambda: connections.shared(self), *guards.ways(caller)]
            done = guards.revert(caller, transaction, ways, asked=True)
            known = error if isinstance(error, LatchkeyError) else HostError(" ".join(str(error).split()))
            raise type(known)(f"{known.reason} ({done.note})", known.remedy, known.where) from error

    def _confirmed(self, caller: proofs.Caller, user: str, transaction: guards.Transaction) -> dict[str, Any]:
        """Log in and confirm; expected methods are looked at by a login before that."""
        if self._task.args.get("methods"):
            self._judged(caller, proofs.by_command(caller, user))
        proof = self._confirming(caller, user, transaction)
        answer = proof.result.get("confirm") or {}
        if not answer and guards.committed_all_the_same(caller, transaction, proof.reached):
            proof, answer = proofs.by_command(caller, user), {"answer": guards.COMMITTED}
        self._judged(caller, proof)
        problem = guards.problem_of(answer)
        if problem is not None:
            raise problem
        return {"proof": proof.record(), "answer": answer["answer"], "waiting_for": answer.get("operators", [])}

    def _confirming(self, caller: proofs.Caller, user: str, transaction: guards.Transaction) -> proofs.Proof:
        desired = {name: value for name, value in (self._task.args.get("desired") or {}).items() if value}
        if desired and user == connections.user_of(self):
            arguments = {"desired": desired, "stranded": "report", "confirm": transaction.confirmation()}
            return proofs.by_plan(caller, arguments)
        return proofs.by_command(caller, user, transaction.confirmation())

    def _judged(self, caller: proofs.Caller, proof: proofs.Proof) -> proofs.Proof:
        if not proof.reached.transcript.authenticated:
            raise failures.of_login(proof.reached, proof.operator, caller.policy)
        if proof.problem is not None:
            raise proof.problem
        wanted = set(self._task.args.get("methods") or ())
        if wanted and not proofs.offers_only(proof.offered, wanted):
            raise HostError(
                f"the host offers {', '.join(proof.offered)}, not {', '.join(sorted(wanted))}", "", "methods"
            )
        return proof


__all__ = ["ActionModule"]
