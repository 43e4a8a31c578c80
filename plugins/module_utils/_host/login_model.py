# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else on a host decides whether a login works, looked at before a change. PRIVATE to the collection."""

import fcntl
import grp
import os
import re
import socket
import struct
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from .._errors import LatchkeyError
from .._openssh import keys, private_key
from .._openssh.keys import PublicKey
from .._openssh.version import SshdVersion
from . import accounts, files, programs, selinux

_NOLOGIN = ("/run/nologin", "/etc/nologin")
_SOCKETS = ("sshd.socket", "ssh.socket")
_WANTS = "/etc/systemd/system/sockets.target.wants"
_PACKAGE_LOCKS = ("/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock")
# struct flock of 64-bit Linux: type, whence, start, length, process (fcntl(2)).
_FLOCK = struct.Struct("hhqqi4x")
_FAIL2BAN = "/run/fail2ban/fail2ban.sock"
_TAGS = re.compile(r"(?:[A-Z_]+: ?)+")
_SHELLS = ("/bin/sh", "/usr/bin/sh", "/bin/bash", "/usr/bin/bash")


class HostKeyFile(NamedTuple):
    """One of the host's own keys: ``problem`` says why sshd would not load it."""

    path: str
    key: Optional[PublicKey]
    problem: str


class SudoRules(NamedTuple):
    """What sudo lets an account do: run a shell as root, with the password of ``whose``, or of nobody."""

    allowed: bool
    whose: str


def shadow(names: Sequence[str]) -> Dict[str, Tuple[str, int, int, int]]:
    """Return by name what shadow(5) has, through NSS; -1 stands for an empty field.

    In this order: state of the password, day it was changed, days it is good for, last day.
    """
    answer = programs.run(["getent", "shadow"] + list(names))
    found = {}
    for line in answer.out.splitlines():
        fields = line.split(":")
        if len(fields) >= 8:
            days = [int(text) if text.lstrip("-").isdigit() else -1 for text in fields]
            found[fields[0]] = (accounts.password_state(fields[1]), days[2], days[4], days[7])
    return found


def nologin() -> str:
    """Return the file that keeps everybody but root out, or ''."""
    return next((path for path in _NOLOGIN if os.path.exists(path)), "")


def socket_unit() -> str:
    """Return the socket unit that starts sshd from the next boot on, or ''."""
    return next((name for name in _SOCKETS if os.path.lexists(f"{_WANTS}/{name}")), "")


def addresses() -> Tuple[str, ...]:
    """Return the addresses of this host as the kernel shows them (proc(5), net/fib_trie and net/if_inet6)."""
    trie = files.read("/proc/net/fib_trie").data.decode("ascii", "replace")
    found = set(re.findall(r"\|-- (\S+)\n +/32 host LOCAL", trie))
    for line in files.read("/proc/net/if_inet6").data.decode("ascii", "replace").splitlines():
        found.add(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0])))
    return tuple(sorted(found))


def package_writer() -> str:
    """Return who writes RPM's database now, or '': whoever does holds a lock on its file (rpm, dnf)."""
    for path in _PACKAGE_LOCKS:
        try:
            with open(path, "rb") as handle:
                asked = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
                held = _FLOCK.unpack(fcntl.fcntl(handle, fcntl.F_GETLK, asked))
        except OSError:
            continue
        if held[0] == fcntl.F_WRLCK:
            name = files.read(f"/proc/{held[4]}/comm").data.decode("utf-8", "replace").strip()
            return f"{path} is locked by process {held[4]}{name and f', {name}'}"
    return ""


def fips() -> bool:
    """Say whether the kernel runs in FIPS mode."""
    return files.read("/proc/sys/crypto/fips_enabled").data.strip() == b"1"


def fail2ban_ignores() -> Optional[Tuple[str, ...]]:
    """Return the networks that fail2ban leaves alone; None where it does not run, or does not watch sshd."""
    if not os.path.exists(_FAIL2BAN) or programs.find("fail2ban-client") is None:
        return None
    answer = programs.run(["fail2ban-client", "get", "sshd", "ignoreip"])
    if answer.status != 0:
        return None
    return tuple(re.findall(r"^[|`]- (\S+)", answer.out, re.M))


