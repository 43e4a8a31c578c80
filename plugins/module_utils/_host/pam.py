# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PAM as the host is configured: stacks, rules of pam_access, what faillock counts. PRIVATE to the collection.

Sources: pam.conf(5), pam_access(8), faillock.conf(5), faillock.h of Linux-PAM 1.3 to 1.6.
"""

import re
import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from . import files, programs

_STACKS = "/etc/pam.d"
_ACCESS = "/etc/security/access.conf"
_FAILLOCK = "/etc/security/faillock.conf"
_TALLIES = "/var/run/faillock"
_DEPTH = 10
# struct tally: source, reserved, status, time.
_TALLY = struct.Struct("=52sHHQ")
_VALID = 1

Line = Tuple[str, Tuple[str, ...]]


class Tally(NamedTuple):
    """What faillock counts: valid failures of late, the time of the last one, and its limits (seconds)."""

    counted: int
    latest: int
    deny: int
    unlock_after: int


def stack(service: str, kind: str) -> List[Line]:
    """Return the modules that PAM asks for ``service`` (``kind`` is auth, account, …), with their arguments."""
    return list(_lines(service, kind, 0))


def _lines(service: str, kind: str, depth: int) -> Iterator[Line]:
    if depth > _DEPTH:
        return
    text = files.read(f"{_STACKS}/{service}").data.decode("utf-8", "replace").replace("\\\n", " ")
    for line in text.splitlines():
        # A control may be several words in brackets.
        words = re.findall(r"\[[^\]]*\]|\S+", line.partition("#")[0])
        if len(words) == 2 and words[0] == "@include":
            yield from _lines(words[1], kind, depth + 1)
        elif len(words) >= 3 and words[0].lstrip("-") == kind:
            if words[1] in ("include", "substack"):
                yield from _lines(words[2], kind, depth + 1)
            else:
                yield words[2].rpartition("/")[2], tuple(words[3:])


def access_rules(lines: Sequence[Line]) -> Tuple[str, ...]:
    """Return the rules that the first pam_access of a stack reads."""
    arguments = next((arguments for module, arguments in lines if module == "pam_access.so"), None)
    if arguments is None:
        return ()
    path = next((word[11:] for word in arguments if word.startswith("accessfile=")), _ACCESS)
    text = files.read(path).data.decode("utf-8", "replace").replace("\\\n", " ")
    return tuple(text.splitlines())


def failures(name: str, lines: Sequence[Line]) -> Optional[Tally]:
    """Return what faillock holds against an account; None where the stack does not ask it, or nothing is held."""
    arguments = next((arguments for module, arguments in lines if module == "pam_faillock.so"), None)
    if arguments is None:
        return None
    settings = _settings(files.read(_FAILLOCK).data.decode("utf-8", "replace").splitlines() + list(arguments))
    data = files.read(f"{settings.get('dir', _TALLIES)}/{name}").data
    whole = data[: len(data) // _TALLY.size * _TALLY.size]
    times = [when for unused, unused2, status, when in _TALLY.iter_unpack(whole) if status & _VALID]
    if not times:
        return None
    latest, interval = max(times), _number(settings, "fail_interval", 900)
    count = sum(latest - when < interval for when in times)
    return Tally(count, latest, _number(settings, "deny", 3), _number(settings, "unlock_time", 600))


def _settings(lines: Sequence[str]) -> Dict[str, str]:
    found = {}
    for line in lines:
        name, separator, value = line.partition("#")[0].partition("=")
        if separator:
            found[name.strip()] = value.strip()
    return found


def _number(settings: Dict[str, str], name: str, default: int) -> int:
    text = settings.get(name, "")
    # "never" is 0: only an administrator unlocks then.
    return int(text) if text.isdigit() else 0 if text == "never" else default


def authselect_problem() -> str:
    """Return the path that authselect says somebody else changed; '' where it is content, absent or not in charge."""
    if programs.find("authselect") is None:
        return ""
    answer = programs.run(["authselect", "check"])
    text = answer.out + answer.err
    if "not valid" not in text:
        return ""
    named = re.search(r"\[(/[^\]]+)\]", text)
    return named.group(1) if named else "/etc/pam.d"


__all__ = ["Tally", "access_rules", "authselect_problem", "failures", "stack"]
