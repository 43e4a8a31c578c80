# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about a host, an account and a client before anybody logs in. Pure. PRIVATE to the collection.

None means that something is not known: no cause speaks then.
"""

from typing import Iterable, Mapping, NamedTuple, Optional, Tuple

from .._openssh.authorized_keys import AuthorizedKeys
from .._openssh.keys import PublicKey
from .._openssh.version import SshdVersion

Answer = Mapping[str, Tuple[str, ...]]
Endpoint = Tuple[str, int]
REFUSE = "refuse"
WARN = "warn"


class HostKey(NamedTuple):
    """One of the host's own keys as sshd is told of it; ``problem`` says why sshd would not load it."""

    path: str
    key: Optional[PublicKey]
    problem: str = ""


class PamLine(NamedTuple):
    """One line of a PAM stack: the module's file name, and its arguments."""

    module: str
    arguments: Tuple[str, ...] = ()


class Shadow(NamedTuple):
    """One entry of shadow(5): ``password`` is usable, locked, none or empty; the rest are days, -1 for an empty field.

    ``changed`` and ``expires`` count from 1970; the password is good for ``longest`` days.
    """

    password: str
    changed: int = -1
    longest: int = -1
    expires: int = -1


class Sudo(NamedTuple):
    """What sudo does for an account: a rule lets it become root, and asks for the password of ``whose`` (or nobody's).

    ``shadow`` is the entry of that password.
    """

    allowed: bool
    whose: str = ""
    shadow: Optional[Shadow] = None


class Failures(NamedTuple):
    """What faillock holds against an account: valid failures, the time of the last one, and its limits (seconds)."""

    counted: int
    latest: int
    deny: int = 3
    unlock_after: int = 600


class KeyFile(NamedTuple):
    """A key file of an account as it will be; ``problem`` says why StrictModes keeps sshd from opening it.

    ``label`` is (label that it has, label by the policy) where the two differ.
    """

    path: str
    document: AuthorizedKeys
    problem: str = ""
    label: Tuple[str, str] = ("", "")


class Account(NamedTuple):
    """One login, and what sshd answers for it today (``before``) and once the plan is carried out (``after``).

    ``operator`` is False for an account that other hosts are only reached through; ``came_in``: the login that asks is
    its own, so what PAM says of it is known. ``key_files`` is None where it is
    not known which keys there will be; ``today`` are the key files that sshd opens now, ``listed`` the keys that
    AuthorizedKeysCommand gives. ``client_name`` is the client as sshd would know it.
    """

    name: str
    uid: int
    groups: Tuple[str, ...]
    before: Answer
    after: Answer
    client_name: str
    shell: str = "/bin/sh"
    shell_problem: str = ""
    operator: bool = True
    came_in: bool = False
    key_files: Optional[Tuple[KeyFile, ...]] = None
    today: Tuple[AuthorizedKeys, ...] = ()
    listed: Tuple[PublicKey, ...] = ()
    shadow: Optional[Shadow] = None
    sudo: Optional[Sudo] = None
    failures: Optional[Failures] = None


class Server(NamedTuple):
    """One host: what its sshd will be, and what else there decides about logins.

    ``planned`` is ``sshd -T`` of the planned configuration. ``client`` is the address that this login comes from,
    ``session`` the host's own address and port of it. ``now`` is the host's clock, ``utc_offset`` what it shows ahead
    of UTC, in seconds. ``listening`` are sshd's sockets, ``addresses`` the host's own. ``account_stack`` is the account
    part of sshd's PAM stack, ``access_rules`` what pam_access reads there. ``ignored`` are the networks that an active
    fail2ban leaves alone. ``socket`` is a socket unit that starts sshd, ``nologin`` a file that keeps all but root out,
    ``updating`` who changes packages now, ``newer`` a program of sshd that is newer than the listener, ``authselect``
    what it says against the PAM files.
    """

    version: SshdVersion
    planned: Answer
    client: str
    now: int
    utc_offset: int = 0
    session: Optional[Endpoint] = None
    listening: Optional[Tuple[Endpoint, ...]] = None
    addresses: Optional[Tuple[str, ...]] = None
    host_keys: Optional[Tuple[HostKey, ...]] = None
    account_stack: Optional[Tuple[PamLine, ...]] = None
    access_rules: Tuple[str, ...] = ()
    ignored: Optional[Tuple[str, ...]] = None
    socket: str = ""
    nologin: str = ""
    updating: str = ""
    newer: str = ""
    authselect: str = ""
    fips: bool = False


class Behind(NamedTuple):
    """A host that is reached through this one: as which account, and which address and port are asked for."""

    host: str
    user: str
    target: str
    port: int


class Client(NamedTuple):
    """What the controller's ssh client does for this host; an empty list of algorithms is not known.

    ``user`` and ``key`` are the way Ansible gets in. ``earlier`` is how many other keys the client offers before that
    one; ``alone``: our own logins offer that key alone, so that only other plays would meet them. ``known`` are the
    fingerprints by which the controller knows the host; empty where it may know it otherwise.
    """

    user: str = ""
    key: Optional[PublicKey] = None
    earlier: int = 0
    alone: bool = False
    forks: int = 1
    kex: Tuple[str, ...] = ()
    ciphers: Tuple[str, ...] = ()
    macs: Tuple[str, ...] = ()
    host_key_algorithms: Tuple[str, ...] = ()
    key_algorithms: Tuple[str, ...] = ()
    minimum_rsa_bits: int = 0
    known: Tuple[str, ...] = ()
    behind: Tuple[Behind, ...] = ()


class Finding(NamedTuple):
    """One cause why a login would fail, or might: what was found, what to do now, and where."""

    severity: str
    reason: str
    remedy: str
    where: str
    cause: str = ""


Findings = Iterable[Finding]


DAY = 86400


def too_old(entry: Shadow, now: int) -> bool:
    """Say whether a password has to be changed: check_shadow_expiry of pam_unix (1.3 to 1.6, the strictest of them).

    The days of grace after that ask for a new password, so they let no program in either.
    """
    if entry.changed < 0:
        return False
    return entry.changed == 0 or 0 <= entry.longest <= now // DAY - entry.changed


def first(answer: Answer, keyword: str, default: str) -> str:
    """Return the one value of a keyword, or what sshd does without it."""
    return (answer.get(keyword) or (default,))[0]


def number(answer: Answer, keyword: str, default: int) -> int:
    """Return the value of a keyword as a number; ``default`` where it is none."""
    text = first(answer, keyword, str(default))
    return int(text) if text.isdigit() else default


__all__ = [
    "Account",
    "Answer",
    "Behind",
    "Client",
    "DAY",
    "Endpoint",
    "Failures",
    "Finding",
    "Findings",
    "HostKey",
    "KeyFile",
    "PamLine",
    "REFUSE",
    "Server",
    "Shadow",
    "Sudo",
    "WARN",
    "first",
    "number",
    "too_old",
]
