# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table of causes why a login fails: asked before a change about what is planned. Pure. PRIVATE.

``rows`` are the numbers of the known ways to be locked out, as docs/preflight.md has them. Each of them is a cause
here, or stands in ELSEWHERE with what holds it instead.
"""

from typing import Callable, List, NamedTuple, Sequence, Tuple, Union

from . import causes_account, causes_client, causes_keys, causes_server, causes_sudo
from .model import Account, Client, Finding, Findings, Server

OfHost = Callable[[Server, Client], Findings]
OfAccount = Callable[[Server, Account, Client], Findings]
ROWS = 41


class HostCause(NamedTuple):
    """A cause that concerns everybody who logs in."""

    name: str
    rows: Tuple[int, ...]
    judge: OfHost


class AccountCause(NamedTuple):
    """A cause that concerns one account; ``jumps``: also one that other hosts are only reached through."""

    name: str
    rows: Tuple[int, ...]
    judge: OfAccount
    jumps: bool = False


Cause = Union[HostCause, AccountCause]

OF_ACCOUNT: Tuple[AccountCause, ...] = (
    AccountCause("shell", (32,), causes_account.shell),
    AccountCause("listed", (5,), causes_account.listed, True),
    AccountCause("root", (31,), causes_account.root, True),
    AccountCause("methods", (29,), causes_account.methods),
    AccountCause("moved", (32, 36), causes_account.moved),
    AccountCause("locked", (6,), causes_account.locked),
    AccountCause("expired", (7,), causes_account.expired, True),
    AccountCause("nologin", (8,), causes_account.nologin),
    AccountCause("access", (8,), causes_account.access, True),
    AccountCause("names", (38,), causes_account.names),
    AccountCause("key_type", (21,), causes_keys.key_type),
    AccountCause("key", (1, 37), causes_keys.key),
    AccountCause("no_key", (1,), causes_keys.no_key),
    AccountCause("strict_modes", (9,), causes_keys.strict_modes),
    AccountCause("label", (10,), causes_keys.label),
    AccountCause("sudo_rule", (30,), causes_sudo.sudo_rule),
    AccountCause("sudo_password", (30,), causes_sudo.sudo_password),
    AccountCause("faillock", (8, 30), causes_sudo.faillock),
    AccountCause("tries", (22,), causes_client.tries),
    AccountCause("sessions", (23,), causes_client.sessions),
    AccountCause("forwarding", (34,), causes_client.forwarding, True),
)
OF_HOST: Tuple[HostCause, ...] = (
    HostCause("listen", (11, 14, 15), causes_server.listen),
    HostCause("new_port", (11,), causes_server.new_port),
    HostCause("foreign_address", (15,), causes_server.foreign_address),
    HostCause("socket", (16,), causes_server.socket),
    HostCause("host_keys", (19,), causes_server.host_keys),
    HostCause("host_key_files", (19,), causes_server.host_key_files),
    HostCause("algorithms", (21,), causes_client.algorithms),
    HostCause("startups", (24,), causes_server.startups),
    HostCause("penalties", (25,), causes_server.penalties),
    HostCause("fail2ban", (26,), causes_server.fail2ban),
    HostCause("grace", (39,), causes_server.grace),
    HostCause("updating", (41,), causes_server.updating),
    HostCause("newer", (41,), causes_server.newer),
    HostCause("authselect", (8,), causes_server.authselect),
)
TABLE: Tuple[Cause, ...] = OF_ACCOUNT + OF_HOST

# What no look beforehand finds, or what somebody else holds already.
ELSEWHERE = {
    2: "the server facet writes a drop-in that is read first, and asks sshd itself which value wins",
    3: "the server facet asks sshd about every combination of Match blocks that an account can reach",
    4: "switching passwords off switches keyboard-interactive off, by the name that this sshd knows",
    12: "no plan changes a firewall yet, and a fresh login is a new flow",
    13: "a fresh login is a new flow, which an old connection's entry does not let through",
    17: "the whole tree is checked by sshd -t before each reload, and reverted when sshd does not come back",
    18: "what is checked is the assembled tree, each Include in it, not one file",
    20: "sshd -t of the host's own sshd ends on a missing directory or user of its own",
    27: "proofs never ride a connection that is there already",
    28: "proofs are made by publickey alone, and read what the client says it was",
    33: "what a shell prints by itself is not known before: the proof compares a nonce",
    35: "what is run here comes over one connection by pipelining, never by sftp",
    40: "the sshd of AlmaLinux is built without TCP wrappers",
}


def judge(server: Server, accounts: Sequence[Account], client: Client) -> List[Finding]:
    """Return what is found against the logins of these accounts, and against the host; same words once."""
    found = of_accounts(server, accounts, client)
    for cause in OF_HOST:
        found += [one._replace(cause=cause.name) for one in cause.judge(server, client)]
    return list(dict.fromkeys(found))


def of_accounts(server: Server, accounts: Sequence[Account], client: Client) -> List[Finding]:
    """Return what is found against the logins of these accounts alone."""
    found: List[Finding] = []
    for account in accounts:
        for cause in OF_ACCOUNT:
            if account.operator or cause.jumps:
                found += [one._replace(cause=cause.name) for one in cause.judge(server, account, client)]
    return found


__all__ = ["AccountCause", "ELSEWHERE", "HostCause", "OF_ACCOUNT", "OF_HOST", "ROWS", "TABLE", "judge", "of_accounts"]
