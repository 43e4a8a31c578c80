# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who logs in today by a method that the plan takes away, and would have no key. Pure. PRIVATE to the collection."""

import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

# sshd's own names of the methods (auth2.c); the log says keyboard-interactive/pam, the part before the slash counts.
_BY_PASSWORD = ("password", "keyboard-interactive")
_TICKETS = ("gssapi-with-mic", "gssapi-keyex")


class Use(NamedTuple):
    """One way an account got in lately: the method, the client's address, unix time."""

    method: str
    address: str
    when: float


class Person(NamedTuple):
    """One account as the rule needs it: can it log in by password today, has it a key, how did it log in lately."""

    name: str
    password_login: bool
    has_key: bool
    uses: Tuple[Use, ...]


class Stranded(NamedTuple):
    """An account that would be stranded; ``last`` is its last use of a method that goes away, or None."""

    name: str
    last: Optional[Use]


def lost_methods(kept: Sequence[str]) -> Tuple[str, ...]:
    """Return the methods that a plan keeping ``kept`` takes away."""
    tickets = () if "gssapi-with-mic" in kept else _TICKETS
    hosts = () if "hostbased" in kept else ("hostbased",)
    return _BY_PASSWORD + tickets + hosts


def stranded(people: Sequence[Person], kept: Sequence[str]) -> List[Stranded]:
    """Return who would be stranded, those with real use first, the latest use first.

    A publickey login counts as having a key, wherever sshd found it (a command, a certificate), as long as no later
    one was by a method that goes away: then the key may be gone.
    """
    lost = lost_methods(kept)
    found = []
    for person in people:
        if person.has_key:
            continue
        uses = sorted((use for use in person.uses if use.method in lost), key=lambda use: use.when)
        by_key = [use.when for use in person.uses if use.method == "publickey"]
        if by_key and (not uses or max(by_key) > uses[-1].when):
            continue
        if uses:
            found.append(Stranded(person.name, uses[-1]))
        elif person.password_login:
            found.append(Stranded(person.name, None))
    return sorted(found, key=lambda one: (one.last is None, -(one.last.when if one.last else 0), one.name))


def report(one: Stranded) -> Dict[str, Any]:
    """Return a stranded account as results show it; times in UTC."""
    if one.last is None:
        return {"account": one.name, "use": "possible", "method": "password", "last": "", "from": ""}
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.last.when))
    return {"account": one.name, "use": "real", "method": one.last.method, "last": when, "from": one.last.address}


__all__ = ["Person", "Stranded", "Use", "lost_methods", "report", "stranded"]
