# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that come from AuthorizedKeysCommand (IPA, SSSD, EC2), asked as sshd would. PRIVATE to the collection."""

import shlex
from typing import Mapping, Tuple

from .._errors import LatchkeyError
from .._openssh import percent
from . import accounts, programs, users

_PER_KEY_TOKENS = ("%k", "%f", "%t", "%C", "%D")
_TIMEOUT = 10.0


def output(answer: Mapping[str, Tuple[str, ...]], account: accounts.Account) -> bytes:
    """Return what AuthorizedKeysCommand prints for an account, or nothing where it cannot be asked beforehand.

    Commands that want the offered key (%k, %f, %t) can only be asked during a login (sshd_config(5)).
    """
    command = answer.get("authorizedkeyscommand", ("none",))[0]
    runner = accounts.find(answer.get("authorizedkeyscommanduser", ("",))[0])
    if command == "none" or runner is None or any(token in command for token in _PER_KEY_TOKENS):
        return b""
    tokens = percent.of_account(account.name, account.home, account.uid)
    words = [percent.expand(word, tokens) for word in shlex.split(command)]
    if len(words) == 1:
        words.append(account.name)
    try:
        return users.run_as(runner, lambda: programs.run(words, timeout=_TIMEOUT)).out.encode()
    except LatchkeyError:
        return b""


__all__ = ["output"]
