# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a host: who logged in lately, who could by password, who has a key. PRIVATE to the collection."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._access import stranded as access
from .._errors import HostError, LatchkeyError, Refused
from .._host import accounts, key_command, logins
from .._host.host import Host
from .._openssh.keys import PublicKey, same_key
from . import keyrings, keys


def look(desired: Mapping[str, Mapping[str, Any]], days: int, host: Host) -> List[access.Person]:
    """Return the accounts that logged in during the last ``days`` days or could by password, as the rule needs them."""
    seen = logins.recent(days)
    known = {account.name: account for account in host.everyone()}
    wishes = _wishes(desired.get("keys"))
    uses = _uses(seen, known)
    asked = [(account, _password_login(account, host)) for account in accounts.with_passwords(known.values())]
    # Real use first: the time for asking is limited.
    asked = sorted((one for one in asked if one[1] or one[0].name in uses), key=lambda one: one[0].name not in uses)
    command = key_command.Asker()
    found = []
    for account, can in asked:
        gone = [key for wish in wishes.absent if wish.user == account.name for key in wish.keys]
        has_key = account.name in wishes.named or _has_key(account, gone, (host, command))
        found.append(access.Person(account.name, can, has_key, tuple(uses.get(account.name, ()))))
    return found


class _Wishes(NamedTuple):
    named: Sequence[str]
    absent: Sequence[keys.Wish]


def _wishes(params: Optional[Mapping[str, Any]]) -> _Wishes:
    given = [item for item in list((params or {}).get("accounts") or []) + [params or {}] if item.get("user")]
    named = [item["user"] for item in given if item.get("state") != "absent"]
    try:
        wishes = keys.Desired.from_params(params).wishes if params else ()
    except LatchkeyError:
        # Refused already, by its own name; whom it would have given a key is known all the same.
        wishes = ()
    return _Wishes(named, [wish for wish in wishes if not wish.present])


def _uses(seen: Sequence[logins.Login], known: Dict[str, accounts.Account]) -> Dict[str, List[access.Use]]:
    """Return the last uses by account; who is not ``known`` yet is added to it.

    A directory takes other spellings of a name (BOB, bob@example.com), and sshd logs what was typed.
    """
    found: Dict[str, List[access.Use]] = {}
    canonical: Dict[str, str] = {}
    for login in logins.latest(seen).values():
        if login.user not in known and login.user not in canonical:
            account = accounts.find(login.user)
            canonical[login.user] = account.name if account else ""
            if account:
                known.setdefault(account.name, account)
        name = canonical.get(login.user, login.user)
        if name:
            found.setdefault(name, []).append(access.Use(login.method, login.address, login.when))
    return found


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


def _has_key(account: accounts.Account, withdrawn: List[PublicKey], at: Tuple[Host, key_command.Asker]) -> bool:
    host, command = at
    version = host.sshd.version
    try:
        accepted = keyrings.accepted(keyrings.look(host, account), version)
    except (Refused, HostError):
        # A home that is made at the first login, for example: the command gives keys all the same.
        accepted = []
    if any(not any(same_key(key, one) for one in withdrawn) for key in accepted):
        return True
    return bool(key_command.keys(command.output(host.effective(account), account), version))


def opened_by(params: Mapping[str, Any], host: Host) -> List[str]:
    """Return the accounts that one of the break-glass keys opens today; none where no such key is named."""
    try:
        wanted = keys.break_glass(params)
    except LatchkeyError:
        return []
    found = []
    for account in host.everyone() if wanted else []:
        try:
            accepted = keyrings.accepted(keyrings.look(host, account), host.sshd.version)
        except (Refused, HostError):
            continue
        if any(key.fingerprint in wanted for key in accepted):
            found.append(account.name)
    return found


__all__ = ["look", "opened_by"]
