# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd units: what runs, how it was started, reload and restart. PRIVATE to the collection."""

import re
import shlex
import time
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from .._errors import HostError
from . import files, programs

_PROPERTIES = "LoadState,ActiveState,MainPID,ExecStart,Environment,EnvironmentFiles,NeedDaemonReload"
_ARGV = re.compile(r"argv\[\]=(.*?) ; ")
_WORD = re.compile(r"\$\{(\w+)\}|\$(\w+)")


class Unit(NamedTuple):
    """A service: its name, state, main process, and the arguments systemd starts it with, variables filled in."""

    name: str
    loaded: bool
    active: bool
    pid: int
    argv: Tuple[str, ...]


def show(name: str) -> Unit:
    """Return a unit as systemd has it loaded (systemctl(1) show)."""
    answer = programs.run(["systemctl", "show", "--no-pager", "-p", _PROPERTIES, name])
    if answer.status != 0:
        raise HostError(f"systemctl cannot be asked about {name}: {answer.err.strip()}", "is systemd running as PID 1?")
    values: Dict[str, List[str]] = {}
    for line in answer.out.splitlines():
        key, unused, value = line.partition("=")
        values.setdefault(key, []).append(value)
    environment_files = tuple(value.split(" ")[0] for value in values.get("EnvironmentFiles", []) if value)
    environment = _environment(values.get("Environment", [""])[0], environment_files)
    return Unit(
        name,
        values.get("LoadState") == ["loaded"],
        values.get("ActiveState") == ["active"],
        int(values.get("MainPID", ["0"])[0] or 0),
        _argv(values.get("ExecStart", [""])[0], environment),
    )


def environment_lines(name: str) -> List[str]:
    """Return the lines that give another unit the environment of this one (systemd.exec(5))."""
    answer = programs.run(["systemctl", "show", "--no-pager", "-p", "Environment,EnvironmentFiles", name])
    found = []
    for line in answer.out.splitlines():
        key, unused, value = line.partition("=")
        if key == "EnvironmentFiles" and value:
            path, unused, note = value.rpartition(" (")
            found.append("EnvironmentFile=" + ("-" if "ignore_errors=yes" in note else "") + path)
        elif key == "Environment" and value:
            found.append("Environment=" + value.replace("%", "%%"))
    return found


def quoted(word: str) -> str:
    """Write one word of a command line so that systemd takes it as it is (systemd.service(5), COMMAND LINES)."""
    for special, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(special, written)
    return f'"{word}"'


def _environment(inline: str, paths: Sequence[str]) -> Dict[str, str]:
    found = dict(word.split("=", 1) for word in _words(inline) if "=" in word)
    for path in paths:
        state = files.read(path)
        if state.kind == "file":
            found.update(_assignments(state.data.decode("utf-8", "replace")))
    return found


def _assignments(text: str) -> Dict[str, str]:
    found = {}
    for line in text.replace("\\\n", "").splitlines():
        name, separator, value = line.strip().partition("=")
        if separator and not name.startswith(("#", ";")):
            found[name.strip()] = "".join(_unquoted(value.strip()))
    return found


def _unquoted(value: str) -> List[str]:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return [value[1:-1]]
    return [value]


def _argv(exec_start: str, environment: Dict[str, str]) -> Tuple[str, ...]:
    found = _ARGV.search(exec_start)
    words: List[str] = []
    for word in found.group(1).split() if found else []:
        # systemd.service(5): $NAME as a word of its own is split at blanks, ${NAME} and embedded ones are not.
        if word.startswith("$") and not word.startswith("${"):
            words += _words(environment.get(word[1:], ""))
        else:
            words.append(_WORD.sub(lambda match: environment.get(match.group(1) or match.group(2), ""), word))
    return tuple(words)


def _words(text: str) -> List[str]:
    """Split as systemd does, which takes a quote that is not closed as closed at the end."""
    for closing in ("", "'", '"'):
        try:
            return shlex.split(text + closing)
        except ValueError:
            continue
    return text.split()


def reload(unit: Unit) -> None:
    """Ask a unit to read its configuration again."""
    _control("reload", unit.name)


def restart(unit: Unit) -> None:
    """Stop and start a unit."""
    _control("restart", unit.name)


def _control(verb: str, name: str) -> None:
    answer = programs.run(["systemctl", verb, name], timeout=90)
    if answer.status != 0:
        raise HostError(f"`systemctl {verb} {name}` failed: {answer.err.strip()}", f"see `journalctl -u {name}`")


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Wait until ``condition()`` is true; a HostError names ``what`` when it does not become so in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise HostError(f"{what} did not happen within {seconds:g} s", "see the unit's journal")
        time.sleep(0.02)


__all__ = ["Unit", "environment_lines", "quoted", "reload", "restart", "show", "wait_for"]
