# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test hosts as the end-to-end tests use them: boot, look inside past sshd, and log in for real."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests" / "hosts"))
from testhosts import hosts, inventory, podman  # noqa: E402  (the tool is a program, not an installed package)
from testhosts.accounts import OPERATOR, PASSWORDS  # noqa: E402

BUILD = ROOT / "build" / "hosts"
BASE, GATEWAY = podman.BASE, podman.GATEWAY
GENERATIONS = (8, 9, 10)
FULL = os.environ.get("LATCHKEY_MATRIX") == "full"
INSIDE = ROOT / "tests" / "hosts" / "inside"
_PYTHON = "if [ -x /usr/libexec/platform-python ]; then p=/usr/libexec/platform-python; else p=/usr/bin/python3; fi; "
_SSHD = (
    "[ ! -e /etc/sysconfig/sshd ] || . /etc/sysconfig/sshd; "
    'eval "$(grep ^CRYPTO_POLICY= /etc/crypto-policies/back-ends/opensshserver.config)"; '
)


class Entry(NamedTuple):
    """One path of a tree: what a planned change says of it."""

    kind: str
    mode: str
    owner: str
    sha256: str


def entry(line: str) -> Entry:
    """Read one line of a tree."""
    _path, kind, mode, owner, _xattrs, _mtime, content = line.rsplit(" ", 6)
    return Entry(kind, mode, owner.split(":")[0], content)


RECORD = "/var/lib/latchkey/"


def differences(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[Entry | None, Entry | None]]:
    """Return (before, after) of each path that changed; a directory of which only the time moved does not count.

    Nor does the record of what was done, which the host keeps in /var/lib/latchkey.
    """
    found = {}
    for path in sorted(path for path in set(before) | set(after) if not f"{path}/".startswith(RECORD)):
        old = entry(before[path]) if path in before else None
        new = entry(after[path]) if path in after else None
        touched = before.get(path) != after.get(path) and (new or old) is not None
        if touched and (old != new or (new and new.kind == "file")):
            found[path] = (old, new)
    return found


class Login(NamedTuple):
    """How one attempt of the ssh client ended; ``offered`` is what the server named before any method was tried."""

    ok: bool
    offered: tuple[str, ...]
    refusal: str
    said: str

    def refused_by(self, *methods: str) -> bool:
        """Say whether sshd turned the attempt away, naming exactly these methods."""
        return not self.ok and self.refusal == f"Permission denied ({','.join(methods)})."


class Host:
    """One running test host."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._host = hosts.get(name)
        self.address = self._host.ip
        self.generation = self._host.generation

    @property
    def variables(self) -> dict[str, Any]:
        """Return the inventory variables that the host's start state gives it."""
        return inventory.variables(self._host)

    def root(self, command: str, *, check: bool = True, stdin: bytes | None = None) -> str:
        """Run a shell command as root, past sshd, and return what it printed."""
        return podman.exec_in(self.name, "sh", "-c", command, stdin=stdin, check=check).stdout.decode()

    def sshd(self, user: str = "") -> dict[str, str]:
        """Return what ``sshd -T`` answers, for one user or for the global scope, as the unit starts sshd."""
        scope = f"-C user={user},host=tester,addr={GATEWAY}" if user else ""
        lines = self.root(f"{_SSHD} sshd -T {scope} $OPTIONS $CRYPTO_POLICY").splitlines()
        return dict(line.partition(" ")[::2] for line in lines)

    def tree(self) -> dict[str, str]:
        """Return a line for every path in /etc /home /root /var/lib/latchkey; equal trees mean nothing was touched."""
        text = self._inside("tree_hash.py")
        return {line.rsplit(" ", 6)[0]: line for line in text.splitlines()}

    def logins(self) -> list[dict[str, Any]]:
        """Return the logins since boot, accepted and failed, from sshd's log."""
        return json.loads(self._inside("logins.py"))

    def accepted(self) -> list[tuple[str, str]]:
        """Return (user, method) of each accepted login since boot."""
        return [(one["user"], one["method"]) for one in self.logins() if one["ok"]]

    def authorize(self, user: str, text: str) -> None:
        """Append lines to a user's authorized_keys, as ssh-copy-id does."""
        self.root(
            f"h=$(getent passwd {user} | cut -d: -f6); install -d -m 700 -o {user} $h/.ssh; "
            f"cat >> $h/.ssh/authorized_keys; chmod 600 $h/.ssh/authorized_keys; chown {user}: $h/.ssh/authorized_keys",
            stdin=(text.strip() + "\n").encode(),
        )

    def keys(self, user: str = OPERATOR) -> list[str]:
        """Return the lines of a user's authorized_keys."""
        return self.root(f"cat $(getent passwd {user} | cut -d: -f6)/.ssh/authorized_keys", check=False).splitlines()

    def login(self, user: str = OPERATOR, **how: Any) -> Login:
        """Really log in, by ``key=path`` or ``password=text`` or ``kbd=text``, on a connection of its own."""
        return log_in(self.name, user, **how)

    def _inside(self, script: str) -> str:
        return self.root(_PYTHON + "exec $p -I -B -", stdin=(INSIDE / script).read_bytes())


