# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Act as another user, in a child process that can do no more than that user. PRIVATE to the collection.

Whoever owns a home directory can swap a directory for a link between two steps of root. A child that has given up
root cannot be led anywhere its user could not go, and it also works where root may not (NFS with root_squash).
"""

import os
import pickle
import select
import signal
import time
from typing import Any, Callable, List, Optional, Tuple

from .._errors import HostError, LatchkeyError
from . import accounts, files

_EXIT_AFTER_ANSWER = 0
# Longer than a key command may take.
_SECONDS = 20.0
_GRACE = 1.0


def run_as(account: accounts.Account, work: Callable[[], Any]) -> Any:
    """Run ``work`` as the account (user, all its groups, umask 077); return or raise what it does.

    ``work`` must return plain values. Errors of the engine and OSError pass through; a child that dies is a HostError.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(account, work, writer)
    os.close(writer)
    try:
        raw = _answer(reader, time.monotonic() + _SECONDS)
    finally:
        os.close(reader)
        if not _ended(child):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if raw is None:
        raise HostError(
            f"the work as {account.name} did not end within {_SECONDS:g} s", "see what that user's processes do"
        )
    if not raw:
        raise HostError(f"the work as {account.name} ended without an answer")
    value, error = pickle.loads(raw)
    if error is not None:
        raise error
    return value


def _answer(reader: int, end: float) -> Optional[bytes]:
    """Return what the child sends, or None when the time is over: the user can stop its own processes."""
    found: List[bytes] = []
    while True:
        if not select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
            return None
        part = os.read(reader, 1 << 16)
        if not part:
            return b"".join(found)
        found.append(part)


def _ended(child: int) -> bool:
    """Say whether the child is gone, and let it go; after its answer it needs no time."""
    end = time.monotonic() + _GRACE
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.001)
    return False


def _child(account: accounts.Account, work: Callable[[], Any], writer: int) -> None:
    try:
        answer = _attempt(account, work)
        files.write_all(writer, pickle.dumps(answer, protocol=4))
    finally:
        os._exit(_EXIT_AFTER_ANSWER)


def _attempt(account: accounts.Account, work: Callable[[], Any]) -> Tuple[Any, Optional[BaseException]]:
    try:
        become(account)
        return work(), None
    except LatchkeyError as error:
        return None, _Portable.of(error)
    except OSError as error:
        return None, error


class _Portable:
    """Carry an engine error through a pipe: exceptions with several arguments do not survive pickle by themselves."""

    @staticmethod
    def of(error: LatchkeyError) -> LatchkeyError:
        copy = type(error)(error.reason, error.remedy, error.where)
        copy.args = (error.reason, error.remedy, error.where)
        return copy


def become(account: accounts.Account) -> None:
    """Give up root for good: groups, group, user, and a umask that shows nothing to others (credentials(7))."""
    os.umask(0o077)
    if os.geteuid() != 0:
        if os.geteuid() != account.uid:
            raise HostError(f"only root can act as {account.name}", "run with become")
        return
    if account.uid != 0:
        os.setgroups(os.getgrouplist(account.name, account.gid))
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        if os.getresuid() != (account.uid, account.uid, account.uid):
            raise HostError(f"root could not be given up for {account.name}")


__all__ = ["become", "run_as"]
