# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a fresh login: what must not carry the proof, what must not be asked twice, what is refused by name.

One host is hardened first; the tests then look at single runs on it. Its second run is one login by key, so that
whatever a test adds (a master that is open, a bastion, a wrong password) shows.
"""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import OPERATOR, PASSWORDS, Farm, Host
from runs import Controller, Result

CORES = ("2.16", "new")


class Desk(NamedTuple):
    """A controller whose key opens two hosts that are key-only."""

    host: Host
    bastion: Host
    control: Controller
    key: str

    def run(self, *arguments: str, core: str = "new", changes: dict[str, Any] | None = None, **more: Any) -> Result:
        """Run harden.yml, or another playbook, on the host alone."""
        inventory = self.control.inventory([self.host], {self.host.name: {"harden_key": self.key, **(changes or {})}})
        return self.control.run(inventory, *arguments, core=core, **more)


@pytest.fixture(scope="module")
def hardened(farm: Farm) -> Iterator[Desk]:
    control = Controller()
    host, bastion = farm.fresh("e2e-9=9", "e2e-bastion=10")
    key = str(control.key())
    inventory = control.inventory([host, bastion])
    run = control.run(inventory, "-e", f"harden_key={key}")
    assert run.rc == 0, run.out
    yield Desk(host, bastion, control, key)
    control.close()


def new_logins(host: Host, seen: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return (user, method) of what was accepted since."""
    return [(one["user"], one["method"]) for one in host.logins()[len(seen) :] if one["ok"]]


@pytest.fixture
def master(hardened: Desk) -> Iterator[str]:
    """Open a master connection to the host, as an earlier task or a person leaves one."""
    path = str(hardened.control.path / "master")
    common = hardened.host.variables["ansible_ssh_common_args"].replace('"', "")
    argv = ["ssh", *common.split(), "-i", hardened.key, "-o", "IdentitiesOnly=yes", "-M", "-S", path]
    argv += ["-o", "ControlPersist=60", f"{OPERATOR}@{hardened.host.address}", "true"]
    subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    yield path
    subprocess.run(["ssh", "-S", path, "-O", "exit", hardened.host.address], check=True, capture_output=True)


@pytest.mark.parametrize("where", ["ansible_ssh_extra_args", "ansible_ssh_args", "ansible_control_path"])
@pytest.mark.parametrize("core", CORES)
def test_an_open_master_is_not_ridden(hardened: Desk, master: str, core: str, where: str) -> None:
    value = master if where == "ansible_control_path" else f"-S {master} -o ControlPath={master}"
    before = hardened.host.logins()
    run = hardened.run(core=core, changes={where: value})
    assert run.status(hardened.host) == "unchanged", run.out
    assert new_logins(hardened.host, before) == [(OPERATOR, "publickey")]


def test_a_master_does_not_hide_a_key_that_is_gone(hardened: Desk, master: str) -> None:
    """Through the master everything would look fine; the fresh login shows that nobody gets in by this key."""
    host = hardened.host
    lines = "\n".join(host.keys()) + "\n"
    path = f"/home/{OPERATOR}/.ssh/authorized_keys"
    host.root(f"cat > {path}", stdin=b"# empty\n")
    try:
        run = hardened.run(changes={"ansible_ssh_extra_args": f"-S {master}"})
    finally:
        host.root(f"cat > {path}", stdin=lines.encode())
    assert run.rc != 0 and "neither by key nor by password" in run.refused(host), run.out


