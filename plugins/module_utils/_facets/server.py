# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facet server: what sshd really does, for every kind of connection. PRIVATE to the collection."""

import os
import re
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._errors import HostError, LatchkeyError, Malformed, Refused, Unsupported
from .._host import files, sshd
from .._host.host import Host
from .._openssh import effective, keywords, sshd_config, sshd_tree
from .._openssh.version import SshdVersion
from . import methods as ways
from . import precedence
from .change import NARROW, WIDEN, Change, Outcome
from .precedence import Probe

DROP_IN = "/etc/ssh/sshd_config.d/00-00-latchkey.conf"
HEADER = "# Written by latchkey.ssh and overwritten at its next run: put your own settings into another file.\n"
_DIRECTORY = "/etc/ssh/sshd_config.d"
Judge = Callable[[sshd_tree.Tree, Sequence[Probe]], Tuple[Optional[str], List[sshd.Answer]]]


class Desired(NamedTuple):
    """The desired state: the methods that stay, further settings, settings per Match, and what foreign lines may do."""

    methods: Tuple[str, ...]
    settings: Tuple[Tuple[str, str], ...]
    matches: Tuple[Tuple[str, Tuple[Tuple[str, str], ...]], ...]
    foreign: str

    @staticmethod
    def from_params(params: Mapping[str, Any]) -> "Desired":
        """Read the module's parameters.

        Raises:
            Malformed: a method is unknown, a value cannot stand on one line, or a Match has no criteria.
        """
        methods = tuple(params.get("methods") or ())
        for method in methods:
            if method not in ways.METHODS:
                raise Malformed(
                    f"`{method}` is no method that can stay", f"give some of {', '.join(ways.METHODS)}", "methods"
                )
        if methods and "publickey" not in methods:
            raise Malformed("without publickey nobody could be proven to get in", "add publickey", "methods")
        matches = tuple(
            (_criteria(item, index), _pairs(item.get("settings"), f"match[{index}].settings"))
            for index, item in enumerate(params.get("match") or [])
        )
        return Desired(methods, _pairs(params.get("settings"), "settings"), matches, params.get("foreign") or "refuse")


class Current(NamedTuple):
    """What the facet sees: the tree, sshd's own answers per probe, and why the listener is behind the files (or '').

    ``verb`` is how it is made to read them: reload or restart.
    """

    version: SshdVersion
    tree: sshd_tree.Tree
    probes: Tuple[Probe, ...]
    answers: Tuple[sshd.Answer, ...]
    directory_exists: bool
    main_mode: int
    listener: str
    unit: str
    unsafe: Tuple[str, str] = ("", "")
    verb: str = "reload"


def outcome(params: Mapping[str, Any], host: Host) -> Outcome:
    """Return what is to be done on this host for these parameters."""
    desired = Desired.from_params(params)
    return plan(desired, observe(host, desired), host.judge)


def observe(host: Host, desired: Desired) -> Current:
    """Look at the configuration and ask sshd what it means for every kind of connection."""
    _validate(desired, host.sshd.version)
    problem = host.present.check()
    if problem:
        raise Malformed(
            f"sshd does not accept its present configuration: {problem}",
            "correct it before anything else",
            host.tree.main,
        )
    probes = _probes(host, host.tree)
    answers = tuple(host.present.ask(probe) for probe in probes)
    options = sshd.options_problem(host.sshd)
    listener = options or sshd.listener_problem(host.sshd, sorted(host.tree.files), answers[0]) or ""
    return Current(
        host.sshd.version,
        host.tree,
        tuple(probes),
        answers,
        directory_exists=files.look(_DIRECTORY).kind == "dir",
        # The main file may be a link: then the mode is its target's.
        main_mode=files.read(host.tree.main).mode,
        listener=listener,
        unit=host.sshd.unit.name,
        unsafe=_unsafe(host.tree.main),
        verb="restart" if options or not sshd.shows_reloads(answers[0]) else "reload",
    )


