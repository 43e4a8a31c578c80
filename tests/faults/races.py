# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two actors at once on one host, switched from one to the other at every step that the other can see.

Each actor is a thread, and only one runs at a time: who, and for how long, is what a schedule says. Python 3.6, too.
"""

import collections
import contextlib
import os
import threading

import onehost
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import guardian
from histories import Broken

# What another actor can see; the rest are steps on files under names of one's own.
_VISIBLE = ("rename", "unlink", "mkdir", "rmdir", "link", "run")
# ``locked`` waits for as long between two tries; whoever waits longer waits for the clock.
_TRYING = 0.02
_FOREVER = 400

Done = collections.namedtuple("Done", "said points")


class Actor(threading.Thread):
    """One who acts: runs until its next step whenever it is resumed."""

    def __init__(self, race, name, work):
        super().__init__(daemon=True)
        self.race, self.label, self.work = race, name, work
        self.go, self.points, self.said, self.unit = threading.Semaphore(0), 0, None, None
        self.over = self.killed = self.blocked = False
        self.error = None

    def run(self):
        """Do the work, in turns."""
        self.go.acquire()
        try:
            if not self.killed:
                self.said = self.work()
        except (onehost.Crash, onehost.Turn):
            pass
        except BaseException as error:  # noqa: B036  (whatever it is is told by the race)
            self.error = error
        self.over = True
        self.race.back.release()

    def point(self, blocked=False):
        """Let the schedule decide who goes on."""
        if self.killed:
            raise onehost.Crash()
        self.points += 1
        self.blocked, self.unit = blocked, os.environ.get("LATCHKEY_UNIT")
        self.race.back.release()
        self.go.acquire()
        if self.killed:
            raise onehost.Crash()


class Race:
    """One run of several actors on ``host``; ``switches`` says after how many points who is interrupted."""

    def __init__(self, host, actors, switches, frozen=None):
        self.host, self.back = host, threading.Semaphore(0)
        self.actors = [Actor(self, name, work) for name, work in actors]
        self.switches, self.frozen = list(switches), frozen
        self.holders = collections.defaultdict(list)
        self.current = None

    def run(self):
        """Run to the end; returns what each actor said and how many points it had."""
        host = self.host
        host.steps.begin()
        saved = host.steps.note, host.waits, host.killer, host.machine.stopped
        host.steps.note, host.waits = self._note, self._wait
        host.killer, host.machine.stopped = self._kill_holders, self._kill_guardian
        try:
            with self._watched():
                for actor in self.actors:
                    actor.start()
                self._schedule()
        finally:
            host.steps.note, host.waits, host.killer, host.machine.stopped = saved
        for actor in self.actors:
            if actor.error is not None:
                raise Broken("%s: %r" % (actor.label, actor.error)) from actor.error
        return {actor.label: Done(actor.said, actor.points) for actor in self.actors}

    def _schedule(self):
        turn, idle = 0, 0
        while True:
            alive = [actor for actor in self.actors if not actor.over]
            if not alive:
                return
            dying = [actor for actor in alive if actor.killed]
            actor = dying[0] if dying else self._choose(alive, turn)
            if actor is None:
                if all(one is self.frozen_actor for one in alive):
                    self._thaw()
                    continue
                self.host.machine.clock += 0.1
                idle += 1
                if idle > _FOREVER:
                    raise Broken("they wait for each other: %s" % [one.label for one in alive])
                for one in alive:
                    one.blocked = False
                continue
            turn = self._resume(actor, turn)

    def _resume(self, actor, turn):
        """Let an actor go on to its next point; returns whose turn it is then."""
        self.current = actor
        before, os.environ["LATCHKEY_UNIT"] = os.environ.get("LATCHKEY_UNIT"), actor.unit or ""
        actor.go.release()
        self.back.acquire()
        os.environ.pop("LATCHKEY_UNIT")
        if before is not None:
            os.environ["LATCHKEY_UNIT"] = before
        place = self.actors.index(actor)
        if not actor.blocked and not actor.over:
            for other in self.actors:
                other.blocked = False
        if self.switches and self.switches[0][0] == place and actor.points >= self.switches[0][1]:
            self.switches.pop(0)
            return (place + 1) % len(self.actors)
        return (place + 1) % len(self.actors) if actor.over or actor.blocked else place

    def _choose(self, alive, turn):
        for step in range(len(self.actors)):
            actor = self.actors[(turn + step) % len(self.actors)]
            if actor in alive and not actor.blocked and not self._is_frozen(actor):
                return actor
        return None

    @property
    def frozen_actor(self):
        """The actor that is stopped at a point, for as long as others go on."""
        if self.frozen is None:
            return None
        actor = self.actors[self.frozen[0]]
        return actor if actor.points >= self.frozen[1] else None

    def _is_frozen(self, actor):
        return actor is self.frozen_actor

    def _thaw(self):
        self.frozen = None

    # --- what actors meet -------------------------------------------------------------------------------------------

    def _me(self):
        return self.current

    def _note(self, what, arguments, more):
        if what in _VISIBLE:
            self._me().point()

    def _wait(self, seconds):
        if seconds != _TRYING:
            raise onehost.Turn()
        self._me().point(blocked=True)

    def _kill_holders(self, path):
        for actor in self.holders[os.path.basename(path)]:
            if actor is not self._me():
                actor.killed = True

    def _kill_guardian(self):
        for actor in self.actors:
            if actor.label == "guardian" and actor is not self._me() and not actor.over:
                actor.killed = True

    @contextlib.contextmanager
    def _watched(self):
        locked, load = guardian.locked, guardian.load

        @contextlib.contextmanager
        def watched(at, name, **more):
            me = self._me()
            me.point()
            self.holders[name + ".lock"].append(me)
            try:
                with locked(at, name, **more):
                    yield
            finally:
                self.holders[name + ".lock"].remove(me)

        def reading(places):
            self._me().point()
            return load(places)

        guardian.locked, guardian.load = watched, reading
        try:
            yield
        finally:
            guardian.locked, guardian.load = locked, load


def quiet(work):
    """Return ``work`` with what the product refuses as its answer."""

    def call():
        try:
            return work()
        except LatchkeyError as error:
            return "refused: %s" % error

    return call


def schedules(host, kept, actors, bound):
    """Yield every schedule with at most ``bound`` interruptions, from the points that runs without them have."""
    for first in range(len(actors)):
        order = actors[first:] + actors[:first]
        yield order, []
        host.back_to(kept)
        points = [done.points for done in _run(host, order, []).values()]
        for one in range(1, points[0] + 1):
            yield order, [(0, one)]
            if bound > 1:
                for two in range(1, points[1] + 1):
                    yield order, [(0, one), (1, two)]


def _run(host, order, switches):
    return Race(host, order, switches).run()
