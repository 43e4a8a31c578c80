# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action proof: one brand-new key login that becomes root, for plays that make their own changes."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError
from ansible_collections.latchkey.ssh.plugins.plugin_utils import (
    connections,
    failures,
    host_key,
    identity,
    proofs,
    results,
)


class ActionModule(ActionBase):
    """Prove one operator, or fail saying why."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        try:
            connections.check_task(self)
            with tempfile.TemporaryDirectory(prefix="latchkey-") as scratch:
                proof = self._prove(os.path.join(scratch, "known_hosts") if self._task.check_mode else "")
            result.update(changed=False, proof=proof.record())
        except (LatchkeyError, AnsibleError) as error:
            described = results.describe(error)
            result.update(failed=True, changed=False, msg=results.sentence(described), error=described)
        return result

    def _prove(self, known_hosts: str) -> proofs.Proof:
        args = self._task.args
        policy = host_key.policy(args.get("host_key", "strict"), known_hosts)
        user = args.get("user") or connections.user_of(self)
        proof = proofs.by_command(proofs.Caller(self, identity.from_data(args["identity"]), policy, {}), user)
        if not proof.reached.transcript.authenticated:
            raise failures.of_login(proof.reached, user, policy)
        if proof.problem is not None:
            raise proof.problem
        wanted = set(args.get("methods") or ())
        if wanted and not proofs.offers_only(proof.offered, wanted):
            raise HostError(
                f"the host offers {', '.join(proof.offered)}, not {', '.join(sorted(wanted))}", "", "methods"
            )
        return proof


__all__ = ["ActionModule"]
