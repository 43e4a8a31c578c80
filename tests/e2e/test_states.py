# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that somebody has touched before: each start state ends key-only, or is refused for a reason that it names.

One run takes all states at once, a second one with what the refused ones asked for, a third one changes nothing.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import BUILD, FULL, GENERATIONS, OPERATOR, PASSWORDS, Farm, Host, differences, each
from runs import Controller, Result

PLAIN = ("cloudinit", "anaconda", "nopasswd", "sudopw")
STATES = (*PLAIN, "died", "match", "ipa")
ADA = "Ada-Password-3"
LEGACY = "Legacy-Password-3"


class Story(NamedTuple):
    """The hosts by state, the three runs, and what was seen before, between and after them."""

    hosts: dict[str, Host]
    key: Path
    new_key: Path
    runs: list[Result]
    trees: list[dict[str, dict[str, str]]]
    logins: list[dict[str, list[tuple[str, str]]]]
    before: dict[str, Any]


def look(hosts: dict[str, Host]) -> tuple[dict[str, dict[str, str]], dict[str, list[tuple[str, str]]]]:
    """Return each host's tree and its accepted logins."""
    found = each(lambda host: (host.tree(), host.accepted()), list(hosts.values()))
    return {s: one[0] for s, one in zip(hosts, found, strict=True)}, {
        s: one[1] for s, one in zip(hosts, found, strict=True)
    }


@pytest.fixture(scope="module", params=GENERATIONS if FULL else (9,))
def story(request: pytest.FixtureRequest, farm: Farm) -> Iterator[Story]:
    number, desk = request.param, Controller()
    core = "2.16" if number == 8 else "new"
    names = [f"e2e-{state}-{number}" for state in STATES]
    made = farm.fresh(*(f"{name}={number}:{state}" for name, state in zip(names, STATES, strict=True)))
    hosts = dict(zip(STATES, made, strict=True))
    key, new_key = desk.key(), desk.key("keys/ada")
    before = {
        "died": hosts["died"].login(password=PASSWORDS[OPERATOR]).ok,
        "ada": hosts["ipa"].login("ada", password=ADA).ok,
        "sshd": {state: hosts[state].sshd() for state in ("match", "ipa")},
        "ada's command": hosts["ipa"].sshd("ada")["authorizedkeyscommand"],
    }
    changes: dict[str, dict[str, Any]] = {host.name: {"harden_key": str(key)} for host in made}
    changes[hosts["died"].name]["harden_key"] = str(BUILD / "keys" / "operator")
    later = {name: dict(values) for name, values in changes.items()}
    later[hosts["match"].name]["harden_foreign"] = "report"
    later[hosts["ipa"].name]["harden_methods"] = ["publickey", "gssapi-with-mic"]
    public = Path(f"{new_key}.pub").read_text(encoding="ascii").strip()
    later[hosts["ipa"].name]["harden_accounts"] = [{"user": "ada", "key": [public]}]
    seen = [look(hosts)]
    runs = []
    for given in (changes, later, later):
        runs.append(desk.run(desk.inventory(made, given), core=core))
        seen.append(look(hosts))
    yield Story(hosts, key, new_key, runs, [one[0] for one in seen], [one[1] for one in seen], before)
    desk.close()
    farm.drop(*names)


def key_of(story: Story, state: str) -> Path:
    return BUILD / "keys" / "operator" if state == "died" else story.key


@pytest.mark.parametrize("state", PLAIN)
def test_becomes_key_only(story: Story, state: str) -> None:
    host = story.hosts[state]
    assert story.runs[0].status(host) == "changed", story.runs[0].out
    assert host.login(key=story.key).ok
    assert host.login(password=PASSWORDS[OPERATOR]).refused_by("publickey")
    assert host.login("root", password=PASSWORDS["root"]).refused_by("publickey")
    assert host.sshd("root")["permitrootlogin"] != "yes"


@pytest.mark.parametrize("state", PLAIN)
def test_lines_of_others_stay(story: Story, state: str) -> None:
    """What cloud-init, the installer and the sudoers left is overruled, not edited."""
    ours = re.compile(r"/home/admin/\.ssh(/.*)?|/etc/ssh/sshd_config\.d/00-00-latchkey\.conf")
    others = [p for p in differences(story.trees[0][state], story.trees[1][state]) if not ours.fullmatch(p)]
    expected = ["/etc/ssh/sshd_config"] if story.hosts[state].generation == 8 else []
    if story.hosts[state].generation == 8 and "/etc/ssh/sshd_config.d" in others:
        others.remove("/etc/ssh/sshd_config.d")
    assert others == expected


@pytest.mark.parametrize("state", STATES)
def test_the_last_run_is_one_login_and_changes_nothing(story: Story, state: str) -> None:
    host = story.hosts[state]
    assert story.runs[2].status(host) == "unchanged", story.runs[2].out
    assert story.trees[3][state] == story.trees[2][state]
    assert story.logins[3][state][len(story.logins[2][state]) :] == [(OPERATOR, "publickey")]


def test_a_died_run_is_ended_by_one_reload(story: Story) -> None:
    """sshd -T says passwords are off; the running sshd, which never read that, took one before and takes none after."""
    host = story.hosts["died"]
    assert story.before["died"], "the start state is not what it claims to be"
    record = story.runs[0].record(host)
    assert [one["kind"] for one in record["changed"]] == ["reload"], story.runs[0].out
    assert not differences(story.trees[0]["died"], story.trees[1]["died"])
    assert host.login(password=PASSWORDS[OPERATOR]).refused_by("publickey")
    assert host.login(key=key_of(story, "died")).ok


