# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of one fault on one host: what is asked of the product there, and where it is stopped."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from typing import Any

from . import judge, place
from .catalog import Fault
from .judge import Broken, Missed, Told
from .place import HERE, PYTHON, Place

TIMEOUT = 5


def lockout() -> dict[str, Any]:
    """Return a desired state that shuts the operator out: by name, and by taking its key away."""
    accounts = [{"user": place.OPERATOR, "key": [place.public_key()], "state": "absent"}]
    server = {"methods": ["publickey"], "settings": {"DenyUsers": place.OPERATOR}}
    return {"server": server, "keys": {"accounts": accounts}}


def harmless() -> dict[str, Any]:
    """Return a desired state that can be confirmed."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdXyRPgtRIDyvyAnmaP3vFeOp3PKdVb+C3TvPbZ2hq4 another"
    server = {"methods": ["publickey"], "settings": {"MaxAuthTries": "4"}}
    return {"server": server, "keys": {"accounts": [{"user": place.OPERATOR, "key": [key]}]}}


class Known:
    """A host with what is known of it: everything as it was before, and as each completed change leaves it."""

    def __init__(self, where: Place) -> None:
        self.place = where
        place.prepare(where)
        where.keep()
        self.before = place.tree(where)
        self._new: dict[str, dict[str, str]] = {}
        self.new(lockout())

    def new(self, desired: dict[str, Any]) -> dict[str, str]:
        """Return everything as a completed change leaves it, tried once without a guardian."""
        name = json.dumps(desired, sort_keys=True)
        if name not in self._new:
            run = Run(self, Fault(self.place.generation, "", "", "", ""), guarded=False)
            run.start(["arm", "apply server", "apply keys", "confirm"], desired)
            run.finish()
            self._new[name] = place.tree(self.place)
            self.place.put_back()
        return self._new[name]


class Run:
    """One run. Without a guardian, everything happens but its work (and nobody takes anything back)."""

    def __init__(self, known: Known, fault: Fault, *, guarded: bool) -> None:
        self.known, self.place, self.fault, self.guarded = known, known.place, fault, guarded
        self.told = Told()
        self.timeout = TIMEOUT * known.place.pace
        self.transaction: dict[str, Any] = {}
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._process: subprocess.Popen[bytes] | None = None

    # --- the probe ---------------------------------------------------------------------------------------------------

    def probe(self, do: str = "", *, clean: bool = True) -> None:
        """Lay the plan for the probe; a run that needs none has none. ``clean``: what earlier runs left goes."""
        plan = {"process": self.fault.process, "step": self.fault.step, "do": do} if do else {}
        if not self.guarded:
            plan = {
                **(plan if self.fault.process == "drive" else {"process": "", "step": "", "do": ""}),
                "guardian": "off",
            }
        place.plan(self.place, plan, clean=clean)

    def reached(self, seconds: float) -> bool:
        """Wait until the probe is where the plan says; False where that did not happen."""
        loops = int(seconds * self.place.pace / 0.05)
        script = f"i=0; while [ ! -e {HERE}/reached ]; do i=$((i+1)); [ $i -lt {loops} ] || exit 1; sleep 0.05; done"
        return self.place.run(script, check=False).returncode == 0

    def need_reached(self, seconds: float) -> None:
        """Wait until the probe is where the plan says; the product may take other steps than when they were noted."""
        if not self.reached(seconds):
            said = [self._events.get() for _number in range(self._events.qsize())]
            problem = f"step {self.fault.step} was not met (faults --record?); said: {said}"
            # A change that went wrong is no chance: trying again would hide it.
            raise (Broken if any(one and one["event"] == "refused" for one in said) else Missed)(problem)

    def release(self) -> None:
        """Let a process that waits at its step go on, and disks take writes."""
        self.place.run(f"touch {HERE}/go")

    # --- the change --------------------------------------------------------------------------------------------------

    def start(self, steps: list[str], desired: dict[str, Any] | None = None, **more: Any) -> None:
        """Begin to change the host; returns once that is armed or has ended."""
        asked = {"steps": steps, "desired": desired or lockout(), "timeout": self.timeout, **more}
        if not self.fault.actor:
            place.plan(self.place, {"process": "", "step": "", "do": "", "guardian": "off"})
        self._events = queue.Queue()
        self._process = self.place.start(f"{PYTHON}exec $p -I -B {HERE}/drive.py '{json.dumps(asked)}'")
        threading.Thread(target=self._read, args=(self._process, self._events), daemon=True).start()
        if steps[0] == "arm" and self.fault.scenario != "arming":
            self.armed()

    def _read(self, process: subprocess.Popen[bytes], events: queue.Queue[dict[str, Any] | None]) -> None:
        assert process.stdout
        for line in process.stdout:
            if line.startswith(b"{"):
                events.put(json.loads(line))
        events.put(None)

    def armed(self) -> None:
        """Wait until the change is armed, or ends before that."""
        event = self._next(40 * self.place.pace)
        if event and event["event"] == "armed":
            self.transaction = {name: event[name] for name in ("id", "nonce", "timeout")}
            self._announced(event)
        else:
            raise Broken(f"it was not armed: {event or self._error()}")

    def _announced(self, said: dict[str, Any]) -> None:
        self.told = self.told._replace(deadline=place.here(said))

    def _error(self) -> str:
        assert self._process and self._process.stderr
        return self._process.stderr.read().decode(errors="replace").strip()[-300:]

    def _next(self, seconds: float) -> dict[str, Any] | None:
        try:
            return self._events.get(timeout=seconds)
        except queue.Empty:
            return None

    def finish(self) -> list[dict[str, Any]]:
        """Wait until the change has ended; returns what it said."""
        said = []
        while (event := self._next(40 * self.place.pace)) is not None:
            said.append(event)
            if event["event"] == "armed":
                self._announced(event)
        if said and said[-1]["event"] == "confirmed":
            self.told = self.told._replace(answer=said[-1]["answer"])
        return said

    def all_done(self) -> None:
        """Wait until the change has ended, and see that it did what was asked."""
        said = self.finish()
        if said and said[-1]["event"] == "refused":
            raise Broken(f"the change itself was refused: {said[-1]['error']}")

    # --- power -------------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Reboot the host."""
        self.place.restart()
        self.told = self.told._replace(up_again=place.now())

    def power_cut(self) -> None:
        """Cut the power of the host, and switch it on again."""
        self.place.cut_power()
        self.place.switch_on()
        self.place.await_up()
        self.told = self.told._replace(up_again=place.now())

    def until(self, after_deadline: float) -> None:
        """Wait until so many seconds after the deadline."""
        assert self.told.deadline is not None
        time.sleep(max(0.0, self.told.deadline + after_deadline - place.now()))

    def background(self, body: str, after_deadline: float) -> None:
        """Have root do something again and again on the host until so many seconds after the deadline."""
        seconds = int((self.told.deadline or place.now() + self.timeout) + after_deadline - place.now())
        clock = "$(cut -d. -f1 /proc/uptime)"
        loop = f"end=$(({clock} + {seconds})); while [ {clock} -lt $end ]; do {body}; done"
        self.place.run(f"setsid sh -c '{loop}' faults-loop >/dev/null 2>&1 </dev/null &")

    # --- the verdict -------------------------------------------------------------------------------------------------

    def verdict(self, new: dict[str, str] | None = None) -> dict[str, Any]:
        """Hold the host against the promise; without a guardian, say what it suffers."""
        if self.guarded:
            return judge.check(self.place, self.known.before, new, self.told)
        completed = new if new is not None else self.known.new(lockout())
        return {"harm": judge.harm(self.place, self.known.before, completed, self.told)}