def host_keys(paths: Sequence[str], version: SshdVersion) -> Tuple[HostKeyFile, ...]:
    """Return the host's own keys that are there; a key that sshd names and that does not exist it passes over."""
    found = [_host_key(path, version) for path in paths]
    return tuple(one for one in found if one)


def _host_key(path: str, version: SshdVersion) -> Optional[HostKeyFile]:
    state = files.read(path)
    if state.kind != "file":
        return None
    # sshkey_perm_ok of authfile.c, and what Red Hat's lets pass until EL9.
    open_to = state.mode & 0o077
    shared = version.flavour == "redhat" and open_to == 0o040 and _group(state.gid) == "ssh_keys"
    problem = (
        f"mode {state.mode:04o} lets others than root read it" if state.uid == 0 and open_to and not shared else ""
    )
    try:
        facts = private_key.recognise(state.data)
        public = facts.public or _public_half(path)
    except LatchkeyError as error:
        return HostKeyFile(path, None, error.reason)
    if facts.encrypted:
        problem = problem or "it has a passphrase"
    return HostKeyFile(path, public, problem)


def _public_half(path: str) -> Optional[PublicKey]:
    text = files.read(f"{path}.pub").data.decode("utf-8", "replace").strip()
    return keys.parse_public_key(text, f"{path}.pub") if text else None


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


def sudo(name: str) -> Optional[SudoRules]:
    """Return what sudo lets an account do (sudo(8) -l -U); None where there is no sudo, or it does not say."""
    if programs.find("sudo") is None:
        return None
    return read_sudo(name, programs.run(["sudo", "-n", "-l", "-U", name]).out)


def read_sudo(name: str, text: str) -> Optional[SudoRules]:
    """Read what ``sudo -l -U`` prints: the last rule that fits decides, as in sudoers(5)."""
    if "is not allowed to run sudo" in text:
        return SudoRules(False, "")
    rules = re.findall(r"^ +\(([^)]*)\) *(.*)$", text, re.M)
    if not rules:
        return None
    asks: Optional[bool] = None
    for runas, commands in rules:
        people = [one.strip() for one in runas.partition(":")[0].split(",")]
        if not {"ALL", "root", "#0"} & set(people) or "!root" in people:
            continue
        for fits, password in _commands(commands):
            asks = password if fits else asks
    if asks is None:
        return SudoRules(False, "")
    defaults = re.findall(r"[!\w]+", text.partition("User ")[0])
    if not asks or "!authenticate" in defaults:
        return SudoRules(True, "")
    return SudoRules(True, "root" if {"rootpw", "targetpw", "runaspw"} & set(defaults) else name)


def _commands(text: str) -> List[Tuple[bool, bool]]:
    """Return for each command whether Ansible could run by it, and whether it asks for a password."""
    found, password = [], True
    for item in text.split(","):
        word = item.strip()
        tags = _TAGS.match(word)
        if tags:
            names = tags.group().replace(":", " ").split()
            password = "PASSWD" in names or (password and "NOPASSWD" not in names)
            word = word[tags.end() :]
        found.append((word == "ALL" or word in _SHELLS, password))
    return found


def labels(path: str, mode: int) -> Tuple[str, str]:
    """Return the SELinux type of a file and the one that the policy gives it, where they differ; else two ''."""
    wanted = selinux.label_for(path, mode)
    if wanted is None:
        return "", ""
    try:
        actual = os.getxattr(path, "security.selinux", follow_symlinks=False)
    except OSError:
        return "", ""
    has, needs = (_type(label) for label in (actual, wanted))
    return (has, needs) if has != needs else ("", "")


def _type(label: bytes) -> str:
    return label.rstrip(b"\0").decode("ascii", "replace").split(":")[2:3][0] if label.count(b":") >= 2 else ""


__all__ = [
    "HostKeyFile",
    "SudoRules",
    "addresses",
    "fail2ban_ignores",
    "fips",
    "host_keys",
    "labels",
    "nologin",
    "package_writer",
    "read_sudo",
    "shadow",
    "socket_unit",
    "sudo",
]
