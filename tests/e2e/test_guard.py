# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions in plays of other people: the play that docs/transactions.md shows, and what can go wrong with it."""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
import yaml
from live import BUILD, OPERATOR, PASSWORDS, ROOT, Farm, Host, entry, hosts
from runs import Controller, Result

COMMAND = "/usr/local/sbin/latchkey"
ALONE = "-o ControlMaster=no"
ANOTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdXyRPgtRIDyvyAnmaP3vFeOp3PKdVb+C3TvPbZ2hq4 another"
SUDO = "printf 'alice ALL=(ALL) NOPASSWD: ALL\\n' > /etc/sudoers.d/alice; chmod 440 /etc/sudoers.d/alice"
# What a transaction has beside its record while it is under way.
LEFT = (
    "find /etc /home /root /run/systemd -xdev -name '*latchkey*' ! -name 00-00-latchkey.conf; "
    "find /run/latchkey -type f ! -name '*.lock'; ls -A /var/lib/latchkey/copies 2> /dev/null; "
    "systemctl list-units --all --no-legend 'latchkey*'"
)


def documented() -> dict[str, Any]:
    """Return the play of docs/transactions.md, for all hosts."""
    text = (ROOT / "docs" / "transactions.md").read_text(encoding="utf-8")
    (play,) = yaml.safe_load(re.findall(r"^```yaml\n(- name: .*?)^```", text, re.S | re.M)[0])
    return dict(play, hosts="all")


def changed(play: Mapping[str, Any], *, timeout: int = 300, before: str = "", tasks: Any = ()) -> dict[str, Any]:
    """Return a play with another deadline and with tasks in it before the first one that has ``before`` in its name."""
    found: list[Any] = []
    for task in play["tasks"]:
        found += tasks if before and before in task["name"] and not any(one in found for one in tasks) else []
        found.append(task)
        if "latchkey.ssh.guard" in task:
            found[-1] = {**task, "latchkey.ssh.guard": {**task["latchkey.ssh.guard"], "timeout": timeout}}
    return {**play, "tasks": found}


def without_proof(play: Mapping[str, Any]) -> dict[str, Any]:
    return {**play, "tasks": [task for task in play["tasks"] if "latchkey.ssh.proof" not in task]}


def tasks_of(*tasks: Mapping[str, Any]) -> dict[str, Any]:
    """Return a play of tasks that go on whatever becomes of them."""
    common = {"hosts": "all", "gather_facts": False, "become": True}
    return {**common, "tasks": [{"ignore_errors": True, **task} for task in tasks]}


def tree(host: Host) -> dict[str, Any]:
    """Return what is there, but for the record of transactions and what Ansible's own modules leave in homes."""
    lines = {path: line for path, line in host.tree().items() if "/.ansible" not in path}
    return {path: entry(line) for path, line in lines.items() if not path.startswith("/var/lib/latchkey")}


def status(host: Host) -> dict[str, Any]:
    return json.loads(host.root(f"{COMMAND} status --json"))


