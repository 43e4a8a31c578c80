# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""harden.yml where the last proof fails: the host is back within seconds, and the run says so."""

import shlex
from pathlib import Path

import pytest
from live import OPERATOR, Farm, Host, differences
from runs import Controller, Result

DROP_IN = "/etc/ssh/sshd_config.d/00-00-latchkey.conf"
SECONDS = 300
# Touched by the other tool once the operator is locked out.
LOCKED = "/run/locked-out"
# What the README promises, and what a failed proof is far below of.
PROMISED = 30


@pytest.fixture
def key(controller: Controller) -> Path:
    """Return the operator's key."""
    return controller.key()


@pytest.fixture
def host(farm: Farm, key: Path) -> Host:
    """Return a host that takes the operator's key already."""
    (found,) = farm.fresh("taken9=9")
    found.authorize(OPERATOR, key.with_suffix(".pub").read_text())
    return found


def harden(host: Host, controller: Controller, key: Path, then: str) -> Result:
    """Run harden.yml while another tool waits for the new configuration."""
    once = f"while [ ! -s {DROP_IN} ]; do sleep 0.02; done; {then}; systemctl reload sshd; touch {LOCKED}"
    host.root(f"setsid sh -c {shlex.quote(once)} > /dev/null 2>&1 < /dev/null &")
    wanted = {"harden_key": str(key), "harden_stranded": "report", "harden_timeout": SECONDS}
    return controller.run(controller.inventory([host], {host.name: wanted}))


def seconds_locked_out(host: Host) -> int:
    """Return how long it took from the lock-out until the host had gone back, by its own clock."""
    times = host.root(f"stat -c %Y {LOCKED} /var/lib/latchkey/transaction.json").split()
    return int(times[1]) - int(times[0])


def test_a_login_that_is_refused_takes_the_change_back(host: Host, controller: Controller, key: Path) -> None:
    before = host.tree()
    other = "/etc/ssh/sshd_config.d/00-00-another-tool.conf"
    run = harden(host, controller, key, f"echo 'DenyUsers {OPERATOR}' > {other}")
    record = run.record(host)
    assert (run.rc, record["status"], record["transaction"]["state"]) == (2, "reverted", "REVERTED"), run.out
    assert seconds_locked_out(host) <= PROMISED, "it was the controller, not the deadline"
    taken_back = [one["path"] for one in record["taken_back"]]
    assert not record.get("changed") and DROP_IN in taken_back, record
    assert "the host is back as it was" in run.words and "kept as /var/lib/latchkey/kept/" in run.words, run.out
    assert host.login(key=key).ok
    ours = ("/var/lib/latchkey", "/root/")
    changed = [path for path in differences(before, host.tree()) if not path.startswith(ours)]
    assert not [path for path in changed if "/.ansible" not in path]


def test_a_login_that_finds_something_left_does_so_too(host: Host, controller: Controller, key: Path) -> None:
    """The login works, and the host is not what was asked for: another tool opens it again."""
    first = "/etc/ssh/sshd_config.d/00-00-0.conf"
    then = f"echo 'PasswordAuthentication yes' > {first}"
    run = harden(host, controller, key, then)
    record = run.record(host)
    assert (run.rc, record["status"]) == (2, "reverted"), run.out
    assert "after the change this was still to do" in run.words or first in run.words, run.out
    assert host.login(key=key).ok
    assert "yes" in host.sshd()["passwordauthentication"]


ALONE = """
- hosts: all
  gather_facts: false
  become: true
  vars:
    desired: {server: {methods: [publickey]}}
  tasks:
    - latchkey.ssh.operator_key:
      register: key
    - latchkey.ssh.plan: {identity: "{{ key.identity }}", desired: "{{ desired }}", stranded: report}
      register: plan
    - latchkey.ssh.transaction: {identity: "{{ key.identity }}", plan: "{{ plan }}", desired: "{{ desired }}"}
"""


def test_the_action_alone_changes_nothing_in_check_mode(host: Host, controller: Controller, key: Path) -> None:
    before = host.tree()
    inventory = controller.inventory([host], {host.name: {"ansible_ssh_private_key_file": str(key)}})
    run = controller.run(inventory, "--check", playbook=controller.play(ALONE))
    done = run.of(host, "transaction")
    assert run.rc == 0 and done["refused"] == [] and DROP_IN in [one["path"] for one in done["changes"]], run.out
    assert host.tree() == before
