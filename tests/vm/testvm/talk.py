# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talk to a running machine: to qemu over QMP, and to the shell inside over a virtio port, past sshd."""

import base64
import contextlib
import fcntl
import json
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from testhosts.common import ToolError

PORTS = 3  # so many commands can run inside at once


class Silent(ToolError):
    """Nobody answered in time."""


def qmp(path: Path, command: str, **arguments: Any) -> Any:
    """Send qemu one command and return what it answers."""
    answer: dict[str, Any] | None = None
    with _connected(path, 600) as (connection, lines):
        for words in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
            connection.sendall(json.dumps(words).encode())
            answer = next((line for line in map(json.loads, lines) if "return" in line or "error" in line), None)
            if answer is None or "error" in answer:
                raise ToolError(f"qemu: {command}: {answer}")
    return answer["return"] if answer else None


def monitor(path: Path, line: str) -> None:
    """Give qemu one line of its human monitor; any words in return are an error."""
    words = qmp(path, "human-monitor-command", **{"command-line": line})
    if words.strip():
        raise ToolError(f"qemu: {line}: {words.strip()}")


@contextlib.contextmanager
def _connected(path: Path, seconds: float) -> Iterator[tuple[socket.socket, Iterator[bytes]]]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(str(path))
            with connection.makefile("rb") as lines:
                yield connection, lines
        except (OSError, ValueError) as error:
            raise Silent(f"no answer from {path.name} of {path.parent.name}: {error}") from error


def execute(
    directory: Path, argv: Sequence[str], stdin: bytes = b"", seconds: float = 600
) -> subprocess.CompletedProcess[bytes]:
    """Run a command inside as root, past sshd, and return what came of it."""
    deadline = time.monotonic() + seconds
    with _port(directory, deadline) as path, _connected(path, seconds) as (connection, lines):
        request = {"id": uuid.uuid4().hex, "argv": list(argv), "stdin": base64.b64encode(stdin).decode()}
        # The empty line ends whatever a caller before us left half sent.
        connection.sendall(b"\n" + json.dumps(request).encode() + b"\n")
        for answer in map(json.loads, lines):
            if answer["id"] == request["id"]:
                out, err = (base64.b64decode(answer[name]) for name in ("out", "err"))
                return subprocess.CompletedProcess(list(argv), answer["code"], out, err)
    raise Silent(f"{directory.name} was switched off while it ran {' '.join(argv)}")


@contextlib.contextmanager
def _port(directory: Path, deadline: float) -> Iterator[Path]:
    """Hold one of the ports that nobody else uses."""
    while time.monotonic() < deadline:
        for number in range(PORTS):
            with open(directory / f"exec{number}.lock", "w", encoding="ascii") as handle:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    yield directory / f"exec{number}"
                    return
        time.sleep(0.1)
    raise Silent(f"{directory.name}: all {PORTS} ports for commands are in use")
