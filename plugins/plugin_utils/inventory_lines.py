# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines of the inventory to change once the key is proven, so that the password can be deleted."""

from __future__ import annotations

from typing import Any

from ansible_collections.latchkey.ssh.plugins.plugin_utils.identity import Identity

_FOUND_BY_ITSELF = ("default", "agent", "private_key", "private_key_file")


def lines(action: Any, who: Identity) -> list[str]:
    """Return the lines for one host, from how Ansible is configured to reach it."""
    connection = action._connection
    password = connection.get_option("password") or action._play_context.password
    become_password = connection.become.get_option("become_pass") if connection.become is not None else None
    wanted = []
    if who.path and who.source not in _FOUND_BY_ITSELF and not _is_default(who.path):
        wanted.append(f"set     ansible_ssh_private_key_file: {who.path}")
    if password and become_password == password:
        wanted.append(
            "keep    ansible_become_password (sudo wants it); if it is taken from ansible_password, write it out"
        )
    if password:
        wanted.append("delete  ansible_password (also as ansible_ssh_pass or -k): it no longer opens the host")
    return wanted


def _is_default(path: str) -> bool:
    # ssh tries its default files by itself, whatever the agent holds.
    return path.endswith(("/.ssh/id_ed25519", "/.ssh/id_ecdsa", "/.ssh/id_rsa"))


__all__ = ["lines"]
