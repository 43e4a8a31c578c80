# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key files outside homes: read by root over a way that nobody else can bend. PRIVATE to the collection."""

import errno
import os
from typing import List

from .._errors import HostError, Refused
from . import accounts, files, home_files

_WRITABLE_BY_OTHERS = 0o022


def read(account: accounts.Account, path: str) -> home_files.HomeFile:
    """Return a key file of an account that does not lie below its home; ``directories`` start at /.

    Raises:
        Refused: a component is a link, belongs to somebody else than root and the account, or others can write there.
    """
    handle = os.open("/", os.O_DIRECTORY | os.O_RDONLY)
    states = [home_files.state_of("/", os.fstat(handle))]
    try:
        for name in [part for part in os.path.dirname(path).split("/") if part]:
            below = os.path.join(states[-1].path, name)
            try:
                inner = os.open(name, os.O_DIRECTORY | os.O_RDONLY | os.O_NOFOLLOW, dir_fd=handle)
            except FileNotFoundError:
                return home_files.HomeFile(files.FileState(path, "missing"), tuple(states), outside=True)
            except OSError as error:
                raise _refusal(error, below) from error
            os.close(handle)
            handle = inner
            _add(states, home_files.state_of(below, os.fstat(handle)), account)
        return home_files.HomeFile(home_files.read_file(handle, path, account), tuple(states), outside=True)
    finally:
        os.close(handle)


def _add(states: List[files.FileState], state: files.FileState, account: accounts.Account) -> None:
    if state.uid not in (0, account.uid) or state.mode & _WRITABLE_BY_OTHERS:
        raise Refused(
            f"others than root and {account.name} can write here (uid {state.uid}, mode {state.mode:04o})",
            f"run `chown root {state.path}; chmod go-w {state.path}`",
            state.path,
        )
    states.append(state)


def _refusal(error: OSError, path: str) -> Exception:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return Refused(
            "is a symbolic link or not a directory: it is not followed to key files", "name the real path", path
        )
    return HostError(f"cannot be opened: {error.strerror}", where=path)


__all__ = ["read"]
