# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action operator_key: find the key pair that opens the hosts, or make it, on the controller."""

from __future__ import annotations

import getpass
import os
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError, Malformed, Refused
from ansible_collections.latchkey.ssh.plugins.plugin_utils import connections, ephemeral, identity, key_making, results


class ActionModule(ActionBase):
    """Return the identity of this host's operator."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        try:
            result["operator"] = connections.user_of(self) or getpass.getuser()
            wanted = key_making.Wanted.from_args(self._task.args)
            found = self._existing(wanted)
            self._made = False
            if found is None:
                found = self._make(wanted)
            result.update(changed=self._made or found.pending, identity=found.data(), refused=[])
        except (LatchkeyError, AnsibleError) as error:
            result.update(changed=False, identity=None, refused=[results.describe(error)])
        return result

    def _existing(self, wanted: key_making.Wanted) -> identity.Identity | None:
        if wanted.key:
            return (
                identity.of_file(wanted.key, "harden_key") if os.path.exists(os.path.expanduser(wanted.key)) else None
            )
        text = self._option("private_key")
        if text:
            return identity.of_text(text)
        path = self._option("private_key_file")
        if path:
            return identity.of_file(path, "private_key_file")
        held = identity.usable_agent_keys()
        if held:
            return identity.of_agent(held[0], held)
        return self._default_file()

    def _default_file(self) -> identity.Identity | None:
        for name in identity.DEFAULT_FILES:
            path = os.path.expanduser(os.path.join("~/.ssh", name))
            if os.path.exists(path) and identity.file_is_strong(path):
                return identity.of_file(path, "default")
        return None

    def _make(self, wanted: key_making.Wanted) -> identity.Identity:
        path = os.path.abspath(os.path.expanduser(wanted.key or key_making.default_path(wanted.type)))
        if path.endswith(".pub"):
            raise Malformed("there is no such public key", "correct the path, or name the private file to make", path)
        if wanted.create == "false":
            raise Malformed(
                "there is no key to log in with, and none may be made",
                "name one in harden_key, or harden_key_create: true",
                path,
            )
        reason = ephemeral.reason(os.environ)
        if wanted.create == "auto" and reason:
            raise Refused(
                f"no key was found, and one made here would die with this controller ({reason})",
                "give it a key that lasts (harden_key, agent), or say harden_key_create: true",
                path,
            )
        if self._task.check_mode:
            return key_making.pending(wanted, path)
        self._made = key_making.make(wanted, path)
        return identity.of_file(path, "made")

    def _option(self, name: str) -> str:
        try:
            return str(self._connection.get_option(name) or "")
        except KeyError:
            return ""


__all__ = ["ActionModule"]
