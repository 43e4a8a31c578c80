# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All facets together: one desired state, one look at the host, one list of changes. PRIVATE to the collection."""

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._access import stranded as access
from .._errors import HostError, LatchkeyError, Refused
from .._host import accounts, files, key_command, logins
from .._host.host import Host
from .._openssh import authorized_keys
from .._openssh.keys import PublicKey, same_key
from . import keys, server
from .change import NARROW, Change

FACETS = (("keys", keys), ("server", server))
_KEYTAB = "/etc/krb5.keytab"


class Policy(NamedTuple):
    """What to do about stranded accounts: refuse or report, whom to accept, how many days count as lately."""

    action: str
    accepted: Tuple[str, ...]
    days: int


class Everything(NamedTuple):
    """What a run would do on this host: changes in order, foreign lines that win, who is stranded, what is refused."""

    changes: List[Change]
    conflicts: List[str]
    stranded: List[Dict[str, Any]]
    refused: List[LatchkeyError]
    sshd_version: str


def plan(desired: Mapping[str, Mapping[str, Any]], policy: Policy, operators: Sequence[str], host: Host) -> Everything:
    """Plan every facet that ``desired`` names; what is refused is collected, so that one look shows everything.

    Raises:
        HostError: there is no sshd that could be planned for.
    """
    version = host.sshd.version
    changes: List[Change] = []
    conflicts: List[str] = []
    refused: List[LatchkeyError] = []
    for name, facet in FACETS:
        if desired.get(name):
            try:
                outcome = facet.outcome(desired[name], host)
                changes += outcome.changes
                conflicts += outcome.conflicts
            except LatchkeyError as error:
                refused.append(error)
    refused += [problem for problem in (operator_problem(name, host) for name in operators) if problem]
    found: List[Dict[str, Any]] = []
    if not refused and any(change.facet == "server" and change.phase == NARROW for change in changes):
        found, refused = _check_stranded(desired, policy, host)
    return Everything(changes, conflicts, found, refused, f"{version.major}.{version.minor}")


def operator_problem(name: str, host: Host) -> Optional[LatchkeyError]:
    """Say why an operator could not be let in whatever keys it has, or None."""
    account = accounts.find(name)
    if account is None:
        return Refused(f"the operator `{name}` does not exist on this host", "correct its name", name)
    try:
        return _operator_problem(account, host)
    except LatchkeyError as error:
        return error


def _operator_problem(account: accounts.Account, host: Host) -> Optional[LatchkeyError]:
    name = account.name
    methods = host.effective(account).get("authenticationmethods", ("any",))[0]
    # One line of alternatives (sshd_config(5)): any one of them is enough.
    if not set(methods.split()) & {"any", "publickey"}:
        return Refused(
            f"AuthenticationMethods {methods} asks {name} for more than a key",
            "exempt this operator by a Match block",
            name,
        )
    if not accounts.can_have_a_shell(account):
        return Refused(f"the shell {account.shell} of {name} starts no session", "give the operator a shell", name)
    return None


def effective_user() -> int:
    """Return the user id this code runs as; 0 is what a proof needs."""
    return os.geteuid()


def _check_stranded(
    desired: Mapping[str, Mapping[str, Any]], policy: Policy, host: Host
) -> Tuple[List[Dict[str, Any]], List[LatchkeyError]]:
    kept = tuple(desired["server"].get("methods") or ())
    if not kept:
        return [], []
    found = access.stranded(_people(desired, policy, host), kept)
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


def _people(desired: Mapping[str, Mapping[str, Any]], policy: Policy, host: Host) -> List[access.Person]:
    seen = logins.recent(policy.days)
    known = {account.name: account for account in host.everyone()}
    for name in {login.user for login in seen} - set(known):
        account = accounts.find(name)
        if account is not None:
            known[name] = account
    wishes = keys.Desired.from_params(desired["keys"]).wishes if desired.get("keys") else ()
    planned = {wish.user for wish in wishes if wish.present}
    last = logins.latest(seen)
    people = []
    for account in accounts.with_passwords(known.values()):
        uses = tuple(
            access.Use(login.method, login.address, login.when)
            for (name, unused), login in last.items()
            if name == account.name
        )
        can = _password_login(account, host)
        if can or uses:
            gone = [key for wish in wishes if wish.user == account.name and not wish.present for key in wish.keys]
            has_key = account.name in planned or _has_key(account, gone, host)
            people.append(access.Person(account.name, can, has_key, uses))
    return people


def _password_login(account: accounts.Account, host: Host) -> bool:
    answer = host.effective(account)
    # Up to 8.6 keyboard-interactive has nobody to ask where ChallengeResponseAuthentication is off.
    interactive = "challengeresponseauthentication" if host.sshd.version < (8, 7) else "kbdinteractiveauthentication"
    offered = any(answer.get(name, ("no",))[0] == "yes" for name in ("passwordauthentication", interactive))
    if account.uid == 0 and answer.get("permitrootlogin", ("no",))[0] != "yes":
        return False
    if account.password == "empty":
        return offered and answer.get("permitemptypasswords", ("no",))[0] == "yes"
    return offered and account.password in ("usable", "unknown") and accounts.can_have_a_shell(account)


def _has_key(account: accounts.Account, withdrawn: List[PublicKey], host: Host) -> bool:
    try:
        ring = keys.keyring(host, account)
    except (Refused, HostError):
        return False
    left = [key for key in keys.accepted(ring, host.sshd.version) if not any(same_key(key, one) for one in withdrawn)]
    if left:
        return True
    listed = key_command.output(host.effective(account), account)
    document = authorized_keys.AuthorizedKeys.parse(listed, host.sshd.version)
    return any(entry.key is not None and document.grants(entry.key) for entry in document.entries)


def apply(changes: Sequence[Change], phase: str, host: Host) -> None:
    """Make the changes of one phase, facet by facet."""
    for name, facet in FACETS:
        facet.apply([change for change in changes if change.facet == name], phase, host)


__all__ = ["Everything", "FACETS", "Policy", "apply", "effective_user", "operator_problem", "plan"]
