# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back where files alone do not decide: how sshd was started, what it has not read, who asks, who waits."""

import json
import shlex
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from live import OPERATOR, Farm, Host
from runs import Controller, Result
from test_guard import COMMAND, LEFT, Session, documented, status, tasks_of, tree
from test_taken_back import ALONE

DROP_IN = "/etc/ssh/sshd_config.d/00-00-latchkey.conf"
OVERRIDE = "/etc/systemd/system/sshd.service.d/override.conf"
DENYING = f"[Service]\nExecStart=\nExecStart=/usr/sbin/sshd -D -oDenyUsers={OPERATOR}\n"
STARTED_ANEW = {
    "options": ("/etc/sysconfig/sshd", "", f"OPTIONS=-oDenyUsers={OPERATOR}\n"),
    "new drop-in": (OVERRIDE, "", DENYING),
    # systemd does not see by itself that it is back: the copy that is put back is older than what it has read.
    "drop-in": (OVERRIDE, "[Service]\nNice=1\n", DENYING),
}


class Desk(NamedTuple):
    """A controller whose key opens a host."""

    control: Controller
    host: Host
    key: str

    def run(self, play: Any, *arguments: str) -> Result:
        variables = {"ansible_ssh_private_key_file": self.key, "ansible_password": None}
        inventory = self.control.inventory([self.host], {self.host.name: variables})
        return self.control.run(inventory, *arguments, playbook=self.control.play(json.dumps([play])))

    def harden(self, *arguments: str, **wanted: Any) -> Result:
        wanted = {"harden_key": self.key, "harden_stranded": "report", **wanted}
        return self.control.run(self.control.inventory([self.host], {self.host.name: wanted}), *arguments)


@pytest.fixture(scope="module")
def desk(farm: Farm) -> Iterator[Desk]:
    control = Controller()
    (host,) = farm.fresh("back9=9")
    key = control.key()
    host.authorize(OPERATOR, key.with_suffix(".pub").read_text())
    yield Desk(control, host, str(key))
    control.close()


@pytest.mark.parametrize("path, content_before, content", STARTED_ANEW.values(), ids=list(STARTED_ANEW))
def test_sshd_runs_again_with_what_it_was_started_with(
    desk: Desk, path: str, content_before: str, content: str
) -> None:
    """A reload has it keep its arguments: it would go on keeping the operator out, with all files as before."""
    desk.host.root(f"mkdir -p {path.rpartition('/')[0]}")
    if content_before:
        desk.host.root(f"cat > {path}; systemctl daemon-reload; systemctl restart sshd", stdin=content_before.encode())
    before = tree(desk.host)
    find, _arm, *_others, proof = documented()["tasks"]
    tasks = [
        find,
        {"latchkey.ssh.guard": {"touches": [path]}, "register": "guard"},
        {"ansible.builtin.copy": {"dest": path, "content": content, "mode": "0644"}},
        {"ansible.builtin.systemd": {"name": "sshd", "state": "restarted", "daemon_reload": True}},
        proof,
    ]
    run = desk.run({**documented(), "handlers": [], "tasks": tasks})
    assert run.rc != 0 and "(the host is back as it was" in run.of(desk.host, "proof")["msg"], run.out
    assert tree(desk.host) == before and desk.host.login(key=desk.key).ok
    listener = desk.host.root("tr '\\0' ' ' < /proc/$(systemctl show -p MainPID --value sshd)/cmdline")
    assert "DenyUsers" not in listener
    desk.host.root("systemctl restart sshd")
    assert desk.host.login(key=desk.key).ok, "systemd has it from before"


def test_what_waits_for_its_reload_is_not_read_because_of_us(desk: Desk) -> None:
    pending = "/etc/ssh/sshd_config.d/20-pending.conf"
    reloads = "journalctl -u sshd --no-pager | grep -c 'Received SIGHUP'"
    asked = desk.host.root(reloads, check=False)
    desk.host.root(f"echo 'DenyUsers {OPERATOR}' > {pending}")
    try:
        run = desk.run(tasks_of({"latchkey.ssh.guard": {}}, {"latchkey.ssh.guard": {}, "check_mode": True}))
        said = [one["result"]["msg"] for one in run.tasks if one["action"] == "latchkey.ssh.guard"]
        assert len(said) == 2 and all(f"has not read {pending}" in one for one in said), run.out
        assert desk.host.login(key=desk.key).ok and desk.host.root(reloads, check=False) == asked
    finally:
        desk.host.root(f"rm {pending}")
    run = desk.run(tasks_of({"latchkey.ssh.guard": {}}))
    assert run.of(desk.host, "guard")["changed"], run.out
    assert "REVERTED" in desk.host.root(f"{COMMAND} revert")


