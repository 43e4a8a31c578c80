# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proofs: what a login has to show before anything is taken away because of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError, Refused
from ansible_collections.latchkey.ssh.plugins.plugin_utils import connections, failures, interpreter, results
from ansible_collections.latchkey.ssh.plugins.plugin_utils.host_key import HostKeyPolicy
from ansible_collections.latchkey.ssh.plugins.plugin_utils.identity import Identity


class Caller(NamedTuple):
    """Who asks: the action and its variables, the identity, and how the host's own key is known."""

    action: Any
    who: Identity
    policy: HostKeyPolicy
    task_vars: dict[str, Any]


class Proof(NamedTuple):
    """One attempt to prove an operator: ``problem`` is None when it succeeded; ``result`` is what the command said."""

    operator: str
    fingerprint: str
    offered: tuple[str, ...]
    problem: LatchkeyError | None
    reached: connections.Reached
    result: dict[str, Any]
    own_key: bool = True

    def by_another_key(self) -> bool:
        """Say whether the login was made, and by a key that is not the identity's: it may carry a plan, not a proof."""
        said = self.reached.transcript
        return (
            said.authenticated == "publickey" and not said.multiplexed and "login" in self.result and not self.own_key
        )

    def record(self) -> dict[str, Any]:
        """Return the proof as records show it."""
        return {
            "operator": self.operator,
            "proven": self.problem is None,
            "how": "a fresh login by key that became root" if self.problem is None else "",
            "fingerprint": self.fingerprint,
            "offered": list(self.offered),
            "host_key": self.reached.transcript.host_key,
        }


def by_plan(caller: Caller, arguments: dict[str, Any]) -> Proof:
    """Run the module ``plan`` over a fresh key login; that login is the proof."""
    nonce = secrets.token_hex(16)
    connection = connections.fresh(caller.action, caller.who, caller.policy)
    result, reached = run_module(caller, connection, "plan", dict(arguments, nonce=nonce))
    result = result or {}
    login = result.get("login") or {}
    problem = failures.of_module(result, reached) or _login_problem(reached, caller)
    if result.get("failed") and result.get("error"):
        problem = problem or results.error_of(result)
    problem = problem or _answer_problem(nonce=login.get("nonce") == nonce, root=login.get("euid") == 0)
    user = connections.user_of(caller.action)
    own = reached.transcript.fingerprint == caller.who.fingerprint or caller.who.may_be(reached.transcript.fingerprint)
    return Proof(user, reached.transcript.fingerprint, reached.transcript.offered, problem, reached, result, own)


def by_command(caller: Caller, user: str, confirm: Mapping[str, Any] | None = None, *, connection: Any = None) -> Proof:
    """Log in as ``user`` with a fresh key login, send a nonce, and have it back from root.

    Args:
        confirm: the transaction that this very login confirms; the host's answer is in the result.
        connection: another connection object that makes a fresh login of this user.
    """
    nonce = secrets.token_hex(16)
    connection = connection or connections.fresh(caller.action, caller.who, caller.policy, user=user)
    command = _ECHO if confirm is None else f"{_CONFIRM.format(id=confirm['id'])}; {_ECHO}"
    sent = "".join(f"{line}\n" for line in ([confirm["nonce"]] if confirm else []) + [nonce])
    said, reached = connections.run(
        caller.action,
        connection,
        lambda: caller.action._low_level_execute_command(command, in_data=sent.encode()),
    )
    out = (said or {}).get("stdout", "")
    lines = out.split()
    root = lines[-2:] == [nonce, "0"]
    problem = None if root else failures.of_sudo((said or {}).get("stderr", ""))
    problem = problem or _login_problem(reached, caller, user) or _answer_problem(nonce=nonce in lines, root=root)
    result = {} if confirm is None else {"confirm": _answer(out)}
    return Proof(user, reached.transcript.fingerprint, reached.transcript.offered, problem, reached, result)


_ECHO = 'read -r n; echo "$n"; id -u'
# The shell takes the first line alone, so that the second is left for the proof.
_CONFIRM = 'read -r c; echo "$c" | /usr/local/sbin/latchkey confirm {id} --nonce --json'


def _answer(out: str) -> dict[str, Any]:
    """Return what the host answered to a confirmation; {} where it did not."""
    for line in out.splitlines():
        if line.startswith('{"answer"'):
            return dict(json.loads(line))
    return {}


def run_module(
    caller: Caller, connection: Any, name: str, arguments: dict[str, Any]
) -> tuple[dict[str, Any] | None, connections.Reached]:
    """Run a module of this collection over a connection of ours, in one command; no result where no command ran."""
    variables = dict(caller.task_vars, ansible_python_interpreter=interpreter.choose(caller.task_vars))
    return connections.run(
        caller.action,
        connection,
        lambda: caller.action._execute_module(
            module_name=f"latchkey.ssh.{name}", module_args=arguments, task_vars=variables
        ),
    )


def offer_problem(proof: Proof, desired: Mapping[str, Any]) -> LatchkeyError | None:
    """Say how the methods a host offers differ from those its configuration comes to; None where they do not."""
    asked = (desired.get("server") or {}).get("methods") or ()
    wanted = set(proof.result.get("methods") or asked)
    if not asked or offers_only(proof.offered, wanted):
        return None
    reason = f"the host offers {', '.join(proof.offered)}, but its configuration says {', '.join(sorted(wanted))}"
    return HostError(
        reason, "look for a listener that did not read its configuration: `systemctl restart sshd`", "proof"
    )


def offers_only(offered: tuple[str, ...], methods: set[str]) -> bool:
    """Say whether the methods offered are those asked for; sshds with GSSAPI offer its two methods as one."""
    together = {"gssapi-keyex"} if "gssapi-with-mic" in methods else set()
    return set(offered) - together == methods


def _login_problem(reached: connections.Reached, caller: Caller, user: str = "") -> LatchkeyError | None:
    said, identity = reached.transcript, caller.who
    if not said.authenticated and (reached.error or said.refused is not None):
        return failures.of_login(reached, user or connections.user_of(caller.action), caller.policy)
    if said.multiplexed or not said.authenticated:
        remedy = "remove ControlPath and LogLevel from the ssh arguments of this host"
        return Refused("no fresh login was seen", remedy, "proof")
    if said.authenticated != "publickey":
        return Refused(f"the login was made by {said.authenticated}, not by key", "", "proof")
    if said.fingerprint != identity.fingerprint and not identity.may_be(said.fingerprint):
        reason = f"the host took the key {said.fingerprint}, but {identity.fingerprint} was to be proven"
        return Refused(reason, "name the key in harden_key", "proof")
    return None


def _answer_problem(*, nonce: bool, root: bool) -> LatchkeyError | None:
    if not nonce:
        reason = "the nonce did not come back: something else than a shell answered"
        return Refused(reason, "look at the account's shell and at command= before its key", "proof")
    if not root:
        return Refused("the login did not become root", "set ansible_become: true and allow sudo", "proof")
    return None


__all__ = ["Caller", "Proof", "by_command", "by_plan", "offer_problem", "offers_only", "run_module"]
