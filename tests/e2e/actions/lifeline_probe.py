# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a lifeline and go through steps over it, as the action transaction does; for tests."""

from __future__ import annotations

import subprocess
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError
from ansible_collections.latchkey.ssh.plugins.plugin_utils import (
    connections,
    failures,
    host_key,
    identity,
    lifeline,
    proofs,
    results,
)


class ActionModule(ActionBase):
    """Return what each step gave: `alive`, `root: COMMAND`, `command: COMMAND`, `module: NAME`, `proof`."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        args = self._task.args
        policy = host_key.policy(args.get("host_key", "strict"))
        caller = proofs.Caller(self, identity.from_data(args["identity"]), policy, task_vars or {})
        result["steps"] = []
        try:
            with lifeline.Lifeline(caller, by_key=args.get("by_key", True)) as line:
                for step in args["steps"]:
                    result["steps"].append(self._step(caller, line, step))
        except LatchkeyError as error:
            result["refused"] = results.sentence(results.describe(error))
        return result

    def _step(self, caller: proofs.Caller, line: lifeline.Lifeline, step: str) -> Any:
        verb, _colon, rest = step.partition(": ")
        if verb == "alive":
            return line.alive()
        if verb == "proof":
            proof = proofs.by_command(caller, connections.user_of(self))
            return "proven" if proof.problem is None else proof.problem.reason
        if verb == "command":
            done = subprocess.run([*line.argv(), rest], capture_output=True, text=True, check=False, timeout=60)
            return [done.returncode, done.stdout.strip(), done.stderr.strip()]
        if verb == "module":
            told, reached = line.run_module(rest, {})
            return told or str(failures.of_login(reached, "operator", caller.policy))
        said, reached = connections.run(self, line.connection(), lambda: self._low_level_execute_command(rest))
        return [(said or {}).get("rc"), (said or {}).get("stdout", "").strip(), reached.error]


__all__ = ["ActionModule"]
