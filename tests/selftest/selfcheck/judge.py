# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the observations of a host mean. Pure: data in, words out."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# What AlmaLinux itself writes below /etc while it is restarted.
BY_A_BOOT = {
    "/etc/resolv.conf": "NetworkManager",
    "/etc/adjtime": "hwclock, at shutdown",
    "/etc/.updated": "systemd-update-done",
    "/etc/lvm/*": "lvm",
    "/etc/tuned/*": "tuned",
}
# What takes part in a login and in its way back; denials of others are counted only.
_OURS = re.compile(r'latchkey|comm="(?:python3(?:\.\d+)?|platform-python\S*|sshd(?:-session|-auth)?|wall|sudo)"')
_KEY = re.compile(r'(denied\s+\{[^}]*\}|comm="[^"]*"|scontext=\S+|tcontext=\S+|tclass=\S+)')
_ACCEPTED = re.compile(r"Server accepts key: (?P<path>.+) \S+ SHA256:(?P<rest>.*)")
_OTHERS_LOGINS, _DAYS = 3, 30
# ssh, and what a fresh AlmaLinux may listen on: rpcbind, DHCPv6, LLMNR, Cockpit.
_USUAL_PORTS = {22, 111, 546, 5355, 9090}


class Entry(NamedTuple):
    """One path of a tree; when it was written does not count, since what is put back is written again."""

    kind: str
    mode: str
    owner: str
    xattrs: str
    content: str


def tree(text: str) -> dict[str, Entry]:
    """Read the lines of tree_hash.py."""
    found = {}
    for line in text.splitlines():
        path, kind, mode, owner, xattrs, _mtime, content = line.rsplit(" ", 6)
        found[path] = Entry(kind, mode, owner, xattrs, content)
    return found


def differences(before: Mapping[str, Entry], after: Mapping[str, Entry], ignore: Sequence[str] = ()) -> list[str]:
    """Return what differs, one line a path: that it appeared or is gone, or the fields that changed."""
    found = []
    for path in sorted(set(before) | set(after)):
        old, new = before.get(path), after.get(path)
        if old == new or any(fnmatch.fnmatch(path, glob) for glob in (*BY_A_BOOT, *ignore)):
            continue
        if old is None or new is None:
            found.append(f"{path}: {'gone' if new is None else 'appeared'}")
        else:
            changed = [name for name in Entry._fields if getattr(old, name) != getattr(new, name)]
            found.append(f"{path}: {', '.join(changed)}")
    return found


class Denials(NamedTuple):
    """Lines of SELinux: those of our doing, and those of others."""

    ours: list[str]
    others: list[str]


def denials(before: Iterable[str], since: Iterable[str]) -> Denials:
    """Tell our denials from those of others: what the host denied in the same words before is its own business."""
    known = {_signature(line) for line in before}
    new = [line for line in since if _signature(line) not in known]
    ours = [line for line in new if _OURS.search(line)]
    return Denials(ours, [line for line in since if line not in ours])


def _signature(line: str) -> tuple[str, ...]:
    return tuple(sorted(_KEY.findall(line)))


def signs_of_use(facts: Mapping[str, Any], user: str, address: str) -> list[str]:
    """Return why a host looks as if somebody needs it; [] for one that looks like a throw-away."""
    signs = []
    # A rehearsal of ours logs in over a socket: sshd calls where that comes from UNKNOWN.
    others = [one for one in facts["logins"] if (one[0], one[1]) != (user, address) and one[1] != "UNKNOWN"]
    if sum(times for _user, _address, times in others) > _OTHERS_LOGINS:
        who = sorted({f"{name} from {where}" for name, where, _times in others})
        signs.append(f"in the last week others logged in: {', '.join(who[:5])}")
    there = [name for name in facts["sessions"] if name != user]
    if there:
        signs.append(f"logged in right now: {', '.join(there)}")
    ports = sorted(set(facts["listening"]) - _USUAL_PORTS)
    if len(ports) > 1:
        signs.append(f"it serves on the ports {', '.join(map(str, ports))}")
    if facts["virtualization"] == "none":
        signs.append("it is no virtual machine")
    if facts["days_up"] > _DAYS:
        signs.append(f"it has been up for {facts['days_up']:.0f} days")
    if facts["committed"]:
        signs.append("its SSH access was changed by this collection before")
    return signs


def refusal(facts: Mapping[str, Any], controller: str) -> str:
    """Say why a host must not be tried on whatever the user says; '' where it may be."""
    if facts["machine_id"] and facts["machine_id"] == controller:
        return "this is the machine that the selftest runs on"
    if facts["state"] not in ("NONE", "COMMITTED", "REVERTED"):
        return f"a transaction is under way there ({facts['state']}): end it with `latchkey revert` on the host"
    if not facts["sshd"].startswith("OpenSSH"):
        return "no OpenSSH was found there"
    return ""


def key_file(transcript: str) -> str:
    """Return the file of the key that a server took, from what `ssh -v` says; '' for one that only an agent has."""
    found = _ACCEPTED.search(transcript)
    return "" if found is None or found.group("rest").endswith(" agent") else found.group("path")


def core_for(python: str) -> str:
    """Return the ansible-core for a host: newer ones than 2.16 need Python 3.9 there."""
    major, minor = (int(part) for part in python.split(".")[:2])
    return "new" if (major, minor) >= (3, 9) else "2.16"


__all__ = [
    "BY_A_BOOT",
    "Denials",
    "Entry",
    "core_for",
    "denials",
    "differences",
    "key_file",
    "refusal",
    "signs_of_use",
    "tree",
]
