# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the controller and of the network: a real run of ``playbooks/harden.yml`` that meets them at an exact call.

Another tool locks the operator out the moment the change lands: it denies him in the very file that is guarded. So the
proof fails, and what the controller does not take back itself is the guardian's to take back.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import judge, place
from .judge import Broken
from .place import OPERATOR, ROOT
from .run import Run

DROP_IN = "/etc/ssh/sshd_config.d/00-00-latchkey.conf"
SECONDS = 12
_SABOTAGE = (
    f"while [ ! -s {DROP_IN} ]; do sleep 0.02; done; {{then}} "
    f"{{{{ echo DenyUsers {OPERATOR}; cat {DROP_IN}; }}}} > /etc/ssh/sabotage; chmod 600 /etc/ssh/sabotage; "
    f"mv /etc/ssh/sabotage {DROP_IN}; systemctl reload sshd"
)
_CUT = (
    "nft 'add table inet faults; add chain inet faults arriving {{ type filter hook input priority 0; }}; "
    "add chain inet faults leaving {{ type filter hook output priority 0; }}; "
    "add rule inet faults arriving tcp dport 22 {new} drop; add rule inet faults leaving tcp sport 22 {new} drop'"
)
_HEAL = "nft delete table inet faults 2>/dev/null; true"


def cut(*, new_only: bool) -> str:
    """Return the command that cuts the host off: altogether, or for new connections."""
    return _CUT.format(new="ct state new" if new_only else "")