@pytest.mark.parametrize("core", CORES)
def test_through_a_bastion(hardened: Desk, core: str) -> None:
    """The bastion's own words do not count, and its leg is fresh too."""
    host, bastion = hardened.host, hardened.bastion
    hardened.control.known_hosts(host, bastion)
    hardened.control.environment.pop("SSH_AUTH_SOCK", None)
    config = hardened.control.path / "config"
    config.write_text(
        f"Host bastion\n HostName {bastion.address}\n User {OPERATOR}\n IdentityFile {hardened.key}\n"
        f" ControlMaster auto\n ControlPath {hardened.control.path}/b\n ControlPersist 30\n",
        encoding="utf-8",
    )
    seen, jumps = host.logins(), bastion.logins()
    common = host.variables["ansible_ssh_common_args"]
    changes = {"ansible_ssh_common_args": f"{common} -F {config} -o ProxyJump=bastion"}
    run = hardened.run(core=core, changes=changes)
    assert run.status(host) == "unchanged", run.out
    (proof,) = run.record(host)["proven"]
    assert proof["offered"] == ["publickey"]
    shown = host.root("for f in /etc/ssh/ssh_host_*.pub; do ssh-keygen -lf $f | cut -d' ' -f2; done").split()
    assert proof["host_key"].split()[-1] in shown, "that is the bastion's key"
    assert new_logins(host, seen) == new_logins(bastion, jumps) == [(OPERATOR, "publickey")]
    assert host.logins()[-1]["address"] == bastion.address
    assert not (hardened.control.path / "b").exists(), "a master to the bastion was opened"


@pytest.mark.parametrize("core", CORES)
def test_retries_make_no_second_try(hardened: Desk, controller: Controller, core: str) -> None:
    """Each refused try counts against the controller's address."""
    stranger = str(controller.key("stranger"))
    before = len(hardened.host.logins())
    run = hardened.run(
        core=core,
        changes={"harden_key": stranger, "ansible_ssh_retries": 3, "ansible_password": None},
        ANSIBLE_SSH_RETRIES="3",
    )
    assert run.rc != 0 and run.refused(hardened.host), run.out
    tries = hardened.host.logins()[before:]
    assert len(tries) <= 2 and not any(one["ok"] for one in tries), tries


def test_a_left_over_password_needs_no_sshpass(hardened: Desk) -> None:
    """2.16 cannot even start without sshpass where a password is set; the fresh login has none."""
    tools = hardened.control.path / "bin"
    tools.mkdir(exist_ok=True)
    for folder in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for name in ("ssh", "ssh-add", "ssh-keygen", "sh", "mount", "unshare", "pkill", "env", "python3"):
            target = tools / name
            if not target.exists() and subprocess.run(["test", "-x", f"{folder}/{name}"], check=False).returncode == 0:
                target.symlink_to(f"{folder}/{name}")
    run = hardened.run(core="2.16", changes={"ansible_password": PASSWORDS[OPERATOR]}, PATH=str(tools))
    assert run.status(hardened.host) == "unchanged", run.out


def test_another_key_may_carry_the_plan_and_is_no_proof(hardened: Desk, controller: Controller) -> None:
    """A key was named; that the client also had another one, which opened the host, proves nothing about it."""
    named = controller.key("named")
    common = f"{hardened.host.variables['ansible_ssh_common_args']} -i {hardened.key}"
    run = hardened.run(changes={"harden_key": str(named), "ansible_ssh_common_args": common})
    assert run.rc == 0, run.out
    plan = run.of(hardened.host, "plan")
    assert plan["reached"] == "configured" and plan["proofs"] == []
    fingerprint = subprocess.run(
        ["ssh-keygen", "-l", "-f", f"{named}.pub"], check=True, capture_output=True, text=True
    ).stdout.split()[1]
    assert [proof["fingerprint"] for proof in run.record(hardened.host)["proven"]] == [fingerprint]


def test_a_new_key_comes_in_by_the_one_that_works(hardened: Desk, controller: Controller) -> None:
    """The agent opens the host today; the key that is named is added by it, and then proven by itself."""
    named = controller.key("named")
    old = controller.path / "old"
    old.write_bytes(Path(hardened.key).read_bytes())
    old.chmod(0o600)
    controller.agent(old)
    changes = {"harden_key": str(named), "ansible_password": None}
    run = controller.run(controller.inventory([hardened.host], {hardened.host.name: changes}))
    assert run.status(hardened.host) == "changed", run.out
    fingerprint = subprocess.run(["ssh-keygen", "-lf", named], capture_output=True, text=True, check=True).stdout
    assert run.record(hardened.host)["proven"][0]["fingerprint"] in fingerprint
    assert "password" not in {method for _user, method in hardened.host.accepted()[-3:]}


