# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engine errors as task results: a host that is refused or away is data until the summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import (
    HostError,
    LatchkeyError,
    Malformed,
    Refused,
    Unsupported,
)


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


def error_of(result: Mapping[str, Any]) -> LatchkeyError:
    """Return the error that a failed module of ours described."""
    told = result.get("error") or {}
    kind = {one.__name__.lower(): one for one in (Malformed, Refused, Unsupported)}.get(told.get("kind", ""), HostError)
    return kind(
        str(told.get("reason") or result.get("msg") or "failed"),
        str(told.get("remedy") or ""),
        str(told.get("where") or ""),
    )


def sentence(refusal: dict[str, str]) -> str:
    """Return a described error as people read it."""
    text = f"{refusal['where']}: {refusal['reason']}" if refusal["where"] else refusal["reason"]
    return f"{text}. {refusal['remedy']}" if refusal["remedy"] else text


__all__ = ["describe", "error_of", "sentence"]