def until_over(host: Host, seconds: float) -> dict[str, Any]:
    """Wait until the transaction of a host is over and nothing of it is left, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = status(host)
        if found["state"] in ("COMMITTED", "REVERTED") and not host.root(LEFT):
            return found
        time.sleep(0.3)
    raise AssertionError(f"still under way: {status(host)} {host.root(LEFT)}")


def told(host: Host) -> str:
    return host.root("journalctl --no-pager -o short | grep latchkey", check=False)


class Desk(NamedTuple):
    """A controller whose key opens a host."""

    control: Controller
    host: Host
    core: str
    key: str

    def run(self, play: Mapping[str, Any], *arguments: str, **environment: str) -> Result:
        variables = {"ansible_ssh_private_key_file": self.key, "ansible_password": None}
        inventory = self.control.inventory([self.host], {self.host.name: variables})
        path = self.control.play(json.dumps([play]))
        return self.control.run(inventory, *arguments, playbook=path, core=self.core, **environment)

    def last(self, run: Result, action: str) -> dict[str, Any]:
        found = run.of(self.host, action)
        assert found, run.out
        return found


def sit_down(farm: Farm, generation: int, core: str) -> Iterator[Desk]:
    control = Controller()
    (host,) = farm.fresh(f"e2e-{generation}={generation}")
    key = control.key()
    for user in (OPERATOR, "alice"):
        host.authorize(user, key.with_suffix(".pub").read_text())
    yield Desk(control, host, core, str(key))
    control.close()


@pytest.fixture(scope="module", params=[(8, "2.16"), (10, "new")], ids=["8", "10"])
def other(request: pytest.FixtureRequest, farm: Farm) -> Iterator[Desk]:
    yield from sit_down(farm, *request.param)


@pytest.fixture(scope="module")
def desk(farm: Farm) -> Iterator[Desk]:
    yield from sit_down(farm, 9, "new")


def holds(desk: Desk) -> None:
    """Run the documented play and see that its changes are there and nothing else is."""
    run = desk.run(documented())
    assert run.rc == 0 and desk.last(run, "proof")["answer"] == "COMMITTED", run.out
    assert desk.host.sshd()["maxauthtries"] == "4"
    assert "EXCEPT root wheel admin" in desk.host.root("cat /etc/security/access.conf")
    assert status(desk.host)["state"] == "COMMITTED" and desk.host.root(LEFT) == ""
    assert desk.host.login(key=desk.key).ok


def locks_out(play: Mapping[str, Any], **how: Any) -> dict[str, Any]:
    """Return the play with a task in it after which no operator gets in."""
    deny = {"dest": "/etc/ssh/sshd_config.d/10-site.conf", "content": f"DenyUsers {OPERATOR}\n", "mode": "0600"}
    task = {"name": "Lock out", "ansible.builtin.copy": deny, "notify": "Reload sshd"}
    return changed(play, before="Run the handlers", tasks=[task], **how)


def test_the_documented_play_on_other_generations(other: Desk) -> None:
    holds(other)


def test_the_documented_play(desk: Desk) -> None:
    before = tree(desk.host)
    checked = desk.run(documented(), "--check", "--diff")
    assert checked.rc == 0 and "MaxAuthTries 4" in checked.out, checked.out
    assert tree(desk.host) == before and desk.host.root(LEFT) == ""
    holds(desk)


def test_the_roles_take_the_transaction_by_its_id(desk: Desk) -> None:
    """Without it the fence refuses them inside one."""
    find, arm, *_others, proof = documented()["tasks"]
    named = "{{ guard.transaction.id }}"
    server = {"ssh_server_settings": {"MaxAuthTries": 5}, "ssh_server_transaction": named}
    accounts = [{"user": "alice", "key": [ANOTHER]}]
    both = [
        {"ansible.builtin.include_role": {"name": f"latchkey.ssh.{role}"}, "vars": variables}
        for role, variables in (
            ("ssh_server", server),
            ("ssh_keys", {"ssh_keys_accounts": accounts, "ssh_keys_transaction": named}),
        )
    ]
    run = desk.run({**documented(), "handlers": [], "tasks": [find, arm, *both, proof]})
    assert run.rc == 0 and desk.last(run, "proof")["answer"] == "COMMITTED", run.out
    assert desk.host.sshd()["maxauthtries"] == "5" and ANOTHER in desk.host.keys("alice")
    server.pop("ssh_server_transaction")
    server["ssh_server_settings"]["MaxAuthTries"] = 6
    run = desk.run({**documented(), "handlers": [], "tasks": [find, arm, both[0], proof]})
    assert run.rc != 0 and "covers this" in run.words, run.out
    assert "REVERTED" in desk.host.root(f"{COMMAND} revert") and desk.host.sshd()["maxauthtries"] == "5"


def test_who_locks_himself_out_is_back_before_the_play_ends(desk: Desk) -> None:
    """No login is possible any more: the connection that Ansible holds open is the only way, and it is enough."""
    before, logins = tree(desk.host), len(desk.host.accepted())
    run = desk.run(locks_out(documented()))
    assert run.rc != 0, run.out
    failure = desk.last(run, "proof")["msg"]
    assert f"let {OPERATOR} in by no key" in failure and "(the host is back as it was" in failure, run.out
    assert "\n" not in failure
    found = status(desk.host)
    assert (found["state"], found["reason"]) == ("REVERTED", "the controller asked for it"), run.out
    assert tree(desk.host) == before and desk.host.root(LEFT) == ""
    # At most the login that began the connection.
    assert len(desk.host.accepted()[logins:]) <= 1
    assert desk.host.login(key=desk.key).ok


def test_a_proof_that_fails_takes_the_host_back_by_a_login_of_its_own(desk: Desk) -> None:
    """Nothing is shared: what failed is the wish that passwords are off, so logins work."""
    before = tree(desk.host)
    play = documented()
    play["tasks"][-1]["latchkey.ssh.proof"]["methods"] = ["publickey"]
    run = desk.run(play, ANSIBLE_SSH_ARGS=ALONE)
    assert run.rc != 0 and "(the host is back as it was)" in desk.last(run, "proof")["msg"], run.out
    assert status(desk.host)["state"] == "REVERTED" and tree(desk.host) == before


def test_a_host_that_cannot_be_reached_is_known_to_go_back_by_itself(desk: Desk) -> None:
    before = tree(desk.host)
    run = desk.run(locks_out(documented()), ANSIBLE_SSH_ARGS=ALONE)
    failure = desk.last(run, "proof")["msg"]
    assert re.search(r"cannot be reached and goes back by itself by \d\d:\d\d:\d\d UTC", failure), run.out
    assert run.rc != 0 and status(desk.host)["state"] == "APPLIED" and not desk.host.login(key=desk.key).ok
    assert "REVERTED" in desk.host.root(f"{COMMAND} revert")
    assert tree(desk.host) == before and desk.host.login(key=desk.key).ok


def test_when_nobody_confirms_the_host_goes_back_and_says_so(desk: Desk) -> None:
    """One write, right after the beginning: what others write after the deadline would stay."""
    before = tree(desk.host)
    play = locks_out(documented(), timeout=15)
    play["tasks"] = [one for one in play["tasks"] if "latchkey.ssh.guard" in one or one["name"] == "Lock out"]
    run = desk.run(play)
    assert run.rc == 0, run.out
    identifier = desk.last(run, "guard")["transaction"]["id"]
    found = until_over(desk.host, 40)
    assert (found["id"], found["state"], found["reason"]) == (identifier, "REVERTED", "nobody confirmed in time")
    assert tree(desk.host) == before and desk.host.login(key=desk.key).ok
    said = told(desk.host)
    assert "unless confirmed it goes back in 15 s" in said, said
    for words in ("goes back to what it was", "reverted: the SSH access of this host is what it was"):
        assert f"{words} (transaction {identifier}" in said, said


def test_all_operators_have_to_confirm(desk: Desk) -> None:
    desk.host.root(SUDO)
    key = {"latchkey.ssh.operator_key": {"create": "false"}, "register": "key"}
    guard = {"latchkey.ssh.guard": {"operators": [OPERATOR, "alice"]}, "register": "guard"}
    proof = {"identity": "{{ key.identity }}", "confirm": "{{ guard.transaction }}"}
    first = {"latchkey.ssh.proof": proof, "register": "first"}
    show = {"ansible.builtin.debug": {"var": "first"}}
    run = desk.run(tasks_of(key, guard, first, show, {"latchkey.ssh.proof": {**proof, "user": "alice"}}))
    answers = [one["result"] for one in run.tasks if one["action"] == "latchkey.ssh.proof"]
    assert [(one.get("answer"), one.get("waiting_for")) for one in answers] == [
        ("WAITING_FOR", ["alice"]),
        ("COMMITTED", []),
    ], run.out
    assert status(desk.host)["confirmed"] == [OPERATOR, "alice"] and desk.host.root(LEFT) == ""


def test_one_transaction_at_a_time_and_only_inside_it(desk: Desk) -> None:
    """A second one, writers outside and writers that name another are refused, and nothing has changed."""
    before = tree(desk.host)
    past = json.loads(desk.host.root("cat $(ls /var/lib/latchkey/history/*.json | head -1)"))["id"]
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF12zMF6tQrTaNA1r6e4tPAOP+/ncrHaROzuCQvxFhLQ somebody"
    mine = "{{ guard.transaction.id }}"
    settings = {"settings": {"MaxAuthTries": 3}}
    run = desk.run(
        tasks_of(
            {"latchkey.ssh.guard": {"timeout": 100}, "register": "guard"},
            {"name": "second", "latchkey.ssh.guard": {}},
            {"name": "second, checked", "latchkey.ssh.guard": {}, "check_mode": True},
            {"name": "outside", "latchkey.ssh.sshd_config": settings},
            {"name": "outside, keys", "latchkey.ssh.authorized_keys": {"user": OPERATOR, "key": [public]}},
            {"name": "past", "latchkey.ssh.sshd_config": {**settings, "transaction": past}},
            {"name": "pair", "latchkey.ssh.openssh_keypair": {"path": "/root/.ssh/id", "transaction": mine}},
            {"name": "extended", "latchkey.ssh.guard": {"state": "extended", "transaction": mine, "timeout": 100}},
            {"name": "another", "latchkey.ssh.guard": {"state": "reverted", "transaction": past}},
            {"name": "another, checked", "check_mode": True}
            | {"latchkey.ssh.guard": {"state": "reverted", "transaction": past}},
            {"name": "checked", "latchkey.ssh.guard": {"state": "reverted", "transaction": mine}, "check_mode": True},
            {"name": "reverted", "latchkey.ssh.guard": {"state": "reverted", "transaction": mine}},
            {"name": "again", "latchkey.ssh.guard": {"state": "reverted", "transaction": mine}},
            {"name": "late", "latchkey.ssh.sshd_config": {**settings, "transaction": mine}},
            {"name": "over", "latchkey.ssh.guard": {"state": "extended", "transaction": mine}},
        )
    )
    results = {one["task"]: one["result"] for one in run.tasks}
    identifier = desk.last(run, "guard") and run.tasks[0]["result"]["transaction"]["id"]
    refusals = {
        "second": f"the transaction {identifier} of ",
        "second, checked": f"the transaction {identifier} of ",
        "outside": f"wait until it is over, or write inside it: transaction: {identifier}",
        "outside, keys": f"wait until it is over, or write inside it: transaction: {identifier}",
        "past": f"the transaction {past} is not the one of this host",
        "pair": "a transaction does not take it back. make it before",
        "another": f"the transaction on this host is not {past}",
        "another, checked": f"the transaction on this host is not {past}",
        "late": f"the transaction {identifier} takes no more changes: it is REVERTED",
        "over": "the transaction is not extended: it is REVERTED",
    }
    for name, reason in refusals.items():
        assert reason in results[name]["msg"] and "\n" not in results[name]["msg"], (name, results[name])
    assert results["extended"]["status"]["seconds_left"] > 150
    assert (results["checked"]["changed"], results["checked"]["status"]["state"]) == (True, "ARMED")
    assert (results["reverted"]["changed"], results["reverted"]["status"]["state"]) == (True, "REVERTED")
    assert results["again"]["changed"] is False
    assert tree(desk.host) == before and desk.host.root(LEFT) == ""


WRONG = {
    "no time": ({"timeout": 0}, "timeout: 0 s is no deadline. give 5 to 3600 seconds"),
    "too long": ({"timeout": 3601}, "timeout: 3601 s is no deadline"),
    "no number": ({"timeout": "soon"}, "timeout: `soon` is no number of seconds"),
    "nobody": ({"operators": ["nobody-here"]}, "the account `nobody-here` does not exist on this host"),
    "no account": ({"accounts": ["nobody-here"]}, "the account `nobody-here` does not exist on this host"),
    "home": ({"touches": [f"/home/{OPERATOR}/.bashrc"]}, "below a home, name the account (`accounts`)"),
    "new in a home": ({"touches": [f"/home/{OPERATOR}/no/such"]}, "below a home, name the account (`accounts`)"),
    "fifo": ({"touches": ["/etc/fifo"]}, "/etc/fifo: is neither a file nor a directory and cannot be brought back"),
    "relative": ({"touches": ["etc/hosts"]}, "etc/hosts: is no absolute path"),
}


def test_wrong_arguments_are_refused_and_change_nothing(desk: Desk) -> None:
    """Every second one is asked in check mode, which says the same."""
    desk.host.root("mkfifo /etc/fifo")
    before = tree(desk.host)
    tasks = []
    for number, (name, (arguments, _said)) in enumerate(WRONG.items()):
        tasks.append({"name": name, "latchkey.ssh.guard": arguments, "check_mode": bool(number % 2)})
    run = desk.run(tasks_of(*tasks, {"latchkey.ssh.guard": {"touches": ["/etc/motd"]}, "check_mode": True}))
    results = {one["task"]: one["result"] for one in run.tasks}
    after = tree(desk.host)
    desk.host.root("rm /etc/fifo")
    for name, (_arguments, said) in WRONG.items():
        result = results[name]
        assert said in result["msg"] and "\n" not in result["msg"] and not result["changed"], (name, result)
    armed = desk.last(run, "guard")
    assert armed["changed"] and "/etc/motd" in armed["touches"] and armed["transaction"]["id"] == "", armed
    assert after == before and desk.host.root(LEFT) == ""


class Session:
    """One connection of the operator that stays open."""

    def __init__(self, desk: Desk) -> None:
        words = ["-F", str(BUILD / "ssh_config"), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", desk.key]
        self._argv = ["ssh", *words, "-S", str(desk.control.path / "session"), f"{OPERATOR}@{desk.host.name}"]
        subprocess.run([*self._argv, "-f", "-N", "-M"], check=True, timeout=30, stdout=subprocess.DEVNULL)

    def sudo(self, command: str) -> str:
        """Run a command of root and return what it printed."""
        argv = [*self._argv, f"sudo -S -p '' {command}"]
        secret = f"{PASSWORDS[OPERATOR]}\n"
        done = subprocess.run(argv, input=secret, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def close(self) -> None:
        subprocess.run([*self._argv, "-O", "exit"], check=False, capture_output=True, timeout=30)


def test_a_session_that_is_older_than_the_change_confirms_nothing(desk: Desk) -> None:
    """It would be there also if nobody could log in any more; one that was made afterwards counts."""
    stale = Session(desk)
    try:
        run = desk.run(without_proof(documented()))
        assert run.rc == 0, run.out
        assert "REFUSED  this session is older than the last change: log in anew" in stale.sudo(f"{COMMAND} confirm")
        assert status(desk.host)["state"] == "APPLIED"
    finally:
        stale.close()
    fresh = Session(desk)
    try:
        assert "COMMITTED" in fresh.sudo(f"{COMMAND} confirm")
    finally:
        fresh.close()
    assert status(desk.host)["state"] == "COMMITTED" and desk.host.root(LEFT) == ""


def test_the_command_of_the_console(desk: Desk) -> None:
    before = tree(desk.host)
    run = desk.run(tasks_of({"latchkey.ssh.guard": {"touches": ["/etc/motd"], "timeout": 100}}))
    identifier = desk.last(run, "guard")["transaction"]["id"]
    shown = desk.host.root(f"{COMMAND} status")
    assert shown.startswith(f"ARMED  {identifier}, begun ") and f"unless confirmed by: {OPERATOR}\n" in shown
    assert "\n  /etc/motd\n" in shown
    assert desk.host.root(f"{COMMAND} hold 300").startswith("EXTENDED")
    assert status(desk.host)["seconds_left"] > 300
    assert desk.host.root(f"{COMMAND} confirm 20200101T000000-abcdef", check=False).startswith("REFUSED")
    desk.host.root("echo changed > /etc/motd")
    assert "REVERTED" in desk.host.root(f"{COMMAND} revert")
    assert tree(desk.host) == before and desk.host.root(LEFT) == ""
    (line,) = [line for line in desk.host.root(f"{COMMAND} list").splitlines() if identifier in line]
    assert "REVERTED" in line and "reverted by hand" in line
    assert "usage: latchkey" in desk.host.root(f"{COMMAND} undo 2>&1", check=False)
    nobody = desk.host.root(f"setpriv --reuid nobody --clear-groups {COMMAND} status 2>&1", check=False)
    assert "root" in nobody or "Permission denied" in nobody


def test_a_restart_inside_the_window_goes_back_before_sshd_answers(desk: Desk) -> None:
    before = tree(desk.host)
    run = desk.run(without_proof(locks_out(documented())))
    assert run.rc == 0, run.out
    identifier = desk.last(run, "guard")["transaction"]["id"]
    assert status(desk.host)["state"] == "APPLIED" and not desk.host.login(key=desk.key).ok
    hosts.restart(desk.host.name, lambda text: None)
    found = until_over(desk.host, 30)
    assert (found["id"], found["state"]) == (identifier, "REVERTED")
    assert found["reason"] == "the host was restarted before anybody confirmed"
    assert desk.host.login(key=desk.key).ok
    after = tree(desk.host)
    written = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert written <= {"/etc/hosts", "/etc/resolv.conf", "/etc/hostname"}
    lines = told_in_order(desk.host)
    began = next(number for number, line in enumerate(lines) if "the host was restarted before anybody" in line)
    assert any("Server listening on" in line for line in lines[began:]), lines
    assert not any("Server listening on" in line for line in lines[:began]), lines


def told_in_order(host: Host) -> list[str]:
    """Return what was logged since the host was started, in order."""
    started = host.root("systemctl show -p UserspaceTimestamp --value").strip()
    return host.root(f"journalctl --no-pager -o short-precise --since '{started.rpartition(' ')[0]}'").splitlines()