def _unsafe(main: str) -> Tuple[str, str]:
    found = [(path, files.unsafe(path)) for path in (os.path.dirname(main), _DIRECTORY)]
    return next((one for one in found if one[1]), ("", ""))


def plan(desired: Desired, current: Current, judge: Judge) -> Outcome:
    """Return the changes that make the wanted values effective for every probe.

    Raises:
        Refused: a foreign line wins, or sshd would do something else than asked; file and line are named.
    """
    wanted = _rules(desired, current.version)
    text = render(desired, current)
    present = current.tree.files.get(DROP_IN)
    right = all(ways.unmet(rule, answer) is None for rule in wanted for answer in current.answers)
    right = right and _effective(desired, current)
    if right and (present is None or present == text):
        return Outcome(_reload_changes(current, []), [])
    tree, answers = _settle(desired, current, text, judge)
    candidate = precedence.Candidate(tree, current.tree.files)
    conflicts = precedence.conflicts(wanted, candidate, list(zip(current.probes, answers)))
    conflicts += precedence.ineffective(desired.settings, candidate, answers[current.probes.index(None)])
    if conflicts and desired.foreign == "refuse":
        raise Refused(
            conflicts[0] + (f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""), _FOREIGN_REMEDY
        )
    _key_files_stay(desired, current, answers)
    _nothing_else(desired, wanted, current, answers)
    changes = _file_changes(current, tree, text)
    if changes and current.unsafe[1]:
        path, reason = current.unsafe
        raise Refused(reason, f"run `chown root {path}; chmod go-w {path}`", path)
    if desired.methods and any(ways.unmet(ways.way_in(), answer) is not None for answer in current.answers):
        return Outcome(_way_in_first(current, changes), conflicts, tree)
    return Outcome(_reload_changes(current, changes), conflicts, tree)


_LISTENING = ("port", "listenaddress", "addressfamily")
_FOREIGN_REMEDY = "remove or change that line, or accept it with foreign: report (harden_foreign)"


def render(desired: Desired, current: Current) -> bytes:
    """Return the text of our drop-in; only what is needed stands in it, and a stricter value of others is kept."""
    bare = sshd_tree.with_files(current.tree, {DROP_IN: None})
    without_ours = effective.general(bare).values
    lines = [f"{name} {value}" for name, value in desired.settings]
    named = {name.lower() for name, unused in desired.settings}
    for rule in _rules(desired, current.version):
        if rule.keyword.lower() not in named and (rule.always or ways.unmet(rule, without_ours) is not None):
            lines.append(f"{rule.keyword} {rule.value}")
    for criteria, settings in desired.matches:
        lines += [f"Match {criteria}"] + [f"    {name} {value}" for name, value in settings]
    return (HEADER + "".join(f"{line}\n" for line in lines)).encode()


def apply(changes: Sequence[Change], phase: str, host: Host, done: List[Change]) -> None:
    """Write the files of one phase and make sshd read them; what was made, and stays, is added to ``done``.

    On failure the files are put back as they were; inside a transaction that is left to its revert.
    """
    made: List[Change] = []
    try:
        for change in changes:
            if change.phase == phase:
                _apply_one(change, host)
                made.append(change)
    except LatchkeyError:
        if not host.fence.transaction:
            made = _take_back(made, host)
        raise
    finally:
        done += made
        host.forget()


def _take_back(made: Sequence[Change], host: Host) -> List[Change]:
    for change in reversed(made):
        _undo(change)
    if made:
        sshd.recover(host.sshd)
    return [change for change in made if change.kind == "directory"]


def _apply_one(change: Change, host: Host) -> None:
    if change.kind in ("directory", "file"):
        with host.fence.writing(change.path, change.after if change.kind == "file" else None):
            if change.kind == "directory":
                files.make_directory(change.path, change.mode)
            else:
                files.replace(change.path, change.after, change.mode)
        return
    with host.fence.reloading(host.sshd.unit.name):
        if change.kind == "restart":
            sshd.restart(host.sshd)
        else:
            sshd.reload(host.sshd, host.present.ask(None))


