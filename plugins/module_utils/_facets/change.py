# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change: the one value that plan returns, apply takes and reports print. PRIVATE to the collection."""

import hashlib
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .._openssh.sshd_tree import Tree

WIDEN = "widen"
NARROW = "narrow"


class Change(NamedTuple):
    """One step towards the desired state of a facet.

    ``phase`` is widen (adds a way in) or narrow (takes one away). ``kind`` is file, absent (the file is
    removed), directory, mode, reload or restart.
    ``path`` is the file, or the unit for reload and restart. ``account`` owns the path where it lies below a home.
    """

    facet: str
    phase: str
    kind: str
    path: str
    what: str
    before: bytes = b""
    existed: bool = False
    after: bytes = b""
    mode: int = 0
    owner: str = "root"
    account: str = ""


class Outcome(NamedTuple):
    """What a facet would do: its changes in order, and foreign lines that win where they are only to be reported.

    ``tree`` is the configuration of sshd that the changes lead to, where they change it.
    """

    changes: List[Change]
    conflicts: List[str]
    tree: Optional[Tree] = None


def report(change: Change) -> Dict[str, Any]:
    """Return a change as results show it; contents only as their SHA256, so nothing secret can be in it."""
    shown: Dict[str, Any] = {
        "facet": change.facet,
        "phase": change.phase,
        "kind": change.kind,
        "path": change.path,
        "what": change.what,
        "touches": list(touches(change)),
    }
    if change.kind in ("file", "directory", "mode"):
        shown.update(mode=f"{change.mode:04o}", owner=change.owner)
    if change.kind in ("file", "absent"):
        after = digest(change.after) if change.kind == "file" else ""
        shown.update(sha256_before=digest(change.before) if change.existed else "", sha256_after=after)
    return shown


def touches(change: Change) -> Tuple[str, ...]:
    """Return the paths and units that a change touches."""
    return (change.path,)


def digest(data: bytes) -> str:
    """Return the SHA256 of ``data`` in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def diffs(changes: List[Change]) -> List[Dict[str, str]]:
    """Return the changes as Ansible's ``--diff`` prints them."""
    return [diff for diff in map(_diff, changes) if diff]


def _diff(change: Change) -> Dict[str, str]:
    if change.kind not in ("file", "absent"):
        return {"prepared": f"{change.path}: {change.what}\n"}
    before = change.before.decode("utf-8", "backslashreplace")
    after = change.after.decode("utf-8", "backslashreplace")
    return {"before": before, "after": after, "before_header": change.path, "after_header": change.path}


__all__ = ["Change", "NARROW", "Outcome", "WIDEN", "diffs", "digest", "report", "touches"]
