# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases, in the order in which they run. Each returns a note, or raises Broken or NotRun."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from . import judge, power, report
from .bench import DROPINS, LONG, PROOF, Bench, Broken, NotRun
from .runs import PLAYS, ROOT, Run

PLAYBOOKS = ROOT / "playbooks"
_HARMLESS = {"MaxAuthTries": 4}
# Whoever logged in by password or wrote lines that win is no matter on a throw-away machine.
_HARDEN = {"harden_stranded": "report", "harden_foreign": "report", "harden_key_create": "false"}
_BY_PASSWORD = {"password", "keyboard-interactive"}


class Case(NamedTuple):
    """One case: its name on the command line, and what it does, for people."""

    name: str
    text: str
    run: Callable[[Bench], str]
    restarts: bool = False


def environment(bench: Bench) -> str:
    """See what kind of host it is."""
    return report.environment(bench.facts)


def arm(bench: Bench) -> str:
    """Arm, with the way back rehearsed; look at the guardian; take it back at once."""
    window = bench.guarded({}, LONG)
    seen = bench.host.look("guard")
    if seen["active"] != "active" or len(seen["enabled"]) != 2:
        raise Broken(f"the guardian is {seen['active']}, enabled: {seen['enabled']}")
    enforcing = bench.facts["selinux"] == "enforcing"
    if enforcing and not seen["domain"]:
        raise Broken("the guardian does not know its SELinux domain")
    assert bench.runner is not None
    run = bench.runner.play(PLAYS / "revert.yml", {"transaction": window.id})
    if run.rc != 0:
        raise Broken(f"it was not taken back: {run.why}")
    bench.as_before()
    under = [f"runs as {seen['domain']}" if bench.facts["selinux"] != "off" else "no SELinux"]
    return "way back rehearsed, " + ", ".join([*under, *(["fapolicyd active"] if bench.facts["fapolicyd"] else [])])


def expiry(bench: Bench) -> str:
    """Lock the user out and confirm nothing."""
    return bench.back_after(bench.locked_out(bench.options.deadline))


def guardian_killed(bench: Bench) -> str:
    """Kill the guardian again and again."""
    window = bench.locked_out(bench.options.deadline)
    seconds = window.deadline - time.monotonic() + 4
    bench.host.loop("systemctl kill -s KILL latchkey-guard.service", 0.2, seconds)
    return bench.back_after(window)


def daemon_reload(bench: Bench) -> str:
    """Have systemd read its units again and again."""
    window = bench.locked_out(bench.options.deadline)
    bench.host.loop("systemctl daemon-reload", 0.2, window.deadline - time.monotonic() + 3)
    return bench.back_after(window)


def sshd_stopped(bench: Bench) -> str:
    """Stop sshd."""
    window = bench.locked_out(bench.options.deadline)
    bench.host.do("systemctl stop sshd")
    return bench.back_after(window)


def bad_include(bench: Bench) -> str:
    """Plant a line that sshd does not take, and reload it."""
    window = bench.locked_out(bench.options.deadline)
    bench.break_sshd()
    return bench.back_after(window)


def failed_proof(bench: Bench) -> str:
    """Have the proof fail, long before the deadline."""
    begun = time.monotonic()
    run = bench.change({"DenyUsers": bench.host.user}, PROOF, prove=True)
    if run.rc == 0 or not run.of("sshd_config").get("changed"):
        raise Broken(f"the proof should have failed: {run.why}")
    ended = time.monotonic()
    entered = bench.host.enter()
    if not entered.ok:
        raise Broken(f"no login after the proof failed: {entered.said}; the run said: {run.why}")
    bench.as_before()
    return f"login and root {time.monotonic() - ended:.1f} s after the run, which took {ended - begun:.0f} s"


def rehearsal(bench: Bench) -> str:
    """Change what would lock the user out: a real login against the candidate finds it, and nothing is applied."""
    run = bench.play("rehearse.yml", {"DenyUsers": bench.host.user}, PROOF)
    result = run.of("transaction")
    refused = result.get("refused") or [{}]
    seen = result.get("rehearsal") or {}
    if seen and not seen.get("rehearsed"):
        raise NotRun(f"cannot be rehearsed: {seen.get('why')}")
    if refused[0].get("where") != "rehearsal" or result.get("taken_back"):
        raise Broken(f"the rehearsal should have refused it: {refused[0].get('reason') or run.why}")
    if not bench.host.enter().ok:
        raise Broken("no login after the rehearsal refused it")
    bench.as_before()
    return "a real login against the candidate was refused, nothing was applied"


def confirm(bench: Bench) -> str:
    """Change something harmless, prove it by a fresh login, keep it; then go back from it."""
    run = bench.change(_HARMLESS, max(bench.options.deadline, 60), prove=True)
    if run.rc != 0 or run.of("proof").get("answer") != "COMMITTED":
        raise Broken(f"it was not committed: {run.why}")
    seen = bench.host.look("guard")
    if seen["state"] != "COMMITTED" or bench.host.look("left"):
        raise Broken(f"it is {seen['state']}, and there is left: {bench.host.look('left')}")
    _needs_change(bench)
    return f"committed by a fresh login, {_go_back(bench)}"


