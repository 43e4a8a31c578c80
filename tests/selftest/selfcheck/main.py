# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call from its first line to its last: meet, refuse or announce, try, leave the host as it was found."""

from __future__ import annotations

import datetime
import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import cases, judge, report
from .bench import PROMISED, Bench, Broken, NotRun
from .host import Host
from .link import Link, Unreachable
from .options import Options, read
from .report import BROKEN, HELD, NOT_RUN, Result
from .runs import ROOT, Runner

FILE = ROOT / "build" / "selftest.json"
PASSWORD = "ANSIBLE_BECOME_PASSWORD"
AS_FOUND = "as-found"


class Refused(Exception):
    """The selftest does not begin; the text says why."""


def say(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)


def main(words: Sequence[str]) -> int:
    """Try what was asked for; 0 where everything that was run held."""
    options = read(words)
    # Short: sockets lie in it, and their paths end at 108 bytes.
    folder = Path(tempfile.mkdtemp(prefix="lkst-", dir="/tmp"))
    link = Link(options, folder, os.environ.get(PASSWORD))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        _chosen(options)
        bench = meet(options, link)
        prepare(bench, link, folder)
        return finish(bench, attempt_all(bench))
    except (Refused, Unreachable) as error:
        print(f"selftest: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        link.close()
        shutil.rmtree(folder, ignore_errors=True)


def _stop(_number: int, _frame: object) -> None:
    # A second one would cut off what leaves the host as it was found.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def meet(options: Options, link: Link) -> Bench:
    """Open the console, find out about the host, and refuse one that must not be tried on."""
    link.open()
    if not link.learn_sudo():
        if link.password is not None or not sys.stdin.isatty():
            raise Refused(f"sudo on {options.host} wants a password: give the right one in {PASSWORD}")
        link.password = getpass.getpass(f"sudo password on {options.host}: ")
        if not link.learn_sudo():
            raise Refused("sudo does not take this password")
    host = Host(link, options.ignore)
    host.meet()
    facts = host.look("facts")
    say(f"{host.user}@{options.host}: {report.environment(facts)}")
    problem = judge.refusal(facts, Path("/etc/machine-id").read_text(encoding="ascii").strip())
    if problem:
        raise Refused(problem)
    signs = judge.signs_of_use(facts, host.user, host.address)
    if signs and not options.throw_away:
        raise Refused(
            f"this host looks as if it is in use: {'; '.join(signs)}. Nothing was changed. "
            "If it may be thrown away, say so: --yes-throw-away"
        )
    entered = host.enter()
    if not entered.ok:
        raise Refused(f"a brand-new login by key that becomes root does not work: {entered.said}")
    return Bench(options, host, facts)


def prepare(bench: Bench, link: Link, folder: Path) -> None:
    """Say what will be done, and take down how everything is."""
    options, facts = bench.options, bench.facts
    core = options.core or judge.core_for(facts["python"])
    subprocess.run([str(ROOT / "tests" / "tools" / "venv"), core], check=True)
    chosen = _chosen(options)
    say(f"with ansible-core of .venv/{core}, deadlines of {options.deadline} s; every change is taken back. I will:")
    for case in chosen:
        say(f"  {case.name:<18} {case.text}")
    bench.runner = Runner(options, link, folder, core)
    bench.before = bench.host.tree()
    bench.offered = link.offered()
    if facts["selinux"] != "off":
        bench.denied_before = bench.host.look("denials", "0")
    bench.host.keep()
    bench.host.mark()


def _chosen(options: Options) -> list[cases.Case]:
    unknown = set(options.only) - {case.name for case in cases.CASES}
    if unknown:
        raise Refused(f"no such case: {', '.join(sorted(unknown))}")
    return [case for case in cases.CASES if not options.only or case.name in options.only]


def attempt_all(bench: Bench) -> list[Result]:
    """Run the cases; after one that was broken the host is brought back first. Ends with the host as it was found."""
    results: list[Result] = []
    lost = ""
    try:
        for case in _chosen(bench.options):
            result = Result(case.name, NOT_RUN, 0.0, lost) if lost else attempt(bench, case)
            results.append(result)
            say(result.line())
            if result.outcome == BROKEN and not lost:
                lost = bring_back(bench)
    finally:
        results.append(leave(bench, lost))
        say(results[-1].line())
    return results


def attempt(bench: Bench, case: cases.Case) -> Result:
    """Run one case."""
    begun = time.monotonic()
    try:
        outcome, note = HELD, case.run(bench)
    except NotRun as reason:
        outcome, note = NOT_RUN, str(reason)
    except (Broken, Unreachable, subprocess.TimeoutExpired) as reason:
        outcome, note = BROKEN, " ".join(str(reason).split())
    return Result(case.name, outcome, time.monotonic() - begun, note)


def bring_back(bench: Bench) -> str:
    """End whatever is under way; returns why the host cannot be tried on any further, '' where it can."""
    try:
        # Whatever happened: by its deadline the host lets its user in again.
        longest = max(bench.options.boot_seconds, bench.deadline + PROMISED - time.monotonic())
        bench.host.await_console(longest)
        bench.tidy()
        bench.host.do("[ ! -x /usr/local/sbin/latchkey ] || /usr/local/sbin/latchkey revert; systemctl start sshd")
        changed = bench.host.differences(bench.before)
    except Unreachable as error:
        return f"the host is out of reach: {error}"
    return f"an earlier case left the host changed: {'; '.join(changed[:3])}" if changed else ""


def leave(bench: Bench, lost: str) -> Result:
    """Leave the host as it was found, and say whether it is; ``lost`` says why it cannot be reached any more."""
    begun = time.monotonic()
    outcome, note = HELD, "everything in /etc, /home, /root as before; nothing of ours runs or is enabled"
    lost = lost or bring_back(bench)
    try:
        left = [] if lost else bench.host.look("left")
        if not lost:
            bench.host.put_back()
    except Unreachable as error:
        lost, left = str(error), []
    if lost or left:
        outcome, note = BROKEN, lost or f"left: {', '.join(left)}"
    return Result(AS_FOUND, outcome, time.monotonic() - begun, note)


def finish(bench: Bench, results: Sequence[Result]) -> int:
    """Print the sum and keep it as data."""
    file = Path(bench.options.out or FILE)
    file.parent.mkdir(exist_ok=True)
    told = report.data(bench.facts, results, datetime.date.today().isoformat())
    file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    say(report.last_line(bench.facts, results))
    return int(any(one.outcome == BROKEN for one in results))


__all__ = ["main"]
