# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a fault happens: one host, as root past its sshd and as its operator through it."""

from __future__ import annotations

import functools
import io
import json
import shlex
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

ROOT = Path(__file__).resolve().parents[3]
INSIDE = ROOT / "tests" / "faults" / "inside"
ENGINE = ROOT / "plugins" / "module_utils"
BUILD = ROOT / "build" / "faults"
HERE = "/opt/latchkey-faults"
PYTHON = "p=/usr/libexec/platform-python; [ -x $p ] || p=/usr/bin/python3; "

sys.path.insert(0, str(ROOT / "tests" / "hosts"))
from testhosts import hosts, inventory, podman  # noqa: E402  (the tool is a program, not an installed package)
from testhosts.accounts import OPERATOR, PASSWORDS  # noqa: E402
from testhosts.common import digest, locked, tree_bytes  # noqa: E402

__all__ = ["OPERATOR", "PASSWORDS", "digest", "hosts", "inventory", "locked", "podman", "tree_bytes"]

# A drop-in below /usr/lib survives a restart and is no part of what a revert has to bring back.
_DROP_IN = f"""\
[Service]
ExecStart=
ExecStart=/bin/sh -c "{PYTHON.replace("$p", "$$p")} exec $$p -I -S -B {HERE}/probe.py {{what}}"
"""
_UNITS = (("latchkey-guard.service", "watch"), ("latchkey-boot.service", "boot"))


class Login(NamedTuple):
    """How one fresh login ended."""

    root: bool
    said: str


