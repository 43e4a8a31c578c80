# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/revert.yml: what is under way goes back at once, what was committed by a change that is proven itself.

The tests of this file follow each other on the same hosts.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from live import OPERATOR, PASSWORDS, ROOT, Farm, Host, each, entry
from runs import Controller, Result

REVERT = ROOT / "playbooks" / "revert.yml"
DROP_IN = "/etc/ssh/sshd_config.d/00-00-latchkey.conf"
OUTSIDE = "/etc/ssh/keys/alice"
KEY_FILES = "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/keys/%u"
# The newest core has no modules for the Python of generation 8.
GROUPS = {"8": ((8,), "2.16"), "9+10": ((9, 10), "new")}
# No connection of an earlier run is there to ride on.
ALONE = {"ANSIBLE_SSH_ARGS": "-o ControlMaster=no"}
BEGIN = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - latchkey.ssh.guard: {timeout: 200}
      register: guard
    - latchkey.ssh.sshd_config:
        settings: {MaxAuthTries: 2}
        transaction: "{{ guard.transaction.id }}"
"""


class Desk(NamedTuple):
    """A controller, its hosts, and two keys: the operator's, and one of alice that will be withdrawn."""

    control: Controller
    hosts: list[Host]
    core: str
    key: str
    withdrawn: str

    def run(self, *arguments: str, playbook: Any = REVERT, **variables: Any) -> Result:
        variables = {"harden_key": self.key, "harden_stranded": "report", **variables}
        inventory = self.control.inventory(self.hosts, {host.name: variables for host in self.hosts})
        return self.control.run(inventory, *arguments, playbook=playbook, core=self.core, **ALONE)

    def trees(self) -> list[dict[str, Any]]:
        return each(tree, self.hosts)


def tree(host: Host) -> dict[str, Any]:
    """Return what is there, but for the record of transactions and what Ansible's own modules leave in homes."""
    lines = {path: line for path, line in host.tree().items() if "/.ansible" not in path}
    return {path: entry(line) for path, line in lines.items() if not path.startswith("/var/lib/latchkey")}


def status(host: Host) -> dict[str, Any]:
    return json.loads(host.root("/usr/local/sbin/latchkey status --json"))


@pytest.fixture(scope="module", params=GROUPS)
def desk(request: pytest.FixtureRequest, farm: Farm) -> Iterator[Desk]:
    generations, core = GROUPS[request.param]
    control = Controller()
    key, withdrawn = control.key(), control.key("alice")
    public = withdrawn.with_suffix(".pub").read_text()
    hosts = farm.fresh(*[f"e2e-{number}={number}" for number in generations])
    for host in hosts:
        host.authorize(OPERATOR, key.with_suffix(".pub").read_text())
        host.authorize("alice", public)
        host.root(f"install -d -m 755 /etc/ssh/keys; umask 077; cat > {OUTSIDE}", stdin=public.encode())
        host.root(f"chown alice {OUTSIDE}; sed -i '1i {KEY_FILES}' /etc/ssh/sshd_config; systemctl reload sshd")
    yield Desk(control, hosts, core, str(key), public)
    control.close()


def test_nothing_to_go_back_from(desk: Desk) -> None:
    before = desk.trees()
    run = desk.run()
    for host in desk.hosts:
        assert run.status(host) == "unchanged", run.out
    assert run.rc == 0 and "there is nothing to go back from" in run.words, run.out
    assert desk.trees() == before


def test_what_is_under_way_goes_back_at_once(desk: Desk) -> None:
    before = desk.trees()
    begun = desk.run(playbook=desk.control.play(BEGIN))
    assert begun.rc == 0, begun.out
    run = desk.run("--check")
    for host in desk.hosts:
        assert run.status(host) == "would change", run.out
        assert status(host)["state"] == "APPLIED" and host.sshd()["maxauthtries"] == "2"
    run = desk.run()
    for host in desk.hosts:
        assert run.status(host) == "changed", run.out
        assert DROP_IN in [change["path"] for change in run.record(host)["changed"]]
        assert status(host)["state"] == "REVERTED" and host.sshd()["maxauthtries"] == "6"
    assert desk.trees() == before


