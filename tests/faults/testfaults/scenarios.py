# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenarios: how each fault is brought about on a host. Without a guardian they run the same."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable
from typing import Any

from . import batch, controllers, judge, place
from .judge import Broken
from .place import HERE, OPERATOR, PASSWORDS, PYTHON
from .run import Run, harmless, lockout

Verdict = dict[str, Any]
RACES = 2000
_CHANGE = ["arm", "apply server", "apply keys"]
_BAD = {8: "/etc/ssh/sshd_config"}
_TMPFS = {"journal": "/var/lib/latchkey", "configuration": "/etc/ssh"}


def _do(run: Run) -> str:
    """Say what the probe has to do at the step of a fault."""
    fault = run.fault
    if not fault.process:
        return ""
    if fault.actor == "guardian" and fault.process == "drive":
        return "wait"
    if fault.actor in ("guardian", "applier", "confirmer"):
        return "stop" if fault.kind == "frozen" else "kill" if fault.kind == "killed" else "wait"
    if fault.actor == "disk" and fault.kind in ("full", "read-only"):
        return "ENOSPC" if fault.kind == "full" else "EROFS"
    return "wait"


def change_locks_out(run: Run) -> Verdict:
    """A change takes the operator's way in; somebody dies on the way, or something happens to the host."""
    fault = run.fault
    if fault.point == "REVERT_FAILED":
        return _revert_failed(run)
    if fault.point == "REVERTED":
        return _after_revert(run)
    run.probe(_do(run))
    _mount(run)
    run.start(["arm", "foreign"] if fault.point == "ARMED" else _CHANGE)
    if fault.process == "drive":
        run.need_reached(30)
    else:
        run.all_done()
    if fault.process == "watch" and run.guarded:
        run.until(0)
        run.need_reached(30)
    _inject(run)
    return _end(run, run.verdict)


def _revert_failed(run: Run) -> Verdict:
    """The first tries to revert meet a read-only configuration; then the fault; then it can be written again."""
    run.probe()
    run.start(_CHANGE)
    run.all_done()
    if run.guarded:
        run.until(-1)
        run.place.run("mount --bind /etc/ssh /etc/ssh && mount -o remount,ro,bind /etc/ssh")
        run.until(2)
        if place.state(run.place).get("state") != "REVERT_FAILED":
            raise Broken(f"it should have failed, and is {place.state(run.place).get('state')}")
    _inject(run)
    if run.guarded:
        run.place.run("while umount /etc/ssh; do :; done 2>/dev/null; true")
    return run.verdict()


def _after_revert(run: Run) -> Verdict:
    run.probe()
    run.start(_CHANGE)
    run.all_done()
    if run.guarded:
        run.until(0)
        judge.check(run.place, run.known.before, None, run.told)
    _inject(run)
    return run.verdict()


def _mount(run: Run) -> None:
    """Give the journal or the configuration a small disk of its own."""
    part = run.fault.kind.rpartition("-")[2]
    if run.fault.actor == "disk" and part in _TMPFS:
        path = _TMPFS[part]
        run.place.run(
            f"mkdir -p -m 700 {path}; rm -rf {HERE}/copy; cp -a {path} {HERE}/copy; mode=$(stat -c %a {path}); "
            f"mount -t tmpfs -o size=2m,mode=$mode none {path}; cp -a {HERE}/copy/. {path}/"
        )


def _end(run: Run, verdict: Callable[[], Verdict]) -> Verdict:
    part = run.fault.kind.rpartition("-")[2]
    if run.fault.actor != "disk" or part not in _TMPFS:
        return verdict()
    try:
        return verdict()
    finally:
        run.place.run(f"umount -l {_TMPFS[part]}; systemctl restart sshd")


def _inject(run: Run) -> None:
    """Let the fault happen now, and whoever waits for it go on."""
    fault = run.fault
    name = f"{fault.actor} {fault.kind}"
    if _do(run) in ("kill", "stop") and (fault.process == "drive" or run.guarded):
        return
    if _do(run) in ("ENOSPC", "EROFS"):
        _heal(run)
        return
    action = _ACTIONS.get(name) or _DISK.get(fault.kind)
    if action:
        action(run)
    if fault.process and fault.actor != "host":
        run.release()


def _heal(run: Run) -> None:
    """Leave a disk bad until some time after the deadline: read-only, or full of what is not the journal's."""
    if run.fault.process == "watch" and not run.guarded:
        return
    if run.fault.process == "drive":
        run.finish()
    run.until(3)
    run.release()


def _shell(command: str) -> Callable[[Run], None]:
    def action(run: Run) -> None:
        run.place.run(command, check=False)

    return action