class Place(Protocol):
    """One host of some kind. Everything else is built from these (``tests/vm`` gives machines of its own)."""

    name: str
    generation: int
    kind: str
    # How much longer everything takes than on a container.
    pace: int

    def run(
        self, command: str, *, stdin: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command as root, past sshd."""

    def argv(self, command: str) -> list[str]:
        """Return the words that run a shell command as root, past sshd."""

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start a shell command as root, past sshd, with pipes to it."""

    def ssh(self, command: str) -> list[str]:
        """Return the words that run a command as the operator over a fresh key login of its own."""

    def variables(self) -> dict[str, Any]:
        """Return what an inventory says of it, its operator having a key."""

    def restart(self) -> None:
        """Reboot, and wait until sshd is up."""

    def cut_power(self) -> None:
        """End everything at once."""

    def switch_on(self) -> None:
        """Start it again, without waiting."""

    def await_up(self) -> None:
        """Wait until sshd is up."""

    def keep(self) -> None:
        """Remember everything as it is now."""

    def put_back(self) -> None:
        """Bring it back to what was remembered, whatever happened to it."""

    def denials(self) -> list[str]:
        """Return what SELinux denied of ours since it was remembered."""

    def reset(self) -> None:
        """Make it new."""

    def close(self) -> None:
        """Take it down."""


class StandIn:
    """A test host of tests/hosts."""

    pace = 1

    def __init__(self, name: str) -> None:
        self._host = hosts.get(name)
        self.name, self.generation, self.kind = name, self._host.generation, self._host.kind

    @property
    def address(self) -> str:
        """Return its address on the bridge."""
        return self._host.ip

    def run(
        self, command: str, *, stdin: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command as root, past sshd."""
        return podman.exec_in(self.name, "sh", "-c", command, stdin=stdin, check=check)

    def argv(self, command: str) -> list[str]:
        """Return the words that run a shell command as root, past sshd."""
        return [*podman._prefix(), "exec", "-i", self._host.container, "sh", "-c", command]

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start a shell command as root, past sshd, with pipes to it."""
        return subprocess.Popen(
            self.argv(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def ssh(self, command: str) -> list[str]:
        """Return the words that run a command as the operator over a fresh key login of its own."""
        known = ROOT / "build" / "hosts" / "known_hosts"
        options = [f"UserKnownHostsFile={known}", "IdentitiesOnly=yes", "BatchMode=yes", "ConnectTimeout=3"]
        options += ["PreferredAuthentications=publickey", "LogLevel=ERROR", "IdentityAgent=none"]
        argv = ["ssh", "-F", "none", "-S", "none", "-i", str(key())]
        return [*argv, *[word for one in options for word in ("-o", one)], f"{OPERATOR}@{self.address}", command]

    def variables(self) -> dict[str, Any]:
        """Return what an inventory says of it, its operator having a key."""
        known = ROOT / "build" / "hosts" / "known_hosts"
        return {
            "ansible_host": self.address,
            "ansible_user": OPERATOR,
            "ansible_ssh_private_key_file": str(key()),
            "ansible_become": True,
            "ansible_become_password": PASSWORDS[OPERATOR],
            "ansible_ssh_common_args": f'-o UserKnownHostsFile="{known}" -o StrictHostKeyChecking=yes',
            "harden_key": str(key()),
        }

    def restart(self) -> None:
        """Reboot, and wait until sshd is up."""
        hosts.restart(self.name, _quiet)

    def cut_power(self) -> None:
        """End everything at once."""
        hosts.kill(self.name, _quiet)

    def freeze(self, *, frozen: bool) -> None:
        """Stop all of its processes, or let them go on."""
        podman.podman("pause" if frozen else "unpause", self._host.container)

    def switch_on(self) -> None:
        """Start it again, without waiting."""
        podman.podman("start", self._host.container)

    def await_up(self) -> None:
        """Wait until sshd is up."""
        hosts.await_sshd(self._host)

    def keep(self) -> None:
        """Remember every file."""
        inside(self, "trees.py", "keep")

    def put_back(self) -> None:
        """Bring every file back, and end what runs."""
        left = json.loads(inside(self, "trees.py", "restore"))
        if left:
            raise RuntimeError(f"{self.name} cannot be brought back: {left}")

    def denials(self) -> list[str]:
        """Return nothing: there is no SELinux in a container."""
        return []

    def reset(self) -> None:
        """Make it new."""
        hosts.reset(self.name, _quiet)

    def close(self) -> None:
        """Take it down."""
        hosts.down([self.name], _quiet)


def _quiet(_text: str) -> None:
    """Say nothing."""


@functools.cache
def key() -> Path:
    """Return the operator's private key, made once."""
    path = BUILD / "operator"
    if not path.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "faults", "-f", str(path)], check=True)
    return path


def public_key() -> str:
    """Return the text of the operator's public key."""
    return Path(f"{key()}.pub").read_text(encoding="ascii").strip()


def log_in(place: Place, command: str = "id -u", feed: str = "") -> Login:
    """Log in anew by key, become root, and run a command there."""
    words = place.ssh(f"sudo -S -k -p '' -- {command}")
    text = f"{PASSWORDS[OPERATOR]}\n{feed}"
    try:
        done = subprocess.run(
            words, input=text, capture_output=True, text=True, timeout=12 * place.pace, check=False
        )
    except subprocess.TimeoutExpired:
        return Login(False, "the login did not end")
    root = done.returncode == 0 and (command != "id -u" or done.stdout.strip() == "0")
    return Login(root, (done.stdout + done.stderr).strip())


def shell_words(place: Place, command: str) -> str:
    """Return a line for this machine's shell that runs a command as root on a host, past its sshd."""
    return shlex.join(place.argv(command))


def now() -> float:
    """Return this machine's boot clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def here(said: dict[str, Any]) -> float | None:
    """Return the deadline of what a host has just said, on this machine's boot clock; its own may be another."""
    return None if said.get("deadline") is None else now() + said["deadline"] - said["clock"]


def prepare(place: Place) -> None:
    """Carry what runs on the host there, and let the operator in by key."""
    place.run(f"rm -rf {HERE}; mkdir -p -m 1777 {HERE}; tar -C {HERE} -xf -", stdin=_parcel())
    home = f"/home/{OPERATOR}/.ssh"
    place.run(
        f"install -d -m 700 -o {OPERATOR} -g {OPERATOR} {home}; cat > {home}/authorized_keys; "
        f"chmod 600 {home}/authorized_keys; chown {OPERATOR}: {home}/authorized_keys; "
        f"! command -v restorecon > /dev/null || restorecon -RF {home}",
        stdin=f"# mine\n{public_key()}\n".encode(),
    )
    place.run("echo '# the last line' >> /etc/ssh/sshd_config; systemctl reload sshd")
    end = now() + 10 * place.pace
    while not (login := log_in(place)).root:
        # Right after the reload sshd may be between two listeners.
        if now() > end:
            raise RuntimeError(f"{place.name} does not let its operator in: {login.said}")
        time.sleep(0.5)


def _parcel() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(INSIDE.glob("*.py")):
            tar.add(path, path.name)
        below = "engine/ansible_collections/latchkey/ssh/plugins/module_utils"
        tar.add(ENGINE, below, filter=lambda one: None if "__pycache__" in one.name else one)
    return packed.getvalue()


def inside(place: Place, program: str, *words: str) -> str:
    """Run one of our programs on the host."""
    quoted = " ".join(f"'{word}'" for word in words)
    return place.run(f"{PYTHON}exec $p -I -B {HERE}/{program} {quoted}").stdout.decode()


def tree(place: Place) -> dict[str, str]:
    """Return what everything on the host is."""
    return dict(json.loads(inside(place, "trees.py", "show")))


def plan(place: Place, probe: dict[str, Any], *, clean: bool = True) -> None:
    """Say what the probe does next; {} for a host as the product leaves it, without probe or drop-in."""
    directories = [(f"/usr/lib/systemd/system/{unit}.d", what) for unit, what in _UNITS]
    ours = "/var/lib/latchkey /run/latchkey /usr/local/sbin/latchkey /usr/local/sbin/.latchkey-*"
    commands = [f"rm -rf {ours}"] if clean else []
    commands.append(f"cd {HERE}; rm -rf plan.json fired reached go steps; install -m 666 /dev/null steps")
    for directory, what in directories:
        commands.append(f"rm -rf {directory}")
        if probe:
            text = _DROP_IN.format(what=what)
            commands.append(f"mkdir -p {directory}; cat > {directory}/test.conf <<'E'\n{text}E")
    if probe:
        commands.append(f"cat > {HERE}/plan.json <<'E'\n{json.dumps(probe)}\nE")
    # A power cut shall take what the product forgot, not what tests have laid there; a container's takes nothing.
    place.run("\n".join([*commands, "systemctl daemon-reload", *(["sync"] if place.kind == "vm" else [])]))


def state(place: Place, seconds: float = 0) -> dict[str, Any]:
    """Return the transaction as it lies on the host, and what is left of it around, once it is over or time is up."""
    return dict(json.loads(inside(place, "state.py", str(seconds))))
