# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines of the inventory to change once the key is proven, so that the password can be deleted."""

from __future__ import annotations

from typing import Any

from ansible_collections.latchkey.ssh.plugins.plugin_utils import connections
from ansible_collections.latchkey.ssh.plugins.plugin_utils.identity import Identity, agent_keys

_FEW = 5


def lines(action: Any, who: Identity) -> list[str]:
    """Return the lines for one host, from how Ansible is configured to reach it."""
    connection = action._connection
    password = connection.get_option("password") or action._play_context.password
    become_password = connection.become.get_option("become_pass") if connection.become is not None else None
    wanted = []
    if who.path and who.source != "private_key_file" and not connections.tries_by_itself(action, who.path):
        wanted.append(f"set     ansible_ssh_private_key_file: {who.path}")
    if who.path and _crowded(who):
        wanted.append(
            "add     ansible_ssh_extra_args: -o IdentitiesOnly=yes (the agent's other keys would use up the tries)"
        )
    if password and become_password == password:
        wanted.append(
            "keep    ansible_become_password (sudo wants it); if it is taken from ansible_password, write it out"
        )
    if password:
        wanted.append("delete  ansible_password (also as ansible_ssh_pass or -k): it no longer opens the host")
    return wanted


def _crowded(who: Identity) -> bool:
    """Say whether ssh would offer so many keys of the agent first that sshd hangs up (MaxAuthTries, 6 by default)."""
    return len([key for key in agent_keys() if key.fingerprint != who.fingerprint]) >= _FEW


__all__ = ["lines"]
