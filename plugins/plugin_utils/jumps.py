# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts of the inventory are reached through which others, found out once for a whole run."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError
from ansible_collections.latchkey.ssh.plugins.plugin_utils import programs, ssh_arguments

_ARGUMENTS = ("ssh_args", "ssh_common_args", "ssh_extra_args")
_VARIABLES = {
    "target": ("ansible_ssh_host", "ansible_host"),
    "port": ("ansible_ssh_port", "ansible_port"),
}
_OWN_CONFIG = "~/.ssh/config"
_SYSTEM_CONFIG = ("/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d/*.conf")


class Jump(NamedTuple):
    """One host that is reached through ``hop``: under which names that is known, as which account, to which address."""

    host: str
    hop: tuple[str, ...]
    user: str
    target: str
    port: int


def behind(action: Any, task_vars: Mapping[str, Any], address: str) -> list[dict[str, Any]]:
    """Return the hosts of the inventory that are reached through the host of this task.

    Args:
        address: what the client takes for the address of that host.
    """
    connection = action._connection
    names = {task_vars.get("inventory_hostname"), connection.get_option("host"), address}
    own = {str(name).lower() for name in names if name}
    found = [one for one in _all(task_vars) if own & set(one.hop) and one.host != task_vars.get("inventory_hostname")]
    return [{"host": one.host, "user": one.user, "target": one.target, "port": one.port} for one in found]


def _all(task_vars: Mapping[str, Any]) -> list[Jump]:
    """Return every jump; the first worker of a run that asks finds out, the others read what it found."""
    path = os.path.join(C.DEFAULT_LOCAL_TMP, "latchkey-jumps")
    with open(path, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        if not text:
            found = list(_look(task_vars["hostvars"], task_vars["groups"]["all"]))
            file.write(json.dumps(found))
            return found
    return [Jump(host, tuple(hop), user, target, port) for host, hop, user, target, port in json.loads(text)]


def _look(hostvars: Mapping[str, Any], hosts: Sequence[str]) -> Iterator[Jump]:
    resolved: dict[tuple[str, ...], Mapping[str, str]] = {}
    configured = _config_may_jump()
    for host in hosts:
        try:
            variables = hostvars[host]
            words, jump, target, port = _arguments(host, variables)
            if configured or "-F" in words:
                seen = _view([*words, target])
                jump = jump or seen.get("proxyjump", "")
                command, target, port = seen.get("proxycommand", ""), seen.get("hostname", target), seen.get("port", "")
            else:
                command = _proxy_command(words)
            hop = (_first_hop(jump) if jump not in ("", "none") else _hop_of(command)) or []
            if hop:
                asked = (*_config_of(words), *hop)
                if asked not in resolved:
                    resolved[asked] = _view(asked)
                where = resolved[asked]
                names = (hop[-1].lower(), where.get("hostname", "").lower())
                number = int(port) if str(port).isdigit() else 22
                yield Jump(host, names, where.get("user", ""), target, number)
        except (LatchkeyError, AnsibleError):
            # Another host's variables that cannot be read are told when it is that host's turn.
            continue


def _arguments(host: str, variables: Mapping[str, Any]) -> tuple[list[str], str, str, str]:
    """Return another host's own arguments, the ProxyJump among them, its address and port, as Ansible would."""
    cleaned = [ssh_arguments.clean(_option(name, (f"ansible_{name}",), variables)) for name in _ARGUMENTS]
    words = [word for one in cleaned for word in one.words]
    jump = next((one.jump for one in cleaned if one.jump), "")
    target = next((str(variables[name]) for name in _VARIABLES["target"] if name in variables), host)
    return words, jump, target, _option("port", _VARIABLES["port"], variables)


def _option(name: str, variables_named: Sequence[str], variables: Mapping[str, Any]) -> str:
    for variable in variables_named:
        if variable in variables:
            return str(variables[variable] or "")
    return str(C.config.get_config_value(name, plugin_type="connection", plugin_name="ssh") or "")


def _config_may_jump() -> bool:
    """Say whether ssh_config could name a jump: only then is the client asked about every host."""
    for pattern in (os.path.expanduser(_OWN_CONFIG), *_SYSTEM_CONFIG):
        for path in glob.glob(pattern):
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    lines = [line.strip().lower() for line in file]
            except OSError:
                continue
            says = " ".join(line for line in lines if not line.startswith("#"))
            if "proxy" in says or ("include" in says and pattern not in _SYSTEM_CONFIG):
                return True
    return False


def _view(words: Sequence[str]) -> Mapping[str, str]:
    said = programs.run(["ssh", "-G", *words]).stdout
    pairs = [line.partition(" ") for line in said.splitlines()]
    # The first value is the one that counts.
    return {keyword.lower(): value for keyword, _blank, value in reversed(pairs)}


def _proxy_command(words: Sequence[str]) -> str:
    for index, word in enumerate(words[:-1]):
        if word == "-o":
            keyword, value = ssh_arguments.split_option(words[index + 1])
            if keyword == "proxycommand":
                return value
    return ""


def _first_hop(jump: str) -> list[str]:
    """Return the client's words for the hop that opens the connection to the target: the last one."""
    last = jump.split(",")[-1]
    return [*ssh_arguments.hop_words(last), ssh_arguments.hop_name(last)]


def _hop_of(command: str) -> list[str]:
    """Return the same for a ProxyCommand that is an ssh with -W: only that needs sshd to forward."""
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    start = next((index for index, word in enumerate(words) if os.path.basename(word) == "ssh"), None)
    if start is None or not any(word.startswith("-W") for word in words):
        return []
    return ssh_arguments.destination(words[start + 1 :])


def _config_of(words: Sequence[str]) -> list[str]:
    return next((list(words[index : index + 2]) for index, word in enumerate(words[:-1]) if word == "-F"), [])


__all__ = ["behind"]
