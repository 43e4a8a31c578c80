# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the promise hold? What is looked at after each fault, and after the same fault without a guardian."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from . import place as places
from .place import Place

# The promise: at the latest 30 s after the announced deadline; after a restart 30 s after sshd is up.
GRACE = 30.0
WHERE = ("/etc/ssh", "/home")


class Broken(Exception):
    """The promise does not hold, or what was to be tried could not be: says which and what was seen."""


class Missed(Broken):
    """The step at which something was to happen was not taken this time, by this process: another one was first."""


class Told(NamedTuple):
    """What is known of a run: the deadline it announced (boot clock), when sshd was up again, what it was answered."""

    deadline: float | None = None
    up_again: float | None = None
    answer: str = ""

    def limit(self) -> float:
        """Return by when (boot clock) a fresh login has to work."""
        times = [one for one in (self.deadline, self.up_again) if one is not None]
        return (max(times) if self.up_again else times[0] if times else places.now()) + GRACE


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the paths that differ."""
    return sorted(path for path in set(before) | set(after) if before.get(path) != after.get(path))


def check(
    place: Place, before: dict[str, str], new: dict[str, str] | None, told: Told, *, but: str = ""
) -> dict[str, Any]:
    """Hold a host against the promise; returns what was seen, raises Broken.

    ``before`` is everything as it was, ``new`` what a completed change makes of it where one may have been confirmed;
    ``but`` begins the paths that do not matter.
    """
    seconds = _await_login(place, told)
    state = await_end(place, told)
    word = state.get("state", "none")
    if told.answer == "COMMITTED" and word != "COMMITTED":
        raise Broken(f"somebody was told COMMITTED, and the host is {word}")
    expected = new if word == "COMMITTED" else before
    if expected is None:
        raise Broken("the host says COMMITTED, and nobody confirmed")
    wrong = [path for path in differences(expected, places.tree(place)) if not (but and path.startswith(but))]
    # What somebody else wrote meanwhile is kept, beside the file where the journal takes no write; a note says so.
    wrong = [path for path in wrong if "/.latchkey-kept-" not in path]
    if wrong:
        raise Broken(f"it is {word}, and these are neither as they were nor missing: {', '.join(wrong[:6])}")
    if state["waited"]:
        login = places.log_in(place)
        if not login.root:
            raise Broken(f"the login does not work any more once it is {word}: {login.said}")
    if denied := place.denials():
        raise Broken(f"it is {word}, and SELinux denied: {denied[0]}")
    return {
        "state": word,
        "login_after_deadline": round(seconds, 1),
        "notes": state.get("notes", []),
        "listed": state["listed"],
    }


def _await_login(place: Place, told: Told) -> float:
    limit = told.limit()
    while True:
        login = places.log_in(place)
        if login.root:
            return max(0.0, places.now() - (told.deadline or places.now()))
        if places.now() > limit:
            raise Broken(f"locked out: no login {GRACE:.0f} s after the deadline: {login.said}")
        # It may be locked out until the deadline, and takes a moment then.
        time.sleep(max(0.5, (told.deadline or 0) + 1 - places.now()) if told.up_again is None else 0.5)


def await_end(place: Place, told: Told) -> dict[str, Any]:
    """Wait until the transaction is over and nothing of it is left; returns it, raises Broken if that does not come."""
    state = places.state(place, max(1.0, told.limit() + 5 - places.now()))
    if state.get("state", "REVERTED") not in ("COMMITTED", "REVERTED") or state["left"]:
        raise Broken(
            f"it does not end: {state.get('state')}, {state.get('problems')}, left over: {' '.join(state['left'])}"
        )
    return state


def harm(place: Place, before: dict[str, str], new: dict[str, str] | None, told: Told) -> str:
    """Say what an unguarded host suffers once the deadline is over: locked out, mixed, or none."""
    while told.deadline is not None and places.now() < told.deadline + 1:
        time.sleep(0.1)
    login = places.log_in(place)
    if not login.root:
        return "locked out"
    here = _access(places.tree(place))
    if here == _access(before) or new is not None and here == _access(new):
        return "none"
    return "mixed"


def _access(tree: dict[str, str]) -> dict[str, str]:
    return {
        path: what
        for path, what in tree.items()
        if path.startswith(WHERE) and not path.rpartition("/")[2].startswith(".latchkey-")
    }
