# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All facets together: one desired state, one look at the host, one list of changes. PRIVATE to the collection."""

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._access import stranded as access
from .._errors import LatchkeyError, Refused
from .._host import files
from .._host.host import Host
from .._openssh.sshd_tree import Tree
from . import keys, methods, operators, people, reverting, server
from .change import NARROW, Change
from .operators import Planned, Way

FACETS = (("keys", keys), ("server", server), ("revert", reverting))
_KEYTAB = "/etc/krb5.keytab"


class Policy(NamedTuple):
    """What to do about stranded accounts: refuse or report, whom to accept, how many days count as lately."""

    action: str
    accepted: Tuple[str, ...]
    days: int


class Everything(NamedTuple):
    """What a run would do on this host: changes in order, foreign lines that win, who is stranded, what is refused.

    ``methods`` are those that the planned sshd offers the connecting account; ``break_glass`` are the accounts that
    break-glass keys open.
    """

    changes: List[Change]
    conflicts: List[str]
    stranded: List[Dict[str, Any]]
    refused: List[LatchkeyError]
    sshd_version: str
    methods: Sequence[str] = ()
    break_glass: Sequence[str] = ()


def plan(
    desired: Mapping[str, Mapping[str, Any]],
    policy: Policy,
    names: Sequence[str],
    host: Host,
    *,
    way: Optional[Way] = None,
) -> Everything:
    """Plan every facet that ``desired`` names; what is refused is collected, so that one look shows everything.

    ``names`` are the operators, ``way`` is how Ansible gets in: both are judged in the state that is planned.

    Raises:
        HostError: there is no sshd that could be planned for.
    """
    version = host.sshd.version
    changes: List[Change] = []
    conflicts: List[str] = []
    refused: List[LatchkeyError] = []
    planned, narrows = Planned((), None), False
    for name, facet in FACETS:
        if desired.get(name):
            try:
                outcome = facet.outcome(desired[name], host)
                changes += outcome.changes
                conflicts += outcome.conflicts
                planned = Planned(changes, outcome.tree or planned.tree)
            except LatchkeyError as error:
                refused.append(error)
                narrows = narrows or name == "server"
    planned = planned._replace(complete=not refused)
    refused += operators.problems(names, way, planned, host)
    found: List[Dict[str, Any]] = []
    if narrows or any(change.facet == "server" and change.phase == NARROW for change in changes):
        found, stranding = _stranded(desired, policy, host)
        refused += stranding
    refused = _once(refused)
    offered = _offered(desired, way, planned, host)
    emergency = people.opened_by(desired.get("keys") or {}, host) if found or narrows or changes else []
    return Everything(changes, conflicts, found, refused, f"{version.major}.{version.minor}", offered, emergency)


def _once(refused: Sequence[LatchkeyError]) -> List[LatchkeyError]:
    """What is wrong with a home or with sshd is met by each who looks."""
    return list({str(error): error for error in refused}.values())


def outcome(desired: Mapping[str, Mapping[str, Any]], host: Host) -> Tuple[List[Change], Optional[Tree]]:
    """Return the changes of every facet that ``desired`` names, and sshd's configuration as they leave it."""
    changes: List[Change] = []
    tree: Optional[Tree] = None
    for name, facet in FACETS:
        if desired.get(name):
            found = facet.outcome(desired[name], host)
            changes += found.changes
            tree = found.tree or tree
    return changes, tree


def _offered(
    desired: Mapping[str, Mapping[str, Any]], way: Optional[Way], planned: Planned, host: Host
) -> Sequence[str]:
    try:
        said = operators.answers([way.user], planned, host) if way else {}
        return methods.offered(said[way.user] if way and said else host.present.ask(None))
    except LatchkeyError:
        # What is wrong with sshd is among the refusals already.
        return (desired.get("server") or {}).get("methods") or ()


def effective_user() -> int:
    """Return the user id this code runs as; 0 is what a proof needs."""
    return os.geteuid()


def _stranded(
    desired: Mapping[str, Mapping[str, Any]], policy: Policy, host: Host
) -> Tuple[List[Dict[str, Any]], List[LatchkeyError]]:
    try:
        return _check_stranded(desired, policy, host)
    except LatchkeyError as error:
        return [], [error]


def _check_stranded(
    desired: Mapping[str, Mapping[str, Any]], policy: Policy, host: Host
) -> Tuple[List[Dict[str, Any]], List[LatchkeyError]]:
    kept = tuple((desired.get("server") or {}).get("methods") or ())
    if not kept:
        return [], []
    found = access.stranded(people.look(desired, policy.days, host), kept)
    reports = [access.report(one) for one in found]
    refused: List[LatchkeyError] = []
    real = [report for report in reports if report["use"] == "real" and report["account"] not in policy.accepted]
    if policy.action == "refuse" and real:
        listed = ", ".join(f"{one['account']} ({one['method']} from {one['from']}, {one['last']})" for one in real)
        refused.append(
            Refused(
                f"these accounts logged in lately by a method that goes away, and have no key: {listed}",
                "give them keys (harden_accounts), or accept it: harden_stranded_ok: [name] or harden_stranded: report",
                "stranded",
            )
        )
    if policy.action == "refuse" and "gssapi-with-mic" not in kept and _tickets_possible(host):
        refused.append(
            Refused(
                f"this host takes Kerberos tickets (GSSAPIAuthentication yes, {_KEYTAB} is there)",
                "keep them: harden_methods: [publickey, gssapi-with-mic], or accept it: harden_stranded: report",
                "stranded",
            )
        )
    return reports, refused


def _tickets_possible(host: Host) -> bool:
    answer = host.present.ask(None)
    return answer.get("gssapiauthentication", ("no",))[0] == "yes" and files.look(_KEYTAB).kind == "file"


__all__ = ["Everything", "FACETS", "Policy", "Way", "effective_user", "outcome", "plan"]
