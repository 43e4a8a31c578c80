# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call podman: the only place that does."""

import functools
import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any, NoReturn

from .common import run
from .machine import prefix

PREFIX = "latchkey-"
NETWORK = "latchkey-hosts"
SUBNET = os.environ.get("LATCHKEY_HOSTS_SUBNET", "10.213.77.0/24")
BASE = SUBNET.rsplit(".", 1)[0]
GATEWAY = f"{BASE}.1"

# --privileged: without it crun wants to raise RLIMIT_MEMLOCK. --pids-limit=0: the pids controller may be missing.
# Explicit ulimits: podman otherwise asks for more than a machine without CAP_SYS_RESOURCE allows.
HOST_OPTIONS = (
    "--systemd=always",
    "--privileged",
    "--pids-limit=0",
    "--cgroupns=private",
    "--ulimit",
    "nofile=1024:2048",
    "--ulimit",
    "nproc=30000:30000",
    "--stop-timeout=10",
)


@functools.lru_cache(maxsize=1)
def _prefix() -> tuple[str, ...]:
    return (*prefix(), "podman")


def podman(*args: str, stdin: bytes | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run podman with its output captured."""
    return run([*_prefix(), *args], stdin=stdin, check=check)


def become(args: Sequence[str]) -> NoReturn:
    """Replace this process by podman, for interactive use."""
    argv = [*_prefix(), *args]
    os.execvp(argv[0], argv)


def beside(*args: str, stdin: bytes | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run another program in the mount namespace that podman's mounts live in."""
    return run([*_prefix()[:-1], *args], stdin=stdin, check=check)


def query(*args: str) -> Any:
    """Run a podman command that prints JSON and return the value."""
    return json.loads(podman(*args).stdout or b"[]")


def ensure_network() -> None:
    """Create the bridge of the test hosts where it is missing."""
    if podman("network", "exists", NETWORK, check=False).returncode != 0:
        podman("network", "create", "--subnet", SUBNET, "--gateway", GATEWAY, NETWORK)


def exec_in(
    name: str, *argv: str, stdin: bytes | None = None, check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """Run a program as root in a running host, past sshd."""
    feed = ["-i"] if stdin is not None else []
    return podman("exec", *feed, PREFIX + name, *argv, stdin=stdin, check=check)
