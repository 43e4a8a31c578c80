# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard as a state machine, exhaustively: every history up to a length, every switch between two actors.

How far is printed (``pytest -s``, and in the captured output). LATCHKEY_LONG=1 goes deeper: minutes, not seconds. The
last part breaks the guard on purpose, to see that each rule would notice.
"""

import contextlib
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "faults"))

import histories  # noqa: E402  (found only after the line above)
import onehost  # noqa: E402
import races  # noqa: E402
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Refused  # noqa: E402
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import arm, fence, guardian, snapshot  # noqa: E402
from onehost import ALICE, BOB, WRITES  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root's own files are written")

LONG = bool(os.environ.get("LATCHKEY_LONG"))
# The logic is the same on every Python; older ones get the shorter form.
NEW = sys.version_info >= (3, 10)


@pytest.fixture
def host():
    with onehost.one_host() as found:
        yield found


# ---- one after the other ---------------------------------------------------------------------------------------------


def explore(host, depth, crashes, **more):
    found, hosts = histories.Explorer(host, crashes, **more).run(depth)
    print("\n%d histories of up to %d acts with up to %d killed lead to %d hosts" % (found, depth, crashes, hosts))
    return found


def test_every_history_without_a_death(host):
    assert explore(host, 6 if LONG else 4, 0) > 9000


def test_every_history_with_one_death_at_any_step(host):
    names = None if LONG else ("write", "alice", "bob", "cancel", "guardian", "deadline", "restart")
    assert explore(host, 4 if LONG else 3 if NEW else 2, 1, names=names) > 1000


def test_every_history_after_all_writes(host):
    """What happens to a host that is changed and not confirmed yet is what matters most."""
    names = ("alice", "cancel", "guardian", "deadline", "restart")
    assert explore(host, 4 if LONG else 3 if NEW else 2, 1, names=names, written=True, operators=("alice",)) > 600


@pytest.mark.skipif(not NEW and not LONG, reason="seen on the newest Python")
def test_every_history_with_two_deaths(host):
    names = ("alice", "guardian", "deadline", "restart")
    assert explore(host, 3 if LONG else 2, 2, names=names, written=True, operators=("alice",)) > 1000


# ---- at once ---------------------------------------------------------------------------------------------------------


class Scene:
    """A host with an armed transaction, all written but one file and the reload, one of two operators confirmed."""

    def __init__(self, host, written=len(WRITES), confirmed=True):  # noqa: B008
        self.host, self.before = host, host.guarded()
        self.empty = host.keep()
        self.armed = host.arm()
        self.written = written
        for number in range(written):
            host.write(self.armed.id, number)
        host.reload(self.armed.id)
        host.machine.clock += 5
        if confirmed:
            assert self.confirm(BOB)["answer"] == "WAITING_FOR"
        self.kept = host.keep()

    def confirm(self, uid=ALICE):
        session = guardian.Session(uid, self.host.machine.clock)
        return guardian.confirm(self.host.at, self.armed.id, self.armed.nonce, session)

    def cancel(self):
        return guardian.cancel(self.host.at, self.armed.id, "a test")

    def extend(self):
        return guardian.extend(self.host.at, self.armed.id, 60)

    def write(self):
        return self.host.write(self.armed.id, len(WRITES) - 1)

    def reload(self):
        return self.host.reload(self.armed.id)

    def expire(self):
        """Let the deadline pass, and the guardian see it; returns how it stood then."""
        stood = self.host.state()["state"]
        self.host.past_deadline()
        self.host.guardian()
        return stood

    def actor(self, name):
        """Return one who acts; the guardian is known by its name."""
        return ("guardian" if name == "expire" else name, races.quiet(getattr(self, name)))


PAIRS = [
    ("confirm", "expire"),
    ("confirm", "cancel"),
    ("confirm", "confirm"),
    ("cancel", "expire"),
    ("cancel", "cancel"),
    ("write", "expire"),
    ("write", "cancel"),
    ("write", "confirm"),
    ("reload", "expire"),
    ("reload", "confirm"),
    ("extend", "expire"),
    ("extend", "confirm"),
    ("extend", "cancel"),
]


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_two_at_once(host, names):
    run_pair(Scene(host, written=len(WRITES) - 1), names, 2 if LONG or NEW and names in PAIRS[:3] else 1)


def run_pair(scene, names, bound):
    host, number = scene.host, 0
    actors = [scene.actor(name) for name in names]
    if names[0] == names[1]:
        actors[1] = (names[1] + " again", actors[1][1])
    for order, switches in races.schedules(host, scene.kept, actors, bound):
        host.back_to(scene.kept)
        number += 1
        done = races.Race(host, order, switches).run()
        hold(scene, [one.said for one in done.values()], "%s first, then %s" % (order[0][0], switches))
    print("\n%s: %d schedules with up to %d interruptions" % (" and ".join(names), number, bound))


def hold(scene, answers, story):
    """Let everything come to its end, and hold the host against the promise."""
    host, said = scene.host, set()
    for answer in [one["answer"] for one in answers if isinstance(one, dict)]:
        said.add({"REVERTED": "cancel REVERTED"}.get(answer, answer))
    if {"TOO_LATE", "cancel REVERTED", "EXTENDED"} & said and "COMMITTED" in said:
        # Late to be taken back, and to be moved away, is the other way round.
        said.discard("TOO_LATE")
    kept, first = host.guarded(), host.state()["state"]
    host.past_deadline()
    for _turn in range(6):
        host.guardian()
    try:
        histories.check(host, scene.before, first, kept, said)
    except histories.Broken as error:
        raise histories.Broken("%s\nafter %s: %s" % (error, story, answers)) from error


@pytest.mark.parametrize("name", ["confirm", "cancel", "extend", "write", "reload"])
def test_one_that_is_stopped_anywhere_holds_nobody_up(host, name):
    """The deadline passes while an actor is stopped (SIGSTOP) at any of its steps; later it goes on."""
    freeze(Scene(host, written=len(WRITES) - 1), name)


def freeze(scene, name):
    host = scene.host
    actors = [scene.actor(name), scene.actor("expire")]
    host.back_to(scene.kept)
    points = races.Race(host, actors, []).run()[name].points
    for point in range(1, points + 1):
        host.back_to(scene.kept)
        began = host.machine.clock
        done = races.Race(host, actors, [(0, point)], frozen=(0, point)).run()
        took = host.machine.clock - began - (arm.LONGEST + 60)
        # Clearing away is in no hurry.
        if took > 20 and done["guardian"].said in guardian.OPEN + (guardian.REVERTING,):
            raise histories.Broken("%s stopped at point %d: the way back took %g s" % (name, point, took))
        hold(scene, [one.said for one in done.values()], "%s stopped at point %d" % (name, point))
    print("\n%s: stopped at each of %d points" % (name, points))


def test_two_who_arm(host):
    arm_twice(host, 2 if LONG else 1)


def arm_twice(host, bound):
    before, kept, number = host.guarded(), host.keep(), 0
    actors = [("arm", races.quiet(host.arm)), ("arm too", races.quiet(host.arm))]
    for order, switches in races.schedules(host, kept, actors, bound):
        host.back_to(kept)
        number += 1
        said = [one.said for one in races.Race(host, order, switches).run().values()]
        armed = [one for one in said if isinstance(one, arm.Armed)]
        if len(armed) != 1:
            raise histories.Broken("armed: %s after %s" % (said, switches))
        for write in range(len(WRITES)):
            problem = host.write(armed[0].id, write)
            if problem is not None:
                raise histories.Broken("the one that is armed takes no writes: %s after %s" % (problem, switches))
        host.reload(armed[0].id)
        scene = type("Scene", (), {"host": host, "before": before})
        hold(scene, [], "%s, %s" % (order[0][0], switches))
    print("\narm and arm: %d schedules" % number)


def test_one_who_arms_while_the_last_one_is_still_being_finished(host):
    finish_late(host, 2 if LONG else 1)


def finish_late(host, bound):
    scene, number = Scene(host), 0
    # Whoever confirmed died before anything was cleared away, and the guardian is at it.
    state = host.state()
    state.update(state=guardian.COMMITTED, over="now")
    guardian.save(host.places, state)
    kept, after = host.keep(), host.guarded()
    actors = [("guardian", host.guardian), ("arm", races.quiet(host.arm))]
    for order, switches in races.schedules(host, kept, actors, bound):
        host.back_to(kept)
        number += 1
        said = races.Race(host, order, switches).run()["arm"].said
        if not isinstance(said, arm.Armed):
            raise histories.Broken("not armed: %s after %s" % (said, switches))
        if not host.machine.guards:
            raise histories.Broken("nobody guards it after %s" % switches)
        scene.before = after
        hold(scene, [], str(switches))
    print("\nfinish and arm: %d schedules" % number)


# ---- each rule notices -----------------------------------------------------------------------------------------------


def broken_decide(real):
    return lambda state, now, rebooted: (
        guardian.WAIT
        if real(state, now, rebooted=rebooted) == guardian.REVERT
        else (real(state, now, rebooted=rebooted))
    )


def commit_is_taken_back(real):
    def decide(state, now, rebooted):
        found = real(state, now, rebooted=rebooted)
        return guardian.REVERT if found == guardian.COMMIT else found

    return decide


def forget_reboots(real):
    return lambda places, state: False


def without_lateness(real):
    def problem(at, state, asked, who):
        return None if state["state"] in guardian.OPEN else real(at, state, asked, who)

    return problem


def old_sessions_too(real):
    return lambda at, state, asked, who: real(at, state, asked, who and who._replace(began=float("inf")))


def any_nonce(real):
    return lambda at, state, asked, who: real(at, state, (asked[0], None), who)


def nothing(real):
    return lambda *arguments, **more: None


def no_problems(real):
    return lambda *arguments, **more: guardian._Found([], [])


def all_but_one_file(real):
    return lambda places, state, entry: "" if entry["path"].endswith("sshd_config") else real(places, state, entry)


def modes_stay(real):
    return lambda handle, entry: None


def no_lock(real):
    @contextlib.contextmanager
    def locked(at, name, **more):
        os.makedirs(at.places.run, exist_ok=True)
        yield

    return locked


def patient(real):
    return lambda at, name, shared=False, patience=None, working=0.0: real(at, name, shared=shared)


def no_revert_lock_for_arm(real):
    @contextlib.contextmanager
    def locked(at, name, **more):
        if name == "revert" and more.get("patience") == arm._OTHERS_PATIENCE:
            yield
        else:
            with real(at, name, **more):
                yield

    return locked


def not_late(real):
    def open_state(self):
        state = guardian.load(self._at.places)
        if state["state"] not in guardian.OPEN:
            raise Refused("it is over", "", "")
        return state

    return open_state


def always_open(real):
    return lambda self: guardian.load(self._at.places)


def no_write_lock(real):
    @contextlib.contextmanager
    def locked(at, name, **more):
        if name == "write":
            yield
        else:
            with real(at, name, **more):
                yield

    return locked


def committed_before_all_have(real):
    def save(places, state):
        if state["confirmed"] and state["state"] in guardian.OPEN:
            state["state"] = guardian.COMMITTING
        real(places, state)

    return save


def after_first(real):
    """Forget that a file was written until it is written a second time."""
    return lambda places, state, touches: [dict(entry) for entry in real(places, state, touches)]


def by_histories(host, depth=2, **more):
    histories.Explorer(host, 1, **more).run(depth)


def after_writes(host, depth=2):
    by_histories(host, depth, written=True)


def alice_and_the_clock(host):
    by_histories(host, names=("alice", "deadline"))


def pair(*names):
    return lambda host: run_pair(Scene(host, written=len(WRITES) - 1), names, 1)


def stopped(name):
    return lambda host: freeze(Scene(host, written=len(WRITES) - 1), name)


MUTANTS = [
    (guardian, "decide", broken_decide, by_histories, "is not over"),
    (guardian, "decide", commit_is_taken_back, after_writes, "for ever"),
    (guardian, "rebooted", forget_reboots, after_writes, "is not over|nobody|mix|left"),
    (guardian, "_confirm_problem", without_lateness, alice_and_the_clock, "after the deadline"),
    (guardian, "_confirm_problem", old_sessions_too, by_histories, "who may not"),
    (guardian, "_confirm_problem", any_nonce, by_histories, "who may not"),
    (guardian, "_remove_units", nothing, by_histories, "left"),
    (guardian, "_leave_directories", nothing, by_histories, "left"),
    (guardian, "follow", no_problems, after_writes, "sshd has not read"),
    (guardian, "_restore_root", all_but_one_file, after_writes, "mix"),
    (guardian, "_restore_home", lambda real: lambda *unused: "", after_writes, "mix"),
    (guardian, "_dress", modes_stay, after_writes, "mix"),
    (guardian, "locked", no_lock, pair("confirm", "cancel"), None),
    (guardian, "locked", no_write_lock, pair("write", "expire"), "mix"),
    (guardian, "locked", patient, stopped("write"), "wait for each other|took"),
    (guardian, "locked", no_revert_lock_for_arm, lambda host: arm_twice(host, 1), None),
    (guardian, "locked", no_revert_lock_for_arm, lambda host: finish_late(host, 1), None),
    (fence.Fence, "_open_state", always_open, pair("write", "cancel"), "mix|not over"),
    (fence.Fence, "_open_state", not_late, by_histories, "write after the deadline"),
    (guardian, "save", committed_before_all_have, after_writes, "confirmed by"),
    (snapshot, "_absent", lambda real: lambda *unused: [], after_writes, "mix"),
]


@pytest.mark.parametrize(
    "where, name, change, look, words", MUTANTS, ids=lambda value: getattr(value, "__name__", None) or str(value)[:20]
)
@pytest.mark.skipif(not NEW and not LONG, reason="seen on the newest Python")
def test_a_broken_guard_is_noticed(monkeypatch, where, name, change, look, words):
    with onehost.one_host() as host:
        monkeypatch.setattr(where, name, change(getattr(where, name)))
        with pytest.raises(onehost.Endless, match=words):
            look(host)
