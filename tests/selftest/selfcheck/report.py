# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the selftest says: a line a case, a last line, and the same as data. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

HELD, BROKEN, NOT_RUN = "held", "BROKEN", "not run"


class Result(NamedTuple):
    """One case that is over."""

    case: str
    outcome: str
    seconds: float
    note: str

    def line(self) -> str:
        """Return it for people."""
        return f"{self.case:<20} {self.outcome:<8} {self.seconds:>6.1f} s  {self.note}".rstrip()


def platform(facts: Mapping[str, Any]) -> str:
    """Return what was really tested on: only AlmaLinux itself, with a kernel of its own, is called AlmaLinux."""
    release = facts["release"]
    name = f"{release.get('NAME', 'unknown')} {release.get('VERSION_ID', '')}".strip()
    if release.get("ID") != "almalinux":
        return name
    if facts["dpkg"] or not facts["rpm"]:
        return f"stand-in for {name}"
    return f"container of {name}" if facts["container"] else name


def generation(facts: Mapping[str, Any]) -> int:
    """Return 8, 9 or 10; 0 where that cannot be told."""
    major = str(facts["release"].get("VERSION_ID", "")).partition(".")[0]
    return int(major) if major.isdigit() else 0


def conditions(facts: Mapping[str, Any]) -> str:
    """Return under which conditions the cases ran, and under which they did not."""
    shown = [f"SELinux {facts['selinux']}"]
    shown.append("fapolicyd active" if facts["fapolicyd"] else "no fapolicyd")
    shown.append("/var its own mount" if facts["var_mount"] else "/var on /")
    return ", ".join(shown)


def environment(facts: Mapping[str, Any]) -> str:
    """Return what the host is, in one line."""
    programs = f"{facts['sshd']}, systemd {facts['systemd']}, Python {facts['python']}, kernel {facts['kernel']}"
    return f"{platform(facts)}, {programs}, {conditions(facts)}"


def last_line(facts: Mapping[str, Any], results: Sequence[Result]) -> str:
    """Return the sum: what held of what was run, on what, and what was not run for which reason."""
    run = [one for one in results if one.outcome != NOT_RUN]
    held = [one for one in run if one.outcome == HELD]
    said = f"selftest: {len(held)}/{len(run)} on {platform(facts)}, {conditions(facts)}"
    reasons: dict[str, list[str]] = {}
    for one in [one for one in results if one.outcome == NOT_RUN]:
        reasons.setdefault(one.note, []).append(one.case)
    left_out = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
    return said + (f"; not run: {'; '.join(left_out)}" if left_out else "")


def data(facts: Mapping[str, Any], results: Sequence[Result], date: str) -> dict[str, Any]:
    """Return what build/selftest.json holds."""
    kept = ("selinux", "fapolicyd", "var_mount", "sshd", "systemd", "python", "kernel", "virtualization")
    run = [one for one in results if one.outcome != NOT_RUN]
    return {
        "platform": platform(facts),
        "generation": generation(facts),
        "date": date,
        "survived": sum(one.outcome == HELD for one in run),
        "cases": len(run),
        "not_run": len(results) - len(run),
        "environment": {name: facts[name] for name in kept},
        "results": [dict(one._asdict(), seconds=round(one.seconds, 1)) for one in results],
    }


__all__ = ["BROKEN", "HELD", "NOT_RUN", "Result"]
__all__ += ["conditions", "data", "environment", "generation", "last_line", "platform"]