def test_a_match_that_wins_is_refused_by_file_and_line(story: Story) -> None:
    host = story.hosts["match"]
    reason = story.runs[0].refused(host)
    line = host.root("grep -n 'PasswordAuthentication yes' /etc/ssh/sshd_config | tail -n 1 | cut -d: -f1").strip()
    shift = 1 if host.generation == 8 else 0  # the Include that the second run put at the top
    assert f"/etc/ssh/sshd_config:{int(line) - shift}:" in reason, story.runs[0].out
    assert "Match User legacy" in reason and "PasswordAuthentication" in reason
    assert story.trees[1]["match"] == story.trees[0]["match"]
    assert story.runs[0].rc != 0


def test_a_match_that_wins_may_be_reported(story: Story) -> None:
    """harden_foreign: report leaves that one user his password, says so, and closes everything else."""
    host = story.hosts["match"]
    record = story.runs[1].record(host)
    assert record["status"] == "changed" and "Match User legacy" in " ".join(record["conflicts"]), story.runs[1].out
    assert host.login(key=story.key).ok
    assert host.login(password=PASSWORDS[OPERATOR]).refused_by("publickey")
    assert host.login("legacy", password=LEGACY).ok


def test_ipa_is_refused_until_it_says_about_tickets(story: Story) -> None:
    host = story.hosts["ipa"]
    reason = story.runs[0].refused(host)
    assert "GSSAPI" in reason and "gssapi-with-mic" in reason and "/etc/krb5.keytab" in reason
    assert story.trees[1]["ipa"] == story.trees[0]["ipa"]


def test_ipa_keeps_tickets_and_loses_passwords(story: Story) -> None:
    host = story.hosts["ipa"]
    assert story.runs[1].status(host) == "changed", story.runs[1].out
    for how in ({"password": PASSWORDS[OPERATOR]}, {"kbd": PASSWORDS[OPERATOR]}):
        login = host.login(**how)
        # sshds with GSSAPI offer its two methods as one.
        assert not login.ok and set(login.offered) - {"gssapi-keyex"} == {"publickey", "gssapi-with-mic"}, login.said
        assert login.refused_by(*login.offered)
    assert host.login(key=story.key).ok


def test_ipa_keys_of_the_directory_count(story: Story) -> None:
    """ada logs in by password, but the directory has a key for her: not stranded, and that key opens the host."""
    host = story.hosts["ipa"]
    assert story.before["ada"], "the start state is not what it claims to be"
    assert "ada" not in story.runs[0].refused(host)
    assert host.sshd("ada")["authorizedkeyscommand"] == story.before["ada's command"] != "none"
    assert host.login("ada", key=BUILD / "keys" / "ipa").ok
    refused = host.login("ada", password=ADA)
    assert not refused.ok and "password" not in refused.refusal and refused.refused_by(*refused.offered)


def test_an_account_that_only_nss_knows_gets_its_keys(story: Story) -> None:
    host = story.hosts["ipa"]
    assert host.root("grep -c ^ada: /etc/passwd || true") == "0\n"
    assert host.login("ada", key=story.new_key).ok
    owners = host.root("stat -c '%U %a' ~ada/.ssh ~ada/.ssh/authorized_keys 2>/dev/null || getent passwd ada")
    assert owners == "ada 700\nada 600\n", owners


def test_other_hosts_went_on(story: Story) -> None:
    """Two hosts were refused in the first run; that is its exit code, and the others were done."""
    refused = [state for state in STATES if story.runs[0].record(story.hosts[state])["status"] == "refused"]
    assert refused == ["match", "ipa"] and story.runs[0].rc != 0
    assert story.runs[1].rc == story.runs[2].rc == 0


class Guide(NamedTuple):
    """A host and a controller as a hand-written guide leaves them."""

    host: Host
    key: Path
    desk: Controller


@pytest.fixture(scope="module", params=GENERATIONS if FULL else (9,))
def guide(request: pytest.FixtureRequest, farm: Farm) -> Iterator[Guide]:
    desk = Controller()
    (host,) = farm.fresh(f"e2e-guide-{request.param}={request.param}:guide")
    key = desk.home / ".ssh" / "id_rsa"
    for ending in ("", ".pub"):
        shutil.copy(f"{BUILD}/keys/guide{ending}", f"{key}{ending}")
    key.chmod(0o600)
    yield Guide(host, key, desk)
    desk.close()
    farm.drop(host.name)


def test_guide_without_agent_stops_before_anything(guide: Guide) -> None:
    before, logins = guide.host.tree(), guide.host.logins()
    run = guide.desk.run(guide.desk.inventory([guide.host]), core="2.16")
    assert run.rc != 0
    assert "passphrase" in run.refused(guide.host) and f"ssh-add {guide.key}" in run.refused(guide.host), run.out
    assert guide.host.tree() == before and guide.host.logins() == logins


def test_guide_with_agent_is_recognised(guide: Guide) -> None:
    """No key is added, nothing is asked of the password: the agent's key plans, proves, and proves again."""
    keys = guide.host.keys()
    socket = guide.desk.agent(guide.key, passphrase="guide passphrase")
    run = guide.desk.run(guide.desk.inventory([guide.host]), core="2.16")
    assert run.status(guide.host) == "changed", run.out
    assert guide.host.keys() == keys
    assert {method for _user, method in guide.host.accepted()} == {"publickey"}
    assert {one["facet"] for one in run.record(guide.host)["changed"]} == {"server"}
    assert guide.host.login(agent=socket).ok
    assert guide.host.login(password=PASSWORDS[OPERATOR]).refused_by("publickey")
