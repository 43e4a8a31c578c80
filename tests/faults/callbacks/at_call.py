# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop a run of Ansible at one exact call that the action transaction makes to its host.

LATCHKEY_FAULT is JSON: ``log`` (a file that gets a line for each call, before and after), ``at`` (the line at which the
fault happens), ``do`` (kill: the controller is gone; stop: it stands still; or a shell command), ``after`` (seconds
later), ``cancels`` (false: whoever would take something back is gone instead), ``meanwhile`` (a line of the log, and
what somebody else does then: a shell command).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: at_call
type: notification
short_description: Faults for tests
description: Ends or stops a run at a call of the action transaction.
"""


class CallbackModule(CallbackBase):
    """Put the fault between the action and its calls; workers are forked later and have it too."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "at_call"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._plan = json.loads(os.environ["LATCHKEY_FAULT"])
        self._main = os.getpid()
        self._calls: dict[str, int] = {}

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Wrap what the action calls."""
        from ansible_collections.latchkey.ssh.plugins.plugin_utils import guards, proofs

        real_module, real_revert = proofs.run_module, guards.revert

        def run_module(caller: Any, connection: Any, name: str, arguments: dict[str, Any]) -> Any:
            if not caller.action.__class__.__module__.endswith("transaction"):
                return real_module(caller, connection, name, arguments)
            self._calls[name] = self._calls.get(name, 0) + 1
            word = "guard-reverts" if arguments.get("state") == "reverted" else f"{name}-{self._calls[name]}"
            self._meet(f"before-{word}")
            done = real_module(caller, connection, name, arguments)
            self._meet(f"after-{word}")
            return done

        def revert(*arguments: Any, **more: Any) -> Any:
            if not self._plan["cancels"]:
                self._act("kill")
            return real_revert(*arguments, **more)

        proofs.run_module, guards.revert = run_module, revert

    def v2_runner_on_ok(self, result: Any, **kwargs: Any) -> None:
        """Note what a transaction said about itself."""
        value = getattr(result, "result", None) or result._result
        if isinstance(value, dict) and isinstance(value.get("transaction"), dict):
            self._note("told-" + str(value["transaction"].get("state")))

    def _note(self, word: str) -> None:
        with open(self._plan["log"], "a", encoding="ascii") as log:
            log.write(f"{word}\n")

    def _meet(self, word: str) -> None:
        self._note(word)
        then, command = self._plan["meanwhile"] or ("", "")
        if word == then:
            subprocess.run(["sh", "-c", command], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if word == self._plan["at"]:
            if self._plan.get("after"):
                threading.Thread(target=self._later, daemon=True).start()
            else:
                self._act(self._plan["do"])

    def _later(self) -> None:
        time.sleep(self._plan["after"])
        self._act(self._plan["do"])

    def _act(self, do: str) -> None:
        self._note("fault")
        if do not in ("kill", "stop"):
            subprocess.run(["sh", "-c", do], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            return
        number = signal.SIGKILL if do == "kill" else signal.SIGSTOP
        own = os.getpid()
        for process in [one for one in (self._main, *self._below(self._main)) if one != own] + [own]:
            os.kill(process, number)

    def _below(self, top: int) -> list[int]:
        """Return all processes below one."""
        parents = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as handle:
                        parents[int(name)] = int(handle.read().rpartition(")")[2].split()[1])
                except OSError:
                    continue
        found = [top]
        for parent in found:
            found += [one for one, above in parents.items() if above == parent and one not in found]
        return found[1:]
