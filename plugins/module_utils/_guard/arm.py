# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Begin a transaction: snapshot, guardian, rehearsal of the way back, and only then armed. PRIVATE."""

import contextlib
import json
import os
import secrets
import shutil
import time
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from .._errors import HostError, LatchkeyError, Refused
from .._host import listeners, sessions, sshd
from .._host.host import Host
from . import guardian, snapshot, units

SHORTEST = 5
LONGEST = 3600
# How long the guardian may take to start, and to try the way back: so much at least, and more for each file.
_START_SECONDS = 15.0
_ENTRY_SECONDS = 0.05
_ACCOUNT_SECONDS = 6.0
_RESERVE = 256 * 1024
_OTHERS_PATIENCE = 30.0


class Wish(NamedTuple):
    """What shall be guarded: for how many seconds at first, who has to confirm, what may change, who asked for it."""

    timeout: int
    operators: Tuple[str, ...]
    touches: Tuple[snapshot.Touch, ...]
    by: str = ""


class Armed(NamedTuple):
    """A transaction that is armed: ``nonce`` is what its confirmation has to say."""

    id: str
    nonce: str
    seconds: int
    paths: Tuple[str, ...]


def arm(host: Host, wish: Wish, at: guardian.Site) -> Armed:
    """Arm a transaction, with the way back rehearsed through the very unit that would go it.

    Raises:
        Refused: another transaction is under way, or the way back does not work here.
        HostError: it could not be armed; nothing has changed.
    """
    _check(wish)
    _settle(at)
    nonce = secrets.token_hex(16)
    state = _new_state(host, wish, nonce, at)
    # Also held by whoever finishes an older one, which would take away what is made here; and by a second who arms.
    with guardian.locked(at, "revert", patience=_OTHERS_PATIENCE):
        _refuse_unfinished(_load(at), at)
        _prepare(state, wish, host, at)
    try:
        _start(at)
        _await_rehearsal(state, at)
        _open(state["id"], wish.timeout, at)
    except (LatchkeyError, OSError) as error:
        with contextlib.suppress(OSError, ValueError):
            guardian.cancel(at, state["id"], "it could not be armed")
        if isinstance(error, LatchkeyError):
            raise
        raise HostError(f"it cannot be armed: {error.strerror}", "make room there", error.filename or "") from error
    left = f"{wish.timeout // 60} min" if wish.timeout >= 120 else f"{wish.timeout} s"
    at.machine.tell(
        f"the SSH access of this host is being changed by {state['by']}; unless confirmed it goes back in {left}"
    )
    paths = tuple(entry["path"] for entry in state["entries"] if not entry.get("untouched"))
    return Armed(state["id"], nonce, wish.timeout, paths)


def check(host: Host, wish: Wish, at: guardian.Site) -> Tuple[str, ...]:
    """Return the paths that would come back, without arming anything; raises what ``arm`` would refuse."""
    _check(wish)
    _refuse_second(_load(at), at)
    return snapshot.check(list(wish.touches) + snapshot.sshd_tree(host.tree))


def _check(wish: Wish) -> None:
    if not SHORTEST <= wish.timeout <= LONGEST:
        raise Refused(f"{wish.timeout} s is no deadline", f"give {SHORTEST} to {LONGEST} seconds", "timeout")
    if not wish.operators:
        raise Refused("nobody could confirm", "name an operator", "operators")


def _settle(at: guardian.Site) -> None:
    """Refuse while another transaction is under way; one whose guardian was killed is brought to its end first."""
    state = _load(at)
    _refuse_second(state, at)
    if state is not None and state["state"] == guardian.COMMITTING:
        guardian.commit(at)
    elif state is not None and state["state"] not in guardian.OVER:
        guardian.cancel(at, state["id"], state["reason"] or "nobody confirmed in time")
        state = guardian.load(at.places)
        if state is not None and state["state"] != guardian.REVERTED:
            problems = "; ".join(state["problems"])
            raise Refused(
                f"the transaction {state['id']} is not reverted yet: {problems}", "correct that", "transaction"
            )
    guardian.finish(at)


def _load(at: guardian.Site) -> Optional[guardian.State]:
    try:
        return guardian.load(at.places)
    except (OSError, ValueError) as error:
        raise HostError(f"cannot be read: {error}", "look at it, and move it away", at.places.state) from error


def _refuse_second(state: Optional[guardian.State], at: guardian.Site) -> None:
    if state is None or state["state"] not in guardian.OPEN + (guardian.PREPARED,):
        return
    left = state["deadline"] - at.machine.now()
    if left > 0 and not guardian.rebooted(at.places, state):
        raise Refused(
            f"the transaction {state['id']} of {state['by']} is under way and ends in {left:.0f} s at the latest",
            "wait for it, or end it with `/usr/local/sbin/latchkey revert` on the host",
            "transaction",
        )


def _refuse_unfinished(state: Optional[guardian.State], at: guardian.Site) -> None:
    """Refuse where somebody else has begun since the last look: what lies there is all that this one can go back by."""
    _refuse_second(state, at)
    if state is not None and state["state"] not in guardian.OVER:
        raise Refused(f"the transaction {state['id']} is not over: {state['state']}", "run again", "transaction")


def _new_state(host: Host, wish: Wish, nonce: str, at: guardian.Site) -> Dict[str, Any]:
    now = at.machine.now()
    return dict(
        format=guardian.FORMAT,
        id=f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}",
        state=guardian.PREPARED,
        nonce=guardian.digest(nonce.encode()),
        began=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        by=wish.by or f"root from {sessions.client_address()}",
        timeout=wish.timeout,
        deadline=now,
        cap=now,
        last_write=now,
        operators={name: host.account(name).uid for name in wish.operators},
        confirmed=[],
        units=[_unit(host, at)],
        entries=[],
        afterwards=[],
        reason="",
        problems=[],
        notes=[],
    )


