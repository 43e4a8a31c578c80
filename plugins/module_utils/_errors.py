# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the engine. PRIVATE to the collection.

The engine raises them, ``_module.py`` and the action plugins turn them into results; nobody else catches them.
"""


class LatchkeyError(Exception):
    """Say what is wrong, where, and what to do now.

    Args:
        reason: what was found, without a full stop at the end.
        remedy: what the operator does now; may be empty where nothing helps.
        where: ``path:line`` or the name of the field; may be empty.
    """

    def __init__(self, reason: str, remedy: str = "", where: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.where = where

    def __str__(self) -> str:
        text = f"{self.where}: {self.reason}" if self.where else self.reason
        return f"{text}. {self.remedy}" if self.remedy else text


class Malformed(LatchkeyError):
    """What was given cannot be read: wrong syntax, wrong type, wrong encoding."""


class Unsupported(LatchkeyError):
    """What was given is well formed, but not known to this version or platform."""


class Refused(LatchkeyError):
    """What was asked for could lock somebody out or could open a host, so nothing was done."""


class HostError(LatchkeyError):
    """The machine did not do what it should: a file, a command or a service failed."""


__all__ = ["HostError", "LatchkeyError", "Malformed", "Refused", "Unsupported"]
