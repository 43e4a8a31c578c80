# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run faults on several hosts at once, each with its control, and say how it went."""

from __future__ import annotations

import functools
import json
import queue
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .catalog import GENERATIONS, STEPS, Fault, steps
from .emulated import Emulated
from .judge import Broken, Missed
from .place import HERE, Place, StandIn, hosts, inventory, locked
from .results import Results
from .run import Known, Run, harmless
from .scenarios import SCENARIOS

UNHARMED = "none"
_TRIES = 4


class Crew:
    """Hosts and the threads that work on them. On a virtual machine it is one: two cores have no room for more."""

    def __init__(self, results: Results, prefix: str, per_generation: int, *, machine: bool = False) -> None:
        self._results, self._prefix, self._per_generation, self._machine = results, prefix, per_generation, machine
        self._said = threading.Lock()
        self._open: list[Place] = []

    def run(self, faults: Sequence[Fault]) -> None:
        """Run what is missing of these faults."""
        todo = [one for one in faults if not self._results.survived(one) or self._results.control(one) is None]
        queues: dict[int, queue.SimpleQueue[Fault]] = {}
        for one in todo:
            queues.setdefault(one.generation, queue.SimpleQueue()).put(one)
        self._boot({generation: mine.qsize() for generation, mine in queues.items()})
        threads = [
            threading.Thread(target=self._work, args=(where, queues[where.generation]), daemon=True)
            for where in self._open
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _boot(self, wanted: dict[int, int]) -> None:
        """Boot hosts for so many faults of each generation, or bring those that are up back to their start state."""
        if self._machine:
            self._open = [Emulated(f"{self._prefix}vm") for _generation in wanted]
            return
        names = {
            f"{self._prefix}{generation}{'abcdef'[number]}": generation
            for generation, faults in wanted.items()
            for number in range(min(self._per_generation, faults))
        }
        if names:
            fresh([f"{name}={generation}" for name, generation in names.items()])
            self._open = [StandIn(name) for name in names]

    def close(self) -> None:
        """Take the hosts down."""
        for one in self._open:
            one.close()

    def say(self, text: str) -> None:
        """Print one line."""
        with self._said:
            print(text, flush=True)

    def _work(self, where: Place, mine: queue.SimpleQueue[Fault]) -> None:
        known = None
        while True:
            try:
                fault = mine.get_nowait()
            except queue.Empty:
                return
            try:
                known = known or Known(where)
                self._both(known, fault)
            except Exception:  # noqa: BLE001  (a test host that is broken must not end the others)
                self.say(f"{fault.id:<70} could not be tried:\n{traceback.format_exc()}")
                self._results.keep(fault, {"result": "could not be tried", "seconds": 0.0})
                where.reset()
                known = None

    def _both(self, known: Known, fault: Fault) -> None:
        harm = self._results.control(fault)
        begun = time.monotonic()
        if harm is None:
            harm = self._control(known, fault)
            self._results.keep_control(fault, harm)
        between = time.monotonic()
        if not self._results.survived(fault):
            entry = self._guarded(known, fault)
            entry["seconds"] = round(time.monotonic() - between, 1)
            self._results.keep(fault, entry)
            took = f"{entry['seconds']:.1f} + {between - begun:.1f} s"
            self.say(f"{fault.id:<70} {entry['result']:<9} unguarded: {harm:<11} {took}")
        else:
            # What its control suffered is known only now.
            self._results.keep(fault, self._results.of(fault))

    def _control(self, known: Known, fault: Fault) -> str:
        try:
            return str(_played(known, fault, guarded=False)["harm"])
        except Broken as problem:
            self.say(f"{fault.id:<70} control failed: {problem}")
            return f"failed: {problem}"
        finally:
            known.place.put_back()

    def _guarded(self, known: Known, fault: Fault) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        try:
            seen = _played(known, fault, guarded=True)
            return {"result": "survived", **seen}
        except Broken as problem:
            return {"result": f"BROKEN: {problem}"}
        finally:
            if seen.get("state") not in ("REVERTED", "none") or fault.actor in ("user", "clock"):
                known.place.put_back()


def _played(known: Known, fault: Fault, *, guarded: bool) -> dict[str, Any]:
    """Run a fault; again where its step fell to another process, which the product leaves to chance."""
    for number in range(1, _TRIES + 1):
        try:
            seen = SCENARIOS[fault.scenario](Run(known, fault, guarded=guarded))
            return {**seen, "tries": number} if number > 1 else seen
        except Missed:
            if number == _TRIES:
                raise
            known.place.put_back()
    raise AssertionError("a range has an end")


def fresh(names: Sequence[str]) -> None:
    """Boot hosts, or bring those that are up back to their start state."""
    there = [one.name for one in hosts.listed()]
    again = [name.partition("=")[0] for name in names if name.partition("=")[0] in there]
    hosts.together([functools.partial(hosts.reset, name, lambda text: None) for name in again])
    hosts.up(names, "auto", lambda text: None)
    with locked("inventory"):
        inventory.write(hosts.listed())


def record(prefix: str) -> None:
    """Write anew which steps the product takes, by one run of everything on each generation."""
    names = [f"{prefix}{generation}a={generation}" for generation in GENERATIONS]
    fresh(names)
    with ThreadPoolExecutor(len(names)) as pool:
        found = dict(zip(map(str, GENERATIONS), pool.map(_record_one, names), strict=True))
    STEPS.write_text(json.dumps(found, indent=1) + "\n", encoding="ascii")
    steps.cache_clear()


def _record_one(name: str) -> dict[str, list[str]]:
    known = Known(StandIn(name.partition("=")[0]))
    return {process: _steps(known, process) for process in ("drive", "watch", "boot")}


def _steps(known: Known, process: str) -> list[str]:
    change = ["arm", "apply server", "apply keys"]
    fault = Fault(known.place.generation, "", "recorder", "", "", process)
    run = Run(known, fault, guarded=True)
    run.probe("record")
    run.start(change)
    run.all_done()
    if process == "boot":
        run.place.cut_power()
        run.place.switch_on()
        run.place.await_up()
    run.until(6)
    lines = run.place.run(f"cat {HERE}/steps").stdout.decode().splitlines()
    run.place.put_back()
    if process == "drive":
        # It and the guardian clean up, and whoever comes first does; the run that did most has all of the steps.
        runs = [_confirming(known, fault, change) for _run in range(3)]
        most = max(runs, key=len)
        lines += most
    return [line.partition(":")[2] for line in lines]


def _confirming(known: Known, fault: Fault, change: list[str]) -> list[str]:
    run = Run(known, fault, guarded=True)
    run.probe("record")
    run.start([*change, "confirm"], harmless())
    run.all_done()
    confirmed = run.place.run(f"cat {HERE}/steps").stdout.decode().splitlines()
    run.place.put_back()
    return [line for line in confirmed if ":confirm-" in line]
