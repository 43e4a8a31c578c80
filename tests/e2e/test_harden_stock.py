# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stock hosts go from a password to the key alone, on both cores, and stay there.

The runs are made once for each core; the tests look at what they left behind, and log in.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import OPERATOR, PASSWORDS, Farm, Host, differences, each
from runs import Controller, Result

# Newer cores do not reach generation 8, whose Python is 3.6.
GENERATIONS = {"2.16": (8, 9, 10), "new": (9, 10)}


class Story(NamedTuple):
    """Three runs after each other, and each host's tree and logins before and after them."""

    hosts: list[Host]
    key: Path
    check: Result
    first: Result
    second: Result
    start: list[dict[str, str]]
    checked: list[dict[str, str]]
    done: list[dict[str, str]]
    again: list[dict[str, str]]
    logins: list[list[tuple[str, str]]]
    logins_again: list[list[tuple[str, str]]]

    def pairs(self, name: str) -> list[tuple[Host, Any]]:
        """Return (host, value) for a field that has one value for each host."""
        return list(zip(self.hosts, getattr(self, name), strict=True))


@pytest.fixture(scope="module", params=["2.16", "new"])
def story(request: pytest.FixtureRequest, farm: Farm) -> Iterator[Story]:
    core = request.param
    desk = Controller()
    hosts = farm.fresh(*(f"e2e-{number}={number}" for number in GENERATIONS[core]))
    key = desk.home / "keys" / "operator"
    wanted = ("-e", f"harden_key={key}", "-e", "harden_key_create=true")
    inventory = desk.inventory(hosts)
    seen: dict[str, Any] = {"start": each(Host.tree, hosts)}
    seen["check"] = desk.run(inventory, *wanted, "--check", "--diff", core=core)
    seen["checked"] = each(Host.tree, hosts)
    seen["first"] = desk.run(inventory, *wanted, "--diff", core=core)
    seen["done"] = each(Host.tree, hosts)
    seen["logins"] = each(Host.accepted, hosts)
    seen["second"] = desk.run(inventory, *wanted, core=core)
    seen["again"] = each(Host.tree, hosts)
    seen["logins_again"] = each(Host.accepted, hosts)
    yield Story(hosts=hosts, key=key, **seen)
    desk.close()


def test_ends_changed_and_proven(story: Story) -> None:
    assert story.first.rc == 0, story.first.out
    for host in story.hosts:
        record = story.first.record(host)
        assert record["status"] == "changed", story.first.out
        assert [proof["proven"] for proof in record["proven"]] == [True]
        assert record["proven"][0]["offered"] == ["publickey"]
    assert "harden_break_glass_keys" in story.first.words


def test_nothing_of_a_transaction_is_left_running(story: Story) -> None:
    for host in story.hosts:
        assert story.first.of(host, "transaction")["transaction"]["state"] == "COMMITTED"
        assert host.root("systemctl list-units --all --plain --no-legend 'latchkey*'") == ""
        assert host.root(
            "find /etc /run -name '*latchkey*' ! -path '/etc/ssh/*' ! -path '/run/latchkey*' "
            "! -path '/run/systemd/units/*'"
        ) == ""


def test_the_key_logs_in(story: Story) -> None:
    for host in story.hosts:
        assert host.login(key=story.key).ok, host.name


def test_everything_else_is_refused_by_sshd(story: Story, controller: Controller) -> None:
    wrong = controller.key("wrong")
    for host in story.hosts:
        for how in ({"key": wrong}, {"password": PASSWORDS[OPERATOR]}, {"kbd": PASSWORDS[OPERATOR]}):
            login = host.login(**how)
            assert login.refused_by("publickey"), (host.name, how, login.said)
            assert login.offered == ("publickey",)
    for host in story.hosts:
        for user in ("root", "alice"):
            assert host.login(user, password=PASSWORDS[user]).refused_by("publickey"), (host.name, user)


