# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host: what is looked at there, and what is done to it past the product."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import judge
from .link import Link, Unreachable

HERE = Path(__file__).resolve().parent.parent
LOOK = (HERE / "inside" / "look.py").read_text(encoding="utf-8")
TREE = (HERE.parent / "hosts" / "inside" / "tree_hash.py").read_text(encoding="utf-8")
_PYTHON = "if [ -x /usr/libexec/platform-python ]; then p=/usr/libexec/platform-python; else p=/usr/bin/python3; fi; "
KEPT, MARK = "/var/lib/latchkey-selftest", "/run/latchkey-selftest"
_KEEP = f"""
set -e
[ ! -e {KEPT} ] || exit 0
mkdir -m 700 {KEPT}.new
[ ! -e /var/lib/latchkey ] || cp -a /var/lib/latchkey {KEPT}.new/state
[ ! -e /usr/local/sbin/latchkey ] || cp -a /usr/local/sbin/latchkey {KEPT}.new/command
mv {KEPT}.new {KEPT}
"""
_PUT_BACK = f"""
set -e
[ -e {KEPT} ] || exit 0
rm -rf /var/lib/latchkey /usr/local/sbin/latchkey /run/latchkey {MARK}
[ ! -e {KEPT}/state ] || mv {KEPT}/state /var/lib/latchkey
[ ! -e {KEPT}/command ] || mv {KEPT}/command /usr/local/sbin/latchkey
rm -rf {KEPT} {KEPT}.new
"""


class Entered(NamedTuple):
    """A brand-new login that became root, or did not; seconds that sshd had been up; whether the boot is another."""

    ok: bool
    reached: bool
    sshd_up: float
    rebooted: bool
    said: str


class Host:
    """One host."""

    def __init__(self, link: Link, ignore: Sequence[str] = ()) -> None:
        self.link = link
        self._ignore = tuple(ignore)
        self.user = ""
        self.address = ""

    def meet(self) -> None:
        """Learn who we are there."""
        self.user = self.link.run("id -un").stdout.strip()
        self.address = self.link.run("echo $SSH_CONNECTION").stdout.partition(" ")[0]

    # --- looking -------------------------------------------------------------------------------------------------

    def look(self, *words: str) -> Any:
        """Return what inside/look.py tells, over the console."""
        done = self.link.root(_python(words), LOOK)
        if done.returncode != 0:
            raise Unreachable(f"looking at the host failed: {' '.join((done.stderr or done.stdout).split())}")
        return json.loads(done.stdout)

    def tree(self) -> dict[str, judge.Entry]:
        """Return everything in /etc, /home and /root; what this collection notes in /var is compared by itself."""
        done = self.link.root(_python(["--ignore", "/var/lib/latchkey*"]), TREE, 600)
        if done.returncode != 0:
            raise Unreachable(f"reading the trees failed: {' '.join(done.stderr.split())}")
        return judge.tree(done.stdout)

    def differences(self, before: dict[str, judge.Entry]) -> list[str]:
        """Return what is not as it was."""
        return judge.differences(before, self.tree(), self._ignore)

    def enter(self) -> Entered:
        """Log in anew by key alone, become root, and look."""
        tried = self.link.enter(_python(["moment"]), LOOK)
        if not tried.ok or not tried.out.startswith("{"):
            return Entered(False, tried.reached, 0.0, False, tried.said or tried.out)
        seen = json.loads(tried.out)
        return Entered(seen["root"], True, seen["sshd_up"], not seen["marked"], tried.said)

    # --- doing ---------------------------------------------------------------------------------------------------

    def do(self, command: str) -> str:
        """Run a command as root over the console; raises where it fails."""
        done = self.link.root(command)
        if done.returncode != 0:
            raise Unreachable(f"`{command}` failed: {' '.join((done.stderr or done.stdout).split())}")
        return done.stdout

    def loop(self, body: str, pause: float, seconds: float) -> None:
        """Have root do something again and again for some seconds, in the background."""
        script = f"end=$(($(cut -d. -f1 /proc/uptime) + {seconds:.0f}))\n"
        script += f"while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do {body}; sleep {pause:g}; done"
        self.do(f"setsid sh -c {shlex.quote(script)} > /dev/null 2>&1 < /dev/null &")

    def soon(self, command: str) -> None:
        """Have root do something in a second, when this session is over."""
        self.do(f"setsid sh -c {shlex.quote(f'sleep 1; {command}')} > /dev/null 2>&1 < /dev/null &")

    def keep(self) -> None:
        """Keep what this collection has noted there so far, and mark this boot."""
        self.do(_KEEP)

    def mark(self) -> None:
        """Mark this boot."""
        self.do(f"touch {MARK}")

    def put_back(self) -> None:
        """Put back what was kept, and take away what is left of the selftest."""
        self.do(_PUT_BACK)

    def await_console(self, seconds: float) -> None:
        """Open the console again where it is gone, trying for some time."""
        end = time.monotonic() + seconds
        while not self.link.alive():
            try:
                return self.link.open()
            except Unreachable:
                if time.monotonic() > end:
                    raise
            # Each refused login costs 5 s of penalty with OpenSSH 9.8 and newer, and more than 15 s shut the door.
            time.sleep(3)


def _python(words: Sequence[str]) -> str:
    return _PYTHON + "exec $p -I -B - " + shlex.join(words)


__all__ = ["Entered", "Host"]
