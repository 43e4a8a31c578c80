# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the selftest is asked."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import NamedTuple


class Options(NamedTuple):
    """One call. Commands are run by the controller's shell; times are in seconds."""

    user: str
    host: str
    ssh_args: tuple[str, ...]
    key: str
    power_on: str
    power_cut: str
    reboot: str
    deadline: int
    boot_seconds: int
    only: tuple[str, ...]
    ignore: tuple[str, ...]
    throw_away: bool
    core: str
    out: str


def read(words: Sequence[str]) -> Options:
    """Return what was asked on the command line."""
    top = argparse.ArgumentParser(
        prog="make selftest",
        description="Try on a throw-away AlmaLinux VM that it has a way back. tests/selftest/README.md tells more.",
    )
    top.add_argument("host", metavar="[USER@]HOST", help="who can log in there by key, and become root by sudo")
    top.add_argument("--yes-throw-away", action="store_true", help="also where the host looks as if it is in use")
    top.add_argument("--power-on", default="", metavar="CMD", help="switches it on again: virsh start NAME")
    top.add_argument("--power-cut", default="", metavar="CMD", help="cuts its power from outside: virsh destroy NAME")
    top.add_argument("--reboot", default="", metavar="CMD", help="reboots it from outside, where it cannot by itself")
    top.add_argument("--key", default="", metavar="FILE", help="the private key; else what ssh takes by itself")
    top.add_argument("--ssh-args", default="", metavar="ARGS", help="for ssh and Ansible: '-p 2222 -o ...'")
    top.add_argument("--deadline", type=int, default=12, metavar="S", help="how short deadlines are; slow hosts: 60")
    top.add_argument("--boot-seconds", type=int, default=300, metavar="S", help="how long a boot may take")
    top.add_argument("--only", default="", metavar="CASE,...", help="these cases alone")
    top.add_argument("--ignore", action="append", default=[], metavar="GLOB", help="paths that others change meanwhile")
    top.add_argument("--core", default="", choices=("", "new", "2.16"), help="ansible-core; else what fits the host")
    top.add_argument("--out", default="", metavar="FILE", help="where the results go; else build/selftest.json")
    asked = top.parse_args(words)
    user, _at, host = asked.host.rpartition("@")
    if not host or host.startswith("-") or user.startswith("-"):
        top.error(f"{asked.host!r} is no [USER@]HOST")
    if not 5 <= asked.deadline <= 600:
        top.error("--deadline takes 5 to 600 seconds")
    return Options(
        user=user,
        host=host,
        ssh_args=tuple(shlex.split(asked.ssh_args)),
        key=asked.key,
        power_on=asked.power_on,
        power_cut=asked.power_cut,
        reboot=asked.reboot,
        deadline=asked.deadline,
        boot_seconds=asked.boot_seconds,
        only=tuple(word for word in asked.only.split(",") if word),
        ignore=tuple(asked.ignore),
        throw_away=asked.yes_throw_away,
        core=asked.core,
        out=asked.out,
    )


__all__ = ["Options", "read"]
