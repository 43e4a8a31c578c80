# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection that stays open: it works when nobody else gets in, nothing ever logs in beside it, and it ends."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import FULL, OPERATOR, PASSWORDS, Farm, Host
from runs import Controller

ACTIONS = str(Path(__file__).resolve().parent / "actions")
# The newest core has no modules for the Python of generation 8.
KINDS = [(8, "2.16"), *([(9, "2.16")] if FULL else []), (9, "new"), (10, "new")]
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - latchkey.ssh.operator_key: {{key: "{key}", create: false}}
      register: known
    - lifeline_probe:
        identity: "{{{{ known.identity }}}}"
        by_key: {by_key}
        steps: {steps}
      become: true
"""


class Desk(NamedTuple):
    """A controller whose key opens a host."""

    host: Host
    control: Controller
    key: str
    core: str

    def steps(self, *steps: str, by_key: bool = True, **changes: Any) -> dict[str, Any]:
        """Go through steps over a lifeline and return what came out."""
        inventory = self.control.inventory([self.host], {self.host.name: changes})
        text = PLAY.format(key=self.key, by_key=str(by_key).lower(), steps=json.dumps(steps))
        path = self.control.play(text)
        run = self.control.run(inventory, core=self.core, playbook=path, ANSIBLE_ACTION_PLUGINS=ACTIONS)
        found = [one["result"] for one in run.tasks if one["action"] == "lifeline_probe"]
        assert found, run.out
        return found[-1]

    def clients(self) -> Sequence[str]:
        """Return the ssh clients that still run for this host."""
        said = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout
        return [line for line in said.splitlines() if "ssh" in line and self.host.address in line]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "-".join(map(str, kind)))
def open_host(request: pytest.FixtureRequest, farm: Farm) -> Any:
    control = Controller()
    generation, core = request.param
    (host,) = farm.fresh(f"rh-{generation}={generation}")
    key = control.key()
    host.authorize(OPERATOR, key.with_suffix(".pub").read_text())
    yield Desk(host, control, str(key), core)
    control.close()


def accepted_since(host: Host, before: Sequence[Any]) -> list[tuple[str, str]]:
    return host.accepted()[len(before) :]


def test_it_is_one_login_and_ends(open_host: Desk) -> None:
    before = open_host.host.accepted()
    done = open_host.steps("alive", "root: id -u", "command: id -un", "module: guard_info")
    assert "refused" not in done, done
    alive, root, command, module = done["steps"]
    assert alive is True and root[:2] == [0, "0"] and command == [0, OPERATOR, ""]
    assert module["changed"] is False and "status" in module, module
    assert accepted_since(open_host.host, before) == [(OPERATOR, "publickey")]
    assert not open_host.clients()


def test_it_works_when_nobody_else_gets_in(open_host: Desk) -> None:
    try:
        done = open_host.steps(
            "root: systemctl stop sshd",
            "proof",
            "alive",
            "module: guard_info",
            "root: systemctl start sshd",
            "proof",
        )
    finally:
        open_host.host.root("systemctl is-active -q sshd || systemctl start sshd")
    stopped, proof, alive, module, started, again = done["steps"]
    assert stopped[0] == started[0] == 0 and alive is True and "status" in module, done
    assert "refused" in proof and again == "proven", done


def test_its_end_is_noticed_and_nothing_logs_in_instead(open_host: Desk) -> None:
    before = open_host.host.accepted()
    end = "root: (sleep 0.3; pkill -KILL -f '^sshd(-session)?: admin') > /dev/null 2>&1 &"
    done = open_host.steps(end, "command: sleep 5", "alive", "module: guard_info", "command: id")
    _killed, waited, alive, module, command = done["steps"]
    assert waited[0] == 255 and alive is False, done
    assert "is gone" in module and command[0] == 255 and "is gone" in command[2], done
    assert accepted_since(open_host.host, before) == [(OPERATOR, "publickey")]
    assert not open_host.clients()


def test_a_host_that_takes_no_keys_is_held_by_password(open_host: Desk) -> None:
    path = "/etc/ssh/sshd_config"
    open_host.host.root(f"cp -p {path} /root/kept; sed -i '1i PubkeyAuthentication no' {path}; systemctl reload sshd")
    try:
        by_key = open_host.steps("alive", ansible_password=PASSWORDS[OPERATOR])
        done = open_host.steps("root: id -u", by_key=False, ansible_password=PASSWORDS[OPERATOR])
    finally:
        open_host.host.root(f"mv /root/kept {path}; systemctl reload sshd")
    assert "by no key" in by_key["refused"], by_key
    assert done["steps"][0][:2] == [0, "0"], done
