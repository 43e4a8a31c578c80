# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a tree of files as sshd does: once when it starts, once more for a connection. Pure.

Source: parse_server_config_depth and process_server_config_line of servconf.c, OpenSSH 8.0, 8.7 and 9.9.

The first reading applies what stands outside Match blocks, and checks the syntax inside them. The second passes over
what stands outside and applies the blocks whose criteria hold; what it finds beats what the first one found.
"""

from typing import Dict, List, NamedTuple, Optional, Tuple

from .._errors import Malformed, Unsupported
from . import directives
from .keywords import Keyword, keyword
from .match import Connection, Criteria, holds, read_criteria
from .settings import COMMAND_LINE, Bad, Directive, Settings, Source
from .sshd_tree import MAX_DEPTH, Tree, absolute, expand
from .tokens import Args, Words, logical_lines, modern, split_keyword


class Diagnostic(NamedTuple):
    """What sshd says about a line; ``fatal``: it refuses the configuration. Line 0 is about the whole of it."""

    path: str
    line: int
    message: str
    fatal: bool


class Block(NamedTuple):
    """A Match line that was met, with the criteria of the blocks it stands in, and whether they hold."""

    source: Source
    criteria: Criteria
    outer: Criteria


class Refusal(Malformed):
    """End a reading whose diagnostics say why; never leaves this package. ``status`` is what sshd exits with."""

    def __init__(self, status: int) -> None:
        super().__init__("sshd refuses the configuration")
        self.status = status


class _Scope:
    """What one file knows about the Match block it is in. ``nothing``: only the syntax is checked from here on."""

    def __init__(self, *, active: bool, nothing: bool, blocks_only: bool, outer: Criteria = ()) -> None:
        self.active = active
        self.nothing = nothing
        self.blocks_only = blocks_only
        self.outer = outer
        self.criteria: Criteria = ()


# What each Include pattern was found to match, in the order sshd came to know it; None: nothing.
Found = List[Tuple[str, Optional[str]]]


class Reading:
    """One reading of a tree; ``connection`` None is the one when sshd starts, whose ``found`` the second one needs."""

    def __init__(self, tree: Tree, connection: Optional[Connection], found: Optional[Found] = None) -> None:
        self.tree = tree
        self.connection = connection
        self.found: Found = [] if found is None else found
        self.settings = Settings()
        self.set_by: List[Tuple[str, Source]] = []
        self.diagnostics: List[Diagnostic] = []
        self.blocks: List[Block] = []
        self._lines: Dict[str, List[Tuple[int, Words]]] = {}

    def run(self) -> None:
        """Read everything. Raises Refusal where sshd refuses."""
        second = self.connection is not None
        if not second:
            self._read_command_line()
        if self.tree.main not in self.tree.files:
            self._refuse(Source(self.tree.main, 0), "the file does not exist")
            raise Refusal(1)
        self._read_file(self.tree.main, _Scope(active=not second, nothing=False, blocks_only=second), 0)

    def _refuse(self, source: Source, message: str) -> None:
        self.diagnostics.append(Diagnostic(source.path, source.line, message, fatal=True))

    def _read_command_line(self) -> None:
        for option in self.tree.command_line:
            words = split_keyword(option)
            if words is None:
                continue
            try:
                known = self._keyword(words)
                if known.kind in ("include", "match"):
                    raise Malformed(f"{words.keyword} is not an option for the command line", "Move it to a file")
                self._apply(known, words, COMMAND_LINE, _Scope(active=True, nothing=False, blocks_only=False))
            except Malformed as problem:
                self._refuse(COMMAND_LINE, _text(problem))
                raise Refusal(1) from problem

    def _cut(self, path: str) -> List[Tuple[int, Words]]:
        if path not in self._lines:
            pairs = [
                (line.number, split_keyword(line.text))
                for line in logical_lines(self.tree.files[path], self.tree.version)
            ]
            self._lines[path] = [(number, words) for number, words in pairs if words is not None]
        return self._lines[path]

    def _read_file(self, path: str, scope: _Scope, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._refuse(Source(path, 0), f"Include is nested more than {MAX_DEPTH} deep")
            raise Refusal(255)
        wrong = False
        for number, words in self._cut(path):
            source = Source(path, number)
            try:
                self._read_line(words, source, scope, depth)
            except Refusal:
                raise
            except Bad as problem:
                self._refuse(source, _text(problem))
                wrong = True
            except Malformed as problem:
                self._refuse(source, _text(problem))
                raise Refusal(255) from problem
        if wrong:
            raise Refusal(255)

    def _keyword(self, words: Words) -> Keyword:
        try:
            return keyword(words.keyword, self.tree.version)
        except Unsupported as problem:
            raise Bad(problem.reason, problem.remedy) from problem

    def _read_line(self, words: Words, source: Source, scope: _Scope, depth: int) -> None:
        if modern(self.tree.version) and not words.rest:
            raise Bad(f"{words.keyword} has no value")
        known = self._keyword(words)
        if not scope.active and not known.in_match:
            if self.connection is None:
                raise Malformed(f"{words.keyword} may not stand in a Match block", "Move it above the first Match line")
            return
        if known.kind == "match":
            self._read_match(words, source, scope)
        elif known.kind == "include":
            self._read_include(words, source, scope, depth)
        else:
            self._apply(known, words, source, scope)

    def _args(self, words: Words) -> Args:
        args = Args(words.rest, self.tree.version)
        if not args.valid:
            raise Bad(f"{words.keyword} has a quote that is not closed")
        return args

    def _apply(self, known: Keyword, words: Words, source: Source, scope: _Scope) -> None:
        args = self._args(words)
        directive = Directive(
            keyword=known,
            spelled=words.keyword,
            args=args,
            active=scope.active,
            source=source,
            settings=self.settings,
            version=self.tree.version,
        )
        directives.read(directive)
        self._refuse_leftover(words, args.leftover())
        if not known.effective and known.kind != "ignored" and self.connection is None:
            message = f"{words.keyword} has no effect any more"
            self.diagnostics.append(Diagnostic(source.path, source.line, message, fatal=False))
        if scope.active:
            self.set_by.append((known.key, source))

    def _refuse_leftover(self, words: Words, word: Optional[str]) -> None:
        if word is None:
            return
        message = f"{words.keyword} has a word too many: '{word}'"
        raise Bad(message) if modern(self.tree.version) else Malformed(message)

    def _read_match(self, words: Words, source: Source, scope: _Scope) -> None:
        criteria, left = read_criteria(words.rest, self._args(words), self.tree.version)
        connection = None if scope.nothing else self.connection
        verdict = holds(criteria, connection, self.tree.version)
        self.blocks.append(Block(source, criteria, scope.outer))
        scope.criteria = criteria
        scope.active = verdict and not scope.nothing
        scope.blocks_only = False
        if left:
            self._refuse_leftover(words, "after the criteria")

    def _read_include(self, words: Words, source: Source, scope: _Scope, depth: int) -> None:
        patterns = self._args(words).remaining()
        for pattern in patterns:
            if not pattern:
                raise Bad(f"{words.keyword} has an empty value")
            self._read_pattern(absolute(pattern, self.tree.base_dir), scope, depth)
        if not patterns:
            raise Malformed(f"{words.keyword} names no file", "Give a path or a pattern")

    def _read_pattern(self, pattern: str, scope: _Scope, depth: int) -> None:
        # A file is remembered after it was read. So one that includes its own directory gets the files before it when
        # sshd starts, and itself without end at the first connection. The loop is to see what is added while it runs.
        known = False
        for other, path in self.found:
            if other == pattern:
                known = True
                if path is not None:
                    self._read_included(path, scope, depth)
        if known:
            return
        paths = expand(pattern, self.tree.files)
        if not paths:
            self.found.append((pattern, None))
        for path in paths:
            self._read_included(path, scope, depth)
            self.found.append((pattern, path))

    def _read_included(self, path: str, scope: _Scope, depth: int) -> None:
        inner = _Scope(
            active=scope.active,
            nothing=not scope.blocks_only and not scope.active,
            blocks_only=scope.blocks_only,
            outer=scope.outer + scope.criteria,
        )
        self._read_file(path, inner, depth + 1)


def _text(problem: Malformed) -> str:
    return f"{problem.reason}. {problem.remedy}" if problem.remedy else problem.reason
