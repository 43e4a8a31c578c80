# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facet revert: back to what a committed transaction found, as a change like any other. PRIVATE to the collection.

Only root's own files come back; keys of accounts never do, since one of them may have been withdrawn on purpose.
"""

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._errors import HostError, LatchkeyError, Refused
from .._guard import guardian
from .._host import files, sshd
from .._host.host import Host
from .._openssh import sshd_tree
from .change import NARROW, Change, Outcome

FACET = "revert"


class Desired(NamedTuple):
    """The committed transaction to go back from."""

    transaction: str

    @staticmethod
    def from_params(params: Mapping[str, Any]) -> "Desired":
        """Read the module's parameters."""
        return Desired(str(params["revert"]))


class Past(NamedTuple):
    """One file that the transaction changed: as it found it (None: missing), as it left it, and as it is now."""

    path: str
    found: Optional[bytes]
    mode: int
    left: str
    now: files.FileState


def outcome(params: Mapping[str, Any], host: Host) -> Outcome:
    """Return what is to be done on this host to go back."""
    desired = Desired.from_params(params)
    changes = plan(desired, observe(desired, guardian.Places()))
    if not changes:
        return Outcome([], [])
    tree = _tree_after(changes, host.tree)
    problem, _answers = host.judge(tree, [None])
    if problem:
        raise Refused(f"sshd would not accept what was there before: {problem}", "nothing was changed", FACET)
    reload = Change(FACET, NARROW, "reload", host.sshd.unit.name, "make sshd read its configuration")
    return Outcome(changes + [reload], [], tree)


def observe(desired: Desired, places: guardian.Places) -> List[Past]:
    """Read the record of the transaction, and look at each of its files.

    Raises:
        Refused: there is no such record, or the transaction was not committed.
    """
    record = next((one for one in guardian.history(places) if one["id"] == desired.transaction), None)
    if record is None or record["state"] != guardian.COMMITTED:
        raise Refused(
            f"there is no committed transaction {desired.transaction} on this host",
            "see `/usr/local/sbin/latchkey list` there",
            FACET,
        )
    entries = [one for one in record["entries"] if one["kind"] in ("file", "missing") and not _excluded(one)]
    return [_past(entry, os.path.join(places.history, record["id"])) for entry in entries]


def _excluded(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("untouched") or entry.get("account") or entry.get("forget") or entry.get("after") == "dir")


def _past(entry: Mapping[str, Any], directory: str) -> Past:
    data = None
    if entry["kind"] == "file":
        try:
            with open(os.path.join(directory, entry["copy"]), "rb") as handle:
                data = handle.read()
        except OSError as error:
            raise HostError(f"its copy cannot be read: {error.strerror}", "", entry["path"]) from error
    return Past(entry["path"], data, entry.get("mode", 0), entry.get("committed", ""), files.read(entry["path"]))


def plan(desired: Desired, current: Sequence[Past]) -> List[Change]:
    """Return the changes; [] when every file is as the transaction found it.

    Raises:
        Refused: somebody else has changed a file since.
    """
    changes = []
    for past in current:
        now = past.now.data if past.now.kind == "file" else None
        if now == past.found:
            continue
        if (guardian.digest(now) if now is not None else "") != past.left:
            raise Refused(
                f"somebody has changed it since the transaction {desired.transaction}",
                "go back by hand: what was there before is in /var/lib/latchkey/history",
                past.path,
            )
        what = "as it was before" if past.found is not None else "remove: it was not there before"
        kind = "file" if past.found is not None else "absent"
        changes.append(
            Change(FACET, NARROW, kind, past.path, what, now or b"", now is not None, past.found or b"", past.mode)
        )
    return changes


def apply(changes: Sequence[Change], phase: str, host: Host, done: List[Change]) -> None:
    """Make the changes of one phase; each that was made is added to ``done``."""
    try:
        for change in changes:
            if change.phase == phase:
                _apply_one(change, host)
                done.append(change)
    except LatchkeyError:
        host.forget()
        raise


def _apply_one(change: Change, host: Host) -> None:
    if change.kind == "reload":
        with host.fence.reloading(change.path):
            host.forget()
            sshd.reload(host.sshd, host.present.ask(None))
        return
    with host.fence.writing(change.path, change.after):
        if change.kind == "absent":
            files.remove(change.path)
        else:
            files.replace(change.path, change.after, change.mode)


def _tree_after(changes: Sequence[Change], tree: sshd_tree.Tree) -> sshd_tree.Tree:
    contents: Dict[str, bytes] = dict(tree.files)
    for change in changes:
        if change.kind == "absent":
            contents.pop(change.path, None)
        elif change.path in contents:
            contents[change.path] = change.after
    return tree._replace(files=contents)


def latest(places: guardian.Places) -> Tuple[str, ...]:
    """Return the ids of committed transactions, the newest first."""
    return tuple(one["id"] for one in reversed(guardian.history(places)) if one["state"] == guardian.COMMITTED)


__all__ = ["Desired", "FACET", "Past", "apply", "latest", "observe", "outcome", "plan"]
