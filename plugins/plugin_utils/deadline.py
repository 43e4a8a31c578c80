# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""End a login that hangs: a host that accepts a connection and then freezes must not hold the run for ever."""

from __future__ import annotations

import os
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
        subprocess.run(["pkill", "-TERM", "-P", str(os.getpid())], check=False, capture_output=True)


__all__ = ["Deadline"]
