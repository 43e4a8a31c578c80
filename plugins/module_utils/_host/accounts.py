# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts as NSS knows them: local files, SSSD, LDAP, extrausers. PRIVATE to the collection."""

import grp
import os
import pwd
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

from . import programs

_REFUSING_SHELLS = ("nologin", "false", "sync", "shutdown", "halt")


class Account(NamedTuple):
    """One login. ``password`` is usable, locked, none, empty, or unknown (no shadow entry: a directory decides)."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    password: str = "unknown"


def find(name: str) -> Optional[Account]:
    """Return the account that NSS gives for ``name``, or None."""
    try:
        return _account(pwd.getpwnam(name))
    except KeyError:
        return None


def everyone() -> List[Account]:
    """Return every account that NSS enumerates (directories often do not: look names up as well)."""
    seen: Dict[str, Account] = {}
    for entry in pwd.getpwall():
        seen.setdefault(entry.pw_name, _account(entry))
    return list(seen.values())


def with_passwords(accounts: Iterable[Account]) -> List[Account]:
    """Return the accounts with what their shadow entry says (shadow(5), through NSS)."""
    listed = list(accounts)
    if not listed:
        return []
    answer = programs.run(["getent", "shadow"] + [account.name for account in listed])
    hashes = dict(line.split(":", 2)[:2] for line in answer.out.splitlines() if line.count(":") >= 2)
    return [account._replace(password=password_state(hashes.get(account.name))) for account in listed]


def password_state(field: Optional[str]) -> str:
    """Classify the second field of a shadow entry (shadow(5), crypt(5)); None means there is no entry."""
    if field is None:
        return "unknown"
    if field == "":
        return "empty"
    if field.startswith("!"):
        return "locked"
    return "usable" if field.startswith(("$", "_")) or len(field) == 13 else "none"


def groups_of(account: Account) -> Tuple[str, ...]:
    """Return the names of the account's groups, primary group first, as sshd's Match Group sees them."""
    names = []
    for number in os.getgrouplist(account.name, account.gid):
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return tuple(names)


def can_have_a_shell(account: Account) -> bool:
    """Say whether sshd would start a session: the shell exists, may be executed, and is not one that only refuses."""
    return not shell_problem(account)


def shell_problem(account: Account) -> str:
    """Say why sshd would start no session with the account's shell, or '' (allowed_user, auth.c)."""
    shell = account.shell or "/bin/sh"
    if os.path.basename(shell) in _REFUSING_SHELLS:
        return "it only refuses"
    if not os.path.exists(shell):
        return "it is missing"
    return "" if os.access(shell, os.X_OK) else "it may not be executed"


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)


__all__ = ["Account", "can_have_a_shell", "everyone", "find", "groups_of", "password_state", "shell_problem"]
__all__ += ["with_passwords"]
