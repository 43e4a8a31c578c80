# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault there is, made from its axes: generation, state or journal step, actor, kind.

A cell of actor x kind x state is a fault, or stands in ``REASONS`` with why there is none; a test compares.
The journal steps are those that a run of the product took (``steps.json``, written anew by ``faults --record``).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GENERATIONS = (8, 9, 10)
STEPS = Path(__file__).resolve().parents[1] / "steps.json"
STATES = "PREPARED ARMED APPLIED COMMITTING COMMITTED REVERTING REVERTED REVERT_FAILED".split()
# Who may die or misbehave, and how. Each kind meets every state, or there is a reason.
KINDS = {
    "guardian": ("killed", "killed-again-and-again"),
    "applier": ("killed", "frozen"),
    "host": ("restarted", "power-cut"),
    "sshd": ("killed", "stopped", "frozen", "bad-line"),
    "manager": ("daemon-reload-loop",),
    "disk": ("full", "read-only"),
    "user": ("links-swapped",),
    "confirmer": ("late", "stale-session", "wrong-nonce", "killed", "raced"),
    "second": ("arms", "reverts", "writes"),
    "controller": ("killed",),
    "network": ("cut", "new-cut", "reply-lost"),
}
# Meant for both halves of a disk: where the journal lies, and where the configuration does.
DISKS = {"full": ("journal", "configuration"), "read-only": ("journal", "configuration")}
OVER_ALREADY = "the transaction is over: nothing of it is left that this could meet"
KEPT_ALREADY = "what was confirmed stays: no revert follows that this could hinder"
REASONS: dict[tuple[str, str, str], str] = {}


class Fault(NamedTuple):
    """One fault. ``control`` names the unguarded experiment that shows its harm; ids that share one share its run."""

    generation: int
    point: str
    actor: str
    kind: str
    scenario: str
    process: str = ""
    step: str = ""
    control: str = ""
    short: bool = False

    @property
    def id(self) -> str:
        """Return its name."""
        return f"{self.generation}/{self.point}/{self.actor}/{self.kind}"

    @property
    def possible(self) -> bool:
        """Say whether there is anything that could be harmed: nothing is before the first write and after a commit."""
        return self.scenario not in ("arming", "committing", "race", "batch", "reply", "handler")

    @property
    def control_id(self) -> str:
        """Return the name of the unguarded experiment."""
        return f"{self.generation}/{self.control or f'{self.point}/{self.actor}/{self.kind}'}"


def reason(actor: str, kinds: str, states: str, text: str) -> None:
    """Say why there is no fault in some cells."""
    for kind in kinds.split() if kinds != "*" else KINDS[actor]:
        for state in states.split():
            REASONS[actor, kind, state] = text


reason("guardian", "*", "COMMITTED", OVER_ALREADY)
reason("guardian", "killed-again-and-again", "REVERTED", OVER_ALREADY)
reason("guardian", "killed-again-and-again", "PREPARED", "arming waits for the guardian's report and gives up without")
reason("applier", "frozen", "PREPARED", "nothing is written before the host is armed; who arms is killed at each step")
reason("applier", "*", "ARMED", "the first write makes it APPLIED: killed and frozen before it at apply-server-01")
reason("applier", "*", "COMMITTING COMMITTED REVERTED", OVER_ALREADY)
reason("applier", "*", "REVERTING REVERT_FAILED", "a writer that holds on is killed by the revert: frozen at its steps")
reason("sshd", "*", "PREPARED", "nothing of sshd has changed, and nothing will")
reason(
    "sshd", "*", "COMMITTING COMMITTED REVERTED", "no guardian any more: an sshd that dies then is like any other day"
)
reason("manager", "*", "COMMITTED REVERTED", OVER_ALREADY)
reason("disk", "*", "PREPARED", "arming takes room first and gives up without: unit tests")
reason("disk", "*", "COMMITTING COMMITTED REVERTED", KEPT_ALREADY)
reason("disk", "*", "REVERT_FAILED", "that is how it comes about")
_HOMES = "homes are written in APPLIED and reverted in REVERTING"
reason("user", "*", "PREPARED ARMED COMMITTING COMMITTED REVERTED REVERT_FAILED", _HOMES)
reason("confirmer", "*", "PREPARED", "nobody knows the nonce yet")
reason("confirmer", "late stale-session wrong-nonce killed raced", "ARMED", "nothing has changed: as in APPLIED")
reason("confirmer", "late stale-session wrong-nonce", "COMMITTING COMMITTED", "the answer is COMMITTED, and stays so")
reason(
    "confirmer", "late stale-session wrong-nonce", "REVERTING REVERTED REVERT_FAILED", "refused by state: unit tests"
)
reason(
    "confirmer", "killed", "APPLIED COMMITTED REVERTING REVERTED REVERT_FAILED", "killed at each step of a confirmation"
)
reason("confirmer", "raced", "APPLIED COMMITTING COMMITTED REVERTED REVERT_FAILED", "the race is for REVERTING")
_REFUSED = "refused by state: unit tests"
reason("second", "*", "PREPARED ARMED COMMITTING COMMITTED REVERTING REVERTED REVERT_FAILED", _REFUSED)
_BY_CALL = "states follow from the calls of the action: each call is a step, before and after"
reason("controller", "*", " ".join(STATES), _BY_CALL)
reason("network", "cut new-cut", " ".join(STATES), _BY_CALL)
reason("network", "reply-lost", "PREPARED ARMED APPLIED COMMITTED REVERTING REVERTED REVERT_FAILED", _BY_CALL)


