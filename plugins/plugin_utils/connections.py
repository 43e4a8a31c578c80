# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of our own: a fresh key login, and the configured way with the host's key checked."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.connection import ssh as core_ssh
from ansible.plugins.loader import connection_loader
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Refused
from ansible_collections.latchkey.ssh.plugins.plugin_utils import programs, ssh_arguments, transcript
from ansible_collections.latchkey.ssh.plugins.plugin_utils.deadline import Deadline
from ansible_collections.latchkey.ssh.plugins.plugin_utils.host_key import HostKeyPolicy
from ansible_collections.latchkey.ssh.plugins.plugin_utils.identity import Identity

# A login with its module: reading 90 days of a slow host's journal is the longest of what is done in one.
LOGIN_SECONDS = 240
_MIXING = ("ssh_args", "ssh_common_args", "ssh_extra_args")


class Reached(NamedTuple):
    """How a connection attempt ended: the transcript, the error when no command was run, if a password was at hand."""

    transcript: transcript.Transcript
    error: str
    password: bool = False


def check_task(action: Any) -> None:
    """Refuse, by name, every way of running a task in which a fresh login cannot be made or would prove nothing."""
    connection, task = action._connection, action._task
    if task.delegate_to:
        raise Refused("the proof must run from the controller", "remove `delegate_to`", "delegate_to")
    if not isinstance(connection, core_ssh.Connection):
        name = getattr(connection, "_load_name", None) or connection.transport
        raise Refused(
            f"a login cannot be proven through the connection plugin `{name}`", "use `ansible_connection: ssh`"
        )
    if type(connection).__module__ != core_ssh.Connection.__module__ and "mitogen" in type(connection).__module__:
        raise Refused("a login cannot be proven through mitogen", "run this play with `strategy: linear`")
    if task.run_once:
        raise Refused("every host needs a login of its own", "remove `run_once`", "run_once")
    if task.async_val:
        raise Refused("a login cannot be proven in the background", "remove `async`", "async")
    if connection.become is not None and connection.become.name == "su":
        raise Refused("`su` cannot take a module over one login", "use `ansible_become_method: sudo`", "become_method")
    if C.DEFAULT_KEEP_REMOTE_FILES:
        raise Refused("ANSIBLE_KEEP_REMOTE_FILES makes every module several logins", "unset it for this run")


def fresh(
    action: Any,
    identity: Identity,
    policy: HostKeyPolicy,
    user: str = "",
    *,
    first: Sequence[str] = ssh_arguments.FRESH,
) -> Any:
    """Return a connection object whose every command is a brand-new key login that no password can help.

    Args:
        user: another account than the one Ansible connects as.
        first: the client's arguments that stand before all others.
    """
    connection = _clone(action)
    words, jump = _own_arguments(connection)
    prefix = [*first, *_host_key_arguments(connection, policy, words)]
    prefix += [*_jump(connection, words, jump, policy), *identity.arguments()]
    _set_arguments(connection, prefix)
    _without_password(connection)
    if identity.path:
        connection.set_option("private_key_file", identity.path)
        if "private_key" in connection._options:
            # A key given as text would be preferred by core.
            connection.set_option("private_key", None)
    if user:
        connection.set_option("remote_user", user)
        connection._play_context.remote_user = user
    return connection


def riding(action: Any, words: Sequence[str]) -> Any:
    """Return a connection object whose every command goes through a connection that is open already.

    Args:
        words: the client's arguments that lead there; nothing the user configured is added to them.
    """
    connection = _clone(action)
    connection.set_option("ssh_args", ssh_arguments.join([*words]))
    for name in ("ssh_common_args", "ssh_extra_args", "private_key_file"):
        connection.set_option(name, None)
    if "private_key" in connection._options:
        connection.set_option("private_key", None)
    _without_password(connection)
    return connection


