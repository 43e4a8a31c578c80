# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action summary: the record of each host, and one summary for people, also when every host was refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.latchkey.ssh.plugins.plugin_utils import records

display = Display()
_PARTS = ("key", "plan", "transaction", "guard")


class ActionModule(ActionBase):
    """Return this host's record, fail where it was refused; the first host of the play prints the summary of all."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        host = variables["inventory_hostname"]
        args = self._task.args
        record = _record(host, {part: args.get(part) for part in _PARTS})
        if host == _first(variables):
            named = args.get("break_glass")
            told = records.summary(
                _all_records(variables),
                check_mode=self._task.check_mode,
                break_glass=None if named is None else int(named),
            )
            for line in told:
                display.display(line.text, color=line.color)
        result.update(changed=False, record=record)
        if record["refused"]:
            shown = {name: value for name, value in record.items() if value and name != "refused"}
            result.update(failed=True, msg="; ".join(record["refused"]), record=shown)
        return result


def _ran(result: Any) -> dict[str, Any]:
    """Return a registered result, or nothing where its task was skipped."""
    return {} if not result or result.get("skipped") else result


def _first(variables: dict[str, Any]) -> str:
    batch = set(variables["ansible_play_batch"])
    return next((name for name in variables["ansible_play_hosts"] if name in batch), "")


def _all_records(variables: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name in variables["ansible_play_batch"]:
        theirs = variables["hostvars"][name]
        found.append(_record(name, {part: theirs.get(f"__harden_{part}") for part in _PARTS}))
    return found


def _record(host: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    key, plan, transaction, guard = (_ran(parts[part]) for part in _PARTS)
    return records.build(host, key, plan, transaction, guard=guard)


__all__ = ["ActionModule"]
