# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts and power cuts, by the host itself or by a command of the user's.

In a container the host is never asked to do it: /proc/sysrq-trigger there may be that of the machine below.
"""

from __future__ import annotations

import subprocess
import time

from .bench import Bench, NotRun
from .link import Unreachable

_HOOK_SECONDS = 600
_OFF_SECONDS = 60
_NOT_IN_CONTAINERS = "if systemd-detect-virt -q -c; then exit 1; fi; "


def restart(bench: Bench) -> None:
    """Shut the host down and boot it; returns while that is under way, or after it."""
    if bench.options.reboot:
        _hook(bench.options.reboot)
    elif bench.facts["container"]:
        raise NotRun("a container: give --reboot CMD")
    else:
        bench.host.soon("systemctl reboot")
    bench.host.link.close()


def need_restart(bench: Bench) -> None:
    """Raise NotRun where the host cannot be restarted."""
    if bench.facts["container"] and not bench.options.reboot:
        raise NotRun("a container: give --reboot CMD")


def need_power(bench: Bench) -> None:
    """Raise NotRun where the power cannot be cut."""
    options = bench.options
    if options.power_cut and not options.power_on:
        raise NotRun("--power-cut without --power-on")
    if bench.facts["container"] and not options.power_cut:
        raise NotRun("a container: give --power-cut CMD and --power-on CMD")


def cut(bench: Bench) -> str:
    """Cut the power and switch it on again; returns how that was done."""
    options, host = bench.options, bench.host
    if options.power_cut:
        _hook(options.power_cut)
        how = "power cut from outside"
    elif options.power_on:
        host.soon(_NOT_IN_CONTAINERS + "echo o > /proc/sysrq-trigger")
        _await_off(bench)
        how = "switched off without sync"
    else:
        host.soon(_NOT_IN_CONTAINERS + "echo b > /proc/sysrq-trigger")
        how = "no --power-on: reset without sync instead"
    host.link.close()
    if options.power_on:
        _until_done(options.power_on)
    return how


def _await_off(bench: Bench) -> None:
    end = time.monotonic() + _OFF_SECONDS
    while time.monotonic() < end:
        try:
            bench.host.link.run("true", seconds=5)
        except Unreachable:
            return
        time.sleep(1)
    raise Unreachable("it does not switch itself off")


def _until_done(command: str) -> None:
    """Switch on; refused for as long as the machine is not off yet."""
    end = time.monotonic() + _OFF_SECONDS
    while True:
        try:
            return _hook(command)
        except Unreachable:
            if time.monotonic() > end:
                raise
        time.sleep(1)


def _hook(command: str) -> None:
    try:
        done = subprocess.run(
            command, shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_HOOK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"`{command}` did not end within {_HOOK_SECONDS} s") from error
    if done.returncode != 0:
        raise Unreachable(f"`{command}` failed: {' '.join((done.stderr or done.stdout).split())}")


__all__ = ["cut", "need_power", "need_restart", "restart"]
