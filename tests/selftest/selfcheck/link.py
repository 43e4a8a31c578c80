# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to the host: a console that stays open while nobody can log in, and brand-new logins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from . import judge
from .options import Options

# An option that is named twice counts as it stands first (ssh_config(5)).
_FRESH = ("-S", "none", "-o", "ControlMaster=no", "-o", "PreferredAuthentications=publickey", "-v")
_QUIET = (
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=5",
    "-o",
    "ServerAliveCountMax=4",
)
_SECONDS = 120.0


class Unreachable(Exception):
    """There is no way to the host at present."""


class Attempt(NamedTuple):
    """How one login ended: whether a command was run as root, whether an SSH server answered at all, what was said."""

    ok: bool
    reached: bool
    out: str
    said: str


class Link:
    """One host as its user reaches it."""

    def __init__(self, options: Options, folder: Path, password: str | None) -> None:
        self._options, self._socket = options, folder / "console"
        self.password = password
        self._sudo = ""
        # The key that opens the host, where it is a file: given, or seen to be taken at a brand-new login.
        self.key = options.key

    # --- arguments -----------------------------------------------------------------------------------------------

    def arguments(self) -> list[str]:
        """Return what the user gave for ssh; Ansible is given the same."""
        key = ["-i", self._options.key, "-o", "IdentitiesOnly=yes"] if self._options.key else []
        return [*key, *self._options.ssh_args]

    def _argv(self, first: tuple[str, ...], command: str) -> list[str]:
        user = ["-l", self._options.user] if self._options.user else []
        return ["ssh", *first, *self.arguments(), *user, self._options.host, command]

    # --- the console ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the console; where nobody knows the host's key yet, ssh asks the user.

        Raises:
            Unreachable: with what ssh says.
        """
        self.close()
        asks = () if sys.stdin.isatty() else ("-o", "BatchMode=yes")
        first = ("-M", "-S", str(self._socket), "-o", "ControlPersist=3600", *asks, *_QUIET[2:])
        # Its standard error would stay open as long as the console does.
        log = self._socket.with_suffix(".log")
        with log.open("wb") as stderr:
            argv, quiet = self._argv(first, "true"), subprocess.DEVNULL
            done = subprocess.run(argv, stdout=quiet, stderr=stderr, timeout=_SECONDS, check=False)
        if done.returncode != 0:
            raise Unreachable(" ".join(log.read_text(errors="replace").split()) or "ssh did not log in")

    def close(self) -> None:
        """Close the console."""
        argv = self._argv(("-S", str(self._socket), "-O", "exit"), "")
        subprocess.run(argv[:-1], capture_output=True, check=False, timeout=_SECONDS)
        self._socket.unlink(missing_ok=True)

    def run(self, command: str, data: str = "", seconds: float = _SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command over the console, and never over a login of its own.

        Raises:
            Unreachable: the console is gone.
        """
        first = ("-S", str(self._socket), "-o", "ControlMaster=no", "-o", "ProxyCommand=false", *_QUIET)
        try:
            done = subprocess.run(
                self._argv(first, command), input=data, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise Unreachable(f"no answer within {seconds:g} s") from error
        if done.returncode == 255:
            raise Unreachable(" ".join(done.stderr.split()) or "the console is gone")
        return done

    def alive(self) -> bool:
        """Say whether the console still answers."""
        try:
            return self.run("true", seconds=20).returncode == 0
        except Unreachable:
            return False

    # --- root ----------------------------------------------------------------------------------------------------

    def learn_sudo(self) -> bool:
        """Find out how this user becomes root; False where a password is needed and not known or wrong."""
        if self.run("id -u").stdout.strip() == "0":
            self._sudo = ""
        elif self.run("sudo -n -k true").returncode == 0:
            self._sudo, self.password = "sudo -n ", None
        elif self.password is None:
            return False
        else:
            self._sudo = "sudo -k -S -p '' "
            return self.root("true").returncode == 0
        return True

    def root(self, command: str, data: str = "", seconds: float = _SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command as root over the console."""
        return self.run(self._as_root(command), self._with_password(data), seconds)

    def _as_root(self, command: str) -> str:
        quoted = command.replace("'", "'\\''")
        return f"{self._sudo}sh -c '{quoted}'"

    def _with_password(self, data: str) -> str:
        # sudo -S reads one line and leaves the rest to what it runs.
        return f"{self.password}\n{data}" if "-S" in self._sudo and self.password is not None else data

    # --- brand-new logins ----------------------------------------------------------------------------------------

    def enter(self, command: str, data: str = "", seconds: float = 60.0) -> Attempt:
        """Log in anew by key alone and run a command as root."""
        argv = self._argv((*_FRESH, *_QUIET), self._as_root(command))
        try:
            done = subprocess.run(
                argv, input=self._with_password(data), capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return Attempt(False, False, "", f"no answer within {seconds:g} s")
        said = [line for line in done.stderr.splitlines() if not line.startswith(("debug1:", "OpenSSH_"))]
        reached = "Remote protocol version" in done.stderr
        self.key = self.key or judge.key_file(done.stderr)
        return Attempt(done.returncode == 0, reached, done.stdout, " ".join(" ".join(said).split()))

    def offered(self) -> tuple[str, ...]:
        """Return the authentication methods that the server names to a client without any."""
        first = (*_FRESH[:4], "-o", "PreferredAuthentications=none", *_QUIET)
        argv = self._argv(first, "true")
        done = subprocess.run(argv, input="", capture_output=True, text=True, timeout=60, check=False)
        methods = done.stderr.rpartition("Permission denied (")[2].partition(")")[0]
        return tuple(sorted(methods.split(","))) if methods else ()


__all__ = ["Attempt", "Link", "Unreachable"]
