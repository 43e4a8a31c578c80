# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SSH session this process was started in. PRIVATE to the collection."""

import os
import socket
from typing import Dict, Tuple

_NOWHERE = ("127.0.0.1", "0", "127.0.0.1", "22")


def connection() -> Tuple[str, str, str, str]:
    """Return client address, client port, server address, server port of the session (ssh(1) SSH_CONNECTION).

    sudo removes the variable, so the parents are asked: sshd sets it for the user's first process.
    """
    process = os.getpid()
    while process > 1:
        environment, process = _look(process)
        words = environment.get("SSH_CONNECTION", "").split()
        if len(words) == 4:
            return words[0], words[1], words[2], words[3]
    return _NOWHERE


def client_address() -> str:
    """Return the address the session comes from; 127.0.0.1 where there is no session."""
    return connection()[0].split("%")[0]


def client_name(address: str) -> str:
    """Return the host name of an address, or the address where it has none that leads back (canohost.c)."""
    try:
        name = socket.gethostbyaddr(address)[0].lower()
        back = [found[4][0] for found in socket.getaddrinfo(name, None)]
    except (OSError, UnicodeError):
        return address
    return name if address in back else address


def _look(process: int) -> Tuple[Dict[str, str], int]:
    try:
        with open(f"/proc/{process}/environ", "rb") as handle:
            pairs = handle.read().decode("utf-8", "replace").split("\0")
        with open(f"/proc/{process}/stat", "rb") as handle:
            parent = int(handle.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError):
        return {}, 0
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair), parent


__all__ = ["client_address", "client_name", "connection"]
