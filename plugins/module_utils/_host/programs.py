# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the host's own programs. PRIVATE to the collection."""

import os
import select
import subprocess
import time
from typing import Iterator, NamedTuple, Optional, Sequence, Tuple

from .._errors import HostError

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C", "LANG": "C"}


class Outcome(NamedTuple):
    """What a program did: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


def run(argv: Sequence[str], timeout: float = 30.0) -> Outcome:
    """Run ``argv`` without a shell, in the C locale, and wait for at most ``timeout`` seconds.

    Raises:
        HostError: the program is missing or did not end in time. A non-zero exit status is not an error here.
    """
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function # the engine knows no AnsibleModule
            list(argv),
            input=b"",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout,
            env=_ENVIRONMENT,
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"`{argv[0]}` did not end within {timeout:g} s", "look at the host's load and its disks"
        ) from error
    except OSError as error:
        raise HostError(f"`{argv[0]}` cannot be run: {error.strerror}") from error
    return Outcome(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def lines(argv: Sequence[str], seconds: float) -> Iterator[str]:
    """Yield what ``argv`` prints line by line, so that it may be more than memory holds; its errors are dropped.

    Raises:
        HostError: the program is missing, or has not ended after ``seconds``.
    """
    end = time.monotonic() + seconds
    reader, process = _start(argv)
    rest = b""
    try:
        while True:
            if not select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
                raise HostError(f"`{argv[0]}` did not end within {seconds:g} s")
            part = os.read(reader, 1 << 16)
            *whole, rest = (rest + part).split(b"\n") if part else [rest, b""]
            yield from (line.decode("utf-8", "replace") for line in whole if part or line)
            if not part:
                return
    finally:
        os.close(reader)
        process.kill()
        process.wait()


def _start(argv: Sequence[str]) -> Tuple[int, "subprocess.Popen[bytes]"]:
    reader, writer = os.pipe()
    try:
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            list(argv), stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.DEVNULL, env=_ENVIRONMENT, cwd="/"
        )
    except OSError as error:
        os.close(reader)
        raise HostError(f"`{argv[0]}` cannot be run: {error.strerror}") from error
    finally:
        os.close(writer)
    return reader, process


def find(name: str) -> Optional[str]:
    """Return the absolute path of a program in the system's directories, or None."""
    for directory in _PATH.split(":"):
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


__all__ = ["Outcome", "find", "lines", "run"]
