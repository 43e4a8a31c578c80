# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut sshd_config into lines and words exactly as sshd does. Pure.

Sources: servconf.c (load_server_config, process_server_config_line) and misc.c (strdelim, argv_split) of OpenSSH 8.0,
8.7 and 9.9. Up to 8.6 words are cut by strdelim and everything from the first ``#`` of a line is dropped; from 8.7 on
argv_split cuts them: it knows single quotes and backslashes, and ``#`` starts a comment only where a word may start.
"""

from typing import List, NamedTuple, Optional, Tuple

from .version import SshdVersion, release

BLANK = " \t\r\n"
_LEADING = " \t\r"


class LogicalLine(NamedTuple):
    """What sshd takes for one line; ``number`` is the 1-based physical line it starts on."""

    number: int
    text: str


class Words(NamedTuple):
    """A line, cut: ``rest`` is what follows the keyword, unparsed; None where nothing does."""

    keyword: str
    rest: Optional[str]


def modern(version: SshdVersion) -> bool:
    """Tell whether this sshd cuts words with argv_split."""
    return release(version) >= (8, 7)


def decode(data: bytes) -> str:
    """Decode without loss; bytes that are not UTF-8 come back with :func:`encode`."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Undo :func:`decode`."""
    return text.encode("utf-8", "surrogateescape")


def lower(text: str) -> str:
    """Lower A to Z only, as strcasecmp compares in sshd's locale."""
    return decode(encode(text).lower())


def split_keep_ends(data: bytes) -> List[bytes]:
    """Cut at newlines only, newlines kept (a lone CR ends no line for sshd)."""
    pieces = data.split(b"\n")
    lines = [piece + b"\n" for piece in pieces[:-1]]
    return lines + [pieces[-1]] if pieces[-1] else lines


def _load_piece(raw: bytes, version: SshdVersion) -> bytes:
    # C strings end at NUL: sshd loses the rest of such a line, its newline included.
    piece = raw.split(b"\0", 1)[0]
    if not modern(version) and b"#" in piece:
        piece = piece.split(b"#", 1)[0] + b"\n"
    return piece.lstrip(_LEADING.encode())


def logical_lines(data: bytes, version: SshdVersion) -> List[LogicalLine]:
    """Return the lines as sshd loads them, empty ones left out."""
    lines = []
    start, text = 0, b""
    for number, raw in enumerate(split_keep_ends(data), 1):
        start = start if text else number
        text += _load_piece(raw, version)
        if text.endswith(b"\n"):
            lines.append(LogicalLine(start, decode(text[:-1])))
            text = b""
    if text:
        lines.append(LogicalLine(start, decode(text)))
    return [line for line in lines if line.text]


def split_keyword(text: str) -> Optional[Words]:
    """Cut the keyword off a line; None where sshd passes over the line."""
    stripped = text[:1] + text[1:].rstrip(BLANK + "\f")
    keyword, rest = strdelim(stripped)
    if keyword == "":
        keyword, rest = strdelim(rest)
    if not keyword or keyword.startswith("#"):
        return None
    return Words(keyword, rest)


def strdelim(text: Optional[str], *, equals: bool = True) -> Tuple[Optional[str], Optional[str]]:
    """Cut one word off: (word, rest); word None at the end or where a quote stays open (misc.c strdelim)."""
    if text is None:
        return None, None
    stops = BLANK + '"=' if equals else BLANK + '"'
    at = next((index for index, char in enumerate(text) if char in stops), -1)
    if at < 0:
        return text, None
    if text[at] == '"':
        joined = text[:at] + text[at + 1 :]
        end = joined.find('"', at)
        return (None, None) if end < 0 else (joined[:end], joined[end + 1 :].lstrip(BLANK))
    rest = text[at + 1 :].lstrip(BLANK)
    if equals and text[at] != "=" and rest.startswith("="):
        rest = rest[1:].lstrip(BLANK)
    return text[:at], rest


def argv_split(text: str) -> Optional[List[str]]:
    """Cut into words with quotes and backslashes resolved; None where a quote stays open (misc.c argv_split)."""
    words: List[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            break
        word, at = _argv_word(text, at)
        if word is None:
            return None
        words.append(word)
    return words


def _argv_word(text: str, at: int) -> Tuple[Optional[str], int]:
    word, quote = "", ""
    while at < len(text) and (quote or text[at] not in " \t"):
        char, following = text[at], text[at + 1 : at + 2]
        if char == "\\" and following and (following in "'\"\\" or (following == " " and not quote)):
            word += following
            at += 1
        elif not quote and char in "'\"":
            quote = char
        elif quote and char == quote:
            quote = ""
        else:
            word += char
        at += 1
    return (None if quote else word), at


class Args:
    """The words after a keyword, taken one by one in the manner of one version of sshd."""

    def __init__(self, rest: Optional[str], version: SshdVersion) -> None:
        self.raw = rest
        self._modern = modern(version)
        self._rest = rest
        self._words: List[str] = []
        self.valid = True
        if self._modern:
            words = argv_split(rest or "")
            self.valid = words is not None
            self._words = words or []

    def next(self, *, equals: bool = True) -> Optional[str]:
        """Take one word; None at the end. ``equals``: up to 8.6, ``=`` separates words too."""
        if self._modern:
            return self._words.pop(0) if self._words else None
        word, self._rest = strdelim(self._rest, equals=equals)
        return word

    def remaining(self, *, equals: bool = True) -> List[str]:
        """Take all words a list keyword takes: up to 8.6 an empty word ends the list."""
        if self._modern:
            words, self._words = self._words, []
            return words
        words = []
        word = self.next(equals=equals)
        while word:
            words.append(word)
            word = self.next(equals=equals)
        return words

    def consume(self) -> None:
        """Take everything, unread."""
        self._words, self._rest = [], None

    @property
    def rest(self) -> Optional[str]:
        """Up to 8.6: what is left, unparsed; None at the end of the line."""
        return self._rest

    @property
    def more(self) -> bool:
        """Tell whether anything is left, an empty word included."""
        return bool(self._words) if self._modern else self._rest is not None

    def peek(self) -> Optional[str]:
        """Return the next word without taking it (8.7 and newer)."""
        return self._words[0] if self._words else None

    def leftover(self) -> Optional[str]:
        """Return a word too many at the end of the line, or None."""
        if self._modern:
            return self._words[0] if self._words else None
        return strdelim(self._rest)[0] or None