REFUSED = {
    "su": ({"ansible_become_method": "su"}, {}, ("su", "sudo")),
    "keep remote files": ({}, {"ANSIBLE_KEEP_REMOTE_FILES": "1"}, ("ANSIBLE_KEEP_REMOTE_FILES",)),
    "another connection plugin": ({"ansible_connection": "local"}, {}, ("local", "ansible_connection: ssh")),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("core", CORES)
def test_refused_by_name(hardened: Desk, core: str, name: str) -> None:
    changes, environment, words = REFUSED[name]
    run = hardened.run(core=core, changes=changes, **environment)
    reason = run.refused(hardened.host)
    assert run.rc != 0 and all(word in reason for word in words), run.out


TASK = """
- hosts: all
  gather_facts: false
  tasks:
    - latchkey.ssh.plan:
        identity: {identity}
        desired: {{server: {{methods: [publickey]}}}}
      become: true
      {keyword}
"""


@pytest.mark.parametrize("keyword", ["delegate_to: localhost", "run_once: true", "async: 30"])
def test_keywords_that_spoil_a_proof_are_refused_by_name(hardened: Desk, keyword: str) -> None:
    identity = hardened.run("--check").of(hardened.host, "operator_key")["identity"]
    run = hardened.run(playbook=hardened.control.play(TASK.format(identity=json.dumps(identity), keyword=keyword)))
    result = run.of(hardened.host, "plan")
    # Core itself says it of async.
    assert keyword.split(":")[0] in str(result.get("refused") or result.get("msg")), run.out
    assert not result.get("reached")


def test_requiretty_is_refused_by_name(hardened: Desk) -> None:
    path = "/etc/sudoers.d/tty"
    hardened.host.root(f"echo 'Defaults:{OPERATOR} requiretty' > {path}; chmod 440 {path}")
    try:
        run = hardened.run()
    finally:
        hardened.host.root(f"rm {path}")
    assert "requiretty" in run.refused(hardened.host), run.out


@pytest.mark.parametrize("strategy", ["free", "host_pinned"])
def test_other_strategies_are_fine(hardened: Desk, strategy: str) -> None:
    before = hardened.host.logins()
    run = hardened.run(ANSIBLE_STRATEGY=strategy)
    assert run.status(hardened.host) == "unchanged", run.out
    assert new_logins(hardened.host, before) == [(OPERATOR, "publickey")]


def test_a_wrong_sudo_password_is_tried_once(hardened: Desk) -> None:
    """faillock and pam_tally count each of them."""
    count = "journalctl -q --sync; journalctl -q --no-pager -t sudo | grep -c 'authentication failure; ' || true"
    before = int(hardened.host.root(count))
    run = hardened.run(changes={"ansible_become_password": "wrong"})
    assert "sudo password is wrong" in run.refused(hardened.host), run.out
    assert int(hardened.host.root(count)) - before == 1


def test_a_frozen_host_ends_the_run(hardened: Desk) -> None:
    """It accepts connections and says nothing more: the run ends by itself, and says which host it was."""
    pid = hardened.host.root("systemctl show -p MainPID --value sshd").strip()
    hardened.host.root(f"kill -{int(signal.SIGSTOP)} {pid}")
    started = time.monotonic()
    try:
        run = hardened.run()
    finally:
        hardened.host.root(f"kill -{int(signal.SIGCONT)} {pid}")
    assert run.rc != 0 and time.monotonic() - started < 90, run.out
    assert "cannot be reached" in run.refused(hardened.host), run.out


def test_penalties_do_not_meet_the_controller(farm: Farm, controller: Controller) -> None:
    """A stock run offers a key that is refused once, and no more: sshd 9.8 and newer go on talking to this address."""
    (host,) = farm.fresh("e2e-penalties=10:penalties")
    key = controller.key()
    inventory = controller.inventory([host], {host.name: {"harden_key": str(key)}})
    first, second = controller.run(inventory), controller.run(inventory)
    assert (first.status(host), second.status(host)) == ("changed", "unchanged"), first.out
    assert "penalty" not in host.root("journalctl -q --no-pager | grep -i 'penalt.*drop' || true")
    assert host.login(key=key).ok
    farm.drop(host.name)