@functools.cache
def steps(generation: int, process: str) -> tuple[str, ...]:
    """Return the journal steps of a process of the product, in order."""
    recorded = json.loads(STEPS.read_text(encoding="ascii")) if STEPS.exists() else {}
    return tuple(recorded.get(str(generation), {}).get(process, ()))


def step(generation: int, process: str, phase: str, what: str, *, after: bool = False) -> str:
    """Return the first step of a phase that does this, or the one after it."""
    found = [one for one in steps(generation, process) if one.startswith(f"{phase}-")]
    index = next(number for number, one in enumerate(found) if one.split("-", 1)[1].endswith(what))
    return found[index + 1 if after else index]


def does(one: str, *words: str) -> bool:
    """Say whether a step does one of these things."""
    return any(f"-{word}-" in one for word in words)


# --- journal steps --------------------------------------------------------------------------------------------------


def _of_steps(generation: int) -> Iterator[Fault]:
    yield from _of_reverts(generation)
    yield from _of_boots(generation)
    yield from _of_writers(generation)


def _of_reverts(generation: int) -> Iterator[Fault]:
    make = functools.partial(Fault, generation)
    every = _distinct(steps(generation, "watch"), "revert-", "finish-")
    for one in [one for one in every if not one.startswith("finish-") or _dealt(one, generation)]:
        short = generation == 9 and "rename-authorized_keys" in one
        yield make(one, "guardian", "killed", "lockout", "watch", one, "APPLIED/nothing", short)
        if not one.startswith("revert-"):
            continue
        if does(one, "rename", "unlink", "rmdir", "run"):
            yield make(one, "host", "power-cut", "lockout", "watch", one, "APPLIED/host/power-cut")
        if does(one, "rename", "run"):
            yield make(one, "host", "restarted", "lockout", "watch", one, "APPLIED/host/restarted")
        if does(one, "create", "mkdir"):
            yield make(one, "disk", "full", "lockout", "watch", one, "APPLIED/nothing")
        if does(one, "create", "rename", "unlink") and _dealt(one, generation):
            yield make(one, "disk", "read-only", "lockout", "watch", one, "APPLIED/nothing")


def _of_boots(generation: int) -> Iterator[Fault]:
    make = functools.partial(Fault, generation)
    for one in [one for one in steps(generation, "boot") if one.startswith("revert-")]:
        name = f"boot-{one}"
        if not does(one, "fsync") or _dealt(one, generation):
            yield make(name, "guardian", "killed", "lockout-reboot", "boot", one, "APPLIED/host/restarted")
        if does(one, "rename", "unlink"):
            short = generation == 10 and "00-00-latchkey" in one
            yield make(name, "host", "power-cut", "lockout-reboot", "boot", one, "APPLIED/host/power-cut", short)


