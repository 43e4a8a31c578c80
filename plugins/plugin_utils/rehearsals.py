# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real login against a configuration that is not applied yet, through a connection that is open already."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Refused
from ansible_collections.latchkey.ssh.plugins.plugin_utils import (
    connections,
    interpreter,
    proofs,
    ssh_arguments,
    transcript,
)
from ansible_collections.latchkey.ssh.plugins.plugin_utils.lifeline import Lifeline

NOT_REACHED = "LATCHKEY-NO-STAGE"
_ENDED = "LATCHKEY-ENDED"
# Each side may end first: what the client still sends then reaches sshd, and what sshd said last reaches the client.
_RELAY = f"""\
import os, socket, sys, threading
stage = socket.socket(socket.AF_UNIX)
try:
    stage.connect(sys.argv[1])
except OSError as error:
    sys.exit("{NOT_REACHED} %s" % error.strerror)
def up():
    try:
        data = os.read(0, 65536)
        while data:
            stage.sendall(data)
            data = os.read(0, 65536)
        stage.shutdown(socket.SHUT_WR)
    except OSError:
        pass
threading.Thread(target=up, daemon=True).start()
try:
    data = stage.recv(65536)
    while data:
        while data:
            data = data[os.write(1, data):]
        data = stage.recv(65536)
except OSError:
    pass
os._exit(0)
"""
# What sshd and PAM say when the address decided, which nobody knows here.
_BY_ORIGIN = re.compile(
    r"not from a permitted host|pam_access\(|pam_rhosts|pam_listfile|pam_geoip|refused connect from"
)
_NOISE = re.compile(
    r"Connection (?:from|closed by|reset by) |Connection closed|Received disconnect|Disconnected |Postponed "
    r"|Started |latchkey-rehearsal@|Accepted |pam_unix\(sshd:session\)"
    r"|drop connection|Close session|Starting session|User child is on pid"
)
_UNKNOWN_ADDRESS = re.compile(r" from UNKNOWN(?: port \d+)?(?: ssh2)?")


def rehearse(caller: proofs.Caller, stage: Mapping[str, Any], through: Lifeline, user: str = "") -> dict[str, Any]:
    """Log in by key to a stage that the host has made, become root, and say whether that could be tried.

    Args:
        stage: what ``_guard.rehearsal.start`` returned on the host.
        user: another operator than the one Ansible connects as.

    Returns:
        ``rehearsed`` and, where it is false, ``why``; where it is true, ``why`` names what it does not show.

    Raises:
        Refused: the login could be tried, and the configuration does not let this operator in, or not become root.
    """
    user = user or connections.user_of(caller.action)
    if stage["why"]:
        return _record(user, why=str(stage["why"]))
    connection = connections.fresh(
        caller.action, caller.who, caller.policy, user, first=_arguments(caller, stage, through)
    )
    proof = proofs.by_command(caller, user, connection=connection)
    if proof.problem is None:
        return _record(user, rehearsed=True, why=_limits(stage))
    why = _not_tried(proof.reached) or ("" if through.alive() else ssh_arguments.GONE)
    return _record(user, why=why or _excused(stage, proof, _heard(caller, stage, through)))


def _excused(stage: Mapping[str, Any], proof: proofs.Proof, heard: str) -> str:
    """Return what else than the configuration may have ended a login that met its sshd; Refused where nothing has."""
    said, user = proof.reached.transcript, proof.operator
    problem = proof.problem or Refused("it failed", "", "")
    if _ENDED in heard:
        return "its time on the host was over before the login was done"
    if said.authenticated:
        reason = f"the planned configuration lets {user} in, but: {problem.reason}"
        raise Refused(reason, problem.remedy, "rehearsal")
    if transcript.host_key_failed(said):
        reason = f"the planned configuration shows a host key that is not known here: {said.host_key or said.words}"
        raise Refused(reason, "leave HostKey alone, or have known_hosts know the new key first", "rehearsal")
    words = _telling(heard) or said.words.rstrip(".")
    if stage["origin"] or _BY_ORIGIN.search(heard):
        return f"{_limits(stage) or _ORIGIN} ({words})"
    reason = f"the planned configuration does not let {user} in: {words}"
    raise Refused(reason, "correct what keeps this operator out; nothing was changed by it yet", "rehearsal")


_ORIGIN = "it depends on the address that the login comes from, which a rehearsal does not show"


def _record(user: str, *, rehearsed: bool = False, why: str) -> dict[str, Any]:
    return {"operator": user, "rehearsed": rehearsed, "why": why}


def _limits(stage: Mapping[str, Any]) -> str:
    return f"{_ORIGIN}: {', '.join(stage['origin'])}" if stage["origin"] else ""


def _arguments(caller: proofs.Caller, stage: Mapping[str, Any], through: Lifeline) -> list[str]:
    relay = interpreter.program(caller.task_vars, _RELAY, [str(stage["socket"])])
    command = shlex.join(word.replace("%", "%%") for word in [*through.argv(), relay])
    return ["-o", "ProxyJump=none", "-o", f"ProxyCommand={command}", *ssh_arguments.FRESH]


def _not_tried(reached: connections.Reached) -> str:
    """Say why the candidate's sshd was not met at all; '' where it was."""
    said = reached.transcript
    if ssh_arguments.GONE in said.words:
        return ssh_arguments.GONE
    if interpreter.NONE_FITS in said.words:
        return "the host has no Python for it"
    if NOT_REACHED in said.words:
        cause = said.words.partition(NOT_REACHED)[2].split(" kex_exchange")[0].strip()
        return f"its socket could not be reached on the host: {cause}"
    if said.host_key or said.offered or said.authenticated or "Unable to negotiate" in said.words:
        return ""
    return f"no sshd answered: {said.words or reached.error}"


def _heard(caller: proofs.Caller, stage: Mapping[str, Any], through: Lifeline) -> str:
    """Return what sshd logged about this stage, and whether it has ended; '' where that cannot be had."""
    command = f"journalctl --sync; journalctl -q -o cat --no-pager {shlex.quote(str(stage['journal']))}; "
    command += f"[ -S {shlex.quote(str(stage['socket']))} ] || echo {_ENDED}"
    said, _reached = connections.run(
        caller.action, through.connection(), lambda: caller.action._low_level_execute_command(command)
    )
    return str((said or {}).get("stdout", ""))


def _telling(heard: str) -> str:
    """Return the lines of sshd's log that say why, on one line."""
    lines = [line.replace("[preauth]", "").strip() for line in heard.splitlines()]
    kept = [_UNKNOWN_ADDRESS.sub("", line) for line in lines if line and not _NOISE.match(line)]
    return "; ".join(dict.fromkeys(kept))[-400:]


__all__ = ["NOT_REACHED", "rehearse"]
