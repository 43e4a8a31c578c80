# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of causes: each speaks where it is there and only there, and each known row is accounted for.

docs/preflight.md is held against it: what it says must be what a run says.
"""

import os
import re
import sys

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._access import causes, model

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cases import CASES, CLIENT, OPS, SERVER, case  # noqa: E402  (beside this file)


def found(one):
    return causes.judge(one.server, [one.account], one.client)


@pytest.mark.parametrize("one", CASES, ids=lambda one: "%s-%s" % (one.cause, one.severity))
def test_each_cause_speaks_where_it_is_there_and_only_there(one):
    said = [finding for finding in found(one) if finding.cause == one.cause]
    assert [finding.severity for finding in said] == ([one.severity] if one.severity else [])
    for finding in said:
        assert finding.reason and finding.remedy and finding.where
        assert not finding.reason.endswith(".") and not finding.remedy.endswith(".")


@pytest.mark.parametrize("one", [one for one in CASES if one.severity], ids=lambda one: one.cause)
def test_a_cause_is_told_once(one):
    """One thing wrong is one line: no other cause says the same by other words, but for the file of a lost host key."""
    assert {finding.cause for finding in found(one)} - {"host_key_files"} == {one.cause} - {"host_key_files"}


def test_nothing_is_found_where_nothing_is_wrong_or_known():
    assert causes.judge(SERVER, [OPS], CLIENT) == []
    bare = OPS._replace(key_files=None)
    assert causes.judge(SERVER, [bare], model.Client()) == []


def test_every_known_row_is_a_cause_or_carries_a_reason():
    judged = {row for cause in causes.TABLE for row in cause.rows}
    assert judged | set(causes.ELSEWHERE) == set(range(1, causes.ROWS + 1)) and not judged & set(causes.ELSEWHERE)
    assert all(len(reason) > 20 for reason in causes.ELSEWHERE.values())


def test_every_cause_has_a_model_that_has_it_and_one_that_has_not():
    names = [cause.name for cause in causes.TABLE]
    assert len(set(names)) == len(names)
    has, has_not = ({one.cause for one in CASES if bool(one.severity) is there} for there in (True, False))
    assert has == has_not == set(names)


def test_an_account_that_is_only_jumped_through_needs_no_key_and_no_root():
    through = OPS._replace(operator=False, key_files=(), sudo=model.Sudo(False), shell_problem="it is missing")
    assert causes.judge(SERVER, [through], model.Client("ops")) == []
    said = causes.judge(SERVER, [through._replace(after={"allowusers": ("bob",)})], model.Client("ops"))
    assert [finding.cause for finding in said] == ["listed"]


def test_the_same_is_said_once_however_many_operators_there_are():
    one = case("grace", planned={"logingracetime": ("4",)})
    accounts = [OPS, OPS._replace(name="bob", client_name="x")]
    assert len(causes.judge(one.server, accounts, model.Client())) == 1


# ---- docs/preflight.md -----------------------------------------------------------------------------------------------


def documented(root):
    """Return the rows of the page's table: (cause, rows, severity, what is said, what to do)."""
    with open(os.path.join(root, "docs", "preflight.md"), encoding="utf-8") as stream:
        lines = [line.strip().strip("|").split("|") for line in stream if line.startswith("| `")]
    return [tuple(cell.strip() for cell in line) for line in lines if len(line) == 5]


def fits(pattern, text):
    return re.fullmatch(".+".join(map(re.escape, pattern.split("…"))), text) is not None


def test_the_page_has_every_cause_and_its_rows(root):
    page = {(name.strip("`"), severity): rows for name, rows, severity, _said, _remedy in documented(root)}
    code = {cause.name: ", ".join(map(str, cause.rows)) for cause in causes.TABLE}
    wanted = {(one.cause, one.severity): code[one.cause] for one in CASES if one.severity}
    words = {"refuse": "refused", "warn": "told"}
    assert page == {(name, words[severity]): rows for (name, severity), rows in wanted.items()}


def test_the_page_says_what_a_run_says(root):
    said = {}
    for one in CASES:
        for finding in found(one):
            said.setdefault((finding.cause, finding.severity), []).append(finding)
    severity = {"refused": "refuse", "told": "warn"}
    for name, _rows, word, reason, remedy in documented(root):
        findings = said[(name.strip("`"), severity[word])]
        assert any(fits(reason, finding.reason) for finding in findings), (name, findings[0].reason)
        assert any(fits(remedy, finding.remedy.replace("`", "")) for finding in findings), (name, findings[0].remedy)


def test_all_that_a_run_says_is_on_the_page(root):
    words = {"refuse": "refused", "warn": "told"}
    rows = documented(root)
    missing = set()
    for finding in [finding for one in CASES for finding in found(one)]:
        fitting = [
            row
            for row in rows
            if (row[0].strip("`"), row[2]) == (finding.cause, words[finding.severity])
            and fits(row[3], finding.reason)
            and fits(row[4], finding.remedy.replace("`", ""))
        ]
        if not fitting:
            missing.add((finding.cause, finding.severity, finding.reason, finding.remedy))
    assert not missing, "\n".join(" | ".join(one) for one in sorted(missing))


def test_the_page_says_why_the_other_rows_are_no_causes(root):
    with open(os.path.join(root, "docs", "preflight.md"), encoding="utf-8") as stream:
        text = stream.read()
    for row, reason in causes.ELSEWHERE.items():
        assert "| %d | %s |" % (row, reason) in text
