# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All facets together: one desired state, one look at the host, one list of changes. PRIVATE to the collection."""

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._access import model
from .._access import stranded as access
from .._errors import LatchkeyError, Refused
from .._host import files
from .._host.host import Host
from .._openssh.sshd_tree import Tree
from . import keys, methods, operators, people, preflight, reverting, server
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
    break-glass keys open; ``findings`` are what might end a login, and is only told.
    """

    changes: List[Change]
    conflicts: List[str]
    stranded: List[Dict[str, Any]]
    refused: List[LatchkeyError]
    sshd_version: str
    methods: Sequence[str] = ()
    break_glass: Sequence[str] = ()
    findings: Sequence[Dict[str, str]] = ()


def plan(
    desired: Mapping[str, Mapping[str, Any]],
    policy: Policy,
    names: Sequence[str],
    host: Host,
    *,
    way: Optional[Way] = None,
    client: Optional[Mapping[str, Any]] = None,
) -> Everything:
    """Plan every facet that ``desired`` names; what is refused is collected, so that one look shows everything.

    ``names`` are the operators, ``way`` is how Ansible gets in: both are judged in the state that is planned, closely
    where something is taken away. ``client`` is what the controller says of its ssh client.

    Raises:
        HostError: there is no sshd that could be planned for.
    """
    version = host.sshd.version
    looked = _all_facets(desired, host)
    changes, closes = looked.planned.changes, [change for change in looked.planned.changes if change.phase == NARROW]
    closely = looked.server_refused or bool(closes)
    verdict, offered = _judge(names, preflight.client_of(way, client), looked.planned, host, closely=closely)
    refused = looked.refused + verdict.refused
    found: List[Dict[str, Any]] = []
    if looked.server_refused or any(change.facet == "server" for change in closes):
        found, stranding = _stranded(desired, policy, host)
        refused += stranding
    return Everything(
        list(changes),
        looked.conflicts,
        found,
        _once(refused),
        f"{version.major}.{version.minor}",
        offered if offered is not None else (desired.get("server") or {}).get("methods") or (),
        people.opened_by(desired.get("keys") or {}, host) if found or closely or changes else [],
        [preflight.report(finding) for finding in verdict.told],
    )


class _Looked(NamedTuple):
    planned: Planned
    conflicts: List[str]
    refused: List[LatchkeyError]
    server_refused: bool


def _all_facets(desired: Mapping[str, Mapping[str, Any]], host: Host) -> _Looked:
    changes: List[Change] = []
    conflicts: List[str] = []
    refused: List[LatchkeyError] = []
    tree, server_refused = None, False
    for name, facet in FACETS:
        if desired.get(name):
            try:
                outcome = facet.outcome(desired[name], host)
                changes += outcome.changes
                conflicts += outcome.conflicts
                tree = outcome.tree or tree
            except LatchkeyError as error:
                refused.append(error)
                server_refused = server_refused or name == "server"
    return _Looked(Planned(changes, tree, not refused), conflicts, refused, server_refused)


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


def _judge(
    names: Sequence[str], client: model.Client, planned: Planned, host: Host, *, closely: bool
) -> Tuple[preflight.Verdict, Optional[Sequence[str]]]:
    """Return what is found against the operators, and the methods that the planned sshd offers who connects."""
    asked = preflight.people(names, client) + ([one.user for one in client.behind] if closely else [])
    try:
        said = operators.answers(list(dict.fromkeys(asked)), planned, host)
    except LatchkeyError as error:
        return preflight.Verdict([error], []), None
    verdict = preflight.judge(names, client, preflight.State(planned, said, host), closely=closely)
    return verdict, methods.offered(said.of.get(client.user, said.general))


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
