# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Causes between client and host: algorithms, keys offered before the right one, jumps through. Pure. PRIVATE."""

from typing import Iterator, List, Sequence, Tuple

from .._openssh.keys import PublicKey
from .._openssh.source_list import match_list
from .causes_keys import verdicts
from .model import REFUSE, WARN, Account, Behind, Client, Finding, Server, first, number

# These need no MAC of their own (cipher.c).
_AUTHENTICATED = ("chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_OF_RSA = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")
_DEFAULT_TRIES = 6
_DEFAULT_SESSIONS = 10


def algorithms(server: Server, client: Client) -> Iterator[Finding]:
    """Client and sshd have no algorithm of some sort in common: then they do not even begin to talk."""
    sorts = [
        ("KexAlgorithms", client.kex, _listed(server, "kexalgorithms")),
        ("Ciphers", client.ciphers, _listed(server, "ciphers")),
        ("MACs", _macs_needed(server, client), _listed(server, "macs")),
        ("HostKeyAlgorithms", client.host_key_algorithms, _host_key_algorithms(server)),
    ]
    for keyword, ours, theirs in sorts:
        if ours and theirs and not set(ours) & set(theirs):
            yield Finding(
                REFUSE,
                f"the controller's ssh and sshd would have no {keyword} in common: sshd would take {','.join(theirs)}",
                f"leave one in {keyword} that `ssh -G` of the controller names",
                keyword,
            )


def tries(_server: Server, account: Account, client: Client) -> Iterator[Finding]:
    """The client offers so many other keys first that sshd hangs up before it sees the right one."""
    today, most = (number(answer, "maxauthtries", _DEFAULT_TRIES) for answer in (account.before, account.after))
    if client.user == account.name and client.earlier >= most:
        # What is so already, and does not touch our own logins, is for the summary's lines of the inventory.
        yield Finding(
            WARN if client.alone and client.earlier >= today else REFUSE,
            f"Ansible's ssh offers {client.earlier} other keys first, and MaxAuthTries {most} ends the login before "
            f"the right one",
            "add `-o IdentitiesOnly=yes` to ansible_ssh_common_args, or take keys out of the agent",
            account.name,
        )


def sessions(_server: Server, account: Account, client: Client) -> Iterator[Finding]:
    """Sshd starts no session, or few over each connection, and Ansible shares its connections.

    Tasks that other hosts delegate to this one come over one connection too, as many at once as there are forks.
    """
    most = number(account.after, "maxsessions", _DEFAULT_SESSIONS)
    needed = min(_DEFAULT_SESSIONS, max(2, client.forks))
    if client.user == account.name and most < needed:
        lets = {0: "lets no session", 1: "lets one session"}.get(most, f"lets {most} sessions")
        yield Finding(
            WARN if most else REFUSE,
            f"MaxSessions {most} {lets} of {account.name} run over a connection, and Ansible runs its tasks over one, "
            f"up to {needed} at once where they are delegated",
            f"set MaxSessions to {_DEFAULT_SESSIONS}",
            account.name,
        )


def forwarding(server: Server, account: Account, client: Client) -> Iterator[Finding]:
    """Other hosts are reached through this one, and sshd would not let their connections pass.

    Source: channel_connect_to_port, permitopen and DisableForwarding of sshd_config(5), restrict of sshd(8).
    """
    through = [one for one in client.behind if one.user == account.name]
    keyword = _forbidding(account, through)
    remedy = f"allow it for them: `Match User {account.name}`, `AllowTcpForwarding yes`, `PermitOpen any`"
    if through and not keyword and client.key and client.user == account.name:
        keyword = _forbidden_by_key(server, account, client.key)
        remedy = "leave port-forwarding to this key (key_options), or use another one for the jump"
    if keyword:
        hosts = sorted({one.host for one in through})
        shown = ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
        text = f"{keyword} would cut off the hosts that are reached through this one as {account.name}: {shown}"
        yield Finding(REFUSE, text, remedy, account.name)


def _forbidden_by_key(server: Server, account: Account, key: PublicKey) -> str:
    """Return the line that takes forwarding from a key which has it today; '' where none does."""
    files = [file for file in account.key_files or () if not file.problem]
    said = [one for one in verdicts([file.document for file in files], key, (server, account)) if one.ok]
    today = [one for one in verdicts(account.today, key, (server, account)) if one.ok]
    if not said or any("port-forwarding" in one.options.split() for one in said[:1]):
        return ""
    if today and "port-forwarding" not in today[0].options.split():
        return ""
    return f"line {said[0].line} of its keys (restrict, no-port-forwarding)"


def _listed(server: Server, keyword: str) -> Tuple[str, ...]:
    text = first(server.planned, keyword, "")
    return tuple(text.split(",")) if text else ()


def _macs_needed(server: Server, client: Client) -> Sequence[str]:
    theirs = _listed(server, "ciphers")
    chosen = next((name for name in client.ciphers if name in theirs), "")
    return () if chosen in _AUTHENTICATED else client.macs


def _host_key_algorithms(server: Server) -> Tuple[str, ...]:
    """Return what sshd can sign with as the host: its list, as far as it has keys for that."""
    listed = _listed(server, "hostkeyalgorithms")
    if server.host_keys is None or any(one.key is None and not one.problem for one in server.host_keys):
        return listed
    types = [one.key.type for one in server.host_keys if one.key and not one.problem]
    names: List[str] = []
    for kind in types:
        names += _OF_RSA if kind == "ssh-rsa" else [kind]
    return tuple(one for one in listed if any(one == name or one.startswith(name + "-cert-") for name in names))


def _forbidding(account: Account, through: Sequence[Behind]) -> str:
    if not through:
        return ""
    if first(account.after, "disableforwarding", "no") == "yes":
        return "DisableForwarding yes"
    allowed = first(account.after, "allowtcpforwarding", "yes")
    if allowed in ("no", "remote"):
        return f"AllowTcpForwarding {allowed}"
    opened = first(account.after, "permitopen", "any").split()
    if opened == ["any"] or all(_permitted(one, opened) for one in through):
        return ""
    return f"PermitOpen {' '.join(opened)}"


def _permitted(one: Behind, opened: Sequence[str]) -> bool:
    for item in opened:
        host, unused, port = item.rpartition(":")
        if port in ("*", str(one.port)) and match_list(one.target, host.strip("[]")) == 1:
            return True
    return False


__all__ = ["algorithms", "forwarding", "sessions", "tries"]
