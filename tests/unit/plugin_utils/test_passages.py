# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host behind a jump host is tried, and what counts as reached; the login itself is tried on live hosts."""

import subprocess

import pytest

pytest.importorskip("ansible")
passages = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.passages")

BEHIND = [
    {"host": "db", "user": "other", "target": "10.0.0.1", "port": 22},
    {"host": "off", "user": "ops", "target": "10.0.0.2", "port": 22},
    {"host": "web", "user": "ops", "target": "10.0.0.3", "port": 2222},
]


@pytest.fixture
def caller(monkeypatch):
    monkeypatch.setattr(passages.connections, "user_of", lambda action: "ops")
    monkeypatch.setattr(passages.connections, "configured_view", lambda action: {"hostname": ["bastion"]})
    monkeypatch.setattr(passages.jumps, "behind", lambda action, task_vars, address: BEHIND)
    return passages.proofs.Caller(None, None, None, {})


def test_the_first_that_answers_is_the_one_that_has_to_answer_again(monkeypatch, caller):
    monkeypatch.setattr(passages, "reaches", lambda caller, passage: passage.host == "web")
    assert passages.find(caller) == passages.Passage("web", "10.0.0.3", 2222)


def test_hosts_that_do_not_answer_anyway_are_nobody_s_loss(monkeypatch, caller):
    monkeypatch.setattr(passages, "reaches", lambda caller, passage: False)
    assert passages.find(caller) is None


GREETINGS = [
    ("SSH-2.0-OpenSSH_9.9\r\n", True),
    # One who is one too many has been let through as well.
    ("Exceeded MaxStartups\r\n", True),
    ("", False),
    ("channel 0: open failed", False),
]


@pytest.mark.parametrize("answers, good, tries", [([True], True, 1), ([False, True], True, 2), ([False] * 5, False, 3)])
def test_one_that_was_found_may_be_reloading_its_own_sshd(monkeypatch, caller, answers, good, tries):
    said = list(answers)
    monkeypatch.setattr(passages, "reaches", lambda caller, passage: said.pop(0))
    monkeypatch.setattr(passages.time, "sleep", lambda seconds: None)
    assert passages.still_open(caller, None) is good and len(answers) - len(said) == tries


@pytest.mark.parametrize("said, reached", GREETINGS)
def test_reached_is_what_greets(monkeypatch, caller, said, reached):
    monkeypatch.setattr(passages, "_argv", lambda caller, passage: ["ssh"])
    monkeypatch.setattr(
        passages.programs, "run", lambda words, seconds: subprocess.CompletedProcess(words, 0, said, "")
    )
    assert passages.reaches(caller, passages.Passage("web", "10.0.0.3", 2222)) is reached
