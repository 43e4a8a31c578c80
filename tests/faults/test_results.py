# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a fault is kept over runs, and gone once it is asked for again."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from testfaults import catalog  # noqa: E402  (found only after the line above)
from testfaults.results import Results  # noqa: E402

FIRST, SECOND = [one for one in catalog.every() if one.point == "APPLIED"][:2]


def _known(file: Path) -> Results:
    results = Results(file)
    for one in (FIRST, SECOND):
        results.keep_control(one, "locked out")
        results.keep(one, {"result": "survived", "seconds": 1.0})
    return results


def test_another_run_goes_on_where_this_one_ended(tmp_path: Path) -> None:
    _known(tmp_path / "faults.json")
    later = Results(tmp_path / "faults.json")
    assert later.survived(FIRST) and later.survived(SECOND) and later.control(FIRST) == "locked out"


def test_what_is_asked_for_again_is_not_known_however_much_is_kept_meanwhile(tmp_path: Path) -> None:
    _known(tmp_path / "faults.json")
    again = Results(tmp_path / "faults.json")
    again.forget([FIRST])
    again.keep(SECOND, {"result": "survived", "seconds": 2.0})
    assert not again.survived(FIRST) and again.control(FIRST) is None and again.survived(SECOND)


def test_what_no_unguarded_run_suffers_from_is_not_counted(tmp_path: Path) -> None:
    results = Results(tmp_path / "faults.json")
    results.keep(FIRST, {"result": "survived", "seconds": 1.0})
    results.keep_control(FIRST, "none")
    results.keep(FIRST, results.of(FIRST))
    assert results.of(FIRST)["result"] == "dropped"
