# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action guard: the module guard, with a deadline that fits a batch of hosts whose tasks wait for each other."""

from __future__ import annotations

import math
import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import (
    LatchkeyError,
    Malformed,
    Refused,
)
from ansible_collections.latchkey.ssh.plugins.plugin_utils import guards, results

LONGEST = 3600
# Strategies in which a host waits for the others of its batch between two tasks.
_WAITING = ("linear", "debug")


class ActionModule(ActionBase):
    """Arm, extend or revert; only arming looks at the batch."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        try:
            if arguments.get("state", "armed") == "armed":
                arguments.update(timeout=self._timeout(variables), by=arguments.get("by") or guards.who_asks())
        except LatchkeyError as error:
            described = results.describe(error)
            return {**result, "failed": True, "msg": results.sentence(described), "error": described}
        done = self._execute_module(module_name="latchkey.ssh.guard", module_args=arguments, task_vars=variables)
        if done.get("transaction"):
            done["transaction"]["goes_back"] = time.time() + done["transaction"]["timeout"] + 1
        return {**result, **done}

    def _timeout(self, variables: dict[str, Any]) -> int:
        wanted = _seconds(self._task.args.get("timeout"))
        waits = _strategy(self._task).rpartition(".")[2] in _WAITING
        batch = len(variables.get("ansible_play_batch") or [""]) if waits else 1
        forks = int(variables.get("ansible_forks") or 1)
        return raised(wanted, batch, forks)


def _seconds(told: Any) -> int:
    try:
        return 300 if told is None else int(str(told))
    except ValueError as error:
        raise Malformed(f"`{told}` is no number of seconds", f"give one up to {LONGEST}", "timeout") from error


def _strategy(task: Any) -> str:
    parent = task._parent
    while parent is not None:
        play = getattr(parent, "_play", None)
        if play is not None:
            return str(play.strategy)
        parent = getattr(parent, "_parent", None)
    return "linear"


def raised(wanted: int, batch: int, forks: int) -> int:
    """Return the deadline in seconds for a host that waits for its batch: each round of forks takes its own time.

    Raises:
        Refused: no deadline that is allowed would fit; the batch size that fits is named.
    """
    rounds = math.ceil(batch / forks)
    if wanted > LONGEST:
        # The host says what is wrong with it.
        return wanted
    if wanted * rounds <= LONGEST:
        return wanted * rounds
    fits = LONGEST // wanted * forks
    raise Refused(
        f"{batch} hosts at {forks} forks take {rounds} rounds, and {rounds} times {wanted} s is more than {LONGEST} s",
        f"set `serial: {fits}` for this play, or more forks, or `strategy: host_pinned`",
        "timeout",
    )


__all__ = ["ActionModule", "raised"]
