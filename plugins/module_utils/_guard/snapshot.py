# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of a transaction were before: entries, copies, and files that are ready to be put back. PRIVATE."""

import collections
import glob
import os
import stat
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .._errors import HostError, Refused
from .._host import accounts, files, home_files, users
from .._openssh.sshd_tree import Tree, include_patterns
from . import guardian

_MOST_FILES = 500
# Whatever is named may hold one; its copy is gone once the transaction is over.
_SECRET = b"PRIVATE KEY-----"


class Touch(NamedTuple):
    """A path that a transaction may change; ``account`` owns it where it lies below a home.

    ``merge`` says that others may write it meanwhile: then only the lines it had before are brought back.
    ``forget`` says that its copy is not kept once the transaction is committed: a withdrawn key never comes back.
    ``untouched`` are files that the transaction does not change: they go back where somebody else does meanwhile, since
    that may be what keeps the operators out. ``folder`` is a directory, also where it is not there yet: files count.
    """

    path: str
    account: Optional[accounts.Account] = None
    untouched: bool = False
    merge: bool = False
    forget: bool = False
    folder: bool = False


def take(places: guardian.Places, state: guardian.State, touches: Sequence[Touch]) -> List[guardian.Entry]:
    """Copy what is at each path, durably, and add the entries to the journal ``state``; returns the new ones.

    Paths stand there once.

    Raises:
        Refused: a path cannot be brought back, with the reason.
        HostError: there is no room, or a file cannot be read.
    """
    entries: List[guardian.Entry] = state["entries"]
    first = len(entries)
    try:
        os.makedirs(places.copies, 0o700, exist_ok=True)
        for touch in _distinct(touches):
            _take(places, state, touch)
        guardian.sync_directory(places.copies)
    except OSError as error:
        raise HostError(
            f"the snapshot cannot be taken: {error.strerror}", "make room on the file system of /var/lib", places.copies
        ) from error
    return entries[first:]


def check(touches: Sequence[Touch]) -> Tuple[str, ...]:
    """Return the paths that ``take`` would copy, without copying any; raises what it would refuse."""
    distinct = _distinct(touches)
    for touch in distinct:
        if touch.account is None:
            _see(touch)
    return tuple(touch.path for touch in distinct if not touch.untouched)


def _distinct(touches: Sequence[Touch]) -> List[Touch]:
    found: Dict[str, Touch] = collections.OrderedDict()
    spread = [one for touch in touches for one in _spread(touch)]
    for touch in sorted(spread, key=lambda one: one.untouched):
        before = found.setdefault(touch.path, touch)
        found[touch.path] = before._replace(folder=before.folder or touch.folder)
    return list(found.values())


def _spread(touch: Touch) -> List[Touch]:
    """A directory stands for the files in it, too: what appears there can be told from what was there."""
    if touch.account is not None:
        return [touch]
    folder, name = os.path.split(touch.path.rstrip("/"))
    touch = touch._replace(path=os.path.join(os.path.realpath(folder), name))
    found = [touch]
    if os.path.islink(touch.path) and os.path.isfile(touch.path):
        # Whoever writes it writes what it leads to.
        found.append(touch._replace(path=os.path.realpath(touch.path)))
    if touch.untouched:
        return found
    if files.look(touch.path).kind == "dir":
        for name in sorted(os.listdir(touch.path)):
            found += _spread(touch._replace(path=os.path.join(touch.path, name)))
    if len(found) > _MOST_FILES:
        raise Refused(f"holds more than {_MOST_FILES} files", "name the files that change", touch.path)
    return found


def _take(places: guardian.Places, state: guardian.State, touch: Touch) -> None:
    if touch.account is not None:
        seen, data = users.run_as(touch.account, lambda: _as_owner(touch.account, touch.path))  # type: ignore[arg-type]
        entry = dict(seen, path=touch.path, after=None, merge=touch.merge, **_account_fields(touch.account))
    else:
        entry, data = _see(touch)
        entry["forget"] = touch.forget or _SECRET in data
    state["entries"].append(entry)
    if entry["kind"] == "file":
        entry["copy"] = f"{len(state['entries']) - 1:04d}"
        guardian.replace(os.path.join(places.copies, entry["copy"]), data, 0o600)
        if touch.account is None:
            entry["ready"] = _ready_path(state["id"], entry)
            _make_ready(entry, data)


def _see(touch: Touch) -> Tuple[guardian.Entry, bytes]:
    problem = _unsafe(os.path.dirname(touch.path))
    if problem:
        raise Refused(
            f"its directory is not root's alone ({problem})",
            "below a home, name the account (`accounts`) in place of the path",
            touch.path,
        )
    return _look(touch)


