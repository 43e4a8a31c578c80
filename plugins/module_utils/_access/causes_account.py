# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Causes in an account and in what sshd says about it: lists, methods, locks, ages, shells. Pure. PRIVATE."""

from typing import Iterator, List, Sequence, Tuple

from .._openssh.source_list import match_pattern, match_source, parse_network
from . import pam_access
from .model import DAY, REFUSE, WARN, Account, Client, Finding, Server, first, too_old

# Days ahead in which an end is worth a word.
_SOON = 14


def listed(server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """AllowUsers and its like leave the account out. Source: allowed_user, auth.c of OpenSSH 8.0 to 9.9."""
    keyword = _list_that_refuses(server, account)
    if keyword:
        yield Finding(
            REFUSE,
            f"{keyword} keeps {account.name} out (from {server.client})",
            "let that setting take this operator in, or exempt it by a Match block",
            account.name,
        )


def root(server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """Root itself is the way in, and may not log in. Source: auth_root_allowed, auth.c."""
    value = first(account.after, "permitrootlogin", "prohibit-password")
    if account.uid == 0 and value in ("no", "forced-commands-only"):
        yield Finding(
            REFUSE,
            f"PermitRootLogin {value} keeps {account.name} out (from {server.client})",
            "connect as an account that may use sudo, or exempt root by a Match block",
            account.name,
        )


def methods(_server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """A key is not enough, or not taken at all."""
    if first(account.after, "pubkeyauthentication", "yes") != "yes":
        reason = f"PubkeyAuthentication no takes no key of {account.name}"
        yield Finding(REFUSE, reason, "set it to yes for this operator", account.name)
    asked = first(account.after, "authenticationmethods", "any")
    # One line of alternatives (sshd_config(5)): any one of them is enough.
    if not set(asked.split()) & {"any", "publickey"}:
        reason = f"AuthenticationMethods {asked} asks {account.name} for more than a key"
        yield Finding(REFUSE, reason, "exempt this operator by a Match block", account.name)


def moved(_server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """What a login finds would be another thing than today, so no login before that proves anything about it."""
    for keyword in ("AuthorizedKeysFile", "ForceCommand", "ChrootDirectory"):
        was, will = (answer.get(keyword.lower(), ("none",)) for answer in (account.before, account.after))
        if was != will and will != ("none",):
            yield Finding(
                REFUSE,
                f"the plan changes {keyword} of the operator {account.name} to {' '.join(will)}",
                "no login could be proven before that: leave it out, or exempt this operator by a Match block",
                account.name,
            )


def locked(server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """A locked password locks keys out, too, where PAM is not asked. Source: allowed_user, auth.c."""
    if account.shadow and account.shadow.password == "locked" and not _pam(server):
        yield Finding(
            REFUSE,
            f"the password of {account.name} is locked, and with UsePAM no that keeps its keys out as well",
            f"set UsePAM yes, or run `usermod -p '*' {account.name}`: no password then, and no lock",
            account.name,
        )


def expired(server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """The account has ended, or its password has: then sshd ends key logins as well.

    Source: check_shadow_expiry of pam_unix, auth_shadow_acctexpired of sshd.
    """
    entry, today = account.shadow, server.now // DAY
    if entry is None:
        return
    if 0 <= entry.expires <= today and not account.came_in:
        reason = f"the account {account.name} has expired, and keys do not open it any more"
        yield Finding(REFUSE, reason, f"run `chage -E -1 {account.name}`", account.name)
    elif today < entry.expires <= today + _SOON:
        reason = f"the account {account.name} expires in {entry.expires - today} days"
        yield Finding(WARN, reason, f"run `chage -E -1 {account.name}` if it is to stay", account.name)
    if _ages(server):
        yield from _aged(account, server.now)


def nologin(server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """A file keeps everybody out but root. Source: pam_nologin(8), do_nologin of sshd."""
    stack = server.account_stack
    asked = server.nologin == "/etc/nologin" if not _pam(server) else stack is None or _uses(stack, "pam_nologin.so")
    if server.nologin and account.uid != 0 and asked and not account.came_in:
        yield Finding(
            REFUSE,
            f"{server.nologin} is there and keeps {account.name} out, as everybody but root",
            f"wait until the host has booted, or remove {server.nologin}",
            account.name,
        )


def access(server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """pam_access refuses the account from where the client is."""
    if account.came_in or not _pam(server) or not _uses(server.account_stack or (), "pam_access.so"):
        return
    line = pam_access.refusing_line(server.access_rules, account.name, account.groups, account.client_name)
    if line:
        yield Finding(
            REFUSE,
            f"pam_access keeps {account.name} out (from {account.client_name}): `{line}`",
            f"put `+:{account.name}:{account.client_name}` above that line in /etc/security/access.conf",
            account.name,
        )


def shell(_server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """The shell is missing, may not be run, or only refuses. Source: allowed_user, auth.c."""
    if account.shell_problem:
        yield Finding(
            REFUSE,
            f"the shell {account.shell} of {account.name} starts no session: {account.shell_problem}",
            f"give the operator a shell: `usermod -s /bin/bash {account.name}`",
            account.name,
        )


def names(_server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """Who gets in hangs on what a resolver says at that moment."""
    if first(account.after, "usedns", "no") != "yes":
        return
    patterns = [one.rpartition("@")[2] for one in account.after.get("allowusers", ()) if "@" in one]
    for entry in [entry for file in account.key_files or () for entry in file.document.entries]:
        patterns += (entry.options.source or "").split(",") if entry.options else []
    found = sorted({pattern for pattern in patterns if _is_name(pattern)})
    if found:
        yield Finding(
            WARN,
            f"whether {account.name} gets in hangs on the host's resolver: it is let in from {', '.join(found)}",
            "name addresses instead",
            account.name,
        )


def _list_that_refuses(server: Server, account: Account) -> str:
    """Return the list that keeps the account out, in the order sshd asks them; '' where none does."""
    # A list that sshd cannot read ends the login in both.
    if any(_matches_user(server, account, pattern) != 0 for pattern in account.after.get("denyusers", ())):
        return "DenyUsers"
    allowed = account.after.get("allowusers", ())
    if allowed and not any(_matches_user(server, account, pattern) == 1 for pattern in allowed):
        return f"AllowUsers {' '.join(allowed)}"
    if _in_groups(account, account.after.get("denygroups", ())):
        return "DenyGroups"
    groups = account.after.get("allowgroups", ())
    return f"AllowGroups {' '.join(groups)}" if groups and not _in_groups(account, groups) else ""


def _matches_user(server: Server, account: Account, pattern: str) -> int:
    user, at, host = pattern.rpartition("@")
    if not match_pattern(account.name, user if at else pattern):
        return 0
    return match_source(account.client_name, server.client, host) if at else 1


def _in_groups(account: Account, patterns: Sequence[str]) -> bool:
    return any(match_pattern(group, pattern) for group in account.groups for pattern in patterns)


def _pam(server: Server) -> bool:
    return first(server.planned, "usepam", "yes") == "yes"


def _uses(stack: Sequence[Tuple[str, Tuple[str, ...]]], module: str) -> bool:
    return any(line[0] == module for line in stack)


def _ages(server: Server) -> bool:
    """Say whether the age of a password matters to key logins: pam_unix is asked, and not told to let it be."""
    if not _pam(server):
        return False
    lines: List[Tuple[str, ...]] = [line[1] for line in server.account_stack or () if line[0] == "pam_unix.so"]
    return server.account_stack is None or any("no_pass_expiry" not in arguments for arguments in lines)


def _aged(account: Account, now: int) -> Iterator[Finding]:
    entry = account.shadow
    if entry is None:
        return
    remedy = f"let its owner change it, or run `chage -M -1 {account.name}`"
    left = entry.changed + entry.longest - now // DAY
    if too_old(entry, now) and not account.came_in:
        days = "-d -1" if entry.changed == 0 else "-M -1"
        yield Finding(
            REFUSE,
            f"the password of {account.name} is too old, or has to be changed, and that ends its key logins as well",
            f"let its owner change it, or run `chage {days} {account.name}`",
            account.name,
        )
    elif entry.changed > 0 and entry.longest >= 0 and 0 < left <= _SOON:
        reason = f"the password of {account.name} gets too old in {left} days, and that ends its key logins as well"
        yield Finding(WARN, reason, remedy, account.name)


def _is_name(pattern: str) -> bool:
    bare = pattern.lstrip("!")
    try:
        network = parse_network(bare)
    except ValueError:
        return False
    return network is None and any(letter.isalpha() for letter in bare) and ":" not in bare


__all__ = ["access", "expired", "listed", "locked", "methods", "moved", "names", "nologin", "root", "shell"]