def _loop(body: str, after_deadline: float) -> Callable[[Run], None]:
    return lambda run: run.background(body, after_deadline)


def _bad_line(run: Run) -> None:
    path = _BAD.get(run.place.generation, "/etc/ssh/sshd_config.d/zz-bad.conf")
    run.place.run(f"echo Nonsense yes >> {path}; systemctl reload sshd; true")


def _fill(run: Run) -> None:
    path = _TMPFS[run.fault.kind.rpartition("-")[2]]
    run.place.run(
        f"dd if=/dev/zero of={path}/filler bs=4k 2>/dev/null; dd if=/dev/zero of={path}/filler2 bs=1 2>/dev/null; true"
    )
    _then_empty(run, f"rm -f {path}/filler {path}/filler2")


def _read_only(run: Run) -> None:
    path = _TMPFS[run.fault.kind.rpartition("-")[2]]
    run.place.run(f"mount -o remount,ro {path}")
    _then_empty(run, f"mount -o remount,rw {path}")


def _then_empty(run: Run, command: str) -> None:
    if run.fault.process:
        run.release()
    run.until(4)
    run.place.run(command)


_ACTIONS: dict[str, Callable[[Run], None]] = {
    "guardian killed": _shell("systemctl kill -s KILL latchkey-guard.service"),
    "guardian killed-again-and-again": _loop("systemctl kill -s KILL latchkey-guard.service; sleep 0.15", 4),
    "host restarted": Run.restart,
    "host power-cut": Run.power_cut,
    "sshd killed": _shell("systemctl kill -s KILL sshd.service"),
    "sshd stopped": _shell("systemctl stop sshd.service"),
    "sshd frozen": _shell("kill -STOP $(systemctl show -p MainPID --value sshd.service)"),
    "sshd bad-line": _bad_line,
    "manager daemon-reload-loop": _loop("systemctl daemon-reload; sleep 0.1", 3),
    "clock forward-a-day": _shell("date -s '+1 day'"),
    "clock back-a-day": _shell("date -s '-1 day'"),
}
_DISK: dict[str, Callable[[Run], None]] = {
    "full-journal": _fill,
    "full-configuration": _fill,
    "read-only-journal": _read_only,
    "read-only-configuration": _read_only,
}


def boot_is_hit(run: Run) -> Verdict:
    """The host restarts while it is locked out, and what brings it back at boot is hit itself."""
    run.probe("kill" if run.fault.actor == "guardian" else "wait")
    run.start(_CHANGE)
    run.all_done()
    run.place.cut_power()
    run.place.switch_on()
    if run.guarded:
        run.need_reached(30)
    if run.fault.actor == "host":
        run.place.cut_power()
        run.place.switch_on()
    run.place.await_up()
    run.told = run.told._replace(up_again=place.now())
    return run.verdict()


def arming_is_hit(run: Run) -> Verdict:
    """Whoever arms is hit while it does: nothing has changed, nothing stays, and the next one can arm."""
    run.probe(_do(run))
    run.start(["arm"])
    run.need_reached(30)
    _inject(run)
    if run.fault.actor not in ("applier", "host"):
        run.finish()
    if not run.guarded:
        return run.verdict()
    state = place.state(run.place)
    if state.get("state") == "ARMED":
        # Who armed went on: then it ends as any other.
        judge.await_end(run.place, run.told)
    elif state.get("state") == "PREPARED":
        # Whoever comes next waits until this one has given up; by then nothing of it may act any more.
        time.sleep(max(0.0, (place.here(state) or 0) + 2 - place.now()))
        if stands := place.state(run.place)["stands"]:
            raise Broken(f"what was being armed stays: {' '.join(stands)}")
    run.probe(clean=False)
    run.start(["arm", "cancel"])
    run.all_done()
    return run.verdict()


def committing_is_hit(run: Run) -> Verdict:
    """A harmless change is confirmed, and somebody dies over it."""
    new = run.known.new(harmless())
    run.probe(_do(run))
    run.start([*_CHANGE, "confirm"], harmless())
    if run.fault.process:
        run.need_reached(30)
    else:
        run.all_done()
    _inject(run)
    if run.fault.actor not in ("host", "confirmer"):
        run.finish()
    return run.verdict(new)


def late_confirmation(run: Run) -> Verdict:
    """Root on the console confirms a lock-out after the deadline."""
    run.probe()
    run.start(_CHANGE)
    run.all_done()
    run.until(0.0)
    if run.guarded:
        run.start(["confirm"], transaction=run.transaction)
        _refused(run.finish(), "TOO_LATE")
    return run.verdict()


