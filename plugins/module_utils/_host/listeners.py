# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses that a process listens on, as /proc shows them. PRIVATE to the collection."""

import os
import socket
import struct
from typing import List, Set, Tuple

# include/net/tcp_states.h
_LISTEN = "0A"


def of_process(pid: int) -> List[Tuple[str, int]]:
    """Return address and port of every TCP socket that a process listens on (proc(5), net/tcp and net/tcp6)."""
    inodes = _sockets(pid)
    found = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for fields in _table(f"/proc/{pid}/net/{name}"):
            if fields[3] == _LISTEN and fields[9] in inodes:
                address, unused, port = fields[1].partition(":")
                found.append((_address(address, family), int(port, 16)))
    return sorted(found)


def _sockets(pid: int) -> Set[str]:
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if target.startswith("socket:["):
                found.add(target[len("socket:[") : -1])
    except OSError:
        pass
    return found


def _table(path: str) -> List[List[str]]:
    try:
        with open(path, encoding="ascii") as handle:
            return [line.split() for line in handle.readlines()[1:]]
    except OSError:
        return []


def _address(text: str, family: int) -> str:
    # The kernel prints each 32 bit word of the address in the byte order of the machine.
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    return socket.inet_ntop(family, b"".join(struct.pack("=I", word) for word in words))


__all__ = ["of_process"]
