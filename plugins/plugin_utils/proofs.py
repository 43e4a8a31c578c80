# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proofs: what a login has to show before anything is taken away because of it."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError, Refused
from ansible_collections.latchkey.ssh.plugins.plugin_utils import connections, failures, interpreter
from ansible_collections.latchkey.ssh.plugins.plugin_utils.host_key import HostKeyPolicy
from ansible_collections.latchkey.ssh.plugins.plugin_utils.identity import Identity


class Proof(NamedTuple):
    """One attempt to prove an operator: ``problem`` is None when it succeeded; ``result`` is what the command said."""

    operator: str
    fingerprint: str
    offered: tuple[str, ...]
    problem: LatchkeyError | None
    reached: connections.Reached
    result: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Return the proof as records show it."""
        return {
            "operator": self.operator,
            "proven": self.problem is None,
            "how": "a fresh login by key that became root",
            "fingerprint": self.fingerprint,
            "offered": list(self.offered),
            "host_key": self.reached.transcript.host_key,
        }


def by_plan(
    action: Any, identity: Identity, policy: HostKeyPolicy, task_vars: dict[str, Any], arguments: dict[str, Any]
) -> Proof:
    """Run the module ``plan`` over a fresh key login; that login is the proof."""
    nonce = secrets.token_hex(16)
    connection = connections.fresh(action, identity, policy)
    result, reached = run_module(action, connection, "plan", dict(arguments, nonce=nonce), task_vars)
    result = result or {}
    login = result.get("login") or {}
    problem = _login_problem(reached, identity, login.get("nonce") == nonce, login.get("euid") == 0)
    user = connection.get_option("remote_user") or ""
    return Proof(
        user,
        reached.transcript.fingerprint,
        reached.transcript.offered,
        failures.of_module(result, reached) or problem,
        reached,
        result,
    )


def by_command(action: Any, identity: Identity, policy: HostKeyPolicy, user: str) -> Proof:
    """Log in as ``user`` with a fresh key login, send a nonce, and have it back from root."""
    nonce = secrets.token_hex(16)
    connection = connections.fresh(action, identity, policy, user=user)
    said, reached = connections.run(
        action,
        connection,
        lambda: action._low_level_execute_command('read -r n; echo "$n"; id -u', in_data=f"{nonce}\n".encode()),
    )
    lines = (said or {}).get("stdout", "").split()
    sudo = failures.of_sudo((said or {}).get("stderr", "")) if lines[-2:] != [nonce, "0"] else None
    problem = _login_problem(reached, identity, nonce in lines, lines[-1:] == ["0"])
    return Proof(user, reached.transcript.fingerprint, reached.transcript.offered, sudo or problem, reached, {})


def run_module(
    action: Any, connection: Any, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]
) -> tuple[dict[str, Any], connections.Reached]:
    """Run a module of this collection over a connection of ours, in one command."""
    variables = dict(task_vars, ansible_python_interpreter=interpreter.choose(task_vars))
    work = lambda: action._execute_module(  # noqa: E731
        module_name=f"latchkey.ssh.{name}", module_args=arguments, task_vars=variables
    )
    return connections.run(action, connection, work)


def _login_problem(reached: connections.Reached, identity: Identity, nonce: bool, root: bool) -> LatchkeyError | None:
    said = reached.transcript
    if said.multiplexed or not said.authenticated:
        return Refused(
            "no fresh login was seen", "remove ControlPath and LogLevel from the ssh arguments of this host", "proof"
        )
    if said.authenticated != "publickey":
        return Refused(f"the login was made by {said.authenticated}, not by key", "", "proof")
    if said.fingerprint != identity.fingerprint and not identity.may_be(said.fingerprint):
        return Refused(
            f"the host took the key {said.fingerprint}, but {identity.fingerprint} was to be proven",
            "name the key in harden_key",
            "proof",
        )
    if not nonce:
        return Refused(
            "the nonce did not come back: something else than a shell answered",
            "look at the account's shell and command=",
            "proof",
        )
    if not root:
        return Refused("the login did not become root", "set ansible_become: true and allow sudo", "proof")
    return None


__all__ = ["Proof", "by_command", "by_plan", "run_module"]