def harden(bench: Bench) -> str:
    """Run harden.yml twice, and revert.yml."""
    run = _harden(bench)
    record = _record(run)
    offered = set(bench.host.link.offered())
    if run.rc != 0 or not offered or offered & _BY_PASSWORD:
        raise Broken(f"offered are {', '.join(sorted(offered)) or 'no methods'}: {run.why}")
    again = _harden(bench)
    if again.rc != 0 or _record(again).get("status") != "unchanged":
        raise Broken(f"the second run should be unchanged: {_record(again).get('status')}: {again.why}")
    if record.get("status") == "unchanged":
        return "it took keys only already: nothing to do"
    back = _go_back(bench)
    seen = dict(record.get("rehearsal") or {})
    how = "rehearsed" if seen.get("rehearsed") else f"not rehearsed ({seen.get('why')})"
    return f"{record.get('status')}, {how}; unchanged; {back}"


def _harden(bench: Bench) -> Run:
    assert bench.runner is not None
    deadline = max(60, bench.options.deadline * 3)
    return bench.runner.play(PLAYBOOKS / "harden.yml", {**_HARDEN, "harden_timeout": deadline})


def _record(run: Run) -> dict[str, Any]:
    return dict(run.of("summary").get("record") or {})


def _needs_change(bench: Bench) -> None:
    if not bench.host.differences(bench.before):
        raise Broken("the change that was kept is not there")


def _go_back(bench: Bench) -> str:
    """Take back what was committed, and see that nothing of it stays; returns a note."""
    assert bench.runner is not None
    run = bench.runner.play(PLAYBOOKS / "revert.yml", {"harden_key_create": "false", "harden_timeout": 120})
    if run.rc != 0:
        raise Broken(f"revert.yml failed: {run.why}")
    stayed = ""
    if DROPINS not in bench.before and bench.host.do(f"rmdir {DROPINS} 2>/dev/null && echo empty || true").strip():
        # AlmaLinux 8 has no such directory; what was committed goes back by its files alone.
        stayed = " (but for the empty directory of drop-ins)"
    bench.as_before("COMMITTED")
    offered = bench.host.link.offered()
    if offered != bench.offered:
        raise Broken(f"offered are {', '.join(offered)}, before: {', '.join(bench.offered)}")
    return f"taken back by revert.yml{stayed}"


def reboot_armed(bench: Bench) -> str:
    """Restart while nothing of ours is changed yet, and something else has locked the user out."""
    power.need_restart(bench)
    window = bench.guarded({}, LONG)
    bench.lock_out_as_others_do()
    power.restart(bench)
    return bench.back_after_boot(window)


def reboot_applied(bench: Bench) -> str:
    """Restart while the change locks the user out."""
    power.need_restart(bench)
    window = bench.locked_out(LONG)
    power.restart(bench)
    return bench.back_after_boot(window)


def power_armed(bench: Bench) -> str:
    """Cut the power while nothing of ours is changed yet, and something else has locked the user out."""
    power.need_power(bench)
    window = bench.guarded({}, LONG)
    bench.lock_out_as_others_do()
    # What others write they do not make durable; what shall be there after a power cut is.
    bench.host.do("sync")
    how = power.cut(bench)
    return f"{bench.back_after_boot(window)} ({how})"


def power_applied(bench: Bench) -> str:
    """Cut the power right after the change has locked the user out."""
    power.need_power(bench)
    window = bench.locked_out(LONG)
    how = power.cut(bench)
    return f"{bench.back_after_boot(window)} ({how})"


def denials(bench: Bench) -> str:
    """See that SELinux has denied nothing of ours since the first arm."""
    if bench.facts["selinux"] == "off":
        raise NotRun("no SELinux")
    if not bench.first_arm:
        raise NotRun("nothing was armed")
    found = judge.denials(bench.denied_before, bench.host.look("denials", str(bench.first_arm)))
    if found.ours:
        raise Broken(f"{len(found.ours)} denials, the first: {found.ours[0]}")
    return f"none of ours under {bench.facts['selinux']}; {len(found.others)} of others"


CASES = (
    Case("environment", "look at the host", environment),
    Case("arm", "arm, with the way back rehearsed; take it back", arm),
    Case("rehearsal", "try a change that would lock you out by a login before it is applied", rehearsal),
    Case("expiry", "lock you out, and let the deadline pass", expiry),
    Case("confirm", "confirm a harmless change by a fresh login; take it back", confirm),
    Case("failed-proof", "lock you out, and have the proof fail", failed_proof),
    Case("guardian-killed", "lock you out, and kill the guardian again and again", guardian_killed),
    Case("daemon-reload", "lock you out, and have systemd reload again and again", daemon_reload),
    Case("sshd-stopped", "lock you out, and stop sshd", sshd_stopped),
    Case("bad-include", "lock you out, and break sshd's configuration", bad_include),
    Case("reboot-armed", "arm, lock you out past the collection, and reboot", reboot_armed, restarts=True),
    Case("reboot-applied", "lock you out, and reboot", reboot_applied, restarts=True),
    Case("power-armed", "arm, lock you out past the collection, and cut the power", power_armed, restarts=True),
    Case("power-applied", "lock you out, and cut the power", power_applied, restarts=True),
    Case("harden", "harden.yml, again harden.yml, revert.yml", harden),
    Case("denials", "look for what SELinux denied", denials),
)

__all__ = ["CASES", "Case"]
