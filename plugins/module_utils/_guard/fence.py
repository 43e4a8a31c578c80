# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The write fence: nothing is written past the deadline, and nothing behind the guardian's back. PRIVATE."""

import contextlib
import os
from typing import Iterator, Optional, Sequence

from .._errors import HostError, Refused
from .._host import accounts, fences
from . import guardian, snapshot

_DIRECTORY = "dir"


class Fence(fences.Fence):
    """What every writer of this collection passes: inside a transaction, or making sure that there is none."""

    def __init__(self, transaction: str, at: guardian.Site) -> None:
        self.transaction = transaction
        self._at = at

    @contextlib.contextmanager
    def writing(self, path: str, after: Optional[bytes], account: Optional[accounts.Account] = None) -> Iterator[None]:
        """Let one file be written; ``after`` is its new content, None for a directory or a change of mode.

        What was there is in the journal, durably, before the write begins.

        Raises:
            Refused: the transaction does not take writes any more; or one that was not named covers this path.
        """
        if not self.transaction:
            self._not_covered(path)
            yield
            return
        with guardian.locked(self._at, "write", shared=True):
            self._record(path, after, account)
            yield
            self._written()

    @contextlib.contextmanager
    def reloading(self, unit: str) -> Iterator[None]:
        """Let one service be reloaded or restarted; a session that is older cannot confirm afterwards."""
        if not self.transaction:
            self._not_followed(unit)
            yield
            return
        with guardian.locked(self._at, "write", shared=True):
            with guardian.locked(self._at, "state"):
                state = self._open_state()
                state.update(state=guardian.APPLIED, last_write=self._at.machine.now(), confirmed=[])
                guardian.save(self._at.places, state)
            yield
            self._written()

    def check(self, paths: Sequence[str]) -> None:
        """Raise what writing these files, or reloading these units, would be refused for; nothing is recorded."""
        if self.transaction and paths:
            self._open_state()
        for path in [] if self.transaction else paths:
            (self._not_covered if path.startswith("/") else self._not_followed)(path)

    def _open_state(self) -> guardian.State:
        state = _load(self._at)
        if state is None or state["id"] != self.transaction:
            raise Refused(f"the transaction {self.transaction} is not the one of this host", "arm it", "transaction")
        late = self._at.machine.now() >= state["deadline"] or guardian.is_reverting(self._at.places)
        if state["state"] not in guardian.OPEN or late:
            raise Refused(
                f"the transaction {self.transaction} takes no more changes: it is "
                + (state["state"] if state["state"] not in guardian.OPEN else "past its deadline"),
                "start again; give it more time with `timeout` (harden_timeout)",
                "transaction",
            )
        return state

    def _record(self, path: str, after: Optional[bytes], account: Optional[accounts.Account]) -> None:
        with guardian.locked(self._at, "state"):
            state = self._open_state()
            real = path if account else os.path.realpath(path)
            entry = next((one for one in state["entries"] if one["path"] == real and not one.get("untouched")), None)
            if entry is None:
                touches = [snapshot.Touch(real, account)]
                entry = snapshot.take(self._at.places, state, touches)[0]
            entry["after"] = guardian.digest(after) if after is not None else entry["sha256"] or _DIRECTORY
            # All of them: whoever writes may die before its last write, and what is there is then an earlier one.
            entry["wrote"] = sorted(set(entry.get("wrote", [])) | {entry["after"]})
            # Whoever has confirmed has not seen this.
            state.update(state=guardian.APPLIED, last_write=self._at.machine.now(), confirmed=[])
            guardian.save(self._at.places, state)

    def _written(self) -> None:
        with guardian.locked(self._at, "state"):
            state = self._open_state()
            state["last_write"] = self._at.machine.now()
            guardian.save(self._at.places, state)

    def _not_covered(self, path: str) -> None:
        state = self._under_way()
        real = os.path.realpath(path)
        for entry in state["entries"] if state else []:
            inside = entry["kind"] == "dir" and os.path.dirname(real) == entry["path"]
            if state and (inside or entry["path"] in (path, real)):
                raise _covered(state, path)

    def _not_followed(self, unit: str) -> None:
        state = self._under_way()
        if state and unit in [one["name"] for one in state["units"]]:
            raise _covered(state, unit)

    def _under_way(self) -> Optional[guardian.State]:
        """Return the transaction that others have begun; one that died before it was armed has changed nothing."""
        state = _load(self._at)
        if state is None or state["state"] in guardian.OVER:
            return None
        late = self._at.machine.now() >= state["deadline"] or guardian.rebooted(self._at.places, state)
        return None if late and state["state"] == guardian.PREPARED else state


def _covered(state: guardian.State, what: str) -> Refused:
    return Refused(
        f"the transaction {state['id']} of {state['by']} covers this",
        f"wait until it is over, or write inside it: transaction: {state['id']}",
        what,
    )


def _load(at: guardian.Site) -> Optional[guardian.State]:
    try:
        return guardian.load(at.places)
    except PermissionError:
        # Only root can have begun one, and only root is asked to keep out of it.
        return None
    except (OSError, ValueError) as error:
        raise HostError(f"cannot be read: {error}", "look at it, and move it away", at.places.state) from error


__all__ = ["Fence"]
