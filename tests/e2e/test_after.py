# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves: an inventory that works without the password, and roles that work in other people's plays."""

import re
from pathlib import Path
from typing import Any

import pytest
from live import BASE, OPERATOR, PASSWORDS, Farm, Host
from runs import Controller

ROLE = """
- name: Somebody's own play
  hosts: all
  gather_facts: false
  roles:
    - role: latchkey.ssh.harden
  post_tasks:
    - ansible.builtin.debug:
        msg: "status for the next task: {{ harden_record.record.status }}"
"""
ALONE = """
- hosts: all
  gather_facts: false
  roles:
    - role: latchkey.ssh.ssh_keys
      vars:
        ssh_keys_accounts: "{{ people }}"
    - role: latchkey.ssh.ssh_server
      vars:
        ssh_server_methods: [publickey]
        ssh_server_settings: {MaxAuthTries: 4}
"""


@pytest.fixture(scope="module")
def host(farm: Farm) -> Host:
    return farm.fresh("e2e-9=9")[0]


def test_a_keytab_alone_is_a_reason_to_ask(host: Host, controller: Controller) -> None:
    """GSSAPIAuthentication is on in every stock host; with a keytab somebody may come in by ticket."""
    host.root("printf '\\005\\002' > /etc/krb5.keytab; chmod 600 /etc/krb5.keytab")
    inventory = controller.inventory([host], {host.name: {"harden_key": str(controller.key())}})
    run = controller.run(inventory)
    reason = run.refused(host)
    host.root("rm /etc/krb5.keytab")
    assert run.rc != 0 and "/etc/krb5.keytab" in reason and "gssapi-with-mic" in reason, run.out
    assert host.sshd()["passwordauthentication"] == "yes" and host.keys() == []


def test_the_summary_is_an_inventory_that_works(host: Host, controller: Controller) -> None:
    """Key at an unusual path, sudo's password written as the login's: follow the lines, delete the password, go on."""
    key = controller.key("somewhere/else entirely/admin.key")
    before = {"harden_key": str(key), "ansible_become_password": "{{ ansible_password }}"}
    run = controller.run(controller.inventory([host], {host.name: before}))
    assert run.status(host) == "changed", run.out
    lines = run.record(host)["inventory"]
    for line in lines:
        assert " ".join(line.split()) in run.words, "the summary does not print it"
    after: dict[str, Any] = {"ansible_become_password": before["ansible_become_password"]}
    for line in lines:
        word, name, value = re.fullmatch(r"(set|keep|delete) +(\w+):? ?(.*)", line).groups()
        if word == "keep":
            assert name == "ansible_become_password" and "write it out" in value
        after[name] = {"set": value, "keep": PASSWORDS[OPERATOR], "delete": None}[word]
    assert after["ansible_password"] is None and after["ansible_ssh_private_key_file"] == str(key)
    again = controller.run(controller.inventory([host], {host.name: after}))
    assert again.status(host) == "unchanged", again.out
    assert "inventory" not in again.record(host) or again.record(host)["inventory"] == [], again.out
    plain = controller.play(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.command: id -un\n      register: me\n"
        "    - ansible.builtin.assert: {that: me.stdout == 'root'}\n"
    )
    assert controller.run(controller.inventory([host], {host.name: after}), playbook=plain).rc == 0


@pytest.mark.parametrize("core", ["2.16", "new"])
def test_passwords_that_are_typed(farm: Farm, controller: Controller, core: str) -> None:
    """As by -k and -K; who goes on typing them afterwards sends the login's no more."""
    (host,) = farm.fresh("e2e-10=10")
    typed = controller.path / "typed"
    typed.write_text(PASSWORDS[OPERATOR], encoding="ascii")
    changes = {"harden_key": str(controller.key()), "ansible_password": None, "ansible_become_password": None}
    inventory = controller.inventory([host], {host.name: changes})
    options = ("--connection-password-file", str(typed), "--become-password-file", str(typed))
    first = controller.run(inventory, *options, core=core)
    assert first.status(host) == "changed" and "or -k" in first.words, first.out
    before = len(host.logins())
    second = controller.run(inventory, *options, core=core)
    assert second.status(host) == "unchanged", second.out
    assert [one["method"] for one in host.logins()[before:]] == ["publickey"]


@pytest.mark.parametrize("core", ["2.16", "new"])
def test_the_role_in_a_play_of_others_ends_with_the_summary(farm: Farm, controller: Controller, core: str) -> None:
    (host,) = farm.fresh("e2e-9=9")
    inventory = controller.inventory([host], {host.name: {"harden_key": str(controller.key())}})
    run = controller.run(inventory, core=core, playbook=controller.play(ROLE))
    assert run.rc == 0, run.out
    role = [one["action"] for one in run.tasks if one["action"].startswith("latchkey.ssh.")]
    assert role[-1] == "latchkey.ssh.summary"
    assert "latchkey: 1 host: 1 changed" in run.words
    assert "status for the next task: changed" in run.words
    assert host.login(password=PASSWORDS[OPERATOR]).refused_by("publickey")


def test_all_hosts_failing_are_summarised(controller: Controller) -> None:
    names = {"away1": f"{BASE}.253", "away2": f"{BASE}.254"}

    class Away:
        def __init__(self, name: str) -> None:
            self.name = name
            self.variables = {"ansible_host": names[name], "ansible_user": OPERATOR, "ansible_password": "x"}
            self.variables["ansible_ssh_timeout"] = "3"

    run = controller.run(controller.inventory([Away(name) for name in names]), "-e", f"harden_key={controller.key()}")
    assert run.rc != 0
    assert "latchkey: 2 hosts: 2 unreachable" in run.words, run.out
    assert all("cannot be reached" in run.refused(name) for name in names)


def test_the_other_roles_alone(farm: Farm, controller: Controller) -> None:
    """Keys for alice, then sshd closed: no proof in between, that is what the role harden is for."""
    (host,) = farm.fresh("e2e-10=10")
    key, operator = controller.key("alice"), controller.key("operator")
    people = [
        {"user": user, "key": [Path(f"{path}.pub").read_text(encoding="ascii")]}
        for user, path in (("alice", key), (OPERATOR, operator))
    ]
    changes = {"people": people, "ansible_ssh_private_key_file": str(operator)}
    inventory = controller.inventory([host], {host.name: changes})
    play = controller.play(ALONE)
    checked = host.tree()
    assert controller.run(inventory, "--check", playbook=play).rc == 0
    assert host.tree() == checked
    first = controller.run(inventory, playbook=play)
    assert first.rc == 0 and "changed=2" in first.words, first.out
    assert host.login("alice", key=key).ok
    assert host.login("alice", password=PASSWORDS["alice"]).refused_by("publickey")
    assert host.sshd()["maxauthtries"] == "4"
    second = controller.run(inventory, playbook=play)
    assert second.rc == 0 and "changed=0" in second.words, second.out
