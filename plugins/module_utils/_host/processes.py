# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running processes as /proc shows them: when they started, and with which arguments. PRIVATE to the collection."""

import os
import re
import time
from typing import Optional, Tuple

# time.CLOCK_BOOTTIME is known to Python 3.7 and later only; clock_gettime(2).
_CLOCK_BOOTTIME = 7
# setproctitle in sshd.c since 8.4; without the end the title was cut off.
_TITLE = re.compile(r"sshd: (.*) \[listener\] \d+ of ")


def started_ns(pid: int) -> int:
    """Return when a process started, in ns of the system clock; 0 when it is gone (proc(5), field 22 of stat)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            fields = handle.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return int((time.time() - time.clock_gettime(_CLOCK_BOOTTIME) + since_boot) * 1e9)


def listener_arguments(pid: int) -> Optional[Tuple[str, ...]]:
    """Return the words that a listening sshd was started with, cut at blanks; None where they cannot be read."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            words = handle.read().decode("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return None
    if not words[0].startswith("sshd: "):
        return tuple(" ".join(words).split())
    title = _TITLE.match(words[0])
    return tuple(title.group(1).split()) if title else None


def runs(pid: int, program: str) -> bool:
    """Say whether a process runs this very file (proc(5), exe: it leads to a file that was replaced, too)."""
    try:
        return os.path.samefile(f"/proc/{pid}/exe", program)
    except OSError:
        return False


__all__ = ["listener_arguments", "runs", "started_ns"]