def _unsafe(directory: str) -> str:
    """Say who but root could change the way to a file; what is not there yet counts as what it would be made in."""
    problem, nearest = "", True
    while not problem and directory != "/":
        state = files.look(directory)
        if nearest or state.uid != 0 or not state.mode & stat.S_ISVTX:
            problem = files.unsafe(directory)
        nearest = nearest and state.kind != "dir"
        directory = os.path.dirname(directory)
    return problem


def _look(touch: Touch) -> Tuple[guardian.Entry, bytes]:
    directory, name = os.path.split(touch.path)
    if not os.path.isdir(directory):
        entry: guardian.Entry = dict(kind="missing", sha256="", path=touch.path)
        entry.update(after=None, untouched=touch.untouched)
        return dict(entry, names=[]) if touch.folder else entry, b""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        entry = dict(guardian.observe(handle, name), path=touch.path, after=None, untouched=touch.untouched)
        if entry["kind"] == "other":
            raise Refused("is neither a file nor a directory and cannot be brought back", "leave it out", touch.path)
        if entry["kind"] == "dir" or touch.folder and entry["kind"] == "missing":
            entry["names"] = os.listdir(touch.path) if entry["kind"] == "dir" else []
        return entry, guardian.read_at(handle, name) if entry["kind"] == "file" else b""
    finally:
        os.close(handle)


def _ready_path(identifier: str, entry: guardian.Entry) -> str:
    """Return where a rename alone puts a file back from; not beside it, in a directory a listener is held against."""
    folder, name = os.path.split(entry["path"])
    top = _top(folder)
    if os.stat(top).st_dev == os.stat(folder).st_dev and not files.unsafe(top):
        return os.path.join(top, f".latchkey-{identifier}", entry["copy"])
    return os.path.join(folder, f".latchkey-{identifier}-{name}")


def _top(folder: str) -> str:
    return "/" + folder.split("/")[1]


def _make_ready(entry: guardian.Entry, data: bytes) -> None:
    folder, name = os.path.split(entry["ready"])
    if not os.path.isdir(folder):
        os.mkdir(folder, 0o700)
        guardian.sync_directory(os.path.dirname(folder))
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        guardian.make_file(handle, name, entry, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def _as_owner(account: accounts.Account, path: str) -> Tuple[guardian.Entry, bytes]:
    """Look as the account itself does; a way that cannot be walked without following a link counts as missing."""
    fields = dict(path=path, home=account.home)
    handle = guardian.walk(fields)
    if handle is None:
        return {"kind": "missing", "sha256": "", "absent": _absent(account, path)}, b""
    try:
        seen = guardian.observe(handle, os.path.basename(path))
        return seen, guardian.read_at(handle, os.path.basename(path)) if seen["kind"] == "file" else b""
    finally:
        os.close(handle)


def _absent(account: accounts.Account, path: str) -> List[str]:
    """Return the directories on the way that whoever writes the file makes first, the lowest first."""
    found = []
    folder = os.path.dirname(path)
    while len(folder) > len(account.home) and not os.path.lexists(folder):
        found.append(folder)
        folder = os.path.dirname(folder)
    return found


def _account_fields(account: accounts.Account) -> Dict[str, Any]:
    home_files.check_home(account)
    return dict(
        account=account.name,
        account_uid=account.uid,
        account_gid=account.gid,
        account_groups=os.getgrouplist(account.name, account.gid),
        home=account.home,
    )


def sshd_tree(tree: Tree) -> List[Touch]:
    """Return sshd's configuration as it is: its files, and what its Include lines name or look into, there or not.

    Where they look into the directory of the main file itself, that is left out: host keys lie there, too.
    """
    named, directories = set(tree.files), set()
    for data in tree.files.values():
        for pattern in include_patterns(data, tree.version, tree.base_dir):
            folder, name = os.path.split(pattern)
            above = glob.glob(folder) if glob.has_magic(folder) else [folder]
            if glob.has_magic(name):
                directories.update(above)
            else:
                named.update(os.path.join(one, name) for one in above)
    base = tree.base_dir.rstrip("/") + "/"
    found = [path for path in sorted(directories) if path.startswith(base) or os.path.isdir(path)]
    paths = [path for path in sorted(named) if path.startswith(base) or os.path.exists(path)]
    folders = [Touch(path, untouched=True, folder=True) for path in found if path != os.path.dirname(tree.main)]
    return folders + [Touch(path, untouched=True) for path in paths]


__all__ = ["Touch", "check", "sshd_tree", "take"]
