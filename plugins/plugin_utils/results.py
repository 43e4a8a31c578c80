# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engine errors as task results: a host that is refused or away is data until the summary."""

from __future__ import annotations

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError


def describe(error: Exception) -> dict[str, str]:
    """Return an error as data; an error of Ansible's own keeps its words on one line."""
    if isinstance(error, LatchkeyError):
        return {
            "kind": type(error).__name__.lower(),
            "where": error.where,
            "reason": error.reason,
            "remedy": error.remedy,
        }
    return describe(HostError(" ".join(str(error).split())))


def sentence(refusal: dict[str, str]) -> str:
    """Return a described error as people read it."""
    text = f"{refusal['where']}: {refusal['reason']}" if refusal["where"] else refusal["reason"]
    return f"{text}. {refusal['remedy']}" if refusal["remedy"] else text


__all__ = ["describe", "sentence"]