def _unit(host: Host, at: guardian.Site) -> Dict[str, Any]:
    """Return how the service is checked, and where it is seen to answer: a firewall may keep the host from itself."""
    found = host.sshd
    heard = [one for one in listeners.of_process(found.unit.pid) if at.machine.greets(*one)]
    return dict(
        name=found.unit.name,
        pid=found.unit.pid,
        arguments=guardian.started_with(at, found.unit.name),
        current=not unread(host) and not sshd.newer_program(found, host.present.ask(None)),
        check=[found.binary, "-t", "-f", found.main] + list(found.options),
        listeners=[list(one) for one in heard],
    )


def unread(host: Host) -> str:
    """Say which file of its configuration the running sshd has not read; '' where it runs them, or cannot be told.

    Directories do not count: rehearsals touch them.
    """
    answer = host.present.ask(None)
    return sshd.unread(host.sshd, sorted(host.tree.files), answer) if sshd.shows_reloads(answer) else ""


def _prepare(state: Dict[str, Any], wish: Wish, host: Host, at: guardian.Site) -> None:
    """Make the snapshot durable before anything of the host's is enabled or started."""
    places = at.places
    touches = list(wish.touches) + snapshot.sshd_tree(host.tree)
    try:
        os.makedirs(places.base, 0o700, exist_ok=True)
        os.chmod(places.base, 0o700)
        guardian.sync_directory(os.path.dirname(places.base))
        shutil.rmtree(places.copies, ignore_errors=True)
        for name in ("write", "state"):
            # The way back needs no room in /run then.
            with guardian.locked(at, name, shared=True):
                pass
        snapshot.take(places, state, touches)
        _fill_reserve(places)
        units.install(places)
        state["afterwards"] = units.trust(places)
        guardian.replace(places.marker, state["id"].encode() + b"\n", 0o600)
        # From here on only: locks and copies may have taken long.
        state["deadline"] = at.machine.now() + _START_SECONDS + _rehearsal_seconds(state) + 10
        with guardian.locked(at, "state"):
            guardian.save(places, state)
    except (OSError, LatchkeyError) as error:
        guardian.abandon(at, state)
        if isinstance(error, LatchkeyError):
            raise
        raise HostError(
            f"it cannot be armed: {error.strerror}", "make room there", error.filename or places.base
        ) from error


def _fill_reserve(places: guardian.Places) -> None:
    handle = os.open(places.reserve, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.posix_fallocate(handle, 0, _RESERVE)
        os.fsync(handle)
    finally:
        os.close(handle)


def _start(at: guardian.Site) -> None:
    for argv in (["daemon-reload"], ["start", guardian.GUARD_UNIT]):
        done = at.machine.run(["systemctl"] + argv)
        if done.status != 0:
            raise HostError(
                f"`systemctl {' '.join(argv)}` failed: {done.said}",
                f"see `journalctl -u {guardian.GUARD_UNIT}`",
                guardian.GUARD_UNIT,
            )
    units.enable(at.places)
    done = at.machine.run(["systemctl", "start", guardian.BOOT_UNIT])
    if done.status != 0:
        raise HostError(
            f"the unit for the next boot does not run: {done.said}",
            f"see `journalctl -u {guardian.BOOT_UNIT}`",
            guardian.BOOT_UNIT,
        )


def _rehearsal_seconds(state: guardian.State) -> float:
    accounts = {entry["account"] for entry in state["entries"] if entry.get("account")}
    return _START_SECONDS + _ENTRY_SECONDS * len(state["entries"]) + _ACCOUNT_SECONDS * len(accounts)


def _await_rehearsal(state: guardian.State, at: guardian.Site) -> None:
    seconds, said = _START_SECONDS, "the guardian did not start"
    remedy = "SELinux, fapolicyd, or a host that is too busy?"
    end = at.machine.now() + seconds
    while True:
        report = _rehearsal(at)
        report = report if report.get("id") == state["id"] else {}
        if "problems" in report:
            break
        if report and seconds == _START_SECONDS:
            seconds, said, remedy = _rehearsal_seconds(state), "the way back was not rehearsed", "a disk that is slow?"
            end = at.machine.now() + seconds
        if at.machine.now() > end:
            reason = f"{said} within {seconds:.0f} s"
            raise HostError(reason, f"see `journalctl -u {guardian.GUARD_UNIT}`: {remedy}", guardian.GUARD_UNIT)
        at.machine.pause(0.02)
    if report["problems"]:
        raise Refused(
            f"the way back was rehearsed and does not work: {'; '.join(report['problems'])}",
            "correct that first: nothing was changed",
            "rehearsal",
        )


def _rehearsal(at: guardian.Site) -> Mapping[str, Any]:
    try:
        with open(guardian.rehearsal_path(at.places), encoding="utf-8") as handle:
            return dict(json.load(handle))
    except (OSError, ValueError):
        return {}


def _open(identifier: str, timeout: int, at: guardian.Site) -> None:
    with guardian.locked(at, "state"):
        state = guardian.load(at.places)
        if state is None or state["id"] != identifier or state["state"] != guardian.PREPARED:
            ended = state["reason"] if state is not None and state["id"] == identifier else ""
            reason = f"the transaction ended while it was armed{': ' if ended else ''}{ended}"
            raise HostError(reason, "run again; see `journalctl -t latchkey`", "transaction")
        now = at.machine.now()
        state.update(state=guardian.ARMED, deadline=now + timeout, cap=now + LONGEST, last_write=now)
        guardian.save(at.places, state)


__all__ = ["Armed", "LONGEST", "SHORTEST", "Wish", "arm", "check"]
