# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every history of a transaction up to a length: who acts when, who is killed at which step, when the host restarts.

Histories that lead to the same host are followed once; how many they are is counted. Python 3.6 and newer.
"""

import collections
import hashlib
import json
import os

import onehost
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import guardian
from onehost import ALICE, BOB, WRITES

OVER = guardian.OVER
# Fields of the journal that tell times; the answers to "is it late?" and "is this session old?" are kept instead.
_TIMES = ("deadline", "last_write", "cap", "over", "began")
_ANSWERS = ("COMMITTED", "TOO_LATE", "REVERTED")

Place = collections.namedtuple("Place", "kept written crashes said restarted heard")
Place.__doc__ = """Where a history has led: the host, how many writes were made (the reload is the last), how many
actors were killed, what was answered, whether the host was restarted, and who has confirmed since the last write."""


class Broken(onehost.Endless):
    """The promise did not hold; says after which history."""


class Explorer:
    """Follows all histories of one armed transaction on ``host``."""

    def __init__(self, host, crashes=1, names=None, **more):
        """Begin with an armed transaction.

        Args:
            crashes: how many actors may be killed.
            names: who acts; everybody by default.
            more: ``written`` (everything is, at the beginning), ``operators``, and ``deaths``: who may be killed.
        """
        self.host, self.most = host, crashes
        self.actors = [(name, do) for name, do in self._all() if names is None or name in names]
        self.mortal = more.get("deaths") or [name for name, _do in self.actors if name != "deadline"]
        self.before = host.guarded()
        self.armed = host.arm(more.get("operators") or ("alice", "bob"))
        self.start = Place(host.keep(), 0, 0, frozenset(), False, frozenset())
        self.operators = frozenset(self.host.state()["operators"])
        if more.get("written"):
            for number in range(len(WRITES) + 1):
                self._write(self.start._replace(written=number))
            self.start = self.start._replace(kept=host.keep(), written=len(WRITES) + 1)

    def _all(self):
        return [
            ("write", self._write),
            ("alice", lambda place: self._confirm(ALICE, place)),
            ("bob", lambda place: self._confirm(BOB, place)),
            ("stale", lambda place: self._confirm(ALICE, place, stale=True)),
            ("nonce", lambda place: self._confirm(ALICE, place, nonce="wrong")),
            ("cancel", self._cancel),
            ("extend", self._extend),
            ("guardian", self._guardian),
            ("deadline", self._deadline),
            ("restart", self._restart),
        ]

    # --- what may happen --------------------------------------------------------------------------------------------

    def _write(self, place):
        if place.written > len(WRITES):
            return None
        late = self.late()
        if place.written == len(WRITES):
            problem = self.host.reload(self.armed.id)
        else:
            problem = self.host.write(self.armed.id, place.written)
        if late and problem is None:
            raise Broken("a write after the deadline")
        return ""

    def _confirm(self, uid, place, stale=False, nonce=None):
        state = self.host.state()
        late = self.late() and state["state"] in guardian.OPEN
        session = guardian.Session(uid, state["last_write"] - 1 if stale else self.host.machine.clock)
        done = guardian.confirm(self.host.at, self.armed.id, nonce or self.armed.nonce, session)
        if (stale or nonce) and done["answer"] in ("WAITING_FOR", "COMMITTED"):
            over = state["state"] in (guardian.COMMITTING, guardian.COMMITTED)
            if nonce or not over:
                raise Broken("it was confirmed by who may not")
        if late and done["answer"] != "TOO_LATE" and not stale and not nonce:
            raise Broken("confirmed after the deadline")
        return done["answer"] if done["answer"] in _ANSWERS else ""

    def _cancel(self, place):
        done = guardian.cancel(self.host.at, self.armed.id, "a test")
        # TOO_LATE of a cancellation means the opposite of that of a confirmation.
        return {"REVERTED": "REVERTED", "TOO_LATE": "COMMITTED"}.get(done["answer"], "")

    def _extend(self, place):
        late = self.late()
        if guardian.extend(self.host.at, self.armed.id, 60)["answer"] == "EXTENDED" and late:
            raise Broken("extended after the deadline")
        return ""

    def _guardian(self, place):
        if not self.host.machine.guards:
            return None
        self.host.guardian()
        return ""

    def _deadline(self, place):
        if self.late():
            return None
        self.host.past_deadline()
        return ""

    def _restart(self, place):
        self.host.restart()
        return ""

    def late(self):
        """Say whether the deadline has passed."""
        return self.host.machine.clock >= self.host.state()["deadline"]

    # --- all of it --------------------------------------------------------------------------------------------------

    def run(self, depth):
        """Follow every history of up to ``depth`` acts; returns how many there are, and to how many hosts they lead."""
        layer = {self.key(self.start): (self.start, 1, ())}
        seen, histories = set(layer), 1
        self.close(self.start, ())
        for _length in range(depth):
            following = {}
            for place, number, story in layer.values():
                for label, new in self._acts(place, story):
                    key, told = self.key(new), story + (label,)
                    histories += number
                    if key not in seen:
                        seen.add(key)
                        self.close(new, told)
                    old = following.get(key)
                    following[key] = (new, number + (old[1] if old else 0), old[2] if old else told)
            layer = following
        return histories, len(seen)

    def _acts(self, place, story):
        """Yield what one more act leads to: the act as a whole, and killed at each of its steps."""
        for name, do in self.actors:
            self.host.back_to(place.kept)
            # Whoever logs in now does so after everything before.
            self.host.machine.clock += 1
            deaths = []
            self.host.steps.begin()
            mortal = place.crashes < self.most and name in self.mortal
            self.host.steps.note = self._recorder(deaths) if mortal else None
            try:
                said = do(place)
            except Broken as error:
                raise Broken("%s\nafter %s" % (error, " ".join(story + (name,)))) from error
            except onehost.Turn:
                said = ""
            finally:
                self.host.steps.note = None
            if said is None:
                continue
            yield name, self._after(place, self.host.keep(), name, said)
            for number, kept in deaths:
                if name == "restart":
                    # The unit of early boot was killed; the rest of the boot goes on.
                    self.host.back_to(kept)
                    self.host.end_of_boot()
                    kept = self.host.keep()
                yield "%s!%d" % (name, number), self._after(place, kept, name, None)

    def _after(self, place, kept, name, said):
        heard = place.heard if _last_write(kept) == _last_write(place.kept) else frozenset()
        heard |= {name} & self.operators
        place = place._replace(kept=kept, heard=heard, restarted=place.restarted or name == "restart")
        if said is None:
            place = place._replace(crashes=place.crashes + 1)
        elif name == "write":
            place = place._replace(written=place.written + 1)
        if said:
            place = place._replace(said=place.said | {said if name != "cancel" else "cancel " + said})
        return place

    def _recorder(self, deaths):
        """Return what notes the host as it is at each step: that is what a kill there leaves."""
        last = ["", None]

        def note(what, arguments, more):
            kept = last[1] if last[0] in ("fsync", "fchown") else self.host.keep()
            if last[1] != kept:
                deaths.append((self.host.steps.seen, kept))
            last[:] = [what, kept]
            if what == "write":
                torn = _torn(self.host, kept, *arguments)
                deaths.append((self.host.steps.seen, torn))

        return note

    def key(self, place):
        """Return what tells one host from another, times left out."""
        tree, (clock, guards, read, runs) = place.kept
        told, late = [], None
        for path in sorted(tree):
            mode, data = tree[path]
            if path.endswith(".json") and data:
                try:
                    state = json.loads(data.decode())
                except ValueError:
                    state = None
                if path == "var/latchkey/transaction.json":
                    late = clock >= state["deadline"]
                if state is not None:
                    data = json.dumps([one for one in sorted(state.items()) if one[0] not in _TIMES]).encode()
            told.append((path, mode, data))
        people = (place.written, place.crashes, place.restarted, sorted(place.heard), sorted(place.said))
        text = repr((told, late, guards, read, runs, people))
        return hashlib.md5(text.encode()).digest()

    # --- the promise ------------------------------------------------------------------------------------------------

    def close(self, place, story):
        """Let the deadline pass, with and without a restart, and hold the host against the promise."""
        for restart in (False, True):
            self.host.back_to(place.kept)
            self.host.steps.begin()
            try:
                self._settle(place, restart)
            except Broken as error:
                told = " ".join(story) + (" restart" if restart else "")
                raise Broken("%s\nafter: %s" % (error, told)) from error

    def _settle(self, place, restart):
        host = self.host
        first = host.state()["state"]
        kept = host.guarded()
        if first in (guardian.COMMITTING, guardian.COMMITTED) and place.heard != self.operators:
            raise Broken("it is committed, and confirmed by %s only" % sorted(place.heard))
        if restart:
            host.restart()
            if first in guardian.OPEN:
                check_boot(host, self.before)
        else:
            host.past_deadline()
        for _turn in range(6):
            if host.machine.guards:
                host.guardian()
        check(host, self.before, first, kept, place.said, restarted=restart or place.restarted)


def check(host, before, first, kept, said, restarted=False):
    """Hold a host whose transaction must be over against the promise.

    ``before`` are the files before the transaction, ``kept`` those at the moment in which its state was ``first``, and
    ``said`` the answers that people got.
    """
    state = host.state()
    if state["state"] not in OVER:
        raise Broken("it is not over: %s %s" % (state["state"], state["problems"]))
    if first in (guardian.COMMITTING, guardian.COMMITTED) and state["state"] != guardian.COMMITTED:
        raise Broken("what was committed is %s" % state["state"])
    now = host.guarded()
    wanted = kept if state["state"] == guardian.COMMITTED else before
    if now != wanted:
        wrong = sorted(path for path in set(now) | set(wanted) if now.get(path) != wanted.get(path))
        raise Broken("%s, but a mix: %s" % (state["state"], {one: (now.get(one), wanted.get(one)) for one in wrong}))
    committed = state["state"] == guardian.COMMITTED
    if ("COMMITTED" in said or "cancel COMMITTED" in said) and not committed:
        raise Broken("it was answered COMMITTED and is %s" % state["state"])
    if ("TOO_LATE" in said or "cancel REVERTED" in said) and committed:
        raise Broken("it was answered %s and is COMMITTED" % sorted(said))
    # Nobody is there to remove a unit file after a restart that came between it and the link that enabled it.
    inert = ["units/" + onehost.GUARD, "units/" + onehost.BOOT] if restarted else []
    remains = [one for one in host.remains() if one not in inert]
    if remains:
        raise Broken("left: %s" % remains)
    # Of what is kept, the reload is an act of its own.
    if not host.machine.runs or (not committed and host.machine.read != host.configuration()):
        raise Broken("sshd has not read what is there")


def _last_write(kept):
    return json.loads(kept[0]["var/latchkey/transaction.json"][1].decode())["last_write"]


def check_boot(host, before):
    """Hold a host that was started anew against the promise: sshd has never seen what nobody confirmed."""
    wanted = tuple(sorted((path, what) for path, what in before.items() if path.startswith("etc/")))
    if host.machine.read != wanted:
        raise Broken("sshd has started with what nobody confirmed")


def _torn(host, kept, handle, data):
    """Return the host with half of what is being written."""
    path = os.path.relpath(os.readlink("/proc/self/fd/%d" % handle), host.root)
    tree, machine = kept
    mode, content = tree[path]
    half = content + bytes(data)[: len(data) // 2]
    return dict(tree, **{path: (mode, half)}), machine
