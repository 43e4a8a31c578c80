# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""End a login that hangs: a host that accepts a connection and then freezes must not hold the run for ever."""

from __future__ import annotations

import contextlib
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
    """Return the processes whose parent is ``parent``; ps is on every controller, Linux or macOS."""
    said = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=False, capture_output=True, text=True).stdout
    pairs = [line.split() for line in said.splitlines()]
    return [int(pair[0]) for pair in pairs if len(pair) == 2 and int(pair[1]) == parent]


__all__ = ["Deadline"]
