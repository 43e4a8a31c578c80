# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two files of a key pair: read and written so that the private one is never readable by others. PRIVATE.

Acts as whoever runs it: in somebody's home run it as them (become_user), not as root.
"""

import contextlib
import errno
import fcntl
import os
import stat
from typing import Iterator, NamedTuple, Optional

from .._errors import HostError, Refused

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644
DIRECTORY_MODE = 0o700


class KeyFile(NamedTuple):
    """One file as it was read; ``kind`` is file or missing. Its content is never shown."""

    path: str
    kind: str
    data: bytes = b""
    mode: int = 0

    def __repr__(self) -> str:
        return "KeyFile({0!r}, {1!r}, mode={2:04o})".format(self.path, self.kind, self.mode)


class Pair(NamedTuple):
    """A pair as it was read; ``directory`` is dir or missing."""

    private: KeyFile
    public: KeyFile
    directory: str


def public_path(path: str) -> str:
    """Return where the public half of the key at ``path`` lies."""
    return path + ".pub"


def read(path: str) -> Pair:
    """Read the pair whose private half is at ``path``.

    Raises Refused where a link, a foreign file or a directory of somebody else is in the way, HostError where the
    machine says no.
    """
    directory = _open_directory(os.path.dirname(path))
    if directory is None:
        return Pair(KeyFile(path, "missing"), KeyFile(public_path(path), "missing"), "missing")
    try:
        return Pair(_read_file(directory, path), _read_file(directory, public_path(path)), "dir")
    finally:
        os.close(directory)


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the directory of the pair for one writer at a time; file systems without locks have none."""
    directory = _open_directory(os.path.dirname(path))
    if directory is None:
        raise HostError("the directory is gone", "Run again", os.path.dirname(path))
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def make_directory(path: str) -> None:
    """Create one directory, 0700; nothing happens where it is there already."""
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except FileExistsError:
        return
    except OSError as error:
        raise HostError("cannot be created: {0}".format(error.strerror), "Create it first", path) from error


def create_private(path: str, data: bytes, mode: int) -> bool:
    """Put a new private key at ``path``, 0600 from its first instant; False where something is there already."""
    return _write(path, data, mode & PRIVATE_MODE, replace=False)


def replace_private(path: str, data: bytes, mode: int) -> None:
    """Replace the private key at ``path``; readers see the old file or the new one."""
    _write(path, data, mode & PRIVATE_MODE, replace=True)


def replace_public(path: str, data: bytes) -> None:
    """Replace the public key file at ``path``."""
    _write(path, data, PUBLIC_MODE, replace=True)


def set_mode(path: str, mode: int) -> None:
    """Change the mode of a file of the pair; a link is not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise HostError("cannot be opened: {0}".format(error.strerror), where=path) from error
    try:
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def remove(path: str) -> None:
    """Remove a file of the pair; nothing happens where it is not there."""
    directory = _open_directory(os.path.dirname(path))
    if directory is None:
        return
    try:
        os.unlink(os.path.basename(path), dir_fd=directory)
        os.fsync(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError("cannot be removed: {0}".format(error.strerror), where=path) from error
    finally:
        os.close(directory)


def _open_directory(path: str) -> Optional[int]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError("cannot be opened: {0}".format(error.strerror), "See its owner and mode", path) from error
    status = os.fstat(handle)
    problem = ""
    if status.st_uid not in (0, os.geteuid()):
        problem = "the directory belongs to uid {0}, not to who runs this (uid {1})".format(status.st_uid, os.geteuid())
    elif status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX:
        problem = "everybody can write in this directory"
    if problem:
        os.close(handle)
        raise Refused(problem, "Run as the owner of the key (become_user), in a directory that only they write", path)
    return handle


def _read_file(directory: int, path: str) -> KeyFile:
    try:
        status = os.stat(os.path.basename(path), dir_fd=directory, follow_symlinks=False)
        _check(status, path)
        mode = stat.S_IMODE(status.st_mode)
        handle = os.open(os.path.basename(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return KeyFile(path, "missing")
    except OSError as error:
        raise HostError("cannot be read: {0}".format(error.strerror), "See its owner and mode", path) from error
    with os.fdopen(handle, "rb") as opened:
        _check(os.fstat(opened.fileno()), path)
        return KeyFile(path, "file", opened.read(), mode)


def _check(status: os.stat_result, path: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise Refused("is a symbolic link, which is not followed", "Name the real file, or remove the link", path)
    if not stat.S_ISREG(status.st_mode):
        raise Refused("is not a regular file", "Move it away", path)
    if status.st_uid not in (0, os.geteuid()):
        raise Refused(
            "belongs to uid {0}, not to who runs this".format(status.st_uid), "Run as its owner (become_user)", path
        )


def _write(path: str, data: bytes, mode: int, *, replace: bool) -> bool:
    directory = _open_directory(os.path.dirname(path))
    if directory is None:
        raise HostError("the directory does not exist", "Create it first", os.path.dirname(path))
    name = os.path.basename(path)
    temporary = ".latchkey-{0}-{1}".format(os.getpid(), os.urandom(6).hex())
    try:
        _write_temporary(directory, temporary, data, mode)
        done = _rename(directory, temporary, name) if replace else _link(directory, temporary, name)
        os.fsync(directory)
        return done
    except OSError as error:
        raise HostError("cannot be written: {0}".format(error.strerror), _remedy(error), path) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        os.close(directory)


def _write_temporary(directory: int, name: str, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    handle = os.open(name, flags, PRIVATE_MODE, dir_fd=directory)
    with os.fdopen(handle, "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fchmod(opened.fileno(), mode)
        os.fsync(opened.fileno())


def _rename(directory: int, temporary: str, name: str) -> bool:
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    return True


def _link(directory: int, temporary: str, name: str) -> bool:
    """Give the file its name unless that is taken: link(2) decides between two processes, rename(2) would not."""
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        return _claim(directory, temporary, name)
    return True


def _claim(directory: int, temporary: str, name: str) -> bool:
    """Do the same where the file system has no hard links: an empty file claims the name, then it is replaced."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        os.close(os.open(name, flags, PRIVATE_MODE, dir_fd=directory))
    except FileExistsError:
        return False
    return _rename(directory, temporary, name)


def _remedy(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "The file system is mounted read-only"
    return (
        "Free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "See the owner and mode of the directory"
    )