def configured(action: Any, policy: HostKeyPolicy, *, first: Sequence[str] = (*ssh_arguments.UNSHARED, "-v")) -> Any:
    """Return a connection as Ansible is configured, but with the host's key checked as ``harden_host_key`` says.

    It shares no connection either: core cuts short what sudo says while a ControlPersist client is still leaving.

    Args:
        first: the client's arguments that stand before all others.
    """
    connection = _clone(action)
    words, jump = _own_arguments(connection)
    prefix = [*first, *_host_key_arguments(connection, policy, words)]
    _set_arguments(connection, prefix + (["-J", jump] if jump else []))
    return connection


def shared(action: Any) -> Any:
    """Return a connection as Ansible is configured, which rides the one that Ansible holds open (ControlPersist)."""
    return _clone(action)


def _own_arguments(connection: Any) -> tuple[list[str], str]:
    """Return the user's own ssh arguments without what would spoil a login, and the ProxyJump among them."""
    cleaned = [ssh_arguments.clean(connection.get_option(name) or "") for name in _MIXING]
    return [word for one in cleaned for word in one.words], next((one.jump for one in cleaned if one.jump), "")


def _set_arguments(connection: Any, prefix: list[str]) -> None:
    """Put ``prefix`` before the user's own arguments, which lose what would spoil a login."""
    for name in _MIXING:
        words = ssh_arguments.clean(connection.get_option(name) or "").words
        connection.set_option(name, ssh_arguments.join([*prefix, *words] if name == "ssh_args" else words))


def _host_key_arguments(connection: Any, policy: HostKeyPolicy, words: list[str]) -> list[str]:
    if policy.mode != "accept_new":
        return policy.arguments()
    known = client_view(connection, words).get("userknownhostsfile", [""])[0]
    if known.split()[:1] in ([], ["none"], ["/dev/null"]):
        raise Refused(
            f"UserKnownHostsFile is {known or 'none'}, so no accepted key is kept and any host would do",
            "take UserKnownHostsFile out of the ssh arguments and of ssh_config",
            "harden_host_key",
        )
    return policy.arguments(known)


def user_of(action: Any) -> str:
    """Return the account that Ansible connects as: what it was told, else what the client would take (ssh_config)."""
    connection = action._connection
    proven = isinstance(connection, core_ssh.Connection)
    told = (connection.get_option("remote_user") if proven else "") or action._play_context.remote_user
    if told or not proven:
        return str(told or "")
    return client_view(connection, _own_arguments(connection)[0]).get("user", [""])[0]


def tries_by_itself(action: Any, path: str) -> bool:
    """Say whether the client offers this key file without being told (ssh_config, or one of its defaults)."""
    view = client_view(action._connection, _own_arguments(action._connection)[0])
    return path in [os.path.abspath(os.path.expanduser(one)) for one in view.get("identityfile", [])]


