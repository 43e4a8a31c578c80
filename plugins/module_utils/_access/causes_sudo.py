# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Causes between a login and root: no rule, or a password that nobody can give any more. Pure. PRIVATE."""

from typing import Iterator, Optional

from .model import REFUSE, Account, Client, Finding, Server, Shadow, too_old

_UNUSABLE = {"locked": "is locked", "none": "is none that could be typed"}


def sudo_rule(_server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """No rule of sudo lets the account become root."""
    if account.uid != 0 and account.sudo and not account.sudo.allowed:
        yield Finding(
            REFUSE,
            f"no rule of sudo lets {account.name} become root",
            f"give it one in /etc/sudoers.d, or take {account.name} out of harden_operators",
            account.name,
        )


def sudo_password(server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """Sudo asks for a password, and the account that it is of has none that can be given, or one that is too old.

    The account's own age ends the login already.
    """
    sudo = account.sudo
    if account.uid == 0 or sudo is None or not sudo.allowed or not sudo.whose:
        return
    why = _unusable(server, sudo.shadow, own=sudo.whose == account.name)
    if why:
        yield Finding(
            REFUSE,
            f"sudo asks {account.name} for the password of {sudo.whose}, which {why}",
            f"give it one (`passwd {sudo.whose}`), or let sudo ask for none (NOPASSWD)",
            account.name,
        )


def faillock(server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """Faillock takes no password of the account for sudo. A key login is none of its business.

    Source: check_tally of pam_faillock (1.3 to 1.6): locked from ``deny`` failures on until ``unlock_time`` is over.
    """
    failures, sudo = account.failures, account.sudo
    if failures is None or account.uid == 0 or sudo is None or sudo.whose != account.name:
        return
    over = failures.unlock_after > 0 and server.now > failures.latest + failures.unlock_after
    if failures.counted >= failures.deny > 0 and not over:
        yield Finding(
            REFUSE,
            f"faillock takes no password of {account.name} after {failures.counted} failures, and sudo asks for one",
            f"run `faillock --user {account.name} --reset`, or wait",
            account.name,
        )


def _unusable(server: Server, entry: Optional[Shadow], *, own: bool) -> str:
    if entry is None:
        return ""
    return _UNUSABLE.get(entry.password, "") or ("is too old" if not own and too_old(entry, server.now) else "")


__all__ = ["faillock", "sudo_password", "sudo_rule"]
