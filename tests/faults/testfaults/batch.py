# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Twenty hosts at five forks, one of them frozen inside its window and one slow: the others know nothing of it."""

from __future__ import annotations

import functools
import shlex
import threading
import time
from typing import Any

from . import judge, place
from .controllers import Desk
from .judge import Broken, Told
from .place import StandIn, hosts, inventory, locked
from .run import Run

HOSTS = 20
SECONDS = 60
_OPEN = ("ARMED", "APPLIED")


def one_frozen_one_slow(run: Run) -> dict[str, Any]:
    """Take a batch from passwords to keys; nineteen are COMMITTED, and the frozen one goes back when it lives again."""
    if not run.guarded:
        return {"harm": "none"}
    names = [f"{run.place.name}x{number}={9 + number % 2}" for number in range(HOSTS)]
    hosts.up(names, "auto", lambda text: None)
    with locked("inventory"):
        inventory.write(hosts.listed())
    try:
        batch = [StandIn(name.partition("=")[0]) for name in names]
        hosts.together([functools.partial(place.prepare, one) for one in batch])
        return _harden(run, batch)
    finally:
        hosts.down([name.partition("=")[0] for name in names], lambda text: None)


def _harden(run: Run, batch: list[StandIn]) -> dict[str, Any]:
    frozen, slow, *others = batch
    before = place.tree(frozen)
    over = threading.Event()
    threads = [threading.Thread(target=_slow_down, args=(slow, over), daemon=True)]
    deadline: list[float] = []
    threads.append(threading.Thread(target=_freeze, args=(frozen, over, deadline), daemon=True))
    desk = Desk(run, {"timeout": SECONDS, "at": "", "cancels": True}, *batch)
    for thread in threads:
        thread.start()
    try:
        desk.wait(300)
        said = desk.said(100000)
    finally:
        over.set()
        desk.close()
        for thread in threads:
            thread.join()
    if not deadline:
        raise Broken(f"the host to freeze was never armed: {said[-300:]}")
    time.sleep(max(0.0, deadline[0] + 1 - place.now()))
    frozen.freeze(frozen=False)
    states = [place.state(one, 20).get("state", "none") for one in [slow, *others]]
    if states.count("COMMITTED") < HOSTS - 1 or "too late" in said:
        raise Broken(f"of {HOSTS - 1} hosts {states.count('COMMITTED')} are COMMITTED: {states}; {said[-300:]}")
    broken = [one.name for one in [slow, *others] if not place.log_in(one).root]
    if broken:
        raise Broken(f"no login: {', '.join(broken)}")
    seen = judge.check(frozen, before, None, Told(deadline=max(deadline[0], place.now())))
    return {"state": f"{states.count('COMMITTED')} COMMITTED, the frozen one {seen['state']}"}


def _freeze(host: StandIn, over: threading.Event, deadline: list[float]) -> None:
    """Freeze a host the moment it is armed."""
    there = 'grep -qE "state.: .(ARMED|APPLIED)" /var/lib/latchkey/transaction.json 2>/dev/null'
    host.run(f"timeout 250 sh -c {shlex.quote(f'until {there}; do sleep 0.02; done')}", check=False)
    found = place.state(host)
    if found.get("state") in _OPEN and not over.is_set():
        host.freeze(frozen=True)
        deadline.append(found["deadline"])


def _slow_down(host: StandIn, over: threading.Event) -> None:
    """Let a host work a third of the time."""
    while not over.is_set():
        host.freeze(frozen=True)
        time.sleep(0.4)
        host.freeze(frozen=False)
        time.sleep(0.2)
