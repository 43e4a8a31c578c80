# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run did to each host, as data and as lines for a person who watches two hundred of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.latchkey.ssh.plugins.plugin_utils import failures, guards, results

_ORDER = ("revert failed", "unknown", "unreachable", "reverted", "refused", "changed", "would change", "unchanged")
_COLORS = {
    "revert failed": "red",
    "unknown": "red",
    "unreachable": "red",
    "reverted": "red",
    "refused": "red",
    "changed": "yellow",
    "would change": "yellow",
    "unchanged": "green",
}


class Line(NamedTuple):
    """One line of the summary and its colour."""

    text: str
    color: str | None = None


def build(
    host: str,
    key: Mapping[str, Any],
    plan: Mapping[str, Any],
    transaction: Mapping[str, Any],
    *,
    guard: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the record of one host from what the tasks of the role returned.

    ``guard`` is given where a run asks first what is under way, and takes that back.
    """
    refused = [results.sentence(one) for part in (key, plan, transaction) for one in part.get("refused") or []]
    if not plan and not refused and not guard:
        refused = ["the host was not looked at: an earlier task failed on it"]
    taken, back = _under_way(guard or {})
    changes = list(transaction.get("changes") or []) + (taken if back else [])
    planned = list(plan.get("changes") or []) + ([] if back else taken)
    proofs = list(transaction.get("proofs") or plan.get("proofs") or [])
    guarded = dict(transaction.get("transaction") or {})
    status = _status(refused, changes, planned, guarded, ran=bool(transaction))
    return {
        "host": host,
        "status": status,
        "changed": changes,
        "planned": [] if changes else planned,
        "proven": proofs,
        "predicted": list(transaction.get("predicted") or plan.get("predicted") or []),
        "stranded": list(plan.get("stranded") or []),
        "conflicts": list(transaction.get("conflicts") or plan.get("conflicts") or []),
        "refused": refused,
        "transaction": guarded,
        "taken_back": list(transaction.get("taken_back") or []),
        "rehearsal": dict(transaction.get("rehearsal") or {}),
        "break_glass": list(plan.get("break_glass") or []),
        "warnings": [results.sentence(one) for one in plan.get("preflight") or []] + _nothing(guard or {}, plan),
        "accepted_host_key": plan.get("accepted_host_key") or "",
        "key_made": _key_made(key),
        "inventory": list(plan.get("inventory") or []) if proofs and status in ("changed", "unchanged") else [],
    }


def _under_way(guard: Mapping[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """Return the paths of the transaction that was under way as changes, and whether it was taken back."""
    status = guard.get("status") or {}
    if not guard.get("changed"):
        return [], False
    what = f"as it was before the transaction {status['id']} of {status['by']}"
    changes = [{"facet": "guard", "path": path, "what": what} for path in status["paths"]]
    return changes, status["state"] == guards.REVERTED


def _nothing(guard: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    if not guard or guard.get("changed") or plan:
        return []
    return ["there is nothing to go back from: nothing is under way, and nothing was committed"]


def _key_made(key: Mapping[str, Any]) -> str:
    identity = key.get("identity") or {}
    if not key.get("changed"):
        return ""
    if identity.get("pending"):
        return f"key to be made: {identity['path']}"
    return f"key made: {identity['path']} (keep a copy: without it nobody gets in)"


def _status(
    refused: Sequence[str], changes: Sequence[Any], planned: Sequence[Any], guarded: Mapping[str, Any], *, ran: bool
) -> str:
    if refused and guarded.get("state") in (guards.REVERTED, guards.REVERT_FAILED, guards.UNKNOWN):
        return str(guarded["state"]).lower().replace("_", " ")
    if refused:
        return "unreachable" if refused[0].startswith(failures.UNREACHABLE) else "refused"
    if changes:
        return "changed"
    return "would change" if planned and not ran else "unchanged"


def summary(records: Sequence[Mapping[str, Any]], *, check_mode: bool, break_glass: int | None = None) -> list[Line]:
    """Return the lines: counts first, then only the hosts that want a look, and the inventory lines to change.

    ``break_glass`` is the number of break-glass keys that are named; None where that is not of interest.
    """
    counts = {status: sum(record["status"] == status for record in records) for status in _ORDER}
    head = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    lines = [Line(""), Line(f"latchkey: {len(records)} host{'s' if len(records) != 1 else ''}: {head}")]
    for status in _ORDER:
        for record in records:
            if record["status"] == status:
                lines += _host_lines(record)
    lines += _inventory_lines(records)
    lines += _break_glass_lines(records, break_glass)
    if check_mode:
        lines.append(Line("Check mode: nothing was changed, and no key was proven that is not in place yet."))
    return [*lines, Line("")]


def _host_lines(record: Mapping[str, Any]) -> list[Line]:
    color = _COLORS[record["status"]]
    lines = [Line(f"  {record['host']}: {record['status']}{_proven(record)}", color)]
    lines += [Line(f"      {reason}", color) for reason in record["refused"]]
    shown = record["planned"] if record["status"] == "would change" else record["changed"]
    lines += [Line(f"      {change['path']}: {change['what']}") for change in shown]
    if record["key_made"]:
        lines.append(Line(f"      {record['key_made']}"))
    if record["accepted_host_key"]:
        lines.append(Line(f"      host key accepted on first contact: {record['accepted_host_key']}"))
    lines += [Line(f"      still open by a line of others: {conflict}", "yellow") for conflict in record["conflicts"]]
    rehearsal = record["rehearsal"]
    if rehearsal and not rehearsal.get("rehearsed"):
        lines.append(Line(f"      not rehearsed: {rehearsal.get('why')}", "yellow"))
    lines += [Line(f"      {warning}", "yellow") for warning in record["warnings"]]
    if record["predicted"]:
        lines.append(Line(f"      predicted only (no key of theirs here): {', '.join(record['predicted'])}", "yellow"))
    return lines + _stranded_lines(record["stranded"])


def _proven(record: Mapping[str, Any]) -> str:
    proven = [proof for proof in record["proven"] if proof.get("proven")]
    if not proven:
        return ""
    names = ", ".join(proof["operator"] for proof in proven)
    return f"; proven by a fresh key login as root: {names}; offers {', '.join(proven[0]['offered'])}"


def _stranded_lines(stranded: Sequence[Mapping[str, Any]]) -> list[Line]:
    real = [
        f"{one['account']} ({one['method']} from {one['from']}, {one['last']})"
        for one in stranded
        if one["use"] == "real"
    ]
    possible = [one["account"] for one in stranded if one["use"] != "real"]
    lines = [Line(f"      stranded, logged in lately: {'; '.join(real)}", "yellow")] if real else []
    return lines + ([Line(f"      without a key, never seen: {', '.join(possible)}")] if possible else [])


def _break_glass_lines(records: Sequence[Mapping[str, Any]], named: int | None) -> list[Line]:
    concerned = [record for record in records if record["status"] in ("changed", "would change")]
    if named is None or not concerned:
        return []
    if not named:
        text = "  No break-glass key is named: when the keys above are lost, only a console is left"
        return [Line(f"{text} (harden_break_glass_keys).", "yellow")]
    without = [record["host"] for record in concerned if not record["break_glass"]]
    return [Line(f"  No break-glass key opens an account of {', '.join(without)}.", "yellow")] if without else []


def _inventory_lines(records: Sequence[Mapping[str, Any]]) -> list[Line]:
    hosts: dict[tuple[str, ...], list[str]] = {}
    for record in records:
        if record["inventory"]:
            hosts.setdefault(tuple(record["inventory"]), []).append(record["host"])
    lines = []
    for wanted, names in hosts.items():
        lines.append(Line(f"  Change in the inventory of {', '.join(names)}:"))
        lines += [Line(f"      {text}") for text in wanted]
    return lines


__all__ = ["Line", "build", "summary"]
