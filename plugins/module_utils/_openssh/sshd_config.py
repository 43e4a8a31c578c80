# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sshd_config file as a value that loses nothing: what is parsed renders to the same bytes. Pure."""

import re
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from .._errors import Malformed, Unsupported
from .keywords import keyword, lookup
from .match import Criteria, read_criteria
from .tokens import Args, Words, decode, encode, logical_lines, lower, modern, split_keep_ends, split_keyword
from .version import SshdVersion

# The rest of the line is the value: sshd takes no quotes off.
_RAW_KINDS = ("rawline", "command", "addendum")


class Line(NamedTuple):
    """One physical line.

    Attributes:
        number: from 1 on.
        raw: its bytes, with its newline.
        keyword: what it sets, in lower case, aliases resolved; None for blanks and comments.
        args: its words as this sshd cuts them.
        problem: why this sshd refuses the line, as far as the line alone tells; None where it does not.
        block: index into ``matches`` of the Match block it stands in, its Match line included; None outside.
        spelled: the keyword as it is written.
    """

    number: int
    raw: bytes
    keyword: Optional[str] = None
    args: Tuple[str, ...] = ()
    problem: Optional[str] = None
    block: Optional[int] = None
    spelled: Optional[str] = None


class Section(NamedTuple):
    """A Match line; criteria are empty where sshd refuses it."""

    number: int
    criteria: Criteria


class Document(NamedTuple):
    """A file; edits return new documents."""

    path: str
    version: SshdVersion
    lines: Tuple[Line, ...]
    matches: Tuple[Section, ...]

    @staticmethod
    def parse(data: bytes, path: str, version: SshdVersion) -> "Document":
        """Read a file, as :func:`parse` does."""
        return parse(data, path, version)

    def render(self) -> bytes:
        """Return the bytes of the file."""
        return b"".join(line.raw for line in self.lines)

    def find(self, name: str) -> Tuple[Line, ...]:
        """Return the lines that set a keyword, in Match blocks too. Raises Unsupported for what sshd does not know."""
        key = keyword(name, self.version).key
        return tuple(line for line in self.lines if line.keyword == key)

    def with_first_line(self, text: str) -> "Document":
        """Insert a line above the first directive, where it is global and comes before everything else.

        Comments and blank lines at the top stay on top. Raises Malformed for text that is not one line.
        """
        at = next((place for place, line in enumerate(self.lines) if line.spelled is not None), len(self.lines))
        if any(b"\0" in line.raw for line in self.lines[:at]):
            # A NUL byte swallows the newline: what follows such a comment belongs to it.
            at = 0
        return self._insert(at, text)

    def without_line(self, number: int) -> "Document":
        """Take one line out. Raises Malformed where there is none of that number."""
        if not 1 <= number <= len(self.lines):
            raise Malformed(f"there is no line {number}", "Read the file again", self.path)
        return parse(b"".join(line.raw for line in self.lines if line.number != number), self.path, self.version)

    def with_global(self, name: str, args: Sequence[str]) -> "Document":
        """Insert a line that is outside of Match blocks, where it beats the other lines of this file that set the same.

        It goes above the first of these; else below its commented-out default; else above the first Match line.

        Raises:
            Unsupported: this sshd does not know the keyword.
            Malformed: the arguments cannot be written so that every sshd reads them alike.
        """
        known = keyword(name, self.version)
        return self._insert(self._place(known.key, known.name), write_line(known.name, args, self.version))

    def _place(self, key: str, name: str) -> int:
        end = self.matches[0].number - 1 if self.matches else len(self.lines)
        for place, line in enumerate(self.lines[:end]):
            if line.keyword == key and line.block is None:
                return place
        default = re.compile(rb"[ \t]*#[ \t]*" + re.escape(encode(name)) + rb"(?:[ \t=]|\r?\n|\Z)", re.IGNORECASE)
        for place, line in enumerate(self.lines[:end]):
            if default.match(line.raw):
                return place + 1
        return end

    def _insert(self, at: int, text: str) -> "Document":
        if "\n" in text or "\r" in text or "\0" in text:
            raise Malformed("a line may not contain a line break", "Insert lines one by one", self.path)
        newline = self._newline()
        raws = [line.raw for line in self.lines]
        if at > 0 and not raws[at - 1].endswith(b"\n"):
            raws[at - 1] += newline
        raws.insert(at, encode(text) + newline)
        return parse(b"".join(raws), self.path, self.version)

    def _newline(self) -> bytes:
        crlf = sum(line.raw.endswith(b"\r\n") for line in self.lines)
        return b"\r\n" if crlf * 2 > len(self.lines) else b"\n"


def parse(data: bytes, path: str, version: SshdVersion) -> Document:
    """Read a file; whatever bytes it has, ``render()`` of the result returns them."""
    texts: Dict[int, str] = {line.number: line.text for line in logical_lines(data, version)}
    lines: List[Line] = []
    matches: List[Section] = []
    for number, raw in enumerate(split_keep_ends(data), 1):
        words = split_keyword(texts[number]) if number in texts else None
        line = Line(number, raw) if words is None else _directive(number, raw, words, version)
        if line.keyword == "match" and words is not None:
            criteria, problem = _criteria(words, version)
            matches.append(Section(number, criteria))
            line = line._replace(problem=line.problem or problem)
        lines.append(line._replace(block=len(matches) - 1 if matches else None))
    return Document(path, version, tuple(lines), tuple(matches))


def _directive(number: int, raw: bytes, words: Words, version: SshdVersion) -> Line:
    known = lookup(words.keyword, version)
    args = Args(words.rest, version)
    problem: Optional[str] = None
    if modern(version) and not words.rest:
        problem = f"{words.keyword} has no value"
    elif known is None:
        problem = _unknown(words.keyword, version)
    elif not args.valid:
        problem = f"{words.keyword} has a quote that is not closed"
    if known is not None and known.kind in _RAW_KINDS:
        found = [words.rest] if words.rest else []
    else:
        found = args.remaining(equals=known is None or known.kind != "setenv")
    key = lower(words.keyword) if known is None else known.key
    return Line(number, raw, key, tuple(found), problem, None, words.keyword)


def _unknown(name: str, version: SshdVersion) -> str:
    try:
        keyword(name, version)
    except Unsupported as problem:
        return str(problem)
    return ""


def _criteria(words: Words, version: SshdVersion) -> Tuple[Criteria, Optional[str]]:
    try:
        return read_criteria(words.rest, Args(words.rest, version), version)[0], None
    except Malformed as problem:
        return (), str(problem)


def write_line(name: str, args: Sequence[str], version: SshdVersion) -> str:
    """Write a directive that every sshd since 8.0 reads alike.

    Raises:
        Unsupported: this sshd does not know the keyword.
        Malformed: no arguments, or some that releases read differently (quotes, backslashes, ``#``).
    """
    known = keyword(name, version)
    if not args:
        raise Malformed(f"{known.name} needs a value", "Give at least one")
    raw = known.kind in _RAW_KINDS
    return " ".join([known.name] + [_write_arg(known.name, arg, raw=raw) for arg in args])


def _write_arg(name: str, arg: str, *, raw: bool) -> str:
    forbidden = "\n\r\0\f#" if raw else "\n\r\0\f#\"'\\"
    wrong = next((char for char in arg if char in forbidden), None)
    if wrong is not None or not arg:
        what = "an empty value" if wrong is None else f"{wrong!r} in '{decode(encode(arg))}'"
        raise Malformed(f"{name} cannot be given {what}", "Releases of sshd read it differently: use another value")
    return arg if raw or not any(char in " \t=" for char in arg) else f'"{arg}"'
