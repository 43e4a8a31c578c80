# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who logged in lately, and by which method: the journal and /var/log/secure. PRIVATE to the collection."""

import calendar
import datetime
import glob
import gzip
import os
import re
import time
import zlib
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Type

from .._errors import HostError
from . import programs

_OPENERS: Dict[str, Any] = {".gz": gzip.open}
_DAMAGED: Tuple[Type[Exception], ...] = ()
try:
    import lzma
except ImportError:
    # A Python that was built without it: such logs are read as text, in which nothing is found.
    pass
else:
    _OPENERS[".xz"] = lzma.open
    _DAMAGED = (lzma.LZMAError,)

# From the line's start on: a user name is what a stranger sends, and may hold the very words of a login.
_ACCEPTED = re.compile(
    r"^(?:\w{3} +\d+ [\d:]+|\S+) \S+ sshd(?:-session)?\[\d+\]: Accepted (\S+) for (\S.*?) from (\S+) port \d+"
)
_SYSLOG_TIME = re.compile(r"^(\w{3}) +(\d+) (\d\d):(\d\d):(\d\d) ")
_ISO_TIME = re.compile(r"^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,]\d+)?(?:(Z)|([+-])(\d\d):?(\d\d))?")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY = 86400
_SECONDS = 120.0


class Login(NamedTuple):
    """One accepted login: the account, the method as sshd names it, the client's address, unix time."""

    user: str
    method: str
    address: str
    when: float


def recent(days: int) -> List[Login]:
    """Return the logins of the last ``days`` days, oldest first, from every log that is there.

    Raises:
        HostError: there is more to read than two minutes are enough for.
    """
    since, end = time.time() - days * _DAY, time.monotonic() + _SECONDS
    try:
        found = set(_journal(days)) | set(_secure(since, end))
    except HostError as error:
        raise HostError(
            f"the logins of {days} days cannot be read: {error.reason}", "look back less far: harden_stranded_days"
        ) from error
    return sorted((login for login in found if login.when >= since), key=lambda login: login.when)


def latest(logins: Iterable[Login]) -> Dict[Tuple[str, str], Login]:
    """Return the last login of each account by each method."""
    return {(login.user, login.method): login for login in logins}


def _journal(days: int) -> Iterator[Login]:
    if programs.find("journalctl") is None:
        return
    argv = [
        "journalctl",
        "-q",
        "--no-pager",
        "-o",
        "short-unix",
        f"--since=-{days}d",
        # Anybody may write under sshd's name, but only root's processes under root's number (journal-fields).
        "SYSLOG_IDENTIFIER=sshd",
        "_UID=0",
        "+",
        "SYSLOG_IDENTIFIER=sshd-session",
        "_UID=0",
    ]
    for line in programs.lines(argv, _SECONDS):
        found = _ACCEPTED.search(line)
        if found:
            yield Login(
                found.group(2), _method(found.group(1)), found.group(3), float(int(float(line.split(" ", 1)[0])))
            )


def _secure(since: float, end: float) -> Iterator[Login]:
    for path in sorted(glob.glob("/var/log/secure*")):
        try:
            written = os.stat(path).st_mtime
            if written < since:
                continue
            with _OPENERS.get(os.path.splitext(path)[1], open)(path, "rt", encoding="utf-8", errors="replace") as lines:
                yield from _logins(lines, written, end)
        except (OSError, EOFError, zlib.error) + _DAMAGED:
            # Rotated away, packed by a logrotate that was killed, or no log at all: the others are still read.
            continue


def _logins(lines: Iterable[str], written: float, end: float) -> Iterator[Login]:
    for line in lines:
        if time.monotonic() > end:
            raise HostError(f"/var/log/secure was not read within {_SECONDS:g} s")
        found = _ACCEPTED.search(line)
        when = _when(line, written) if found else None
        if found and when is not None:
            yield Login(found.group(2), _method(found.group(1)), found.group(3), when)


def _method(word: str) -> str:
    return word.split("/")[0]


def _when(line: str, written: float) -> Optional[float]:
    iso = _ISO_TIME.match(line)
    if iso:
        parts = [int(part) for part in iso.groups()[:6]]
        zulu, sign, hours, minutes = iso.groups()[6:]
        if not zulu and not sign:
            return _local(*parts)
        ahead = int(f"{sign}1") * (int(hours) * 3600 + int(minutes) * 60) if sign else 0
        return float(calendar.timegm(tuple(parts) + (0, 0, 0)) - ahead)
    short = _SYSLOG_TIME.match(line)
    if short is None or short.group(1) not in _MONTHS:
        return None
    # The traditional format has no year: it is the last one in which the line is not newer than the file.
    year = datetime.datetime.fromtimestamp(written).year
    month, rest = _MONTHS.index(short.group(1)) + 1, [int(part) for part in short.groups()[1:]]
    moment = _local(year, month, *rest)
    return moment if moment is None or moment <= written + _DAY else _local(year - 1, month, *rest)


def _local(*parts: int) -> Optional[float]:
    try:
        return datetime.datetime(*parts).timestamp()  # type: ignore[arg-type]
    except ValueError:
        return None


__all__ = ["Login", "latest", "recent"]