class Desk:
    """A run of harden.yml with a home of its own."""

    def __init__(self, run: Run, fault: dict[str, Any], *others: place.Place) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="lkf-", dir="/tmp"))
        self.log = self._folder / "log"
        self.log.touch()
        plan = {"log": str(self.log), "cancels": run.guarded, "at": "", "do": "", "meanwhile": None, **fault}
        self._process = self._start(others or (run.place,), plan)

    def _start(self, where: Sequence[place.Place], plan: dict[str, Any]) -> subprocess.Popen[bytes]:
        inventory = self._folder / "hosts.yml"
        inventory.write_text(
            json.dumps({"all": {"hosts": {one.name: one.variables() for one in where}}}), encoding="utf-8"
        )
        core = "2.16" if where[0].generation == 8 else "new"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SSH_"))}
        environment.update(HOME=str(self._folder), LATCHKEY_FAULT=json.dumps(plan), ANSIBLE_NOCOLOR="1")
        environment["ANSIBLE_CALLBACK_PLUGINS"] = str(ROOT / "tests" / "faults" / "callbacks")
        environment["ANSIBLE_CALLBACKS_ENABLED"] = "at_call"
        variables = ["-e", json.dumps({"harden_timeout": plan.get("timeout", SECONDS), "harden_stranded": "report"})]
        variables += ["--forks", "5"]
        playbook = plan.get("playbook") or str(ROOT / "playbooks" / "harden.yml")
        argv = [str(ROOT / ".venv" / core / "bin" / "ansible-playbook"), "-i", str(inventory), *variables, playbook]
        with (self._folder / "out").open("wb") as out:
            return subprocess.Popen(
                argv,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def met(self, word: str, seconds: float = 60) -> bool:
        """Wait until the run has noted a word; False where it ends without."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if word in self.words():
                return True
            if self._process.poll() is not None:
                return word in self.words()
            time.sleep(0.1)
        return False

    def words(self) -> list[str]:
        """Return what the run has noted."""
        return self.log.read_text(encoding="ascii").split()

    def said(self, characters: int = 400) -> str:
        """Return the end of what it printed."""
        text = (self._folder / "out").read_text(encoding="utf-8", errors="replace")
        return " ".join(text.split())[-characters:]

    def go_on(self) -> None:
        """Let a run that was stopped go on."""
        for process in self._session():
            os.kill(process, signal.SIGCONT)

    def wait(self, seconds: float) -> None:
        """Wait until the run has ended."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Broken(f"the run of Ansible does not end: {self.said()}") from error

    def close(self) -> None:
        """End everything of the run."""
        for process in self._session():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _session(self) -> list[int]:
        """Return the processes of the run: they have its home in their environment."""
        found = []
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and f"HOME={self._folder}".encode() in Path(f"/proc/{name}/environ").read_bytes():
                    found.append(int(name))
            except OSError:
                continue
        return found


def controller_is_hit(run: Run) -> dict[str, Any]:
    """The controller dies, or stands still, at a call; the operator has been locked out meanwhile."""
    fault = run.fault
    plan: dict[str, Any] = {"at": fault.point, "do": "stop" if fault.kind == "frozen" else "kill"}
    if fault.kind.startswith("killed-after"):
        plan.update(at="after-guard-1", after=float(fault.kind.rpartition("-")[2]))
    sabotage = _SABOTAGE.format(then="")
    if "-plan-2" in fault.point:
        # Before that a login looks whether all is well, and where it is not nobody is asked to confirm.
        plan["meanwhile"] = ("after-plan-1", place.shell_words(run.place, sabotage))
        sabotage = "true"
    return _harden(run, plan, sabotage)


def network_is_hit(run: Run) -> dict[str, Any]:
    """The network goes away at a call, or the moment the change lands; it comes back after the deadline."""
    fault = run.fault
    command = cut(new_only=fault.kind == "new-cut")
    if fault.point == "at-the-change":
        return _harden(run, {}, _SABOTAGE.format(then=command + ";"))
    words = place.shell_words(run.place, command)
    return _harden(run, {"at": fault.point, "do": words}, _SABOTAGE.format(then=""))


def _harden(run: Run, plan: dict[str, Any], sabotage: str) -> dict[str, Any]:
    run.probe()
    run.place.run(f"setsid sh -c {shlex.quote(sabotage)} faults-loop >/dev/null 2>&1 </dev/null &")
    desk = Desk(run, plan)
    try:
        if not desk.met("fault" if plan else "after-sshd_config-1"):
            raise Broken(f"the fault did not happen: {' '.join(desk.words())}: {desk.said()}")
        time.sleep(0.5)
        run.told = run.told._replace(deadline=place.here(place.state(run.place)))
        if run.fault.actor == "network":
            if run.place.run("nft list table inet faults", check=False).returncode:
                raise Broken("the network was not cut")
            run.until(1)
            run.place.run(_HEAL)
        if run.fault.kind == "frozen":
            run.until(2)
            desk.go_on()
            desk.wait(60)
        verdict = run.verdict()
        if run.guarded and "told-COMMITTED" in desk.words():
            raise Broken("the controller says COMMITTED")
        return verdict
    finally:
        run.place.run(_HEAL)
        desk.close()


def reply_is_lost(run: Run) -> dict[str, Any]:
    """The answer to the confirmation does not arrive: the controller gives up, asks once more, and hears COMMITTED."""
    run.probe()
    watched = "while ! grep -q COMMITT /var/lib/latchkey/transaction.json 2>/dev/null; do sleep 0.005; done; "
    run.place.run(f"setsid sh -c {shlex.quote(watched + cut(new_only=False))} faults-loop >/dev/null 2>&1 </dev/null &")
    # Longer than the client waits for an answer: the deadline has no part in this.
    desk = Desk(run, {"timeout": 40})
    try:
        if not desk.met("before-plan-2"):
            raise Broken(f"nothing was confirmed: {' '.join(desk.words())}: {desk.said()}")
        run.told = run.told._replace(deadline=place.here(place.state(run.place)))
        # The client gives a silent connection up after 25 s at most (ServerAliveInterval).
        if not desk.met("before-guard_info-1"):
            raise Broken(f"the answer was not lost: {' '.join(desk.words())}: {desk.said()}")
        run.place.run(_HEAL)
        desk.wait(90)
        if not run.guarded:
            return {"harm": "none"}
        if "told-COMMITTED" not in desk.words():
            raise Broken(f"the host has committed, and the controller says {desk.words()[-1]}")
        state = judge.await_end(run.place, run.told)
        login = place.log_in(run.place)
        if state.get("state") != "COMMITTED" or not login.root:
            raise Broken(f"it is {state.get('state')}, and the login says {login.said}")
        return {"state": "COMMITTED", "told": desk.words()[-1]}
    finally:
        run.place.run(_HEAL)
        desk.close()


_HANDLER = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - latchkey.ssh.operator_key:
      register: key
    - latchkey.ssh.guard:
        timeout: {seconds}
      register: guard
    - ansible.builtin.command: "true"
      notify: lock out
    - latchkey.ssh.proof:
        identity: "{{{{ key.identity }}}}"
        confirm: "{{{{ guard.transaction }}}}"
  handlers:
    - name: lock out
      latchkey.ssh.sshd_config:
        settings: {{DenyUsers: {operator}}}
        transaction: "{{{{ guard.transaction.id }}}}"
"""


def handler_is_late(run: Run) -> dict[str, Any]:
    """A handler that was not flushed changes sshd after the proof has confirmed: the fence does not let it."""
    run.probe()
    play = place.BUILD / f"handler-{run.place.name}.yml"
    play.write_text(_HANDLER.format(seconds=SECONDS, operator=OPERATOR), encoding="utf-8")
    desk = Desk(run, {"playbook": str(play)})
    try:
        desk.wait(90)
        if not run.guarded:
            return {"harm": "none"}
        if "takes no more changes" not in desk.said():
            raise Broken(f"the handler should have been refused: {desk.said()}")
        return run.verdict(run.known.before)
    finally:
        desk.close()
