# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's sshd: which binary, which version, which files it reads, what it answers. PRIVATE to the collection."""

import getopt
import glob
import os
import re
import shutil
import tempfile
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._errors import HostError, Malformed, Refused
from .._openssh import candidate, sshd_tree
from .._openssh.effective import ORDINARY, Connection
from .._openssh.version import SshdVersion, parse_version
from . import files, processes, programs, systemd

UNITS = ("sshd.service", "ssh.service")
_SCRATCH = "/run"
MAIN = "/etc/ssh/sshd_config"
# sshd.c of 8.0 to 10.0; those of them that change settings.
_GETOPT = "46DGQRTVdeiqrtb:C:c:E:f:g:h:k:o:p:u:"
_SETTING_OPTIONS = ("-4", "-6", "-b", "-c", "-g", "-h", "-k", "-o", "-p", "-u")
Answer = Dict[str, Tuple[str, ...]]


class Sshd(NamedTuple):
    """sshd as it is installed and started: ``options`` are the arguments of its command line that change settings."""

    binary: str
    version: SshdVersion
    unit: systemd.Unit
    main: str
    options: Tuple[str, ...]


def locate() -> Sshd:
    """Find the sshd of this host and how it is started.

    Raises:
        HostError: it is not installed, or no unit of it runs.
    """
    binary = programs.find("sshd")
    if binary is None:
        raise HostError("sshd is not installed", "run `dnf install openssh-server`")
    unit = next((found for found in map(systemd.show, UNITS) if found.loaded), None)
    if unit is None or not unit.active:
        raise HostError(
            "sshd.service is not running (started by a socket, or by hand?)",
            "run `systemctl disable --now sshd.socket; systemctl enable --now sshd.service`",
        )
    arguments = unit.argv[1:]
    return Sshd(binary, _version(binary), unit, _main_file(arguments), _setting_options(arguments))


def _version(binary: str) -> SshdVersion:
    # Before 9.2 there is no -V: sshd then prints its version above the usage, with exit status 1.
    answer = programs.run([binary, "-V"])
    found = re.search(r"OpenSSH_\S+.*", answer.out + answer.err)
    if found is None:
        raise HostError("sshd does not say which version it is", where=binary)
    flavour = (
        "debian" if "Debian" in found.group(0) else "redhat" if os.path.exists("/etc/redhat-release") else "upstream"
    )
    return parse_version(found.group(0), flavour)


def _read_arguments(arguments: Sequence[str]) -> List[Tuple[str, str]]:
    try:
        return getopt.getopt(list(arguments), _GETOPT)[0]
    except getopt.GetoptError as error:
        raise HostError(f"sshd's command line cannot be read: {error}", "see `systemctl cat sshd.service`") from error


def _main_file(arguments: Sequence[str]) -> str:
    return ([MAIN] + [value for name, value in _read_arguments(arguments) if name == "-f"])[-1]


def _setting_options(arguments: Sequence[str]) -> Tuple[str, ...]:
    return tuple(name + value for name, value in _read_arguments(arguments) if name in _SETTING_OPTIONS)


def command_line_settings(sshd: Sshd) -> Tuple[str, ...]:
    """Return the settings of sshd's command line as ``Keyword=value``; they beat the files (sshd(8) -o, -p)."""
    words = list(sshd.options)
    found = []
    while words:
        word = words.pop(0)
        value = word[2:] or (words.pop(0) if words else "")
        if word.startswith("-o"):
            found.append(value)
        elif word.startswith("-p"):
            found.append(f"Port={value}")
    return tuple(found)


def read_tree(sshd: Sshd) -> sshd_tree.Tree:
    """Read the main file and every file that its Include lines name, however deep."""
    contents: Dict[str, bytes] = {}
    waiting = [sshd.main]
    while waiting:
        path = waiting.pop(0)
        if path in contents:
            continue
        state = files.read(path)
        if state.kind == "missing" and path == sshd.main:
            raise HostError("is missing, so sshd cannot be configured", "run `dnf reinstall openssh-server`", path)
        if state.kind != "file":
            continue
        contents[path] = state.data
        for pattern in sshd_tree.include_patterns(state.data, sshd.version, "/etc/ssh"):
            waiting += sorted(glob.glob(pattern))
    return sshd_tree.Tree(sshd.main, contents, sshd.version, "/etc/ssh", command_line_settings(sshd))


