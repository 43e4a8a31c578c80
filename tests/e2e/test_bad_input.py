# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong is said in one line that names field, problem and remedy, before anything is touched.

One run takes everything that can be wrong at once: many names of one host, each with one thing wrong in its variables;
hosts of which something is missing; and a good host, which goes on.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import FULL, GATEWAY, OPERATOR, PASSWORDS, Farm, Host, each
from runs import Controller, Result

NOBODY = GATEWAY.rpartition(".")[0] + ".254"
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF12zMF6tQrTaNA1r6e4tPAOP+/ncrHaROzuCQvxFhLQ somebody"


def account(user: str, *key: str) -> dict[str, Any]:
    """Return variables that give an account keys."""
    return {"harden_accounts": [{"user": user, "key": list(key)}]}


def settings(**values: Any) -> dict[str, Any]:
    """Return variables that ask for sshd settings."""
    return {"harden_sshd_settings": values}


# By name: the variables, and what the line has to say: the field or place, the problem, the remedy.
WRONG_VARIABLES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no-key": (account("alice"), ("accounts[0] (alice).key", "no key is given", "give the text of the .pub file")),
    "no-public-key": (account("alice", "hello world"), ("accounts[0] (alice).key[0]", "hello", ".pub")),
    "cut-key": (account("alice", PUBLIC[:60]), ("accounts[0] (alice).key[0]", ".pub")),
    "missing-account": (account("nobody-here", PUBLIC), ("nobody-here", "does not exist", "create it first")),
    "linked-home": (account("linked", PUBLIC), ("/home/linked", "link")),
    "foreign-home": (account("foreign", PUBLIC), ("/home/foreign", "belongs to uid", "chown foreign")),
    "linked-keys": (account("trap", PUBLIC), ("/home/trap/.ssh", "link")),
    "unknown-keyword": (
        settings(PasswordAuthentification="no"),
        ("settings", "PasswordAuthentification", "PasswordAuthentication?"),
    ),
    "newer-keyword": (
        settings(PerSourcePenalties="no"),
        ("settings", "PerSourcePenalties", "OpenSSH 9.8", "leave it out"),
    ),
    "bad-value": (settings(MaxAuthTries="lots"), ("settings", "MaxAuthTries lots", "sshd_config(5)")),
    "two-lines": (settings(Banner="none\nPermitRootLogin yes"), ("settings.Banner", "one line")),
    "global-in-match": (
        {"harden_sshd_match": [{"criteria": "User alice", "settings": {"Port": 22}}]},
        ("match `User alice`", "Port", "Match"),
    ),
    "no-criteria": ({"harden_sshd_match": [{"criteria": " ", "settings": {}}]}, ("match[0].criteria", "User alice")),
    "method": ({"harden_methods": ["password"]}, ("harden_methods", "publickey")),
    "type": ({"harden_accounts": "alice"}, ("harden_accounts", "ansible-doc -t role latchkey.ssh.harden")),
    "host-key": ({"harden_host_key": "trust"}, ("harden_host_key", "trust", "SHA256:")),
    "choice": ({"harden_stranded": "ignore"}, ("harden_stranded", "refuse", "report")),
    "md5": ({"harden_host_key": "MD5:aa:bb"}, ("harden_host_key", "MD5:aa:bb", "SHA256:")),
    "operator": ({"harden_operators": ["nobody-here"]}, ("nobody-here", "does not exist", "correct its name")),
    "key-file": ({"harden_key": "/nowhere/key", "harden_key_create": "false"}, ("/nowhere/key", "harden_key")),
}
WRONG_WAYS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "wrong-password": ({"ansible_password": "guess"}, (OPERATOR, "neither by key nor by password", "ansible_password")),
    "wrong-sudo": (
        {"ansible_become_password": "guess"},
        ("become", "sudo password is wrong", "ansible_become_password"),
    ),
    "no-sudo-rule": (
        {
            "ansible_user": "alice",
            "ansible_password": PASSWORDS["alice"],
            "ansible_become_password": PASSWORDS["alice"],
        },
        ("become", "may not use sudo", "/etc/sudoers.d"),
    ),
    "unreachable": ({"ansible_port": 1}, ("cannot be reached", "port 1: ", "check its address")),
    "wrong-python": (
        {"ansible_python_interpreter": "/usr/bin/python9"},
        ("python", "no Python at the path", "leave it unset"),
    ),
    "nobody-there": ({"ansible_host": NOBODY, "ansible_timeout": 3}, ("cannot be reached", "check its address")),
}
# What is hidden from a host by another name, and what is said then.
BROKEN_HOSTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "bad-sshd": ("$(command -v sshd)", ("sshd is not installed", "dnf install openssh-server")),
    "bad-sudo": ("$(command -v sudo)", ("become", "sudo is not installed", "dnf install sudo")),
    "bad-python": (
        "/usr/bin/python3* /usr/libexec/platform-python",
        ("python", "has no Python", "dnf install python3"),
    ),
}
# What everybody meets who updates the controller of an AlmaLinux 8.
MISMATCH = ("python", "needs Python 3.9", "platform-python=3.6", "CORE=2.16", "dnf install python3")
# The beginning of every key that OpenSSH writes, in base64.
SECRET = "b3BlbnNzaC1rZXktdjEAAAAA"
AWAY = ("unreachable", "nobody-there")
WRONG = {**WRONG_VARIABLES, **WRONG_WAYS}


class Story(NamedTuple):
    """The hosts by name, what the refused ones must be told, the run, its key, the trees around it."""

    hosts: dict[str, Host]
    expected: dict[str, tuple[str, ...]]
    run: Result
    before: dict[str, dict[str, str]]
    after: dict[str, dict[str, str]]
    key: Path