def test_what_was_committed_goes_back_by_a_change_that_is_proven(desk: Desk) -> None:
    """Passwords are on again; keys that came stay, keys that were withdrawn stay away, also those outside of homes."""
    before = desk.trees()
    gone = [{"user": "alice", "key": [desk.withdrawn], "state": "absent"}]
    settings = {"MaxAuthTries": 3}
    hardened = desk.run(playbook=None, harden_accounts=gone, harden_sshd_settings=settings)
    assert hardened.rc == 0, hardened.out
    for host in desk.hosts:
        assert host.login(password=PASSWORDS[OPERATOR]).refused_by("publickey"), hardened.out
        assert host.keys("alice") == [] and host.root(f"cat {OUTSIDE}") == ""
    after = desk.trees()
    checked = desk.run("--check", "--diff")
    assert checked.rc == 0 and "-MaxAuthTries 3" in checked.out and "-PasswordAuthentication no" in checked.out
    assert desk.trees() == after
    run = desk.run()
    for host, old, new in zip(desk.hosts, before, desk.trees(), strict=True):
        assert run.status(host) == "changed", run.out
        assert [proof["operator"] for proof in run.record(host)["proven"]] == [OPERATOR]
        assert host.login(password=PASSWORDS[OPERATOR]).ok and host.sshd()["maxauthtries"] == "6"
        assert host.login(key=desk.key).ok
        assert host.keys("alice") == [] and host.root(f"cat {OUTSIDE}") == ""
        # A directory that was made for a file of ours stays, empty.
        differs = {path for path in {*old, *new} if old.get(path) != new.get(path)} - {"/etc/ssh/sshd_config.d"}
        assert differs == {OUTSIDE, "/home/alice/.ssh/authorized_keys"}
        assert DROP_IN not in new
        assert host.root("/usr/local/sbin/latchkey list").count("COMMITTED") == 2
        assert desk.withdrawn.split()[1] not in host.root(
            "cat /var/lib/latchkey/*/*/*; cat /var/lib/latchkey/*", check=False
        )


def test_a_file_that_somebody_changed_since_is_refused_by_name(desk: Desk) -> None:
    for host in desk.hosts:
        host.root(f"echo '# mine' > {DROP_IN}; chmod 600 {DROP_IN}")
    before = desk.trees()
    run = desk.run()
    for host in desk.hosts:
        assert run.status(host).startswith(f"refused; {DROP_IN}: somebody has changed it since"), run.out
        host.root(f"rm {DROP_IN}")
    assert run.rc != 0
    for old, new in zip(before, desk.trees(), strict=True):
        assert {path for path in {*old, *new} if old.get(path) != new.get(path)} <= {DROP_IN, "/etc/ssh/sshd_config.d"}


def test_going_back_twice_is_going_forth_again(desk: Desk) -> None:
    run = desk.run()
    for host in desk.hosts:
        assert run.status(host) == "changed", run.out
        assert host.login(password=PASSWORDS[OPERATOR]).refused_by("publickey") and host.sshd()["maxauthtries"] == "3"
    known = desk.run("-e", "harden_revert=20200101T000000-abcdef")
    for host in desk.hosts:
        assert "there is no committed transaction 20200101T000000-abcdef" in known.refused(host), known.out


def test_the_console_opens_a_hardened_host_again(desk: Desk) -> None:
    """The README's command for who has no way in any more: nothing else is there to go back by."""
    assert desk.run(playbook=ROOT / "playbooks" / "harden.yml").rc == 0
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"`(mv /etc/ssh/sshd_config.d/\S+ [^`]+)`", readme)
    for host in desk.hosts:
        assert host.login(password=PASSWORDS[OPERATOR]).refused_by("publickey")
        host.root(command)
        assert host.login(password=PASSWORDS[OPERATOR]).ok