def configured_view(action: Any, more: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return what the client does for this host as Ansible is configured, ``more`` arguments before the user's own."""
    return client_view(action._connection, [*more, *_own_arguments(action._connection)[0]])


def has_password(action: Any) -> bool:
    """Say whether Ansible has a password to log in with (inventory, ``-k``)."""
    return _password(action._connection)


def _password(connection: Any) -> bool:
    return bool(connection.get_option("password") or connection._play_context.password)


def run(action: Any, connection: Any, work: Any) -> tuple[Any, Reached]:
    """Call ``work()`` with the action's connection replaced, and keep what the client said.

    Ansible's own errors show the whole ``-v`` transcript, also where ``no_log`` is on: they end here.
    """
    said: list[str] = []
    _listen(connection, said)
    before = action._connection, action._play_context
    action._connection, action._play_context = connection, connection._play_context
    error, value = "", None
    try:
        with Deadline(LOGIN_SECONDS) as deadline:
            value = work()
    except (AnsibleConnectionFailure, AnsibleError) as failure:
        said.append(_without_prefix(str(failure)))
        error = "the login failed"
    finally:
        action._connection, action._play_context = before
    heard = transcript.read("\n".join(said))
    if deadline.passed:
        return None, Reached(
            transcript.read(""), f"the host accepted the connection and did not answer within {LOGIN_SECONDS} s"
        )
    return value, Reached(heard, error and (heard.words or error), _password(connection))


def _clone(action: Any) -> Any:
    original = action._connection
    context = copy.copy(action._play_context)
    # The path of the plugin's stdin argument differs between cores; nothing of ours reads it.
    connection = connection_loader.get(
        "ssh", context, None, task_uuid=action._task._uuid, ansible_playbook_pid=str(os.getppid())
    )
    connection._options = copy.copy(original._options)
    connection._play_context = context
    connection.become = original.become
    connection._shell.set_options(task_keys=None, var_options={}, direct=dict(original._shell._options))
    connection.set_option("pipelining", True)
    connection.set_option("host_key_checking", True)
    connection.set_option("reconnection_retries", 0)
    connection.set_option("use_tty", False)
    connection._shell.build_module_command = _module_command
    return connection


def _module_command(env_string: str, shebang: str | None, cmd: str, arg_path: str | None = None) -> str:
    # Core 2.21 quotes the whole interpreter as one word; ours is a command that finds one (interpreter.choose).
    parts = (env_string, (shebang or "").replace("#!", ""), cmd, arg_path or "")
    command = " ".join(part.strip() for part in parts if part.strip())
    # Where no Python starts, somebody must take what Ansible sends: the broken pipe would hide what the host said.
    return command + " || { r=$?; cat > /dev/null; exit $r; }"


def _without_password(connection: Any) -> None:
    connection.set_option("password", None)
    connection._play_context.password = None


def _jump(connection: Any, words: list[str], named: str, policy: HostKeyPolicy) -> list[str]:
    jump = named or client_view(connection, words).get("proxyjump", [""])[0]
    if jump in ("", "none"):
        return []
    config = [words[index : index + 2] for index, word in enumerate(words[:-1]) if word == "-F"]
    options = config[0] if config else []
    if policy.mode == "accept_new":
        options = [*options, "-o", "StrictHostKeyChecking=accept-new"]
    return ["-o", "ProxyJump=none", "-o", "ProxyCommand=" + ssh_arguments.proxy_command(jump.split(","), options)]


def address(connection: Any) -> str:
    """Return what the client is told to connect to."""
    return str(connection.get_option("host") or connection._play_context.remote_addr)


def client_view(connection: Any, words: list[str]) -> dict[str, list[str]]:
    """Return what the client would do for this host: ``ssh -G`` with the user's own arguments (ssh(1))."""
    host = address(connection)
    options = [word for word in words if word != "-v"]
    said = programs.run([connection.get_option("ssh_executable"), "-G", *options, host]).stdout
    view: dict[str, list[str]] = {}
    for line in said.splitlines():
        key, unused, value = line.partition(" ")
        view.setdefault(key.lower(), []).append(value)
    return view


def _listen(connection: Any, said: list[str]) -> None:
    plain = connection.exec_command

    def exec_command(cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        # A command without standard input would be given a terminal, and its output would be mixed up.
        status, out, err = plain(cmd, in_data=in_data or b"\n", sudoable=sudoable)
        text = err.decode("utf-8", "replace") if isinstance(err, bytes) else str(err)
        said.append(text)
        return status, out, transcript.plain(text).encode()

    connection.exec_command = exec_command


_PREFIX = re.compile(
    r"^.*?(?:Failed to connect to the host via ssh|Invalid/incorrect (?:username/)?password[^:]*|over ssh): ?", re.S
)


def _without_prefix(text: str) -> str:
    return _PREFIX.sub("", text)


__all__ = [
    "Reached",
    "address",
    "check_task",
    "client_view",
    "configured",
    "configured_view",
    "fresh",
    "has_password",
    "riding",
    "run",
    "shared",
    "tries_by_itself",
    "user_of",
]
