# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which line wins: what a setting comes to in a whole tree, and who keeps it from being so. Pure. PRIVATE."""

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._openssh import effective, keywords, sshd_tree
from .._openssh.version import SshdVersion
from . import methods as ways

Answer = Mapping[str, Tuple[str, ...]]
Probe = Optional[effective.Connection]
Settings = Sequence[Tuple[str, str]]


class Candidate(NamedTuple):
    """A tree that is to be, and the files as they are: people look for a line where it stands today."""

    tree: sshd_tree.Tree
    on_disk: Mapping[str, bytes]

    def line_on_disk(self, source: effective.Source) -> int:
        """Return the number of a line today; ours, where one was put in above it, is not counted."""
        new = self.tree.files[source.path].split(b"\n")
        old = self.on_disk.get(source.path, b"").split(b"\n")
        ours = next((index for index, pair in enumerate(zip(new, old)) if pair[0] != pair[1]), len(old))
        return source.line - (len(new) - len(old)) if len(new) > len(old) and source.line > ours else source.line


def one_file(text: str, version: SshdVersion) -> sshd_tree.Tree:
    """Return a tree of one main file with this text."""
    return sshd_tree.Tree("/etc/ssh/sshd_config", {"/etc/ssh/sshd_config": text.encode()}, version)


def holds(name: str, value: str, answer: Answer, version: SshdVersion) -> bool:
    """Say whether a setting is effective; of a keyword whose lines add up, every value has to be among the others."""
    known = keywords.keyword(name, version)
    expected = effective.evaluate(one_file(f"{name} {value}\n", version), None).values.get(known.key, ())
    found = answer.get(known.key, ())
    return set(expected) <= set(found) if known.repeat == "append" else tuple(expected) == tuple(found)


def ineffective(settings: Settings, candidate: Candidate, answer: Answer) -> List[str]:
    """Name the settings that sshd would not follow, and the lines that win over them."""
    tree = candidate.tree
    found = []
    for name, value in settings:
        if not holds(name, value, answer, tree.version):
            key = keywords.keyword(name, tree.version).key
            sources = effective.general(tree).sources.get(key, ())
            winner = sources[-1] if sources else effective.Source("", 0)
            line = (
                f"{winner.path}:{candidate.line_on_disk(winner)}: `{_line(tree, winner)}`"
                if winner.line
                else winner.path or "a default"
            )
            found.append(f"{line} wins over `{name} {value}`")
    return found


def conflicts(wanted: Sequence[ways.Rule], candidate: Candidate, probed: Sequence[Tuple[Probe, Answer]]) -> List[str]:
    """Name every line that keeps a rule from being effective for some kind of connection."""
    found: Dict[str, None] = {}
    for probe, answer in probed:
        for rule in wanted:
            value = ways.unmet(rule, answer)
            if value is not None:
                found[_conflict(rule, value, candidate, probe)] = None
    return list(found)


def _conflict(rule: ways.Rule, value: str, candidate: Candidate, probe: Probe) -> str:
    tree = candidate.tree
    answer = effective.general(tree) if probe is None else effective.evaluate(tree, probe)
    sources = answer.sources.get(ways.printed(rule.keyword), ())
    source = sources[0] if sources else effective.Source("", 0)
    concerns = f" for connections like user {probe.user} from {probe.addr}" if probe is not None else ""
    if source.path == "command line":
        return f"sshd's command line (OPTIONS in /etc/sysconfig/sshd): {rule.keyword} {value}{concerns}"
    if not source.path:
        return f"{rule.keyword} stays {value}{concerns}"
    block = _block_of(tree, source)
    scope = f" under `{block}`" if block else ""
    line = f"{source.path}:{candidate.line_on_disk(source)}: `{_line(tree, source)}`{scope}"
    return f"{line} keeps {rule.keyword} at {value}{concerns}"


def _line(tree: sshd_tree.Tree, source: effective.Source) -> str:
    return tree.files[source.path].split(b"\n")[source.line - 1].decode("utf-8", "replace").strip()


def _block_of(tree: sshd_tree.Tree, source: effective.Source) -> str:
    before = [block for block in effective.match_blocks(tree) if block.path == source.path and block.line < source.line]
    return _line(tree, effective.Source(source.path, before[-1].line)) if before else ""


__all__ = ["Candidate", "Probe", "conflicts", "holds", "ineffective", "one_file"]
