# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files below a home directory: read and replace as their owner, no link followed. PRIVATE to the collection."""

import errno
import os
import stat
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

from .._errors import HostError, Refused
from . import accounts, files, selinux, users

# Whoever owns the file chooses its size, and it is read into root's memory.
_LARGEST = 1024 * 1024


class HomeFile(NamedTuple):
    """A file below a home as its owner sees it; ``directories`` are the states from the home down to its parent.

    Of a key file ``outside`` the home they are those from / down.
    """

    state: files.FileState
    directories: Tuple[files.FileState, ...]
    outside: bool = False


def read(account: accounts.Account, path: str) -> HomeFile:
    """Return ``path``, which lies below the account's home, as the account itself reads it.

    Raises:
        Refused: the home, a directory on the way or the file is a link or belongs to somebody else.
    """
    check_home(account)
    return _as_owner(account, path, lambda: _read(account, _parts(account, path)))


def replace(account: accounts.Account, path: str, data: bytes, mode: int) -> None:
    """Replace ``path`` below the account's home as the account, missing directories made 0700 first."""
    check_home(account)
    parts = _parts(account, path)
    labels = _labels(account, parts)
    _as_owner(account, path, lambda: _replace(account, parts, (data, mode), labels))


def set_mode(account: accounts.Account, path: str, mode: int) -> None:
    """Change the mode of a file or directory below the account's home, as the account."""
    _as_owner(account, path, lambda: _set_mode(account, _parts(account, path), mode))


def _as_owner(account: accounts.Account, path: str, work: Callable[[], Any]) -> Any:
    try:
        return users.run_as(account, work)
    except OSError as error:
        raise HostError(
            f"{account.name} may not do this: {error.strerror}",
            "see who owns it and the directories above it, and their modes",
            path,
        ) from error


def check_home(account: accounts.Account) -> None:
    """Refuse a home that is missing, a link, no directory, or not the account's own."""
    state = files.look(account.home)
    if state.kind == "missing":
        raise Refused(
            f"the home of {account.name} does not exist", "create it first: homes are never created here", account.home
        )
    if state.kind == "link":
        raise Refused(
            f"the home of {account.name} is a symbolic link",
            "let the account's entry name the real directory",
            account.home,
        )
    if state.kind != "dir":
        raise Refused(f"the home of {account.name} is not a directory", "correct the account's entry", account.home)
    if state.uid not in (account.uid, 0):
        raise Refused(
            f"the home of {account.name} belongs to uid {state.uid}",
            f"run `chown {account.name} {account.home}` if it is theirs",
            account.home,
        )


def _parts(account: accounts.Account, path: str) -> List[str]:
    inside = os.path.relpath(path, account.home)
    if inside.startswith(".."):
        raise Refused(f"is not below the home of {account.name}", where=path)
    return [] if inside == "." else inside.split(os.sep)


def _read(account: accounts.Account, parts: Sequence[str]) -> HomeFile:
    handle, states = _walk(account, parts[:-1])
    path = os.path.join(account.home, *parts)
    if handle is None:
        return HomeFile(files.FileState(path, "missing"), states)
    try:
        return HomeFile(read_file(handle, path, account), states)
    finally:
        os.close(handle)


def _walk(account: accounts.Account, directories: Sequence[str]) -> Tuple[Optional[int], Tuple[files.FileState, ...]]:
    handle = _open_home(account)
    path = account.home
    states = [state_of(path, os.fstat(handle))]
    for name in directories:
        path = os.path.join(path, name)
        below = _descend(handle, name, path, account)
        os.close(handle)
        if below is None:
            return None, tuple(states)
        handle = below
        states.append(state_of(path, os.fstat(handle)))
    return handle, tuple(states)


