# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run OpenSSH's own programs on the controller: never for long, never without a word when they are missing."""

from __future__ import annotations

import subprocess

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError

# Agents that are forwarded and dead, and Match exec in ssh_config, can hang.
_SECONDS = 20


def run(words: list[str], given: bytes = b"", seconds: float = _SECONDS) -> subprocess.CompletedProcess[str]:
    """Run a program with ``given`` as its standard input, for so many ``seconds`` at most.

    Raises:
        HostError: it is not installed on the controller, or does not end.
    """
    try:
        done = subprocess.run(words, input=given, capture_output=True, check=False, timeout=seconds)
    except FileNotFoundError as error:
        raise HostError(f"`{words[0]}` is not installed on the controller", "install the OpenSSH clients") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"`{words[0]}` does not answer on the controller", "is the agent alive? see SSH_AUTH_SOCK"
        ) from error
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    return subprocess.CompletedProcess(words, done.returncode, out, err)


__all__ = ["run"]
