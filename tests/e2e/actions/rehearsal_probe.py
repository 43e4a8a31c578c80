# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rehearse candidates as the action transaction does, one after the other over one lifeline; for tests."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError
from ansible_collections.latchkey.ssh.plugins.plugin_utils import (
    connections,
    host_key,
    identity,
    interpreter,
    lifeline,
    proofs,
    rehearsals,
    results,
)


class ActionModule(ActionBase):
    """Return what became of each candidate: `stage` as the host made it, `record` or `refused`."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        args = self._task.args
        policy = host_key.policy(args.get("host_key", "strict"))
        caller = proofs.Caller(self, identity.from_data(args["identity"]), policy, task_vars or {})
        result["rehearsals"] = []
        try:
            with lifeline.Lifeline(caller, by_key=args.get("by_key", True)) as line:
                for candidate in args["candidates"]:
                    result["rehearsals"].append(self._rehearse(caller, line, candidate))
        except LatchkeyError as error:
            result["refused"] = results.sentence(results.describe(error))
        return result

    def _rehearse(self, caller: proofs.Caller, line: lifeline.Lifeline, candidate: dict[str, Any]) -> dict[str, Any]:
        arguments = {name: candidate[name] for name in ("first", "seconds") if name in candidate}
        done = {"stage": self._stage(caller, line, dict(arguments, account=connections.user_of(self)))}
        if candidate.get("ended"):
            self._stage(caller, line, {})
        try:
            if not candidate.get("only_stage"):
                done["record"] = rehearsals.rehearse(caller, done["stage"], line, candidate.get("user", ""))
        except LatchkeyError as error:
            done["refused"] = results.sentence(results.describe(error))
        if not candidate.get("leave"):
            self._stage(caller, line, {})
        return done

    def _stage(self, caller: proofs.Caller, line: lifeline.Lifeline, arguments: dict[str, Any]) -> Any:
        variables = dict(caller.task_vars, ansible_python_interpreter=interpreter.choose(caller.task_vars))
        done, reached = connections.run(
            self,
            line.connection(),
            lambda: self._execute_module(module_name="rehearsal_stage", module_args=arguments, task_vars=variables),
        )
        return (done or {}).get("stage") or {"why": f"{done} {reached}"}


__all__ = ["ActionModule"]
