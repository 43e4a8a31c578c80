# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a host: who logged in lately, who could by password, who has a key. PRIVATE to the collection."""

from typing import Any, List, Mapping

from .._access import stranded as access
from .._errors import HostError, Refused
from .._host import accounts, key_command, logins
from .._host.host import Host
from .._openssh import authorized_keys
from .._openssh.keys import PublicKey, same_key
from . import keys


def look(desired: Mapping[str, Mapping[str, Any]], days: int, host: Host) -> List[access.Person]:
    """Return the accounts that logged in during the last ``days`` days or could by password, as the rule needs them."""
    seen = logins.recent(days)
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


__all__ = ["look"]