def test_what_sshd_says(story: Story) -> None:
    for host in story.hosts:
        for user in ("", OPERATOR, "root"):
            said = host.sshd(user)
            assert said["passwordauthentication"] == said["kbdinteractiveauthentication"] == "no"
            assert said["permitemptypasswords"] == "no" and said["pubkeyauthentication"] == "yes"
            assert said["permitrootlogin"] in ("without-password", "prohibit-password", "no")


def test_nothing_else_is_changed(story: Story) -> None:
    """Two settings files, one keys file: no other path, and no byte of what was there before."""
    for host, before, after in zip(story.hosts, story.start, story.done, strict=True):
        allowed = {f"/home/{OPERATOR}/.ssh", f"/home/{OPERATOR}/.ssh/authorized_keys"}
        allowed |= {"/etc/ssh/sshd_config.d/00-00-latchkey.conf"}
        if host.generation == 8:
            allowed |= {"/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d"}
        assert set(differences(before, after)) == allowed, host.name


def test_a_second_run_changes_nothing(story: Story) -> None:
    assert story.second.rc == 0, story.second.out
    for host, before, after in zip(story.hosts, story.done, story.again, strict=True):
        assert story.second.status(host) == "unchanged", story.second.out
        assert after == before, host.name
    assert "changed=0" in story.second.out and "changed=1" not in story.second.out


def test_a_second_run_is_one_login_and_proves(story: Story) -> None:
    """Counted in sshd's log; no interpreter is set, and finding one costs no login either."""
    for host, before, after in zip(story.hosts, story.logins, story.logins_again, strict=True):
        assert after[len(before) :] == [(OPERATOR, "publickey")], host.name
        assert [proof["proven"] for proof in story.second.record(host)["proven"]] == [True]


def test_check_changes_nothing(story: Story) -> None:
    assert story.check.rc == 0, story.check.out
    assert story.checked == story.start
    assert all(story.check.status(host) == "would change" for host in story.hosts), story.check.out


def test_check_foretells_every_file(story: Story) -> None:
    """The set of path, digests, owner and mode is the real run's, on disk; but for the key not yet made."""
    for host, before, after in zip(story.hosts, story.start, story.done, strict=True):
        foretold = {one["path"]: one for one in story.check.of(host, "plan")["changes"] if one["kind"] != "reload"}
        real = differences(before, after)
        assert set(foretold) | {f"/home/{OPERATOR}/.ssh"} == set(real), host.name
        for path, one in foretold.items():
            old, new = real[path]
            assert (one["mode"], one["owner"]) == (new.mode, new.owner), path
            if one["kind"] != "file":
                continue
            assert one["sha256_before"] == (old.sha256 if old else ""), path
            if path.endswith("/authorized_keys"):
                assert one["sha256_after"] != new.sha256, "check mode made the key after all"
                continue
            assert one["sha256_after"] == new.sha256, path


def test_check_names_the_key_it_did_not_make(story: Story) -> None:
    text = story.check.out
    assert str(story.key) in text.partition("latchkey:")[2], "the summary does not name the key"
    assert story.check.of(story.hosts[0], "operator_key")["identity"]["pending"] is True


def test_diff_shows_the_lines(story: Story) -> None:
    for run in (story.check, story.first):
        assert "+PasswordAuthentication no" in run.out, run.out
        assert "+ssh-ed25519 " in run.out


def test_with_an_interpreter_set_it_is_one_login_too(story: Story, controller: Controller) -> None:
    """And in check mode with the key in place: proven, nothing to do, nothing excepted."""
    before = each(Host.accepted, story.hosts)
    inventory = controller.inventory(story.hosts)
    interpreter = "ansible_python_interpreter=/usr/libexec/platform-python"
    core = "2.16" if len(story.hosts) == 3 else "new"
    done = controller.run(inventory, "-e", f"harden_key={story.key}", "-e", interpreter, "--check", core=core)
    assert done.rc == 0 and all(done.status(host) == "unchanged" for host in story.hosts), done.out
    for host, old in zip(story.hosts, before, strict=True):
        assert host.accepted()[len(old) :] == [(OPERATOR, "publickey")], host.name