def test_what_a_login_has_left_behind_is_no_console(desk: Desk) -> None:
    """tmux and its like outlive their login, and are no children of sshd any more."""
    left = Session(desk)  # type: ignore[arg-type]
    said = "/run/said"
    try:
        late = f"sleep 2; {COMMAND} confirm > {said} 2>&1; touch {said}.over"
        left.sudo(f"sh -c {shlex.quote(f'setsid -f sh -c {shlex.quote(late)} < /dev/null > /dev/null 2>&1')}")
        run = desk.run(tasks_of({"latchkey.ssh.guard": {"timeout": 100}}))
        assert run.of(desk.host, "guard")["changed"], run.out
    finally:
        left.close()
    end = time.monotonic() + 30
    while not desk.host.root(f"ls {said}.over", check=False) and time.monotonic() < end:
        time.sleep(0.2)
    try:
        assert "REFUSED  nobody knows from when this session is" in desk.host.root(f"cat {said}"), run.out
        assert status(desk.host)["state"] == "ARMED"
    finally:
        desk.host.root(f"{COMMAND} revert; rm -f {said} {said}.over")


def test_check_mode_says_that_another_transaction_is_under_way(desk: Desk) -> None:
    before = tree(desk.host)
    run = desk.run(tasks_of({"latchkey.ssh.guard": {"timeout": 300}}))
    identifier = run.of(desk.host, "guard")["transaction"]["id"]
    armed = tree(desk.host)
    checked = desk.harden("--check")
    assert f"the transaction {identifier}" in checked.refused(desk.host), checked.out
    outside = {"latchkey.ssh.sshd_config": {"settings": {"MaxAuthTries": 3}}, "check_mode": True}
    run = desk.run(tasks_of(outside))
    assert "covers this" in run.of(desk.host, "sshd_config")["msg"], run.out
    assert tree(desk.host) == armed
    desk.host.root(f"{COMMAND} revert")
    assert tree(desk.host) == before and desk.host.root(LEFT) == ""


CUT_OFF = f"{ALONE.rstrip()}\n      timeout: 12\n"


def test_a_task_that_is_cut_off_takes_its_change_back(desk: Desk) -> None:
    """No new connection gets through, so the login after the change waits; nobody waits for the deadline."""
    drop = "nft add table inet cut; nft add chain inet cut in '{ type filter hook input priority 0; }'; "
    drop += "nft add rule inet cut in iifname != lo tcp dport 22 ct state new drop"
    once = f"while [ ! -s {DROP_IN} ]; do sleep 0.02; done; {drop}"
    desk.host.root(f"setsid sh -c {shlex.quote(once)} > /dev/null 2>&1 < /dev/null &")
    try:
        inventory = desk.control.inventory([desk.host], {desk.host.name: {"ansible_ssh_private_key_file": desk.key}})
        run = desk.control.run(inventory, playbook=desk.control.play(CUT_OFF))
    finally:
        desk.host.root("nft delete table inet cut", check=False)
    found = status(desk.host)
    assert run.rc != 0 and found["state"] == "REVERTED", run.out
    assert found["reason"] == "the controller asked for it" and desk.host.login(key=desk.key).ok


def test_a_jump_host_is_not_confirmed_that_lets_nobody_through(desk: Desk, farm: Farm) -> None:
    """Another tool forbids it while the change lands; every login to the jump host itself works."""
    (behind,) = farm.fresh("behind10=10")
    common = f"{desk.host.variables['ansible_ssh_common_args']} -o ProxyJump={OPERATOR}@{desk.host.address}"
    desk.control.known_hosts(desk.host, behind)
    wanted = {"harden_key": desk.key, "harden_stranded": "report", "ansible_password": None}
    inventory = desk.control.inventory(
        [desk.host, behind], {desk.host.name: wanted, behind.name: {"ansible_ssh_common_args": common}}
    )
    forbid = f"echo 'AllowTcpForwarding no' > {DROP_IN.rpartition('/')[0]}/00-00-0.conf; systemctl reload sshd"
    once = f"while [ ! -s {DROP_IN} ]; do sleep 0.02; done; {forbid}"
    desk.host.root(f"setsid sh -c {shlex.quote(once)} > /dev/null 2>&1 < /dev/null &")
    only = ("-e", f"harden_hosts={desk.host.name}")
    run = desk.control.run(inventory, *only)
    record = run.record(desk.host)
    assert (record["status"], record["transaction"]["state"]) == ("reverted", "REVERTED"), run.out
    assert f"{behind.name} cannot be reached through this host any more" in run.refused(desk.host)
    run = desk.control.run(inventory, *only)
    assert run.status(desk.host) == "changed", run.out


def test_a_line_of_others_that_is_accepted_for_the_operator_is_no_reason_to_go_back(farm: Farm) -> None:
    """What is offered depends on who asks: to him also what that line leaves open."""
    control = Controller()
    (host,) = farm.fresh("foreign10=10")
    key = control.key()
    host.authorize(OPERATOR, key.with_suffix(".pub").read_text())
    line = f"Match User {OPERATOR}\nPasswordAuthentication yes\n"
    host.root("cat >> /etc/ssh/sshd_config; systemctl reload sshd", stdin=line.encode())
    wanted = {"harden_key": str(key), "harden_stranded": "report", "harden_foreign": "report"}
    run = control.run(control.inventory([host], {host.name: wanted}))
    control.close()
    record = run.record(host)
    assert record["status"] == "changed" and record["conflicts"] and not record["refused"], run.out
    assert "password" in record["proven"][0]["offered"] and host.sshd("alice")["passwordauthentication"] == "no"