def stale_session(run: Run) -> Verdict:
    """A session from before the change confirms a lock-out, or one that does not know the nonce does."""
    words = run.place.ssh(
        "sudo -S -k -p '' -- sh -c 'read id; read nonce; echo $nonce | latchkey confirm $id --nonce --json'"
    )
    words[-1] = words[-1].replace("latchkey confirm", "/usr/local/sbin/latchkey confirm")
    old = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert old.stdin
    old.stdin.write(f"{PASSWORDS[OPERATOR]}\n")
    old.stdin.flush()
    run.probe()
    run.start(_CHANGE)
    run.all_done()
    nonce = run.transaction["nonce"] if run.fault.kind == "stale-session" else "0" * 32
    out = old.communicate(f"{run.transaction['id']}\n{nonce}\n", timeout=10)[0]
    if '"REFUSED"' not in out:
        raise Broken(f"it should have been refused, and the answer was {out.strip() or 'nothing'}")
    return run.verdict()


def second_controller(run: Run) -> Verdict:
    """Another controller comes while a lock-out is guarded."""
    run.timeout = 15
    run.probe()
    run.start(_CHANGE)
    run.all_done()
    if run.guarded:
        first = run.transaction
        if run.fault.kind == "arms":
            _refused(_again(run, ["arm"]), "is under way")
        elif run.fault.kind == "writes":
            _refused(_again(run, ["apply server"], transaction={"id": ""}), "covers this")
        else:
            _refused(_again(run, ["cancel"], transaction=first), "REVERTED")
    return run.verdict()


def _again(run: Run, steps: list[str], **more: Any) -> list[dict[str, Any]]:
    """Run a second driver, whose own desired state wants something else."""
    asked = {"steps": steps, "desired": harmless(), "timeout": 5, **more}
    done = run.place.run(f"{PYTHON}exec $p -I -B {HERE}/drive.py '{json.dumps(asked)}'", check=False)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]


def _refused(said: list[dict[str, Any]], words: str) -> None:
    if not said or words not in str(said[-1]):
        raise Broken(f"the answer should have been {words}, and was {said[-1:]}")


def links_swapped(run: Run) -> Verdict:
    """A user swaps its ~/.ssh for a link to root's files, again and again, while its keys are written and reverted."""
    desired = lockout()
    other = {"user": "alice", "key": [place.public_key()], "state": "present"}
    desired["keys"]["accounts"].append(other)
    run.probe()
    run.place.run("install -d -m 755 /etc/victim; echo sentinel > /etc/victim/authorized_keys")
    run.place.run("install -d -m 700 -o alice -g alice /home/alice/.ssh")
    before = place.tree(run.place)
    early = run.fault.point == "APPLIED"
    run.start(["arm", "apply server", *(["pause"] if early else []), "apply keys"], desired)
    if not early:
        run.all_done()
    run.background('su alice -s /bin/sh -c "cd; mv .ssh real; ln -s /etc/victim .ssh; rm .ssh; mv real .ssh"', 3)
    if early:
        run.finish()
    try:
        if not run.guarded:
            return run.verdict(place.tree(run.place))
        run.until(4)
        # What becomes of its own files while it moves them about is the user's affair.
        return judge.check(run.place, before, None, run.told, but="/home/alice")
    finally:
        run.place.run("rm -rf /etc/victim", check=False)


def race(run: Run) -> Verdict:
    """Confirmations and deadlines meet some thousand times: one of the two wins, and both sides say which."""
    if not run.guarded:
        return {"harm": "none"}
    seed = random.SystemRandom().randrange(1 << 30)
    ends = json.loads(place.inside(run.place, "race.py", str(RACES), str(seed)))["ends"]
    wrong = [end for end in ends if end not in ("COMMITTED", "REVERTED")]
    if wrong or len(ends) != 2:
        raise Broken(f"seed {seed}: {'; '.join(wrong) or f'no race: {ends}'}")
    return {"state": f"{ends['COMMITTED']} committed, {ends['REVERTED']} reverted", "seed": seed}


SCENARIOS: dict[str, Callable[[Run], Verdict]] = {
    "lockout": change_locks_out,
    "lockout-reboot": boot_is_hit,
    "arming": arming_is_hit,
    "committing": committing_is_hit,
    "late": late_confirmation,
    "stale": stale_session,
    "second": second_controller,
    "links": links_swapped,
    "race": race,
    "batch": batch.one_frozen_one_slow,
    "controller": controllers.controller_is_hit,
    "network": controllers.network_is_hit,
    "reply": controllers.reply_is_lost,
    "handler": controllers.handler_is_late,
}
