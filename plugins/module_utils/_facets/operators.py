# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators in the planned state: each still gets in, and the identity's key opens its account. PRIVATE."""

import time
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._access import operators as rules
from .._errors import LatchkeyError, Malformed, Refused
from .._host import accounts, key_command
from .._host.host import Host
from .._host.sshd import Answer
from .._openssh import authorized_keys
from .._openssh import keys as public_keys
from .._openssh.sshd_tree import Tree
from . import keyrings
from .change import Change


class Way(NamedTuple):
    """The way Ansible gets in: the account, and the public key (text) that has to open it."""

    user: str
    key: str


class Planned(NamedTuple):
    """What the host would be: what changes, and the configuration of sshd (None where that stays).

    ``complete`` is False where a facet was refused: then it is not known which keys there would be.
    """

    changes: Sequence[Change]
    tree: Optional[Tree]
    complete: bool = True


class _Case(NamedTuple):
    account: accounts.Account
    before: Answer
    after: Answer
    ring: keyrings.Keyring


def answers(names: Sequence[str], planned: Planned, host: Host) -> Dict[str, Answer]:
    """Return what the planned sshd says for each of these accounts, where they exist."""
    found = {name: account for name, account in ((name, accounts.find(name)) for name in names) if account}
    if planned.tree is None:
        return {name: host.effective(account) for name, account in found.items()}
    asked = [host.connection(account)._replace(groups=accounts.groups_of(account)) for account in found.values()]
    problem, said = host.judge(planned.tree, asked)
    if problem:
        raise Malformed(f"sshd would not accept the new configuration: {problem}", "nothing was changed")
    return dict(zip(found, said))


def problems(names: Sequence[str], way: Optional[Way], planned: Planned, host: Host) -> List[LatchkeyError]:
    """Say whom of the operators, and of the way Ansible gets in, the planned state keeps out."""
    everyone = list(dict.fromkeys(list(names) + ([way.user] if way else [])))
    try:
        said = answers(everyone, planned, host)
    except LatchkeyError as error:
        return [error]
    found = [_one(name, way if way and way.user == name else None, (planned, said), host) for name in everyone]
    return [problem for problem in found if problem]


def _one(
    name: str, way: Optional[Way], state: Tuple[Planned, Mapping[str, Answer]], host: Host
) -> Optional[LatchkeyError]:
    account = accounts.find(name)
    planned, said = state
    if account is None or name not in said:
        return Refused(f"the operator `{name}` does not exist on this host", "correct its name", name)
    if not accounts.can_have_a_shell(account):
        return Refused(f"the shell {account.shell} of {name} starts no session", "give the operator a shell", name)
    try:
        mine = [change for change in planned.changes if change.facet == "keys"]
        before = host.effective(account)
        ring = keyrings.look(host, account)
        case = _Case(account, before, said[name], keyrings.after(ring, mine))
        found = _configuration(case, host)
        if found or not planned.complete:
            return found
        return _key(case, ring, way, host) if way else _any_key(case, host)
    except LatchkeyError as error:
        return error


def _configuration(case: _Case, host: Host) -> Optional[Refused]:
    account = case.account
    name, client = host.client_name(case.after), host.client
    who = rules.Operator(account.name, account.uid, accounts.groups_of(account), name, client)
    found = rules.problem(case.after, who)
    if found:
        return found
    for keyword in ("AuthorizedKeysFile", "ForceCommand", "ChrootDirectory"):
        was, will = (answer.get(keyword.lower(), ("none",)) for answer in (case.before, case.after))
        if was != will and will != ("none",):
            return Refused(
                f"the plan changes {keyword} of the operator {account.name} to {' '.join(will)}",
                "no login could be proven before that: leave it out, or exempt this operator by a Match block",
                account.name,
            )
    return None


def _any_key(case: _Case, host: Host) -> Optional[Refused]:
    version = host.sshd.version
    if keyrings.accepted(case.ring, version) or _from_elsewhere(case.after, "trustedusercakeys"):
        return None
    if key_command.keys(key_command.output(case.after, case.account), version):
        return None
    return Refused(
        f"the operator {case.account.name} would have no key",
        "give it one (harden_accounts), or take it out of harden_operators",
        case.account.name,
    )


def _key(case: _Case, today: keyrings.Keyring, way: Way, host: Host) -> Optional[Refused]:
    key = public_keys.parse_public_key(way.key, "identity_key")
    version, name = host.sshd.version, case.account.name
    documents = keyrings.readable(case.ring, version)
    why = rules.key_type_problem(case.after, key.type)
    if why is None and not key.is_certificate:
        why = public_keys.usable(key, version, case.ring.minimum_rsa_bits)
    if why is None:
        request = authorized_keys.LoginRequest(
            version, name, host.client, host.client_name(case.after), int(time.time()), False, _ahead_of_utc()
        )
        why = _refusal(documents, keyrings.readable(today, version), key, request)
    elsewhere = _from_elsewhere(case.after, "authorizedkeyscommand") or _from_elsewhere(case.after, "trustedusercakeys")
    if why is None or (elsewhere and not any(document.of_key(key) for document in documents)):
        return None
    return Refused(
        f"after this plan the key {key.fingerprint} would not open {name}: {why}",
        "Ansible would log in with it: use another key (harden_key), or let this one stay as it is",
        name,
    )


def _refusal(
    documents: Sequence[authorized_keys.AuthorizedKeys],
    today: Sequence[authorized_keys.AuthorizedKeys],
    key: public_keys.PublicKey,
    request: authorized_keys.LoginRequest,
) -> Optional[str]:
    """Return why no file lets the key in, or None; a command that is forced already may be what logins need."""
    said = [authorized_keys.authorises(document, key, request) for document in documents]
    passed = next((verdict for verdict in said if verdict.ok), None)
    if passed is None:
        return "; ".join(reason for verdict in said for reason in verdict.why) or "no key file has it"
    forced = "command" in passed.options.split()
    if forced and passed.options not in [authorized_keys.authorises(one, key, request).options for one in today]:
        return f"line {passed.line}: its options force a command, so nothing else can be run"
    return None


def _from_elsewhere(answer: Answer, keyword: str) -> bool:
    return answer.get(keyword, ("none",))[0].lower() not in ("none", "")


def _ahead_of_utc() -> int:
    return time.localtime().tm_gmtoff


__all__ = ["Planned", "Way", "answers", "problems"]
