# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of a transaction were before: entries, copies, and files that are ready to be put back. PRIVATE."""

import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .._errors import HostError, Refused
from .._host import accounts, files, home_files, users
from . import guardian

_DEEPEST = 4
_MOST_FILES = 500


class Touch(NamedTuple):
    """A path that a transaction may change; ``account`` owns it where it lies below a home.

    ``merge`` says that others may write it meanwhile: then only the lines it had before are brought back.
    ``forget`` says that its copy is not kept once the transaction is committed: a withdrawn key never comes back.
    ``untouched`` are files that the transaction does not change: they go back where somebody else does meanwhile, since
    that may be what keeps the operators out.
    """

    path: str
    account: Optional[accounts.Account] = None
    untouched: bool = False
    merge: bool = False
    forget: bool = False


def take(places: guardian.Places, identifier: str, touches: Sequence[Touch], first: int = 0) -> List[guardian.Entry]:
    """Copy what is at each path, durably, and return the entries of the journal; paths stand there once.

    Raises:
        Refused: a path cannot be brought back, with the reason.
        HostError: there is no room, or a file cannot be read.
    """
    entries: List[guardian.Entry] = []
    known: Dict[str, bool] = {}
    try:
        os.makedirs(places.copies, 0o700, exist_ok=True)
        spread = [one for touch in touches for one in _spread(touch)]
        for touch in sorted(spread, key=lambda one: one.untouched):
            if touch.path not in known:
                known[touch.path] = True
                entries.append(_take(places, identifier, touch, first + len(entries)))
        guardian.sync_directory(places.copies)
    except OSError as error:
        raise HostError(
            f"the snapshot cannot be taken: {error.strerror}", "make room on the file system of /var/lib", places.copies
        ) from error
    return entries


def _spread(touch: Touch) -> List[Touch]:
    """A directory stands for the files in it, too: what appears there can be told from what was there."""
    if touch.account is not None:
        return [touch]
    if touch.untouched:
        return [touch._replace(path=os.path.realpath(os.path.dirname(touch.path)) + "/" + _name(touch.path))]
    touch = touch._replace(path=os.path.join(os.path.realpath(os.path.dirname(touch.path)), _name(touch.path)))
    found = [touch]
    if files.look(touch.path).kind == "dir":
        for name in sorted(os.listdir(touch.path)):
            found += _spread(touch._replace(path=os.path.join(touch.path, name)))
    if len(found) > _MOST_FILES or touch.path.count("/") > _DEEPEST + 4:
        raise Refused(f"holds more than {_MOST_FILES} files", "name the files that change", touch.path)
    return found


def _name(path: str) -> str:
    return os.path.basename(path.rstrip("/"))


def _take(places: guardian.Places, identifier: str, touch: Touch, number: int) -> guardian.Entry:
    if touch.account is not None:
        seen, data = users.run_as(touch.account, lambda: _as_owner(touch.account, touch.path))  # type: ignore[arg-type]
        entry = dict(seen, path=touch.path, after=None, merge=touch.merge, **_account_fields(touch.account))
    else:
        problem = files.unsafe(os.path.dirname(touch.path))
        if problem:
            raise Refused(
                f"its directory is not root's alone ({problem})",
                "below a home, name the account (`accounts`) in place of the path",
                touch.path,
            )
        entry, data = _look(touch)
        entry["forget"] = touch.forget
    if entry["kind"] == "file":
        entry["copy"] = f"{number:04d}"
        guardian.replace(os.path.join(places.copies, entry["copy"]), data, 0o600)
        if touch.account is None:
            entry["ready"] = _make_ready(identifier, entry, data)
    return entry


def _look(touch: Touch) -> Tuple[guardian.Entry, bytes]:
    directory, name = os.path.dirname(touch.path), _name(touch.path)
    if not os.path.isdir(directory):
        return dict(kind="missing", sha256="", path=touch.path, after=None, untouched=touch.untouched), b""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        entry = dict(guardian.observe(handle, name), path=touch.path, after=None, untouched=touch.untouched)
        if entry["kind"] == "other":
            raise Refused("is neither a file nor a directory and cannot be brought back", "leave it out", touch.path)
        if entry["kind"] == "dir":
            entry["names"] = os.listdir(touch.path)
        return entry, guardian.read_at(handle, name) if entry["kind"] == "file" else b""
    finally:
        os.close(handle)


def _make_ready(identifier: str, entry: guardian.Entry, data: bytes) -> str:
    """Make a copy that a rename alone puts back; not beside the file, whose directory a listener is held against."""
    folder, name = os.path.split(entry["path"])
    top = "/" + entry["path"].split("/")[1]
    if os.stat(top).st_dev == os.stat(folder).st_dev and not files.unsafe(top):
        folder = os.path.join(top, f".latchkey-{identifier}")
        os.makedirs(folder, 0o700, exist_ok=True)
        name = entry["copy"]
    else:
        name = f".latchkey-{identifier}-{name}"
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        guardian.make_file(handle, name, entry, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    return os.path.join(folder, name)


def _as_owner(account: accounts.Account, path: str) -> Tuple[guardian.Entry, bytes]:
    """Look as the account itself does; a way that cannot be walked without following a link counts as missing."""
    fields = dict(path=path, home=account.home)
    handle = guardian.walk(fields)
    if handle is None:
        return {"kind": "missing", "sha256": ""}, b""
    try:
        seen = guardian.observe(handle, os.path.basename(path))
        return seen, guardian.read_at(handle, os.path.basename(path)) if seen["kind"] == "file" else b""
    finally:
        os.close(handle)


def _account_fields(account: accounts.Account) -> Dict[str, Any]:
    home_files.check_home(account)
    return dict(
        account=account.name,
        account_uid=account.uid,
        account_gid=account.gid,
        account_groups=os.getgrouplist(account.name, account.gid),
        home=account.home,
    )


def sshd_tree(paths: Sequence[str]) -> List[Touch]:
    """Return sshd's configuration as it is: its files, and the directories that its Include lines look into."""
    directories = sorted({os.path.dirname(path) for path in paths if os.path.dirname(path).endswith(".d")})
    found = [Touch(path, untouched=True) for path in directories]
    return found + [Touch(path, untouched=True) for path in paths]


__all__ = ["Touch", "sshd_tree", "take"]
