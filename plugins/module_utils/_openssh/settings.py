# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sshd has read so far: values by keyword, each with the line it stands on. Pure."""

from typing import Dict, List, NamedTuple, Optional, Tuple

from .._errors import Malformed
from .keywords import Keyword
from .tokens import Args
from .version import SshdVersion


class Source(NamedTuple):
    """Where a value stands; ``('', 0)`` is the compiled default, ``('command line', 0)`` an ``-o`` option."""

    path: str
    line: int


COMPILED = Source("", 0)
COMMAND_LINE = Source("command line", 0)


class Bad(Malformed):
    """A line sshd refuses, but after which it reads the rest of the file."""


class Settings:
    """The values of one reading of the configuration; ``key`` is a lower-case keyword, or ``keyword.part``."""

    def __init__(self) -> None:
        self._found: Dict[str, List[Tuple[str, Source]]] = {}

    def has(self, key: str) -> bool:
        """Tell whether a value is set."""
        return key in self._found

    def keys(self) -> List[str]:
        """Return what is set."""
        return list(self._found)

    def get(self, key: str) -> Optional[str]:
        """Return the first value, or None."""
        found = self._found.get(key)
        return found[0][0] if found else None

    def values(self, key: str) -> Tuple[str, ...]:
        """Return all values."""
        return tuple(value for value, _source in self._found.get(key, ()))

    def sources(self, key: str) -> Tuple[Source, ...]:
        """Return where the values stand, in their order."""
        return tuple(source for _value, source in self._found.get(key, ()))

    def set_first(self, key: str, value: str, source: Source) -> None:
        """Set a value unless there is one."""
        self._found.setdefault(key, [(value, source)])

    def replace(self, key: str, value: str, source: Source) -> None:
        """Set a value whatever there was."""
        self._found[key] = [(value, source)]

    def append(self, key: str, value: str, source: Source) -> None:
        """Add a value to a list."""
        self._found.setdefault(key, []).append((value, source))

    def take(self, key: str, other: "Settings") -> None:
        """Take over the values another reading has."""
        self._found[key] = list(other._found[key])

    def drop(self, prefix: str) -> None:
        """Forget all keys that start so."""
        for key in [key for key in self._found if key.startswith(prefix)]:
            del self._found[key]


class Directive(NamedTuple):
    """One line that is to be read into settings; ``active``: it counts, else only its syntax is checked."""

    keyword: Keyword
    spelled: str
    args: Args
    active: bool
    source: Source
    settings: Settings
    version: SshdVersion

    def refuse(self, reason: str, remedy: str = "") -> Malformed:
        """Return the error for this line, naming its keyword."""
        return Malformed(f"{self.spelled} {reason}", remedy, f"{self.source.path}:{self.source.line}")

    def bad(self, reason: str) -> Bad:
        """Return the error for this line where sshd goes on reading."""
        return Bad(f"{self.spelled} {reason}", "", f"{self.source.path}:{self.source.line}")

    def need(self) -> str:
        """Take one word that must be there and not be empty."""
        word = self.args.next()
        if not word:
            raise self.refuse("has no value")
        return word

    def keep_first(self, value: str, part: str = "") -> None:
        """Set the value unless there is one or this line does not count."""
        if self.active:
            self.settings.set_first(self.keyword.key + part, value, self.source)

    def keep_line(self, values: List[str]) -> None:
        """Set a list that stands on one line, unless there is one or this line does not count."""
        if self.active and not self.settings.has(self.keyword.key):
            for value in values:
                self.settings.append(self.keyword.key, value, self.source)

    def add(self, value: str) -> None:
        """Add to the list, if this line counts."""
        if self.active:
            self.settings.append(self.keyword.key, value, self.source)