def _of_writers(generation: int) -> Iterator[Fault]:
    make = functools.partial(Fault, generation)
    for one in [one for one in steps(generation, "drive") if one.startswith("apply-")]:
        files = "transaction" not in one
        if (does(one, "rename", "run", "mkdir") or _real_sync(one)) and (files or generation == 9):
            for kind in KINDS["applier"]:
                short = generation == 8 and does(one, "run") and kind == "frozen"
                yield make(one, "applier", kind, "lockout", "drive", one, short=short)
        if does(one, "rename") and files:
            yield make(one, "host", "power-cut", "lockout", "drive", one)
            yield make(one, "host", "restarted", "lockout", "drive", one)
        if does(one, "create") and (files or generation == 9):
            yield make(one, "disk", "full", "lockout", "drive", one)
        if does(one, "create", "rename") and files:
            yield make(one, "disk", "read-only", "lockout", "drive", one)
    # Nothing can be harmed in these, whatever the generation: each step is tried on one of the three.
    for one in _mine(generation, [one for one in steps(9, "drive") if one.startswith("arm-")]):
        if does(one, "rename", "run", "symlink", "mkdir"):
            yield make(one, "applier", "killed", "arming", "drive", one)
    for one in _mine(generation, _distinct(steps(9, "drive"), "confirm-")):
        yield make(one, "confirmer", "killed", "committing", "drive", one)


def _distinct(every: tuple[str, ...], *phases: str) -> list[str]:
    """Return the steps of these phases; the copies of a snapshot are removed one after the other, and one will do."""
    found: dict[str, str] = {}
    for one in every:
        if one.startswith(phases):
            phase, _number, what = one.split("-", 2)
            found.setdefault(f"{phase}-{what}" if what.endswith("X") else one, one)
    return list(found.values())


def _mine(generation: int, of_nine: list[str]) -> Iterator[str]:
    """Deal steps out to the generations, each under the number that it has there."""
    for index, one in enumerate(of_nine):
        if GENERATIONS[index % 3] == generation:
            phase, _number, what = one.split("-", 2)
            same = [own for own in steps(generation, "drive") if own.startswith(phase) and own.endswith(f"-{what}")]
            before = [own for own in of_nine[:index] if own.endswith(f"-{what}")]
            if len(before) < len(same):
                yield same[len(before)]


def _dealt(one: str, generation: int) -> bool:
    """Say whether a step that is one of many of its sort is this generation's to try."""
    return GENERATIONS[int(one.split("-")[1]) % 3] == generation


def _real_sync(one: str) -> bool:
    return one.endswith(("fsync-sshd_config.d", "fsync-ssh", "fsync-.ssh"))


# --- states ---------------------------------------------------------------------------------------------------------

# The step in which a process is, durably, in a state: the one after the rename that says so.
_REACHED_BY = {
    "PREPARED": ("drive", "arm", "rename-transaction.json"),
    "COMMITTING": ("drive", "confirm", "rename-transaction.json"),
    "REVERTING": ("watch", "revert", "rename-transaction.json"),
}
_IN_STATE = (
    ("guardian", "killed"),
    ("guardian", "killed-again-and-again"),
    ("host", "restarted"),
    ("host", "power-cut"),
    ("sshd", "killed"),
    ("sshd", "stopped"),
    ("sshd", "frozen"),
    ("sshd", "bad-line"),
    ("manager", "daemon-reload-loop"),
)
_SHORT = {
    (9, "ARMED", "host", "restarted"),
    (9, "APPLIED", "host", "power-cut"),
    (9, "APPLIED", "sshd", "stopped"),
    (10, "APPLIED", "guardian", "killed-again-and-again"),
    (10, "APPLIED", "sshd", "bad-line"),
    (8, "APPLIED", "guardian", "killed"),
}


def _of_states(generation: int) -> Iterator[Fault]:
    for state in STATES:
        scenario = {"PREPARED": "arming", "COMMITTING": "committing", "COMMITTED": "committing"}.get(state, "lockout")
        process, where = "", ""
        if state in _REACHED_BY:
            process, phase, what = _REACHED_BY[state]
            where = step(generation, process, phase, what, after=True)
        for actor, kind in _IN_STATE:
            if (actor, kind, state) not in REASONS:
                yield Fault(
                    generation,
                    state,
                    actor,
                    kind,
                    scenario,
                    process,
                    where,
                    "" if state in ("ARMED", "PREPARED", "COMMITTING", "COMMITTED") else f"APPLIED/{actor}/{kind}",
                    (generation, state, actor, kind) in _SHORT,
                )
        if state in ("ARMED", "APPLIED", "REVERTING"):
            for kind, parts in DISKS.items():
                for part in parts:
                    yield Fault(
                        generation,
                        state,
                        "disk",
                        f"{kind}-{part}",
                        "lockout",
                        process,
                        where,
                        f"{state}/disk/{kind}-{part}",
                    )


