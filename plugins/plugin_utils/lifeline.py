# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection that stays open while the ways in change: what fails is taken back over it.

sshd's sessions outlive their listener, its configuration and a ban of this address. A proof never goes through here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from types import TracebackType
from typing import Any

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError
from ansible_collections.latchkey.ssh.plugins.plugin_utils import (
    connections,
    failures,
    programs,
    proofs,
    ssh_arguments,
)

SECONDS = 330
# The client binds at a longer name and renames (mux.c); the shortest sun_path is that of macOS.
_LONGEST_PATH = 103 - len(".0123456789abcdef")


class Lifeline:
    """A connection to the host that is open inside a ``with`` block, made by key or as Ansible is configured."""

    def __init__(self, caller: proofs.Caller, *, by_key: bool = True, seconds: int = SECONDS) -> None:
        self._caller = caller
        self._by_key = by_key
        self._seconds = seconds
        self._folder = ""

    def __enter__(self) -> Lifeline:
        self._folder = _short_directory()
        with contextlib.ExitStack() as failed:
            failed.callback(self.close)
            self._open()
            failed.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; what was started over it ends too."""
        if self._folder:
            self._control("exit")
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = ""

    def alive(self) -> bool:
        """Say whether the connection is still open. A network that was cut shows after 20 s (ServerAliveInterval)."""
        return bool(self._folder) and self._control("check")

    def argv(self) -> list[str]:
        """Return the command line that a command for the host is appended to, as one word for its login shell.

        It exits with 255 and says ``ssh_arguments.GONE`` where the connection is not open any more.
        """
        return [*self._client(), self._host()]

    def connection(self) -> Any:
        """Return a connection object whose commands go through here, and nowhere where this connection is gone."""
        return connections.riding(self._caller.action, ssh_arguments.through(self._path()))

    def run_module(self, name: str, arguments: dict[str, Any]) -> tuple[dict[str, Any] | None, connections.Reached]:
        """Run a module of this collection through here; no result where the connection is gone."""
        return proofs.run_module(self._caller, self.connection(), name, arguments)

    def _open(self) -> None:
        caller, first = self._caller, ssh_arguments.master(self._path(), self._seconds)
        if self._by_key:
            first += ssh_arguments.KEY_ONLY
            connection = connections.fresh(caller.action, caller.who, caller.policy, first=first)
        else:
            connection = connections.configured(caller.action, caller.policy, first=first)
        unused, reached = connections.run(
            caller.action, connection, lambda: connection.exec_command("true", sudoable=False)
        )
        if reached.error:
            raise failures.of_login(reached, connections.user_of(caller.action), caller.policy)
        if not self.alive():
            raise HostError("no connection could be kept open", f"can ssh make a socket in {self._folder}?", "lifeline")

    def _control(self, command: str) -> bool:
        try:
            return programs.run([*self._client(), "-O", command, self._host()]).returncode == 0
        except HostError:
            # A client that does not answer is no connection any more; what it was for may have gone well.
            return False

    def _client(self) -> list[str]:
        return [self._original().get_option("ssh_executable"), *ssh_arguments.through(self._path())]

    def _host(self) -> str:
        return connections.address(self._original())

    def _original(self) -> Any:
        return self._caller.action._connection

    def _path(self) -> str:
        return os.path.join(self._folder, "s")


def _short_directory() -> str:
    """Make a private directory whose path leaves room for a socket's name (unix(7) sun_path)."""
    for base in (None, "/tmp"):
        folder = tempfile.mkdtemp(prefix="latchkey-", dir=base)
        if len(os.fsencode(folder)) + len("/s") <= _LONGEST_PATH:
            break
        os.rmdir(folder)
    else:
        raise HostError("there is no directory with a short name for a socket", "set TMPDIR=/tmp", "lifeline")
    return folder


__all__ = ["SECONDS", "Lifeline"]
