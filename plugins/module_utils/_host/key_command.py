# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that come from AuthorizedKeysCommand (IPA, SSSD, EC2), asked as sshd would. PRIVATE to the collection."""

import shlex
import time
from typing import List, Mapping, Tuple

from .._errors import LatchkeyError
from .._openssh import authorized_keys, percent
from .._openssh.keys import PublicKey
from .._openssh.version import SshdVersion
from . import accounts, programs, users

_PER_KEY_TOKENS = ("%k", "%f", "%t", "%C", "%D")
_TIMEOUT = 10.0
_ALL_SECONDS = 60.0
Answer = Mapping[str, Tuple[str, ...]]


def output(answer: Answer, account: accounts.Account) -> bytes:
    """Return what AuthorizedKeysCommand prints for an account, or nothing where it cannot be asked beforehand.

    Commands that want the offered key (%k, %f, %t) can only be asked during a login (sshd_config(5)); what a command
    prints that fails is thrown away (auth2-pubkey.c).
    """
    command = answer.get("authorizedkeyscommand", ("none",))[0]
    runner = accounts.find(answer.get("authorizedkeyscommanduser", ("",))[0])
    if command == "none" or runner is None or any(token in command for token in _PER_KEY_TOKENS):
        return b""
    tokens = percent.of_account(account.name, account.home, account.uid)
    try:
        words = [percent.expand(word, tokens) for word in shlex.split(command)]
    except ValueError:
        # A quote that is not closed: sshd cannot run it either.
        return b""
    if len(words) == 1:
        words.append(account.name)
    try:
        said = users.run_as(runner, lambda: programs.run(words, timeout=_TIMEOUT))
    except LatchkeyError:
        return b""
    return said.out.encode() if said.status == 0 else b""


class Asker:
    """Ask the command about many accounts, for a minute in all: directories can have thousands of accounts."""

    def __init__(self) -> None:
        self._end = time.monotonic() + _ALL_SECONDS

    def output(self, answer: Answer, account: accounts.Account) -> bytes:
        """Return what ``output`` does, or nothing when the time is over: then the account counts as without a key."""
        return output(answer, account) if time.monotonic() < self._end else b""


def keys(listed: bytes, version: SshdVersion) -> List[PublicKey]:
    """Return the keys among the command's lines that sshd would take."""
    document = authorized_keys.AuthorizedKeys.parse(listed, version)
    return [entry.key for entry in document.entries if entry.key is not None and document.grants(entry.key)]


__all__ = ["Asker", "keys", "output"]