def lay_out(sshd: Sshd, tree: sshd_tree.Tree, root: str) -> str:
    """Write a tree below another root, its Include lines led there; return where its main file is then."""
    try:
        for path, data in tree.files.items():
            target = _below(root, path)
            os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
            with open(target, "wb") as handle:
                handle.write(candidate.with_include_root(data, sshd.version, tree.base_dir, root))
    except OSError as error:
        raise HostError(f"the candidate cannot be written: {error.strerror}", "make room", root) from error
    return _below(root, tree.main)


def _below(root: str, path: str) -> str:
    return root + os.path.normpath("/" + path.lstrip("/"))


class Candidate:
    """A configuration tree as files in a scratch directory, to be asked about by sshd itself."""

    def __init__(self, sshd: Sshd, tree: sshd_tree.Tree) -> None:
        self._sshd = sshd
        try:
            self._root = tempfile.mkdtemp(prefix="latchkey-candidate-", dir=_SCRATCH)
        except OSError as error:
            raise HostError(f"no scratch directory can be made: {error.strerror}", "run as root", _SCRATCH) from error
        self._answers: Dict[Optional[Connection], Answer] = {}
        try:
            self._main = lay_out(sshd, tree, self._root)
        except HostError:
            self.__exit__()
            raise

    def __enter__(self) -> "Candidate":
        return self

    def __exit__(self, *_unused: object) -> None:
        shutil.rmtree(self._root, ignore_errors=True)

    def check(self) -> Optional[str]:
        """Return what ``sshd -t`` has against the tree, in words that name the real files, or None."""
        answer = programs.run([self._sshd.binary, "-t", "-f", self._main] + list(self._sshd.options))
        return None if answer.status == 0 else self._real(answer.err)

    def ask(self, connection: Optional[Connection]) -> Answer:
        """Return the effective values for one kind of connection: ``sshd -T``, with ``-C`` where one is given."""
        if connection not in self._answers:
            self._answers[connection] = self._ask(connection)
        return self._answers[connection]

    def _ask(self, connection: Optional[Connection]) -> Answer:
        argv = [self._sshd.binary, "-T", "-f", self._main] + list(self._sshd.options)
        if connection is not None:
            argv += ["-C", connection_spec(connection)]
        answer = programs.run(argv)
        if connection is None and "connection test specification" in answer.err:
            return self._ask(ORDINARY)
        if answer.status != 0:
            raise Malformed(
                f"sshd does not accept its configuration: {self._real(answer.err)}", "correct it before anything else"
            )
        return parse_answer(answer.out)

    def _real(self, message: str) -> str:
        return " ".join(message.replace(self._root, "").split())


def connection_spec(connection: Connection) -> str:
    """Write a connection as ``sshd -T -C`` takes it (sshd(8)); values with a comma or a blank cannot be said there."""
    pairs = [("user", connection.user), ("host", connection.host), ("addr", connection.addr)]
    pairs += [("laddr", connection.laddr), ("lport", str(connection.lport or "")), ("rdomain", connection.rdomain)]
    return ",".join(f"{name}={value}" for name, value in pairs if value)


def parse_answer(text: str) -> Answer:
    """Read the output of ``sshd -T``; repeated keywords keep their order (CamelCase keywords from 10.4 on)."""
    found: Dict[str, List[str]] = {}
    for line in text.splitlines():
        keyword, unused, value = line.strip().partition(" ")
        if keyword:
            found.setdefault(keyword.lower(), []).append(value)
    return {keyword: tuple(values) for keyword, values in found.items()}


def listener_problem(sshd: Sshd, tree_paths: Sequence[str], answer: Mapping[str, Tuple[str, ...]]) -> Optional[str]:
    """Say why the running listener does not have the configuration on disk, or None.

    sshd writes its pid file each time it has read its configuration, also after SIGHUP (sshd(8)); without a pid
    file the start of the process counts.
    """
    paths = list(tree_paths) + sorted({os.path.dirname(path) for path in tree_paths if path != sshd.main})
    newer = unread(sshd, paths, answer) or newer_program(sshd, answer)
    return f"{newer} is newer than the running listener" if newer else None


