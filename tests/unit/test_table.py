# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's test table says what the suites left, and nothing else."""

import importlib.util
import os
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

pytestmark = pytest.mark.skipif(sys.version_info < (3, 10), reason="the table is made on the controller")


@pytest.fixture(scope="module")
def table():
    spec = importlib.util.spec_from_file_location("table", os.path.join(ROOT, "tests", "tools", "table.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_has_the_kept_results(table):
    assert table.main(["--check"]) == 0


def test_only_what_was_survived_counts_as_survived(table):
    results = ["survived", "failed", "survived", "dropped"]
    faults = {str(number): {"generation": 9, "result": result} for number, result in enumerate(results)}
    assert table.faults({"faults": faults}, [(9, name) for name in faults]) == {"9": "2/3"}


def test_a_suite_that_was_not_run_whole_has_no_cell(table):
    faults = {"a": {"generation": 9, "result": "survived"}, "b": {"generation": 10, "result": "survived"}}
    assert table.faults({"faults": faults}, [(9, "a"), (9, "more"), (10, "b")]) == {"10": "1/1"}


def test_a_cell_without_a_result_says_so(table):
    results = {"cells": {"standin": {"9": "2/3"}}, "controls": {"standin": "1 of 2"}, "commits": {"standin": "abc"}}
    said = table.render(dict(results, date="2026-01-01"))
    assert "| stand-in (`make faults`) | not run | 2/3 | not run |" in said
    assert "stand-in: 1 of 2" in said and "stand-in: abc. (2026-01-01)" in said


def test_a_tested_commit_is_found_by_its_product(table):
    if not os.path.exists(os.path.join(ROOT, ".git")):
        pytest.skip("no history")
    newest = table._git("log", "-1", "--format=%h", "--", *table.CODE).decode().strip()
    if not newest or table._git("status", "--porcelain", "--", *table.CODE):
        pytest.skip("no history of this state of the product")
    assert table.commit_of(table.product()) == newest
    assert table.commit_of("of no commit") == ""


def test_a_stand_in_is_no_almalinux(table, tmp_path):
    told = '{"platform": "Debian GNU/Linux 12", "generation": 9, "survived": 5, "cases": 5}'
    (tmp_path / "selftest.json").write_text(told)
    assert "selftest" not in table.collect(tmp_path)["cells"]
