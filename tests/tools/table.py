# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the README's test table from what the suites left in build/, and keep it in tests/results.json.

    .venv/new/bin/python tests/tools/table.py            take over the newest results, write the README
    .venv/new/bin/python tests/tools/table.py --check    fail where the README is not what tests/results.json says

A cell is `survived/all` of one suite on one kind of host. Without a result it says "not run": no old figure is kept.
The line below names the commits that were tested.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "faults"))
from testfaults import catalog  # noqa: E402  (found only after the line above)
from testfaults.results import CODE, product  # noqa: E402

RESULTS = ROOT / "tests" / "results.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- results: made by `make table` -->", "<!-- end of results -->"
GENERATIONS = ("8", "9", "10")
KINDS = {
    "standin": "stand-in (`make faults`)",
    "almalinux": "AlmaLinux container (`make faults`)",
    "vm": "virtual machine, SELinux enforcing (`make faults-vm`)",
    "selftest": "AlmaLinux VM (`make selftest`)",
}
NOT_RUN = "not run"


def faults(data: Mapping[str, Any], wanted: Iterable[tuple[int, str]]) -> dict[str, str]:
    """Return survived/all by generation from the results of a suite of faults; a fault without harm does not count.

    A generation of which one of the ``wanted`` (generation and id) is missing was not run.
    """
    missing = {str(generation) for generation, name in wanted if name not in data["faults"]}
    cells: dict[str, list[int]] = {}
    for entry in data["faults"].values():
        if entry["result"] == "dropped":
            continue
        cell = cells.setdefault(str(entry["generation"]), [0, 0])
        cell[0] += entry["result"] == "survived"
        cell[1] += 1
    whole = {generation: counted for generation, counted in cells.items() if generation not in missing}
    return {generation: f"{done}/{every}" for generation, (done, every) in sorted(whole.items())}


def controls(data: Mapping[str, Any]) -> str:
    """Return how many of the unguarded runs ended locked out or mixed."""
    ended = list(data.get("controls", {}).values())
    harmed = sum(harm not in ("none", "") for harm in ended)
    return f"{harmed} of {len(ended)}" if ended else NOT_RUN


def commit_of(tested: str) -> str:
    """Return the commit whose product has this hash, or '' where none of the last 50 that changed it has."""
    commits = _git("log", "-50", "--format=%h", "--", *CODE).decode().split()
    return next((one for one in commits if _is(one, tested)), "")


def _is(commit: str, tested: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "-x", "-C", folder], input=_git("archive", commit, *CODE), check=True)
        return product(Path(folder)) == tested


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout


def collect(build: Path) -> dict[str, Any]:
    """Return the results that lie in build/."""
    found: dict[str, Any] = {"cells": {}, "controls": {}, "commits": {}}
    for kind, name in (("standin", "faults.json"), ("almalinux", "faults-almalinux.json"), ("vm", "faults-vm.json")):
        if (build / name).exists():
            data = json.loads((build / name).read_text(encoding="utf-8"))
            known = catalog.of_machine() if kind == "vm" else catalog.every()
            found["cells"][kind] = faults(data, [(one.generation, one.id) for one in known])
            if found["cells"][kind]:
                found["controls"][kind] = controls(data)
                found["commits"][kind] = commit_of(data["product"])
    if (build / "selftest.json").exists():
        data = json.loads((build / "selftest.json").read_text(encoding="utf-8"))
        if data.get("platform", "").startswith("AlmaLinux"):
            found["cells"]["selftest"] = {str(data["generation"]): f"{data['survived']}/{data['cases']}"}
    found["date"] = datetime.date.today().isoformat()
    return found


def render(results: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    lines = ["| Faults survived | " + " | ".join(f"AlmaLinux {number}" for number in GENERATIONS) + " |"]
    lines.append("|---" * (len(GENERATIONS) + 1) + "|")
    for kind, title in KINDS.items():
        cells = results["cells"].get(kind, {})
        lines.append(f"| {title} | " + " | ".join(cells.get(number, NOT_RUN) for number in GENERATIONS) + " |")
    lines.append("")
    lines.append(f"The same faults with the guardian off ended locked out or mixed: {_each(results['controls'])}.")
    lines.append(f"Tested commits: {_each(results['commits'])}. ({results['date']})")
    return "\n".join(lines)


def _each(told: Mapping[str, str]) -> str:
    return "; ".join(f"{KINDS[kind].partition(' (')[0]}: {said}" for kind, said in told.items()) or NOT_RUN


def placed(text: str, table: str) -> str:
    """Return the README with the table in its place."""
    before, _begin, rest = text.partition(BEGIN)
    _old, _end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main(words: list[str]) -> int:
    """Write the table, or check it."""
    if "--check" not in words:
        RESULTS.write_text(json.dumps(collect(ROOT / "build"), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    table = render(json.loads(RESULTS.read_text(encoding="utf-8")))
    text = README.read_text(encoding="utf-8")
    if "--check" in words:
        return int(text != placed(text, table))
    README.write_text(placed(text, table), encoding="utf-8")
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