def _of_confirmers(generation: int) -> Iterator[Fault]:
    make = functools.partial(Fault, generation)
    yield make("ARMED", "nobody", "expiry", "lockout", control="ARMED/nothing", short=generation == 9)
    yield make("APPLIED", "nobody", "expiry", "lockout", control="APPLIED/nothing", short=True)
    yield make("APPLIED", "confirmer", "late", "late")
    yield make("APPLIED", "confirmer", "stale-session", "stale")
    yield make("APPLIED", "confirmer", "wrong-nonce", "stale")
    yield make("REVERTING", "confirmer", "raced", "race", short=generation == 9)
    for kind in KINDS["second"]:
        yield make("APPLIED", "second", kind, "second")
    yield make("APPLIED", "user", "links-swapped", "links")
    yield make("REVERTING", "user", "links-swapped", "links")


# --- calls of the action transaction, in a real run of harden.yml ----------------------------------------------------

_CALLS = (
    "before-guard-1",
    "after-guard-1",
    "before-sshd_config-1",
    "after-sshd_config-1",
    "before-plan-1",
    "after-plan-1",
    "before-plan-2",
    "after-plan-2",
)
# Seconds after the host is armed, drawn once: random.Random(12).uniform(0.2, 4.0).
_MOMENTS = ("0.6", "1.1", "1.8", "2.4", "3.3")


def _of_controllers(generation: int) -> Iterator[Fault]:
    make = functools.partial(Fault, generation)
    for call in _CALLS:
        yield make(call, "controller", "killed", "controller", short=(generation, call) == (9, "after-sshd_config-1"))
    for seconds in _MOMENTS:
        yield make("after-guard-1", "controller", f"killed-after-{seconds}", "controller")
    yield make("before-plan-2", "controller", "frozen", "controller")
    for kind in ("cut", "new-cut"):
        yield make("at-the-change", "network", kind, "network", short=(generation, kind) == (8, "cut"))
        yield make("after-sshd_config-1", "network", kind, "network")
    yield make("COMMITTING", "network", "reply-lost", "reply")
    yield make("COMMITTED", "handler", "not-flushed", "handler")


# --- the virtual machine ---------------------------------------------------------------------------------------------

CLOCK = ("forward-a-day", "back-a-day")
# What a container cannot show comes first: a real restart, what was not synced being lost, a clock of its own.
_ON_MACHINE = (
    ("host", ("ARMED", "APPLIED", "COMMITTING", "REVERTING")),
    ("nobody", ("APPLIED",)),
    ("confirmer", ("APPLIED",)),
    ("guardian", ("APPLIED",)),
    ("manager", ("APPLIED",)),
    ("sshd", ("APPLIED",)),
)


def of_machine() -> list[Fault]:
    """Return the faults of the virtual machine, in the order in which they are run; SELinux enforces in all of them."""
    states = [*_of_confirmers(10), *_of_states(10)]
    states = [one for one in states if one.scenario in ("lockout", "committing", "late")]
    found = [one for actor, points in _ON_MACHINE for one in states if one.actor == actor and one.point in points]
    # Without a guardian no clock is looked at.
    stepped = [
        Fault(10, state, "clock", kind, "lockout", control=f"{state}/nothing")
        for state in ("ARMED", "APPLIED")
        for kind in CLOCK
    ]
    cuts = [one for one in _of_steps(10) if one.kind == "power-cut"]
    return stepped + cuts + found


def every() -> list[Fault]:
    """Return all faults, in the order in which they are run."""
    found = []
    for generation in GENERATIONS:
        found += [*_of_confirmers(generation), *_of_controllers(generation)]
        found += [*_of_states(generation), *_of_steps(generation)]
    found.append(Fault(9, "APPLIED", "batch-of-20", "one-frozen-one-slow", "batch"))
    return found
