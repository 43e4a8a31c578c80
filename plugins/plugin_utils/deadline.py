# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""End a login that hangs: a host that accepts a connection and then freezes must not hold the run for ever."""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import subprocess
import threading
from types import TracebackType


class Deadline:
    """Send SIGTERM to this process's children (the ssh client) when the time is up; ``passed`` says that it was."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.passed = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        for child in _children(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)


def _children(parent: int) -> list[int]:
    """Return the processes whose parent is ``parent``: by /proc, since slim images lack ps, else by ps (macOS)."""
    pairs = _by_proc() or _by_ps()
    return [child for child, above in pairs if above == parent]


def _by_proc() -> list[tuple[int, int]]:
    """Return processes with their parents (proc(5): the parent follows the name, in parentheses, and the state)."""
    found = []
    for stat in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError), open(stat, encoding="utf-8", errors="replace") as handle:
            found.append((int(stat.split("/")[2]), int(handle.read().rpartition(")")[2].split()[1])))
    return found


def _by_ps() -> list[tuple[int, int]]:
    try:
        said = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=False, capture_output=True, text=True).stdout
    except OSError:
        return []
    pairs = [line.split() for line in said.splitlines()]
    return [(int(pair[0]), int(pair[1])) for pair in pairs if len(pair) == 2]


__all__ = ["Deadline"]
