# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths of the tool, its one error class, and how it runs programs."""

import contextlib
import fcntl
import hashlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
PROJECT = HOME.parents[1]
BUILD = PROJECT / "build" / "hosts"
CACHE = BUILD / "cache"


class ToolError(Exception):
    """Say what went wrong and what to do now; the command line prints it as it is."""


def run(argv: Sequence[str], *, stdin: bytes | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run a program and return its output; raise ToolError with its last words when it fails and `check` is set."""
    feed: Mapping[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    done = subprocess.run(argv, capture_output=True, check=False, **feed)
    if check and done.returncode != 0:
        words = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-8:]
        raise ToolError(f"{' '.join(argv[:12])}: exit {done.returncode}\n  " + "\n  ".join(words))
    return done


def text(argv: Sequence[str]) -> str:
    """Run a program and return its standard output, stripped."""
    return run(argv).stdout.decode().strip()


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold build/hosts/NAME.lock, so that two calls of the tool at once do not undo each other's work."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / f"{name}.lock", "w", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def digest(*parts: bytes) -> str:
    """Return a short content hash of the parts, in order."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:12]


def tree_bytes(root: Path) -> bytes:
    """Return a byte string that changes whenever a file below `root` changes in path, mode or content."""
    lines = []
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            lines.append(f"{path.relative_to(root)} -> {path.readlink()}".encode())
        elif path.is_file() and "__pycache__" not in path.parts:
            lines.append(
                f"{path.relative_to(root)} {path.stat().st_mode & 0o111:o}".encode() + b"\0" + path.read_bytes()
            )
    return b"\0".join(lines)
