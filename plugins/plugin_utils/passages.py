# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether hosts behind this one can still be reached through it: a new login that forwards, up to their greeting."""

from __future__ import annotations

import shlex
import time
from typing import Any, NamedTuple

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError
from ansible_collections.latchkey.ssh.plugins.module_utils._guard.guardian import GREETINGS
from ansible_collections.latchkey.ssh.plugins.plugin_utils import connections, jumps, programs, proofs

# So many are tried until one answers, each for so many seconds: hosts behind may be switched off.
_MOST = 2
_SECONDS = 6
# One that was found may be reloading its own sshd just now.
_TRIES = 3
_PAUSE = 1.5


class Passage(NamedTuple):
    """A host that answered through this one: its name in the inventory, its address and port as seen from here."""

    host: str
    target: str
    port: int


def find(caller: proofs.Caller) -> Passage | None:
    """Return a host behind this one that answers, of those reached as the account Ansible connects as."""
    action, user = caller.action, connections.user_of(caller.action)
    address = connections.configured_view(action).get("hostname", [""])[0]
    found = [one for one in jumps.behind(action, caller.task_vars, address) if one["user"] == user]
    passages = [Passage(one["host"], one["target"], one["port"]) for one in found[:_MOST]]
    return next((one for one in passages if reaches(caller, one)), None)


def still_open(caller: proofs.Caller, passage: Passage) -> bool:
    """Say whether a host that answered still does."""
    for number in range(_TRIES):
        if reaches(caller, passage):
            return True
        time.sleep(_PAUSE if number < _TRIES - 1 else 0)
    return False


def reaches(caller: proofs.Caller, passage: Passage) -> bool:
    """Log in anew, forward to that host, and say whether an SSH server greets there (RFC 4253, 4.2)."""
    try:
        said = programs.run(_argv(caller, passage), seconds=_SECONDS).stdout
        return said.encode().startswith(GREETINGS)
    except HostError:
        # It does not end: nobody answers.
        return False


def _argv(caller: proofs.Caller, passage: Passage) -> list[str]:
    connection = connections.fresh(caller.action, caller.who, caller.policy)
    words: list[str] = [connection.get_option("ssh_executable")]
    for name in ("ssh_args", "ssh_common_args", "ssh_extra_args"):
        words += shlex.split(connection.get_option(name) or "")
    for keyword, value in _configured(connection).items():
        words += ["-o", f"{keyword}={value}"] if value else []
    target = f"[{passage.target}]" if ":" in passage.target else passage.target
    return [*words, "-W", f"{target}:{passage.port}", connections.address(connection)]


def _configured(connection: Any) -> dict[str, Any]:
    context = connection._play_context
    return {
        "Port": connection.get_option("port"),
        "User": connection.get_option("remote_user") or context.remote_user,
        "IdentityFile": connection.get_option("private_key_file"),
    }


__all__ = ["Passage", "find", "reaches", "still_open"]
