# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files sshd reads as one configuration. Pure: the files are given, nothing is opened.

Source: the Include case of process_server_config_line (servconf.c), and glob(3) in the C locale.
"""

import posixpath
import re
from typing import Iterable, List, Mapping, NamedTuple, Optional, Pattern, Tuple

from .keywords import lookup
from .tokens import Args, encode, logical_lines, split_keyword
from .version import SshdVersion

MAX_DEPTH = 16


class Tree(NamedTuple):
    """A main file, all files it may include by path, and the ``-o`` options of sshd's command line, which beat both."""

    main: str
    files: Mapping[str, bytes]
    version: SshdVersion
    base_dir: str = "/etc/ssh"
    command_line: Tuple[str, ...] = ()


def with_files(tree: Tree, changes: Mapping[str, Optional[bytes]]) -> Tree:
    """Return the tree with files added, replaced, or taken out (None)."""
    files = {path: data for path, data in tree.files.items() if path not in changes}
    files.update({path: data for path, data in changes.items() if data is not None})
    return tree._replace(files=files)


def absolute(pattern: str, base_dir: str) -> str:
    """Return the pattern sshd looks for: relative ones are under its configuration directory.

    ``..`` is taken out, so that the tree can stand below another root and stay there.
    """
    if pattern[:1] == "~":
        return pattern
    return posixpath.normpath("/" + (pattern if pattern[:1] == "/" else f"{base_dir}/{pattern}").lstrip("/"))


def include_patterns(data: bytes, version: SshdVersion, base_dir: str = "/etc/ssh") -> List[str]:
    """Return the absolute patterns of all Include lines of one file, in order; lines sshd refuses are passed over."""
    patterns: List[str] = []
    for line in logical_lines(data, version):
        words = split_keyword(line.text)
        known = lookup(words.keyword, version) if words else None
        if words is None or known is None or known.kind != "include":
            continue
        found = [absolute(word, base_dir) for word in Args(words.rest, version).remaining() if word]
        patterns.extend(pattern for pattern in found if pattern not in patterns)
    return patterns


def expand(pattern: str, paths: Iterable[str]) -> List[str]:
    """Return which of the paths a pattern matches, in the byte order sshd reads them in.

    ``*``, ``?`` and ``[...]`` neither cross ``/`` nor match a leading dot; ``~`` is not expanded.
    """
    parts = [_component(part) for part in pattern.split("/") if part]
    rooted = pattern.startswith("/")
    found = []
    for path in paths:
        names = [name for name in path.split("/") if name]
        if rooted == path.startswith("/") and len(names) == len(parts):
            if all(part.match(name) for part, name in zip(parts, names)):
                found.append(path)
    return sorted(found, key=encode)


def _component(part: str) -> Pattern[str]:
    text, at = "", 0
    while at < len(part):
        piece, at = _piece(part, at)
        text += piece
    hidden = "" if part.startswith((".", "\\.")) else r"(?!\.)"
    return re.compile(hidden + text + r"\Z", re.DOTALL)


def _piece(part: str, at: int) -> Tuple[str, int]:
    char = part[at]
    if char == "*":
        return ".*", at + 1
    if char == "?":
        return ".", at + 1
    if char == "\\" and at + 1 < len(part):
        return re.escape(part[at + 1]), at + 2
    if char == "[":
        end = part.find("]", at + 3 if part[at + 1 : at + 2] in ("!", "^") else at + 2)
        if end > 0:
            return _bracket(part[at + 1 : end]), end + 1
    return re.escape(char), at + 1


def _bracket(inner: str) -> str:
    negated = inner[:1] in ("!", "^")
    members = inner[1:] if negated else inner
    last = len(members) - 1
    escaped = "".join(
        char if char == "-" and 0 < at < last else re.escape(char) for at, char in enumerate(members)
    )
    # A range that runs backwards matches nothing; re would refuse it.
    try:
        re.compile(f"[{escaped}]")
    except re.error:
        return r"(?!)"
    return f"[{'^' if negated else ''}{escaped}]"