def _open_home(account: accounts.Account) -> int:
    try:
        return os.open(account.home, os.O_DIRECTORY | os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise _refusal(error, account.home, account) from error


def _descend(handle: int, name: str, path: str, account: accounts.Account) -> Optional[int]:
    try:
        below = os.open(name, os.O_DIRECTORY | os.O_RDONLY | os.O_NOFOLLOW, dir_fd=handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refusal(error, path, account) from error
    owner = os.fstat(below).st_uid
    if owner not in (0, account.uid):
        os.close(below)
        raise Refused(
            f"belongs to uid {owner}, neither {account.name} nor root", f"run `chown {account.name} {path}`", path
        )
    return below


def read_file(directory: int, path: str, account: accounts.Account) -> files.FileState:
    """Return a key file of an account in an open directory, not followed where it is a link."""
    try:
        handle = os.open(os.path.basename(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return files.FileState(path, "missing")
    except OSError as error:
        raise _refusal(error, path, account) from error
    try:
        status = os.fstat(handle)
        state = state_of(path, status)
        _check_file(state, status, account)
        with os.fdopen(os.dup(handle), "rb") as opened:
            data = opened.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise _too_large(path)
        return state._replace(data=data)
    finally:
        os.close(handle)


def _too_large(path: str) -> Refused:
    return Refused("is too large for a key file: more than 1 MiB", "shorten it, or move it away", path)


def _check_file(state: files.FileState, status: os.stat_result, account: accounts.Account) -> None:
    if state.kind != "file":
        raise Refused("is not a regular file, so sshd does not read it", "move it away", state.path)
    if state.uid not in (0, account.uid):
        raise Refused(
            f"belongs to uid {state.uid}, neither {account.name} nor root",
            f"run `chown {account.name} {state.path}`",
            state.path,
        )
    links = status.st_nlink
    if links > 1:
        raise Refused(
            f"has {links} hard links: replacing it would leave the others behind", "remove the other links", state.path
        )
    if status.st_size > _LARGEST:
        raise _too_large(state.path)


def _replace(
    account: accounts.Account, parts: Sequence[str], content: Tuple[bytes, int], labels: Sequence[Optional[bytes]]
) -> None:
    handle = _walk_making(account, parts[:-1], labels)
    temporary = f".latchkey-{os.getpid()}-{parts[-1]}"
    try:
        _discard(handle, temporary)
        new = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=handle)
        try:
            files.write_all(new, content[0])
            os.fchmod(new, content[1])
            selinux.set_label(new, labels[-1])
            os.fsync(new)
        finally:
            os.close(new)
        os.rename(temporary, parts[-1], src_dir_fd=handle, dst_dir_fd=handle)
        os.fsync(handle)
    except OSError as error:
        _discard(handle, temporary)
        raise HostError(
            f"cannot be written as {account.name}: {error.strerror}", where=os.path.join(account.home, *parts)
        ) from error
    finally:
        os.close(handle)


def _discard(handle: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=handle)
    except FileNotFoundError:
        pass


def _walk_making(account: accounts.Account, directories: Sequence[str], labels: Sequence[Optional[bytes]]) -> int:
    handle = _open_home(account)
    path = account.home
    for name, label in zip(directories, labels):
        path = os.path.join(path, name)
        below = _descend(handle, name, path, account)
        if below is None:
            below = _make(handle, name, label)
        os.close(handle)
        handle = below
    return handle


def _make(parent: int, name: str, label: Optional[bytes]) -> int:
    os.mkdir(name, 0o700, dir_fd=parent)
    handle = os.open(name, os.O_DIRECTORY | os.O_RDONLY | os.O_NOFOLLOW, dir_fd=parent)
    selinux.set_label(handle, label)
    os.fsync(parent)
    return handle


def _set_mode(account: accounts.Account, parts: Sequence[str], mode: int) -> None:
    parent, unused = _walk(account, parts[:-1])
    if parent is None:
        raise HostError("is gone", where=os.path.join(account.home, *parts))
    handle = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
    os.fchmod(handle, mode)
    os.close(handle)
    os.close(parent)


def _labels(account: accounts.Account, parts: Sequence[str]) -> List[Optional[bytes]]:
    paths = [os.path.join(account.home, *parts[:depth]) for depth in range(1, len(parts) + 1)]
    kinds = [stat.S_IFDIR] * (len(paths) - 1) + [stat.S_IFREG]
    return [selinux.label_for(path, kind) for path, kind in zip(paths, kinds)]


def state_of(path: str, status: os.stat_result) -> files.FileState:
    """Return what fstat(2) said about a path."""
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    mode = stat.S_IMODE(status.st_mode)
    return files.FileState(path, files.kind_of(status.st_mode), b"", mode, status.st_uid, status.st_gid, changed)


def _refusal(error: OSError, path: str, account: accounts.Account) -> Refused:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return Refused(
            "is a symbolic link or not a directory: it is not followed", "put the real thing in its place", path
        )
    return Refused(f"cannot be opened as {account.name}: {error.strerror}", "see who owns it and its mode", path)


__all__ = ["HomeFile", "check_home", "read", "read_file", "replace", "set_mode", "state_of"]