def _undo(change: Change) -> None:
    if change.kind == "file" and change.existed:
        files.replace(change.path, change.before, change.mode)
    elif change.kind == "file":
        files.remove(change.path)


def _rules(desired: Desired, version: SshdVersion) -> List[ways.Rule]:
    if not desired.methods:
        return []
    return [ways.way_in()] + ways.rules(desired.methods, version)


def _validate(desired: Desired, version: SshdVersion) -> None:
    for name, value in desired.settings:
        _validate_setting(name, value, version, "")
    for criteria, settings in desired.matches:
        for name, value in settings:
            _validate_setting(name, value, version, criteria)


def _validate_setting(name: str, value: str, version: SshdVersion, criteria: str) -> None:
    where = f"match `{criteria}`" if criteria else "settings"
    try:
        known = keywords.keyword(name, version)
    except Unsupported as error:
        raise Unsupported(error.reason, error.remedy, where) from None
    if known.key in _LISTENING and not criteria:
        raise Refused(
            f"{name} is not set here: it comes with the firewall role",
            "leave it out: firewall, SELinux and the inventory have to change along with it",
            where,
        )
    text = f"Match {criteria}\n    {name} {value}\n" if criteria else f"{name} {value}\n"
    wrong = [said for said in effective.check(precedence.one_file(text, version)) if said.fatal]
    if wrong:
        raise Malformed(f"`{name} {value}`: {wrong[0].message}", "see sshd_config(5) of this version", where)


def _effective(desired: Desired, current: Current) -> bool:
    answer = current.answers[current.probes.index(None)]
    if any(not precedence.holds(name, value, answer, current.version) for name, value in desired.settings):
        return False
    return not desired.matches or current.tree.files.get(DROP_IN) == render(desired, current)


def _settle(desired: Desired, current: Current, text: bytes, judge: Judge) -> Tuple[sshd_tree.Tree, List[sshd.Answer]]:
    """Put our file into the tree; where it is not read first, lead the main file to it with an Include at its top."""
    tree = sshd_tree.with_files(current.tree, {DROP_IN: text})
    if not _read_first(tree, desired, current.version):
        main = sshd_config.parse(tree.files[tree.main], tree.main, tree.version)
        tree = sshd_tree.with_files(tree, {tree.main: main.with_first_line(f"Include {DROP_IN}").render()})
    problem, answers = judge(tree, current.probes)
    if problem:
        raise Refused(f"sshd would not accept the new configuration: {problem}", "nothing was changed", DROP_IN)
    return tree, answers


def _read_first(tree: sshd_tree.Tree, desired: Desired, version: SshdVersion) -> bool:
    """Say whether our file gives the global value of every keyword that stands in it."""
    ours = sshd_config.parse(tree.files[DROP_IN], DROP_IN, version)
    sources = effective.general(tree).sources
    for line in ours.lines:
        if line.keyword is None or line.block is not None or line.keyword == "match":
            continue
        known = keywords.keyword(line.keyword, version)
        shown = known.key
        if not known.effective:
            continue
        if not sources.get(shown) or sources[shown][0].path not in (DROP_IN, "command line"):
            return False
    return True


def _nothing_else(
    desired: Desired, wanted: Sequence[ways.Rule], current: Current, answers: Sequence[sshd.Answer]
) -> None:
    named = [name for name, unused in desired.settings]
    named += [name for unused, settings in desired.matches for name, unused in settings]
    ours = {keywords.keyword(name, current.version).key for name in named}
    ours |= {ways.printed(rule.keyword) for rule in wanted}
    ours |= {also for name in list(ours) for also in ways.also_printed(current.version).get(name, ())}
    for before, after in zip(current.answers, answers):
        other = sorted(
            name for name in set(before) | set(after) if before.get(name) != after.get(name) and name not in ours
        )
        # Settings that our file had and no longer has go back to what others say: that is what was asked.
        if other and current.tree.files.get(DROP_IN) is None:
            raise HostError(
                f"the change would also change {', '.join(other)}", "please report this: nothing was changed", DROP_IN
            )


