# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration comes to, for everybody or for one connection, and where each value stands. Pure."""

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from . import dump
from .defaults import defaults
from .keywords import keyword
from .match import NOBODY, Connection, Criteria
from .read_lists import methods_enabled
from .reading import Diagnostic, Reading, Refusal
from .settings import COMMAND_LINE, COMPILED, Settings, Source
from .sshd_tree import Tree
from .witnesses import MatchBlock, satisfies, witnesses_of

__all__ = [
    "COMMAND_LINE",
    "COMPILED",
    "ORDINARY",
    "Answer",
    "Connection",
    "Diagnostic",
    "MatchBlock",
    "Source",
    "check",
    "evaluate",
    "evaluate_all",
    "general",
    "match_blocks",
    "satisfies",
    "shadowed",
    "witnesses",
]


# An existing account, from nowhere in particular, to no port that anybody would name (addresses of RFC 5737).
ORDINARY = Connection("nobody", (), "192.0.2.1", "192.0.2.1", "192.0.2.2", 65535)


class Answer(NamedTuple):
    """What ``sshd -T`` answers.

    Attributes:
        rc: 0, or what sshd exits with where it refuses.
        values: by keyword in lower case as sshd prints it, one item per printed line.
        sources: by the same keywords, the lines the values stand on, one per item where it is a list.
        diagnostics: what sshd says, fatal or not.
    """

    rc: int
    values: Dict[str, Tuple[str, ...]]
    sources: Dict[str, Tuple[Source, ...]]
    diagnostics: Tuple[Diagnostic, ...]


def _refused(status: int, diagnostics: Sequence[Diagnostic]) -> Answer:
    return Answer(status, {}, {}, tuple(diagnostics))


def _start(tree: Tree, compiled: dump.Values) -> Tuple[Reading, int]:
    """Read as sshd does when it starts: the reading, and the exit status."""
    first = Reading(tree, None)
    try:
        first.run()
        dump.settle(first.settings, tree.version)
        dump.dump(first.settings, tree.version, compiled)
        problem = _senseless(first.settings, compiled)
        if problem is not None:
            first.diagnostics.append(problem)
            return first, 255
    except Refusal as refusal:
        return first, refusal.status
    except dump.Problem as problem_found:
        source = problem_found.source
        first.diagnostics.append(Diagnostic(source.path, source.line, problem_found.reason, fatal=True))
        return first, 255
    return first, 0


def _senseless(settings: Settings, compiled: dump.Values) -> Optional[Diagnostic]:
    missing = dump.missing_user(settings)
    if missing is not None:
        key, source = missing
        return Diagnostic(source.path, source.line, f"{key} is set without {key}user. Set both", fatal=True)
    methods = settings.values("authenticationmethods")
    if not methods or methods == ("any",):
        return None
    filled = dump.enabled_defaults(settings, compiled)
    if any(methods_enabled(one, filled) for one in methods):
        return None
    source = settings.sources("authenticationmethods")[0]
    message = "no list of AuthenticationMethods has all its methods switched on. Nobody could log in"
    return Diagnostic(source.path, source.line, message, fatal=True)


def _answer(
    first: Reading, compiled: dump.Values, connection: Optional[Connection]
) -> Tuple[Answer, List[Tuple[str, Source]]]:
    tree = first.tree
    second = Reading(tree, NOBODY if connection is None else connection, list(first.found))
    settings = Settings()
    for key in first.settings.keys():
        settings.take(key, first.settings)
    try:
        second.run()
        dump.overlay(settings, second.settings, tree.version)
        values, sources = dump.dump(settings, tree.version, compiled)
    except Refusal as refusal:
        return _refused(refusal.status, first.diagnostics + second.diagnostics), []
    except dump.Problem as problem:
        found = Diagnostic(problem.source.path, problem.source.line, problem.reason, fatal=True)
        return _refused(problem.status, first.diagnostics + [found]), []
    return Answer(0, values, sources, tuple(first.diagnostics + second.diagnostics)), second.set_by


def evaluate(tree: Tree, connection: Optional[Connection]) -> Answer:
    """Return what sshd does: ``connection`` None is ``sshd -T``, else ``sshd -T -C user=…,host=…``.

    Host keys are not looked at, and ListenAddress names are not resolved.
    """
    return evaluate_all(tree, [connection])[0]


def general(tree: Tree) -> Answer:
    """Return what holds where no Match block is meant: ``sshd -T``, else an ordinary connection.

    Without ``-C`` sshd refuses to judge a tree with ``Match LocalPort`` and the like.
    """
    answer = evaluate(tree, None)
    return answer if answer.rc == 0 else evaluate(tree, ORDINARY)


def evaluate_all(tree: Tree, connections: Sequence[Optional[Connection]]) -> List[Answer]:
    """Return what sshd does for each connection, reading the part they share once."""
    compiled = defaults(tree.version)
    first, status = _start(tree, compiled)
    if status:
        return [_refused(status, first.diagnostics) for _one in connections]
    return [_answer(first, compiled, connection)[0] for connection in connections]


def check(tree: Tree) -> Tuple[Diagnostic, ...]:
    """Return what ``sshd -t`` refuses about the grammar, host keys apart; () is a configuration it takes."""
    first, _status = _start(tree, defaults(tree.version))
    return tuple(one for one in first.diagnostics if one.fatal)


def shadowed(tree: Tree, name: str, connection: Optional[Connection]) -> List[Source]:
    """Return the lines that set a keyword for this connection but lose, in the order sshd reads them.

    Raises Unsupported where this sshd does not know the keyword. A refused configuration has none.
    """
    key = keyword(name, tree.version).key
    compiled = defaults(tree.version)
    first, status = _start(tree, compiled)
    if status:
        return []
    answer, in_blocks = _answer(first, compiled, connection)
    winners = answer.sources.get(key, ())
    found: List[Source] = []
    for other, source in first.set_by + in_blocks:
        if other == key and source not in winners and source not in found:
            found.append(source)
    return found


def match_blocks(tree: Tree) -> List[MatchBlock]:
    """Return all Match blocks in the order sshd reads them, as far as it reads.

    A block in a file that is included from within another block has that one's criteria too.
    """
    first, _status = _start(tree, defaults(tree.version))
    return [
        MatchBlock(block.source.path, block.source.line, _joined(block.outer, block.criteria)) for block in first.blocks
    ]


def _joined(outer: Criteria, own: Criteria) -> Criteria:
    if own == (("all", ""),) and outer:
        return outer
    return tuple(one for one in outer if one[0] != "all") + own


def witnesses(tree: Tree, accounts: Sequence[Tuple[str, Sequence[str]]], addresses: Sequence[str]) -> List[Connection]:
    """Return a few connections that reach every combination of Match blocks that these accounts can reach.

    Args:
        accounts: (name, groups) of each account that is to be judged.
        addresses: addresses connections are known to come from; others are made up where a criterion needs them.
    """
    return witnesses_of(match_blocks(tree), accounts, addresses, tree.version)
