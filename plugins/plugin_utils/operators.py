# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators beside the one Ansible connects as: each proven by a login of its own, or only predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.latchkey.ssh.plugins.plugin_utils import connections, proofs
from ansible_collections.latchkey.ssh.plugins.plugin_utils.identity import Identity


class Proven(NamedTuple):
    """What became of the further operators; ``predicted`` are those whose key the controller does not hold."""

    proven: list[proofs.Proof]
    failed: list[proofs.Proof]
    predicted: list[str]


def provable(caller: proofs.Caller, names: Sequence[str], desired: Mapping[str, Any]) -> list[str]:
    """Return the further operators whose planned keys contain the identity's."""
    others = [name for name in names if name != connections.user_of(caller.action)]
    return [name for name in others if _holds_key(caller.who, name, desired)]


def prove(
    caller: proofs.Caller,
    names: Sequence[str],
    desired: Mapping[str, Any],
    *,
    confirm: Mapping[str, Any] | None = None,
) -> Proven:
    """Log in once as every further operator whose planned keys contain the identity's; stop at the first that fails.

    Failed logins add up to a ban of this address (PerSourcePenalties). With ``confirm`` each login confirms that
    transaction as far as it lies with its operator.
    """
    connected_as = connections.user_of(caller.action)
    done = Proven([], [], [])
    for name in names:
        if name == connected_as:
            continue
        if not _holds_key(caller.who, name, desired):
            done.predicted.append(name)
            continue
        proof = proofs.by_command(caller, name, confirm)
        (done.proven if proof.problem is None else done.failed).append(proof)
        if done.failed:
            break
    return done


def _holds_key(who: Identity, name: str, desired: Mapping[str, Any]) -> bool:
    wanted = " ".join(who.public_key.split()[:2])
    accounts = (desired.get("keys") or {}).get("accounts") or []
    theirs = [one for one in accounts if one["user"] == name and one.get("state") != "absent"]
    return any(wanted in text for account in theirs for text in _texts(account["key"]))


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


__all__ = ["Proven", "provable", "prove"]
