# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People who log in by password today and would lose it: named with their last use, and nothing is taken from them."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from live import BASE, FULL, GATEWAY, GENERATIONS, OPERATOR, PASSWORDS, Farm, Host
from runs import Controller, Result


class Story(NamedTuple):
    """A refused run, one that accepts too few, one that only reports (check mode), and one that accepts both."""

    host: Host
    refused: Result
    partly: Result
    reported: Result
    accepted: Result
    untouched: bool
    settings: bool


@pytest.fixture(scope="module", params=GENERATIONS if FULL else (9,))
def story(request: pytest.FixtureRequest, farm: Farm) -> Iterator[Story]:
    number, desk = request.param, Controller()
    (host,) = farm.fresh(f"e2e-stranded-{number}={number}:stranded")
    core = "2.16"
    wanted = {"harden_key": str(desk.key())}
    inventory = desk.inventory([host], {host.name: wanted})
    tree, settings = host.tree(), host.sshd("bob")
    refused = desk.run(inventory, core=core)
    partly = desk.run(inventory, "-e", '{"harden_stranded_ok": ["bob"]}', core=core)
    reported = desk.run(inventory, "-e", "harden_stranded=report", "--check", core=core)
    untouched, same = host.tree() == tree, host.sshd("bob") == settings
    accepted = desk.run(inventory, "-e", '{"harden_stranded_ok": ["bob", "sftpjob"]}', core=core)
    yield Story(host, refused, partly, reported, accepted, untouched, same)
    desk.close()
    farm.drop(host.name)


def test_both_are_named_with_last_use_and_source(story: Story) -> None:
    reason = story.refused.refused(story.host)
    yesterday = story.host.root("date -u -d yesterday +%Y-%m-%d").strip()
    today = story.host.root("date -u +%Y-%m-%d").strip()
    assert story.refused.rc != 0
    # Yesterday on the host's clock and calendar; UTC in reports.
    assert f"bob (password from {GATEWAY}, {yesterday}T" in reason, story.refused.out
    assert f"sftpjob (password from {BASE}.3, {today}T" in reason
    assert "old" not in reason.replace("/", " ").split("(")[0] and "old (" not in reason
    assert "harden_stranded_ok" in reason and "harden_accounts" in reason


def test_who_never_came_is_listed_and_no_reason_to_refuse(story: Story) -> None:
    stranded = {one["account"]: one["use"] for one in story.refused.record(story.host)["stranded"]}
    # AlmaLinux 8 lets root in by password.
    root = {"root": "possible"} if story.host.generation == 8 else {}
    assert stranded == {"bob": "real", "sftpjob": "real", "old": "possible", "alice": "possible", **root}
    assert "never seen: alice, old" in story.refused.words


def test_nothing_changed(story: Story) -> None:
    assert story.untouched and story.settings


def test_accepting_one_of_two_is_not_enough(story: Story) -> None:
    reason = story.partly.refused(story.host)
    assert "sftpjob (" in reason and "bob (" not in reason, story.partly.out


def test_report_goes_on_and_still_names_them(story: Story) -> None:
    assert story.reported.status(story.host) == "would change", story.reported.out
    assert "logged in lately: " in story.reported.words and "bob (" in story.reported.words


def test_accepted_means_closed(story: Story) -> None:
    assert story.accepted.status(story.host) == "changed", story.accepted.out
    assert story.host.login("bob", password="Bob-Password-3").refused_by("publickey")
    assert story.host.login(password=PASSWORDS[OPERATOR]).refused_by("publickey")
