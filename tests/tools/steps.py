# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run test steps one after the other, all of them, and end with a table of results and durations.

    .venv/new/bin/python tests/tools/steps.py lint unit ... / hosts e2e ...

What stands on both sides of a / runs side by side: live hosts leave the machine idle while they are waited for. Only
the last side prints as it goes; the others print each step when it is done.

A step is the executable beside this file with the step's name. It exits with 0, with 77 if what it tests does not
exist yet, or with anything else if it failed. What pytest counts is read from the reports left in build/reports.
"""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent.parent
REPORTS = ROOT / "build" / "reports"
NOT_THERE_YET = 77
_PRINTING = threading.Lock()


class Outcome(Enum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "FAILED"
    LEFT_OUT = "left out"


class Counts(NamedTuple):
    """Test cases of one or several reports."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Return the sums."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))

    def __str__(self) -> str:
        return ", ".join(f"{number} {word}" for word, number in self._asdict().items() if number) or "0 passed"


class Result(NamedTuple):
    """One finished step; counts is None for a step that is not pytest."""

    name: str
    outcome: Outcome
    seconds: float
    counts: Counts | None


def read_counts(path: Path) -> Counts:
    """Return what one JUnit report counts; a report that pytest did not finish counts as one failure."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError:
        return Counts(failed=1)
    total = Counts()
    for suite in root.iter("testsuite"):
        number = {word: int(suite.get(word, 0)) for word in ("tests", "failures", "errors", "skipped")}
        failed = number["failures"] + number["errors"]
        total = total.plus(Counts(number["tests"] - failed - number["skipped"], failed, number["skipped"]))
    return total


def run(name: str, *, live: bool = True) -> Result:
    """Run one step; its output is shown as it comes, or all at once when it is done."""
    title = f"\n==== {name} ".ljust(100, "=")
    if live:
        print(title, flush=True)
    for old in REPORTS.glob(f"{name}*.xml"):
        old.unlink()
    start = time.monotonic()
    done = subprocess.run(
        [str(TOOLS / name)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=None if live else subprocess.PIPE,
        stderr=None if live else subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if not live:
        with _PRINTING:
            print(f"{title}\n{done.stdout}", end="", flush=True)
    code = done.returncode
    seconds = time.monotonic() - start
    outcome = {0: Outcome.PASSED, NOT_THERE_YET: Outcome.LEFT_OUT}.get(code, Outcome.FAILED)
    reports = sorted(REPORTS.glob(f"{name}*.xml"))
    counts = None
    if reports:
        counts = Counts()
        for report in reports:
            counts = counts.plus(read_counts(report))
    return Result(name, outcome, seconds, counts)


def total(results: list[Result]) -> Counts:
    """Return all cases; a step without cases of its own, or one that failed outside them, is one case."""
    summed = Counts()
    for result in results:
        if result.outcome is Outcome.FAILED and not (result.counts and result.counts.failed):
            summed = summed.plus(Counts(failed=1))
        elif result.counts is None:
            left_out = result.outcome is Outcome.LEFT_OUT
            summed = summed.plus(Counts(passed=not left_out, skipped=left_out))
        summed = summed.plus(result.counts or Counts())
    return summed


def report(results: list[Result], seconds: float) -> None:
    """Print the table and a closing line of pytest's form."""
    print()
    for result in results:
        cases = str(result.counts) if result.counts else ""
        print(f"{result.name:<14}{result.outcome.value:<10}{result.seconds:>8.1f} s   {cases}".rstrip())
    print(f" {total(results)} in {seconds:.2f}s ".center(100, "="), flush=True)


def main(names: list[str]) -> int:
    """Run the named steps; 0 if none failed."""
    sides = [side.split() for side in " ".join(names).split("/")]
    unknown = [name for side in sides for name in side if not os.access(TOOLS / name, os.X_OK)]
    if unknown or not all(sides):
        print(f"steps: not a step: {', '.join(unknown) or 'nothing given'}", file=sys.stderr)
        return 2
    start = time.monotonic()
    with ThreadPoolExecutor(len(sides)) as pool:
        done = pool.map(lambda side: [run(name, live=side is sides[-1]) for name in side], sides)
        results = [result for side in done for result in side]
    report(results, time.monotonic() - start)
    return int(any(result.outcome is Outcome.FAILED for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
