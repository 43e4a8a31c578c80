# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and replace files in directories that only root can write. PRIVATE to the collection.

Files below a home directory belong to somebody who may be hostile: ``home_files.py`` is for those.
"""

import errno
import os
import stat
from typing import Dict, NamedTuple, Optional, Tuple

from .._errors import HostError, Refused
from . import selinux

_TEMPORARY_PREFIX = ".latchkey-"
_COPIED_XATTRS = ("system.posix_acl_access", "security.selinux")


class FileState(NamedTuple):
    """One path as it is: ``kind`` is file, dir, link, missing or other; ``data`` only for files; times in ns."""

    path: str
    kind: str
    data: bytes = b""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    changed_ns: int = 0


def kind_of(mode: int) -> str:
    """Name the kind of a file by its st_mode."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "dir"
    return "link" if stat.S_ISLNK(mode) else "other"


def look(path: str) -> FileState:
    """Return what is at ``path``, a link not followed, without its content."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return FileState(path, "missing")
    except OSError as error:
        raise HostError(f"cannot be looked at: {error.strerror}", where=path) from error
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    return FileState(
        path, kind_of(status.st_mode), b"", stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, changed
    )


def read(path: str) -> FileState:
    """Return what is at ``path`` with its content; a link is followed, as every reader of /etc does."""
    state = look(os.path.realpath(path))
    if state.kind != "file":
        return state._replace(path=path)
    try:
        with open(path, "rb") as handle:
            return state._replace(path=path, data=handle.read())
    except OSError as error:
        raise HostError(f"cannot be read: {error.strerror}", where=path) from error


def make_directory(path: str, mode: int) -> None:
    """Create a root-owned directory with exactly ``mode``; its parent must exist."""
    parent = _open_directory(os.path.dirname(path))
    try:
        os.mkdir(os.path.basename(path), 0o700, dir_fd=parent)
        new = os.open(os.path.basename(path), os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            os.fchmod(new, mode)
            selinux.set_label(new, selinux.label_for(path, stat.S_IFDIR | mode))
            os.fsync(new)
        finally:
            os.close(new)
        os.fsync(parent)
    except OSError as error:
        raise HostError(f"cannot be created: {error.strerror}", where=path) from error
    finally:
        os.close(parent)


def replace(path: str, data: bytes, mode: int) -> None:
    """Put ``data`` at ``path``: readers see the old file or the new one, whatever happens.

    Owner and group stay as they are; a new file is root's.

    Temporary file in the same directory under a name its readers ignore, attributes first, fsync of file and
    directory (rename(2), open(2) O_EXCL and O_NOFOLLOW). Raises Refused where others could write the directory.
    """
    path = os.path.realpath(path)
    name = os.path.basename(path)
    directory = _open_directory(os.path.dirname(path))
    temporary = f"{_TEMPORARY_PREFIX}{os.getpid()}-{name}"
    try:
        kept = _attributes(directory, name)
        label = kept.get("security.selinux") or selinux.label_for(path, stat.S_IFREG | mode)
        _write_new(directory, temporary, data)
        _dress(directory, temporary, _Dress(mode, _owner(directory, name), kept, label))
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    except OSError as error:
        _discard(directory, temporary)
        raise HostError(f"cannot be written: {error.strerror}", _remedy(error), path) from error
    finally:
        os.close(directory)


def remove(path: str) -> None:
    """Remove a file from a directory that only root can write; nothing happens when it is not there."""
    directory = _open_directory(os.path.dirname(path))
    try:
        _discard(directory, os.path.basename(path))
        os.fsync(directory)
    finally:
        os.close(directory)


def unsafe(path: str) -> str:
    """Say why files in a directory would not be replaced: others than root can write there; '' where they cannot."""
    state = look(os.path.realpath(path))
    others = state.kind == "dir" and (state.uid != 0 or state.mode & 0o022)
    return f"others than root can write here (uid {state.uid}, mode {state.mode:04o})" if others else ""


def _open_directory(path: str) -> int:
    try:
        handle = os.open(path, os.O_DIRECTORY | os.O_RDONLY)
    except OSError as error:
        raise HostError(f"cannot be opened: {error.strerror}", where=path) from error
    status = os.fstat(handle)
    if status.st_uid != 0 or status.st_mode & 0o022:
        os.close(handle)
        raise Refused("others than root can write here", f"run `chown root {path}; chmod go-w {path}`", path)
    return handle


def _attributes(directory: int, name: str) -> Dict[str, bytes]:
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return {}
    found = {}
    try:
        for attribute in os.listxattr(handle):
            if attribute in _COPIED_XATTRS or attribute.startswith("user."):
                found[attribute] = os.getxattr(handle, attribute)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
    finally:
        os.close(handle)
    return found


def _owner(directory: int, name: str) -> Tuple[int, int]:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return 0, 0
    return status.st_uid, status.st_gid


def _write_new(directory: int, name: str, data: bytes) -> None:
    _discard(directory, name)
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=directory)
    try:
        write_all(handle, data)
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    """Write every byte of ``data`` (write(2) may write fewer)."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


class _Dress(NamedTuple):
    mode: int
    owner: Tuple[int, int]
    attributes: Dict[str, bytes]
    label: Optional[bytes]


def _dress(directory: int, name: str, dress: _Dress) -> None:
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        os.fchown(handle, *dress.owner)
        os.fchmod(handle, dress.mode)
        for attribute, value in dress.attributes.items():
            if attribute != "security.selinux":
                os.setxattr(handle, attribute, value)
        selinux.set_label(handle, dress.label)
        os.fsync(handle)
    finally:
        os.close(handle)


def _discard(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass


def _remedy(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "the file system is read-only: remount it writable"
    if error.errno == errno.ENOSPC:
        return "the file system is full: make room"
    if error.errno == errno.EPERM:
        return "look for an immutable flag with `lsattr`"
    return ""


__all__ = ["FileState", "kind_of", "look", "make_directory", "read", "remove", "replace", "unsafe", "write_all"]