def log_in(name: str, user: str, *, key: Any = None, password: str = "", kbd: str = "", agent: str = "") -> Login:
    """Start one fresh ssh client against a test host, with one method and nothing of the tester's own configuration."""
    method = "publickey" if key or agent else "keyboard-interactive" if kbd else "password"
    argv = ["ssh", "-v", "-S", "none", "-F", str(BUILD / "ssh_config"), "-o", f"PreferredAuthentications={method}"]
    argv += ["-o", "NumberOfPasswordPrompts=1", "-o", "ConnectTimeout=10"]
    argv += ["-o", "IdentityAgent=" + (agent or "none")]
    if method == "publickey":
        argv += ["-o", "BatchMode=yes", *(["-o", "IdentitiesOnly=yes", "-i", str(key)] if key else [])]
    else:
        argv = ["sshpass", "-e", *argv, "-o", "PubkeyAuthentication=no"]
    environment = {**os.environ, "SSHPASS": password or kbd, "LC_ALL": "C"}
    argv += [f"{user}@{name}", "echo in-$(id -un)"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    offered = re.search(r"^debug1: Authentications that can continue: (\S+)", done.stderr, re.M)
    refusal = re.search(r"Permission denied \([^)]*\)\.", done.stderr)
    return Login(
        ok=done.returncode == 0 and done.stdout == f"in-{user}\n",
        offered=tuple(offered.group(1).split(",")) if offered else (),
        refusal=refusal.group(0) if refusal else "",
        said=done.stderr,
    )


class Farm:
    """The test hosts of one run of the tests: each module asks for those it needs, in their start state."""

    def __init__(self) -> None:
        self._clean: set[str] = set()
        self._mine: set[str] = set()

    def fresh(self, *specs: str) -> list[Host]:
        """Return running hosts in their start state (NAME=GEN[:STATE]), booted or reset as needed, all at once."""
        wanted = {spec.split("=")[0]: spec for spec in specs}
        there = {host.name: host for host in hosts.listed()}
        stale = [name for name, spec in wanted.items() if name in there and not _fits(there[name], spec)]
        if stale:
            hosts.down(stale, _quiet)
        again = [name for name in wanted if name in there and name not in stale and name not in self._clean]
        missing = [spec for name, spec in wanted.items() if name not in there or name in stale]
        hosts.together([functools.partial(hosts.reset, name, _quiet) for name in again])
        if missing:
            hosts.up(missing, os.environ.get("LATCHKEY_HOSTS_KIND", "auto"), _quiet)
        with hosts.locked("inventory"):
            inventory.write(hosts.listed())
        self._mine |= set(wanted)
        self._clean -= set(wanted)
        return [Host(name) for name in wanted]

    def drop(self, *names: str) -> None:
        """Take hosts down; without names all that this run has used."""
        gone = [name for name in (names or self._mine) if name in self._mine]
        self._mine -= set(gone)
        if gone:
            hosts.down(gone, _quiet)
            with hosts.locked("inventory"):
                inventory.write(hosts.listed())


def _fits(host: Any, spec: str) -> bool:
    return (host.name, host.generation, host.state) == hosts.parse(spec) and host.running


def _quiet(text: str) -> None:
    """Say nothing: what boots is of no interest while it works."""


def each(work: Any, items: Sequence[Any]) -> list[Any]:
    """Do the same for several hosts at once and return the results in order."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(work, items))


__all__ = ["BASE", "BUILD", "FULL", "GATEWAY", "GENERATIONS", "OPERATOR", "PASSWORDS", "ROOT"]
__all__ += ["Entry", "Farm", "Host", "Login", "differences", "each", "entry", "log_in"]
