# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look keywords up: what one release of sshd makes of a spelling. Pure."""

import difflib
from typing import Dict, NamedTuple, Optional, Tuple

from .._errors import Unsupported
from .keyword_table import ALWAYS, NEVER, ROWS, Release, Row
from .tokens import lower
from .version import SshdVersion, label, release

NO_EFFECT = ("deprecated", "ignored", "unsupported")


class Keyword(NamedTuple):
    """A keyword as one release of sshd knows it.

    Attributes:
        name: its canonical spelling.
        key: what ``sshd -T`` of that release prints for it, in lower case; an alias has its target's.
        kind: how its arguments are read; an alias has its target's.
        in_match: whether it may stand in a Match block.
        repeat: what a second line does: first (passed over), last, append, parts, by-name, fatal or each.
        effective: False for what is accepted without effect.
    """

    name: str
    key: str
    kind: str
    in_match: bool
    repeat: str
    effective: bool


def _index() -> Dict[str, Tuple[Row, ...]]:
    found: Dict[str, Tuple[Row, ...]] = {}
    for row in ROWS:
        found[lower(row.name)] = found.get(lower(row.name), ()) + (row,)
    return found


_BY_NAME = _index()


def _known_since(row: Row, flavour: str) -> Release:
    patched = {"redhat": row.redhat, "debian": row.debian}.get(flavour)
    return row.since if patched is None else patched


def _row(name: str, version: SshdVersion) -> Optional[Row]:
    at = release(version)
    for row in _BY_NAME.get(lower(name), ()):
        if _known_since(row, version.flavour) <= at <= row.until:
            return row
    return None


def lookup(name: str, version: SshdVersion) -> Optional[Keyword]:
    """Return the keyword, in any case of letters; None where this release does not know it."""
    row = _row(name, version)
    if row is None:
        return None
    what = _row(row.target, version) if row.target else row
    if what is None:
        return None
    repeat = "first" if release(version) >= what.first else what.repeat
    if what.kind == "subsystem" and release(version) < (9, 5):
        repeat = "fatal"
    in_match = release(version) >= row.match
    return Keyword(row.name, lower(what.name), what.kind, in_match, repeat, what.kind not in NO_EFFECT)


def keyword(name: str, version: SshdVersion) -> Keyword:
    """Return the keyword, in any case of letters.

    Raises:
        Unsupported: unknown to every release (the nearest known one is offered), or to this release.
    """
    found = lookup(name, version)
    if found is not None:
        return found
    rows = _BY_NAME.get(lower(name))
    if not rows:
        raise Unsupported(f"unknown keyword '{name}'", _nearest(name, version))
    raise Unsupported(f"keyword {rows[0].name} is not known to {label(version)}", _history(rows, version))


def canonical(name: str, version: SshdVersion) -> str:
    """Return the usual spelling of a keyword. Raises Unsupported as :func:`keyword` does."""
    return keyword(name, version).name


def known_names(version: SshdVersion) -> Tuple[str, ...]:
    """Return the canonical spelling of all keywords this release knows."""
    return tuple(row.name for row in ROWS if _row(row.name, version) is row)


def _nearest(name: str, version: SshdVersion) -> str:
    spelled = {lower(known): known for known in known_names(version)}
    close = difflib.get_close_matches(lower(name), sorted(spelled), n=1)
    return f"Did you mean {spelled[close[0]]}?" if close else "See sshd_config(5) on the host for its keywords"


def _history(rows: Tuple[Row, ...], version: SshdVersion) -> str:
    since = min(_known_since(row, version.flavour) for row in rows)
    until = max(row.until for row in rows)
    if until < release(version):
        return f"OpenSSH {until[0]}.{until[1]} was the last to know it: remove it"
    if ALWAYS < since < NEVER:
        return f"It came with OpenSSH {since[0]}.{since[1]}: leave it out on this host"
    vendors = [
        vendor
        for vendor, first in (("Red Hat", rows[0].redhat), ("Debian", rows[0].debian))
        if first is not None and first < NEVER
    ]
    return f"Only the OpenSSH of {' and '.join(vendors)} knows it: leave it out on this host"