def unread(sshd: Sshd, paths: Sequence[str], answer: Mapping[str, Tuple[str, ...]]) -> str:
    """Return the first of these paths that the running listener has not read as it is, or ''."""
    since = _configured_ns(sshd, answer)
    # Behind a link lies what sshd reads.
    return next((path for path in paths if max(map(_changed_ns, {path, os.path.realpath(path)})) > since), "")


def _changed_ns(path: str) -> int:
    return files.look(path).changed_ns if os.path.exists(path) else 0


def newer_program(sshd: Sshd, answer: Mapping[str, Tuple[str, ...]]) -> str:
    """Return the program of sshd that is newer than the running listener, or ''.

    Times alone do not tell: permissions and labels that are set anew count as changes of a file.
    """
    newer = files.look(os.path.realpath(sshd.binary)).changed_ns > _configured_ns(sshd, answer)
    return sshd.binary if newer and not processes.runs(sshd.unit.pid, sshd.binary) else ""


def options_problem(sshd: Sshd) -> Optional[str]:
    """Say that the running listener was started with other settings than its unit has now, or None.

    SIGHUP keeps the old ones, so only a restart helps. What runs under another name (a wrapper) is not judged.
    """
    unit, running = " ".join(sshd.unit.argv).split(), processes.listener_arguments(sshd.unit.pid)
    if not running or not unit or running[0] != unit[0]:
        return None
    try:
        old, new = _setting_options(running[1:]), _setting_options(unit[1:])
    except HostError:
        return None
    if old == new:
        return None
    changed = sorted(set(old) ^ set(new)) or list(old)
    return f"it was started with other options than {sshd.unit.name} has now ({' '.join(changed)})"


def shows_reloads(answer: Mapping[str, Tuple[str, ...]]) -> bool:
    """Say whether sshd leaves a trace of having read its configuration: without a pid file only its start is one."""
    return (answer.get("pidfile") or ("none",))[0].startswith("/")


def _configured_ns(sshd: Sshd, answer: Mapping[str, Tuple[str, ...]]) -> int:
    pid_file = (answer.get("pidfile") or ("none",))[0]
    written = files.look(pid_file).changed_ns if pid_file.startswith("/") else 0
    return max(written, processes.started_ns(sshd.unit.pid))


def reload(sshd: Sshd, answer: Mapping[str, Tuple[str, ...]]) -> None:
    """Make the listener read its configuration, and wait until it has and listens again.

    Raises:
        HostError: sshd did not come back; the message says where to look.
    """
    _check(sshd)
    before = _configured_ns(sshd, answer)
    systemd.reload(sshd.unit)
    if shows_reloads(answer):
        pid_file = answer["pidfile"][0]
        systemd.wait_for(lambda: files.look(pid_file).changed_ns > before, f"the reload of {sshd.unit.name}")
    systemd.wait_for(lambda: systemd.show(sshd.unit.name).active, f"the return of {sshd.unit.name}")


def restart(sshd: Sshd) -> None:
    """Start the listener anew, which keeps sessions (KillMode=process), and wait until it listens.

    Raises:
        HostError: sshd did not come back, or again not with the options of its unit.
    """
    _check(sshd)
    systemd.restart(sshd.unit)
    systemd.wait_for(lambda: systemd.show(sshd.unit.name).active, f"the return of {sshd.unit.name}")
    problem = options_problem(sshd._replace(unit=systemd.show(sshd.unit.name)))
    if problem:
        raise HostError(f"after a restart of sshd: {problem}", f"see `systemctl cat {sshd.unit.name}`", sshd.unit.name)


def _check(sshd: Sshd) -> None:
    problem = programs.run([sshd.binary, "-t", "-f", sshd.main] + list(sshd.options))
    if problem.status != 0:
        raise Refused(
            f"sshd would not come back: {' '.join(problem.err.split())}", "the running listener was left alone"
        )


def recover(sshd: Sshd) -> None:
    """Have the listener read the files again after they were put back; start it where it is gone."""
    unit = systemd.show(sshd.unit.name)
    if unit.active:
        systemd.reload(unit)
    else:
        systemd.restart(unit)


__all__ = [
    "Answer",
    "Candidate",
    "Sshd",
    "command_line_settings",
    "connection_spec",
    "lay_out",
    "listener_problem",
    "locate",
    "newer_program",
    "options_problem",
    "parse_answer",
    "read_tree",
    "recover",
    "reload",
    "restart",
    "shows_reloads",
    "unread",
]
