# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""StrictModes: whether sshd opens a user's authorized_keys at all. Pure.

AlmaLinux's sshd has upstream's rule. Debian's is laxer (it lets the user's own group write) and is not followed here.
"""

from typing import NamedTuple, Optional, Sequence


class PathStat(NamedTuple):
    """One component of a path; ``kind`` is file, dir, link, missing or other; ``mode`` the permission bits."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int


def _bad(stat: PathStat, uid: int) -> str:
    if stat.uid not in (0, uid):
        return "owned by uid {0} instead of root or uid {1}".format(stat.uid, uid)
    if stat.mode & 0o022:
        return "mode {0:04o} lets group or others write".format(stat.mode & 0o7777)
    return ""


def strict_modes_problem(components: Sequence[PathStat], uid: int, home: str) -> Optional[str]:
    """Return why StrictModes makes sshd ignore the file, or None.

    ``components``: the opened file first, then each parent of its resolved path upwards; ``home``: the resolved home
    directory. The walk ends at home (inclusive) or at /. Source: safe_path, misc.c of OpenSSH 8.0 to 9.9.
    """
    opened = components[0]
    if opened.kind != "file":
        return "{0} {1}".format(opened.path, "does not exist" if opened.kind == "missing" else "is not a regular file")
    bad = _bad(opened, uid)
    if bad:
        return "bad ownership or modes for file {0}: {1}".format(opened.path, bad)
    for parent in components[1:]:
        bad = "missing" if parent.kind == "missing" else _bad(parent, uid)
        if bad:
            return "bad ownership or modes for directory {0}: {1}".format(parent.path, bad)
        if parent.path == home:
            return None
    return None


def _allowed(stat: PathStat, uid: int, gids: Sequence[int], bit: int) -> bool:
    if uid == 0:
        return True
    if stat.uid == uid:
        return bool(stat.mode & (bit << 6))
    return bool(stat.mode & (bit << 3)) if stat.gid in gids else bool(stat.mode & bit)


def open_problem(components: Sequence[PathStat], uid: int, gids: Sequence[int]) -> Optional[str]:
    """Return why the user cannot open the file for reading, or None; arguments as for strict_modes_problem.

    sshd opens the file as the user (temporarily_use_uid), so a root-owned 0600 file is no use. ``gids`` are the
    user's groups. ACLs and file systems that map root are not seen here.
    """
    for parent in reversed(components[1:]):
        if parent.kind == "missing":
            return "{0} does not exist".format(parent.path)
        if not _allowed(parent, uid, gids, 1):
            return "{0}: uid {1} may not enter this directory (mode {2:04o}, owner {3})".format(
                parent.path, uid, parent.mode & 0o7777, parent.uid
            )
    opened = components[0]
    if opened.kind == "missing":
        return "{0} does not exist".format(opened.path)
    if opened.kind == "file" and not _allowed(opened, uid, gids, 4):
        return "{0}: uid {1} may not read this file (mode {2:04o}, owner {3})".format(
            opened.path, uid, opened.mode & 0o7777, opened.uid
        )
    return None
