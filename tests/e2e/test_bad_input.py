# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: one line that names field, problem and remedy, nothing touched, and the other hosts go on.

All cases are hosts of one run. Those in which only words are wrong are several names of one host.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from live import BASE, OPERATOR, PASSWORDS, Farm, Host, each
from runs import Controller, Result

PRIVATE = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==
-----END OPENSSH PRIVATE KEY-----"""
ALICE = PASSWORDS["alice"]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPqTlDbzLXBcoqoZ3zxm0J3Z7QmQhZuhSxLyz4Zc2tE somebody"


class Case(NamedTuple):
    """Inventory variables of one name, and what the one line has to say: the field, the problem, the remedy."""

    variables: dict[str, Any]
    words: tuple[str, ...]


def account(user: str, key: Any) -> dict[str, Any]:
    return {"harden_accounts": [{"user": user, "key": key}]}


def settings(**values: Any) -> dict[str, Any]:
    return {"harden_sshd_settings": values}


CASES = {
    "no-public-key": Case(account("alice", ["this is no key"]), ("alice", "key", ".pub")),
    "private-key": Case(account("alice", [PRIVATE]), ("private", ".pub")),
    "unknown-keyword": Case(
        settings(PasswordAuthentification="no"), ("PasswordAuthentification", "PasswordAuthentication")
    ),
    "too-new-keyword": Case(settings(PerSourcePenalties="yes"), ("PerSourcePenalties", "9.8", "9.2")),
    "global-only": Case(
        {"harden_sshd_match": [{"criteria": "User alice", "settings": {"UsePAM": "no"}}]},
        ("UsePAM", "Match", "User alice"),
    ),
    "bad-value": Case(settings(MaxAuthTries="many"), ("MaxAuthTries", "many", "sshd_config")),
    "missing-account": Case(account("nobodyhere", [KEY]), ("nobodyhere", "account")),
    "home-is-a-link": Case(account("linked", [KEY]), ("/home/linked", "symbolic link")),
    "home-of-another": Case(account("robbed", [KEY]), ("/home/robbed", "1001", "chown")),
    "no-sudo-rule": Case(
        {"ansible_user": "alice", "ansible_password": ALICE, "ansible_become_password": ALICE},
        ("may not use sudo", "sudoers"),
    ),
    "wrong-password": Case({"ansible_password": "wrong"}, ("password", "ansible_password")),
    "wrong-sudo-password": Case(
        {"ansible_become_password": "wrong"}, ("sudo password is wrong", "ansible_become_password")
    ),
    "changed-host-key": Case({}, ("host key", "known")),
    "unreachable": Case({"ansible_host": f"{BASE}.254"}, ("cannot be reached", "network")),
    "closed-port": Case({"ansible_port": 2}, ("cannot be reached", "port 2")),
    "bad-fingerprint": Case({"harden_host_key": "MD5:aa:bb"}, ("harden_host_key", "SHA256:")),
    "bad-choice": Case({"harden_stranded": "ignore"}, ("harden_stranded", "refuse", "report")),
    "bad-method": Case({"harden_methods": ["password"]}, ("harden_methods", "publickey")),
    "wrong-type": Case({"harden_accounts": "alice"}, ("harden_accounts", "dict")),
}
# Names of another host, so that nothing rides on the connections or is stranded by the logins of the others.
APART = ("no-sudo-rule", "wrong-password")
# Hosts of their own, each broken in one way; the words as above.
BROKEN = {
    "nosudo": ("mv /usr/bin/sudo /opt", ("sudo", "dnf install sudo")),
    "nopython": ("rm /usr/libexec/platform-python; mv /usr/bin/python3* /opt", ("no Python", "dnf install python3")),
    "nosshd": (
        "firewall-cmd -q --add-port 2222/tcp; cp /usr/sbin/sshd /opt; /opt/sshd -p 2222; mv /usr/sbin/sshd /opt/was",
        ("sshd", "openssh-server"),
    ),
}
REPAIR = {
    "nopython": "mv /opt/python3* /usr/bin; ln -s /usr/bin/python3 /usr/libexec/platform-python",
}
PREPARE = """
useradd -m linked; mv /home/linked /home/elsewhere; ln -s /home/elsewhere /home/linked
useradd -m robbed; chown alice /home/robbed
"""


class Story(NamedTuple):
    """One run over every bad host and one good one."""

    run: Result
    good: Host
    hosts: dict[str, Host]
    before: dict[str, dict[str, str]]
    after: dict[str, dict[str, str]]
    logins: list[dict[str, Any]]


class Alias:
    """A further name of a host in the inventory."""

    def __init__(self, name: str, host: Host) -> None:
        self.name, self.variables = name, host.variables


@pytest.fixture(scope="module")
def story(farm: Farm) -> Iterator[Story]:
    desk = Controller()
    names = ["good-9", "victim-9", "apart-9", *(f"{name}-9" for name in BROKEN), "old-8"]
    made = farm.fresh(*(f"e2e-{name}={name.rpartition('-')[2]}" for name in names))
    good, victim, apart, *broken, old = made
    victim.root(PREPARE)
    hosts = dict(zip([*BROKEN, "mismatch", "victim", "apart"], [*broken, old, victim, apart], strict=True))
    before = dict(zip(hosts, each(Host.tree, list(hosts.values())), strict=True))
    for name, (command, _words) in BROKEN.items():
        hosts[name].root(command)
    changes = {name: case.variables for name, case in CASES.items()}
    changes["changed-host-key"] = {"ansible_ssh_common_args": f"-o UserKnownHostsFile={impostor(desk, victim)}"}
    changes[hosts["nosshd"].name] = {
        "ansible_port": 2222,
        "ansible_ssh_extra_args": f"-o HostKeyAlias={hosts['nosshd'].address}",
    }
    listed = [good, *broken, old, *(Alias(name, apart if name in APART else victim) for name in CASES)]
    # Forks below sshd's MaxStartups: all aliases are one host.
    run = desk.run(desk.inventory(listed, changes), "-e", f"harden_key={desk.key()}", "--forks", "6", core="new")
    logins = apart.logins()
    for name, command in REPAIR.items():
        hosts[name].root(command)
    after = dict(zip(hosts, each(Host.tree, list(hosts.values())), strict=True))
    yield Story(run, good, hosts, before, after, logins)
    desk.close()
    farm.drop(*(f"e2e-{name}" for name in names))


def impostor(desk: Controller, host: Host) -> str:
    """Return a known_hosts in which the host has other keys than it shows."""
    other = desk.key("impostor")
    path = desk.path / "known_elsewhere"
    path.write_text(f"{host.address} {other.with_suffix('.pub').read_text(encoding='ascii')}", encoding="ascii")
    return str(path)


def said(run: Result, name: str) -> str:
    """Return the refusal of a host: one line, a sentence with a remedy."""
    reason = run.refused(name)
    assert reason, run
    assert "\n" not in reason and "Traceback" not in reason and len(reason) < 700, reason
    return reason


@pytest.mark.parametrize("name", CASES)
def test_bad_words(story: Story, name: str) -> None:
    reason = said(story.run, name)
    missing = [word for word in CASES[name].words if word.lower() not in reason.lower()]
    assert not missing, reason


@pytest.mark.parametrize("name", BROKEN)
def test_broken_host(story: Story, name: str) -> None:
    reason = said(story.run, story.hosts[name].name)
    missing = [word for word in BROKEN[name][1] if word not in reason]
    assert not missing, reason


def test_core_and_python_do_not_fit(story: Story) -> None:
    """Newest core and Python 3.6: one line that names both remedies."""
    reason = said(story.run, story.hosts["mismatch"].name)
    assert "ansible-core 2.16" in reason and "dnf install python3" in reason, reason


@pytest.mark.parametrize("name", [*BROKEN, "mismatch", "victim", "apart"])
def test_nothing_was_touched(story: Story, name: str) -> None:
    assert story.after[name] == story.before[name]


def test_the_good_host_went_on(story: Story) -> None:
    assert story.run.rc != 0
    assert story.run.status(story.good) == "changed", story.run
    assert story.good.login(password=PASSWORDS[OPERATOR]).refused_by("publickey")


def test_a_wrong_password_is_sent_once(story: Story) -> None:
    """Counters of failed logins (faillock, penalties) see one attempt, not one for each step."""
    failed = [one for one in story.logins if one["method"] == "password" and not one["ok"]]
    assert [one["user"] for one in failed] == [OPERATOR], failed


def test_bad_hosts_are_counted(story: Story) -> None:
    states = {name: story.run.record(name)["status"] for name in CASES}
    assert {name for name, status in states.items() if status == "unreachable"} == {"unreachable", "closed-port"}
    assert "1 changed" in story.run.words