def spoil(host: Host) -> None:
    """Make the accounts whose homes nobody should write to."""
    host.root(
        "for u in linked foreign trap; do useradd -m $u; done; "
        "mv /home/linked /home/elsewhere; ln -s /home/elsewhere /home/linked; "
        "chown alice /home/foreign; "
        "mkdir /root/.ssh-real; ln -s /root/.ssh-real /home/trap/.ssh; chown -h trap /home/trap/.ssh"
    )


def hide(host: Host) -> None:
    """Take something away from a host, as a broken installation has it."""
    host.root(f"for p in {BROKEN_HOSTS[host.name][0]}; do mv $p $p.hidden || exit 1; done")


def show(host: Host) -> None:
    """Give it back, so that the tree can be looked at."""
    host.root("for p in $(ls /usr/*bin/*.hidden /usr/libexec/*.hidden); do mv $p ${p%.hidden}; done", check=False)


def ways_in(desk: Controller, host: Host) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[str, ...]]]:
    """Return what depends on this run: a private key given as public, and a host key that has changed."""
    private = desk.key("secret").read_text(encoding="ascii")
    other = Path(f"{desk.key('other-host')}.pub").read_text(encoding="ascii")
    known = desk.path / "changed_known_hosts"
    known.write_text(f"{host.address} {other}", encoding="ascii")
    given = {
        "private-key": account("alice", private),
        "changed-key": {"ansible_ssh_common_args": f"-o UserKnownHostsFile={known}"},
    }
    said = {
        "private-key": ("accounts[0] (alice).key[0]", "this is a private key", "Give the .pub file"),
        "changed-key": ("host key", "known_hosts has another key: no password was sent", "ssh-keygen -R"),
    }
    return given, said


def inventory(desk: Controller, listed: list[Host], wrong: dict[str, dict[str, Any]]) -> Path:
    """Write an inventory of the hosts, and of one of them under many names, each with its own variables."""
    folder = desk.inventory(listed)
    path = folder / "hosts.yml"
    document = json.loads(path.read_text(encoding="utf-8"))
    # A login of its own for each name: a shared one would hide a wrong password.
    alone = {**listed[0].variables, "ansible_ssh_args": "-o ControlMaster=no"}
    document["all"]["hosts"].update({name: {**alone, **variables} for name, variables in wrong.items()})
    document["all"]["vars"] = {"harden_key": str(desk.key())}
    path.write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["2.16", "new"] if FULL else ["new"])
def story(request: pytest.FixtureRequest, farm: Farm) -> Iterator[Story]:
    core = request.param
    desk = Controller()
    listed = farm.fresh(
        "bad-9=9", "bad-good=9", *(["bad-8=8"] if core == "new" else []), *(f"{name}=9" for name in BROKEN_HOSTS)
    )
    hosts = {host.name: host for host in listed}
    spoil(hosts["bad-9"])
    more, said = ways_in(desk, hosts["bad-9"])
    folder = inventory(desk, listed, {name: variables for name, (variables, _said) in WRONG.items()} | more)
    before = dict(zip(hosts, each(Host.tree, listed), strict=True))
    broken = [hosts[name] for name in BROKEN_HOSTS]
    each(hide, broken)
    run = desk.run(folder, "--forks=6", "--limit=!bad-9", core=core)
    each(show, broken)
    after = dict(zip(hosts, each(Host.tree, listed), strict=True))
    expected = {name: said for name, (_given, said) in (WRONG | BROKEN_HOSTS).items()} | said
    expected |= {"bad-8": MISMATCH} if core == "new" else {}
    yield Story(hosts, expected, run, before, after, desk.home / "keys/operator")
    desk.close()
    farm.drop(*hosts)


@pytest.mark.parametrize("name", [*WRONG, "private-key", "changed-key", *BROKEN_HOSTS, "bad-8"])
def test_is_refused_in_one_line_with_a_remedy(story: Story, name: str) -> None:
    if name not in story.expected:
        pytest.skip("ansible-core 2.16 fits every host")
    reason = story.run.refused(name)
    assert reason and "\n" not in reason, story.run
    missing = [part for part in story.expected[name] if part not in reason]
    assert not missing, reason
    assert story.run.record(name)["status"] == ("unreachable" if name in AWAY else "refused")


def test_nothing_was_touched(story: Story) -> None:
    """Not on the host of the many names either, which the run has reached a good many times."""
    for name, host in story.hosts.items():
        if name != "bad-good":
            assert story.after[name] == story.before[name], host.name
    assert story.hosts["bad-9"].login(password=PASSWORDS[OPERATOR]).ok


def test_a_wrong_password_is_sent_once(story: Story) -> None:
    """Counters of failed logins (faillock, penalties) see one attempt, not one for each step."""
    failed = [one["user"] for one in story.hosts["bad-9"].logins() if one["method"] == "password" and not one["ok"]]
    assert failed == [OPERATOR]


def test_the_good_host_went_on(story: Story) -> None:
    host = story.hosts["bad-good"]
    assert story.run.status(host) == "changed", story.run
    assert host.login(key=story.key).ok
    assert host.login(password=PASSWORDS[OPERATOR]).refused_by("publickey")


def test_the_run_failed(story: Story) -> None:
    assert story.run.rc != 0
    refused = len(story.expected)
    assert f"latchkey: {refused + 1} hosts:" in story.run.out and "1 changed" in story.run.out, story.run


def test_a_private_key_is_not_shown(story: Story) -> None:
    assert SECRET not in story.run.out and "PRIVATE KEY-----" not in story.run.out
