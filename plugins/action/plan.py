# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plan: look at the host over a fresh key login, else as configured.

Where the key works already, that login is the proof.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError, Malformed, Refused
from ansible_collections.latchkey.ssh.plugins.plugin_utils import (
    client,
    connections,
    failures,
    guards,
    host_key,
    identity,
    inventory_lines,
    operators,
    proofs,
    results,
)

PLAN_ARGUMENTS = ("desired", "operators", "stranded", "stranded_ok", "stranded_days")


class ActionModule(ActionBase):
    """Return the plan of one host, how it was reached, and whom this login proved. Never fails: refusals are data."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        result.update(
            changed=False, reached="", planned=False, changes=[], conflicts=[], stranded=[], proofs=[], refused=[]
        )
        try:
            connections.check_task(self)
            with tempfile.TemporaryDirectory(prefix="latchkey-") as scratch:
                result.update(self._plan(task_vars or {}, scratch))
            # Only a result that says changed has its diff printed; where the run goes on, the transaction prints it.
            result["changed"] = bool(self._task.check_mode and result["planned"] and not result["refused"])
        except (LatchkeyError, AnsibleError) as error:
            result["refused"] = [results.describe(error)]
        return result

    def _plan(self, task_vars: dict[str, Any], scratch: str) -> dict[str, Any]:
        if "timeout" in self._task.args:
            guards.check_timeout(self._task.args["timeout"])
        if (self._task.args["desired"].get("server") or {}).get("methods") == []:
            raise Malformed("no method would be left", "name publickey at least", "harden_methods")
        who = identity.from_data(self._task.args["identity"])
        known_hosts = os.path.join(scratch, "known_hosts") if self._task.check_mode else ""
        policy = host_key.policy(self._task.args.get("host_key", "strict"), known_hosts)
        shown = self._look(proofs.Caller(self, who, policy, task_vars))
        shown["inventory"] = inventory_lines.lines(self, who) if self._task.args["desired"].get("server") else []
        return shown

    def _look(self, caller: proofs.Caller) -> dict[str, Any]:
        arguments = {name: self._task.args[name] for name in PLAN_ARGUMENTS if name in self._task.args}
        arguments.update(identity_user=connections.user_of(self), identity_key=caller.who.public_key)
        arguments["client"] = client.view(caller)
        accepted = ""
        if not caller.who.pending:
            proof = proofs.by_plan(caller, arguments)
            if proof.by_another_key():
                return dict(_shown(proof.result), reached="configured", accepted_host_key=_accepted(proof.reached))
            if proof.reached.transcript.authenticated or not self._may_fall_back(proof, caller.who):
                return self._by_key(proof, caller)
            # The first contact was this one, even where the login came later.
            accepted = _accepted(proof.reached)
        shown = self._as_configured(caller, arguments)
        return dict(shown, accepted_host_key=shown["accepted_host_key"] or accepted)

    def _may_fall_back(self, proof: proofs.Proof, who: identity.Identity) -> bool:
        """Only the target's own refusal of the key leads to another way: never a host key, a penalty or a timeout.

        Without a password, a ticket or another key than the one refused, the other way would be the same again.
        """
        if proof.reached.transcript.refused is None:
            return False
        other_key = who.source in ("harden_key", "made")
        return connections.has_password(self) or other_key or "gssapi-with-mic" in proof.reached.transcript.offered

    def _by_key(self, proof: proofs.Proof, caller: proofs.Caller) -> dict[str, Any]:
        if not proof.reached.transcript.authenticated:
            raise failures.of_login(proof.reached, proof.operator, caller.policy)
        if proof.problem is not None and not proof.result.get("login") and not proof.result.get("error"):
            raise proof.problem
        shown = _shown(proof.result)
        if proof.problem is not None and not proof.result.get("error"):
            shown["refused"] = [*shown["refused"], results.describe(proof.problem)]
        shown.update(reached="key", proofs=[proof.record()], accepted_host_key=_accepted(proof.reached))
        if not shown.get("planned") and not shown["refused"]:
            problem = proofs.offer_problem(proof, self._task.args["desired"])
            if problem is not None:
                shown["refused"] = [results.describe(problem)]
            self._prove_others(caller, shown)
        return shown

    def _prove_others(self, caller: proofs.Caller, shown: dict[str, Any]) -> None:
        names = self._task.args.get("operators") or []
        done = operators.prove(caller, names, self._task.args["desired"])
        shown["proofs"] += [proof.record() for proof in done.proven]
        shown["predicted"] = done.predicted
        shown["refused"] += [results.describe(proof.problem) for proof in done.failed if proof.problem]

    def _as_configured(self, caller: proofs.Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        who = caller.who
        connection = connections.configured(self, caller.policy)
        result, reached = proofs.run_module(caller, connection, "plan", arguments)
        user = connections.user_of(self)
        if result is None:
            raise failures.of_login(reached, user, caller.policy)
        problem = failures.of_module(result, reached)
        if problem is not None:
            raise problem
        shown = dict(_shown(result), reached="configured", accepted_host_key=_accepted(reached))
        if who.pending:
            _mark_pending(shown, who, user)
        elif not shown.get("planned") and not shown["refused"]:
            reason = f"the key {who.fingerprint} is in place, and sshd does not take it"
            shown["refused"] = [results.describe(Refused(reason, _NOT_TAKEN, user))]
        return shown


_NOT_TAKEN = (
    "see /var/log/secure on the host for the reason: AllowUsers, modes on the way to the key file, options of the key"
)


def _mark_pending(shown: dict[str, Any], who: identity.Identity, user: str) -> None:
    """Say by name which change stands for the text of a key that check mode did not make."""
    for change in shown.get("changes", []):
        if change["facet"] == "keys" and change["kind"] == "file" and change["owner"] == user:
            change.update(what=f"{change['what']}, one of them not made yet ({who.path})", sha256_after="")


def _accepted(reached: connections.Reached) -> str:
    said = reached.transcript
    return said.host_key if said.key_added else ""


def _shown(result: dict[str, Any]) -> dict[str, Any]:
    if result.get("failed"):
        return {"refused": [results.describe(results.error_of(result))]}
    return {"refused": [], **{name: result[name] for name in _KEPT if name in result}}


_KEPT = (
    *("planned", "changes", "conflicts", "stranded", "refused", "preflight"),
    *("diff", "warnings", "sshd_version", "break_glass"),
)


__all__ = ["ActionModule"]