def _key_files_stay(desired: Desired, current: Current, answers: Sequence[sshd.Answer]) -> None:
    """Refuse to read keys elsewhere: those that open accounts today would be left behind."""
    name = "authorizedkeysfile"
    moved = any(before.get(name) != after.get(name) for before, after in zip(current.answers, answers))
    present = current.tree.files.get(DROP_IN, b"").decode("utf-8", "replace")
    in_blocks = [f"{key} {value}\n" for block in desired.matches for key, value in block[1] if key.lower() == name]
    moved = moved or any(line not in present for line in in_blocks)
    if moved:
        raise Refused(
            "AuthorizedKeysFile would change, and the keys that are in place would be left behind",
            "copy the keys and set it by hand, or leave it out",
            "settings",
        )


def _file_changes(current: Current, tree: sshd_tree.Tree, text: bytes) -> List[Change]:
    changes = []
    if not current.directory_exists:
        changes.append(
            Change("server", NARROW, "directory", _DIRECTORY, "create the directory of drop-ins", mode=0o700)
        )
    before = current.tree.files.get(DROP_IN)
    if before != text:
        changes.append(
            Change(
                "server", NARROW, "file", DROP_IN, "settings of sshd", before or b"", before is not None, text, 0o600
            )
        )
    main = current.tree.files[tree.main]
    if tree.files[tree.main] != main:
        what = f"read {DROP_IN} before everything else"
        changes.append(
            Change("server", NARROW, "file", tree.main, what, main, True, tree.files[tree.main], current.main_mode)
        )
    return changes


def _way_in_first(current: Current, changes: List[Change]) -> List[Change]:
    """Where keys are off, switch them on in a step of its own: nothing is taken away before a key was seen to work."""
    if not changes:
        return _reload_changes(current, changes)
    rule = ways.way_in()
    # What our file says already stays in force meanwhile.
    present = current.tree.files.get(DROP_IN, HEADER.encode())
    opening = f"{HEADER}{rule.keyword} {rule.value}\n".encode() + present.replace(HEADER.encode(), b"", 1)
    first, second = [], []
    for change in changes:
        if change.path == DROP_IN and change.kind == "file":
            first.append(change._replace(phase=WIDEN, after=opening, what="switch keys on"))
            second.append(change._replace(before=opening, existed=True))
        else:
            first.append(change._replace(phase=WIDEN))
    reload = Change("server", WIDEN, current.verb, current.unit, "make sshd take keys")
    return first + [reload] + second + [reload._replace(phase=NARROW, what="make sshd read its configuration")]


def _reload_changes(current: Current, changes: List[Change]) -> List[Change]:
    if not changes and not current.listener:
        return []
    what = "start sshd anew" if current.verb == "restart" else "make sshd read its configuration"
    what += f": {current.listener}" if current.listener and not changes else ""
    return changes + [Change("server", NARROW, current.verb, current.unit, what)]


def _probes(host: Host, tree: sshd_tree.Tree) -> List[Probe]:
    if not host.blocks:
        return [None]
    people = [(account.name, host.groups(account)) for account in host.everyone()]
    return [None] + list(effective.witnesses(tree, people, [host.client]))


def _criteria(item: Mapping[str, Any], index: int) -> str:
    criteria = str(item.get("criteria") or "").strip()
    if not criteria or "\n" in criteria:
        raise Malformed(
            "a Match needs its criteria on one line", "give for example `User alice`", f"match[{index}].criteria"
        )
    return criteria


def _pairs(settings: Optional[Mapping[str, Any]], where: str) -> Tuple[Tuple[str, str], ...]:
    return tuple((str(name), _value(value, f"{where}.{name}")) for name, value in (settings or {}).items())


def _value(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(_value(part, where) for part in value) if value else _value(None, where)
    text = "" if value is None or isinstance(value, Mapping) else str(value)
    if re.search("[\n\r\0#]", text) or not text.strip():
        raise Malformed(
            "the value must be one line without `#`",
            "comments and line ends mean different things to different versions",
            where,
        )
    return text


__all__ = ["Current", "DROP_IN", "Desired", "apply", "observe", "outcome", "plan", "render"]
