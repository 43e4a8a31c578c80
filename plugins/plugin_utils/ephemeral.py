# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the home of this controller outlive the job? A key that is lost after a green run is a lock-out."""

from __future__ import annotations

import os
from collections.abc import Mapping

_MARKERS = (("/.dockerenv", "a Docker container"), ("/run/.containerenv", "a podman container"))
_RUNNER_VARIABLES = ("AWX_PRIVATE_DATA_DIR", "ANSIBLE_RUNNER_IDENT", "RUNNER_OMIT_EVENTS", "RUNNER_ONLY_FAILED_EVENTS")


def reason(environment: Mapping[str, str]) -> str:
    """Say why this controller looks short-lived, or ''."""
    if environment.get("CI", "").lower() not in ("", "0", "false"):
        return "CI is set"
    for name in _RUNNER_VARIABLES:
        if name in environment:
            return "started by ansible-runner"
    for path, name in _MARKERS:
        if os.path.exists(path):
            return name
    return ""


__all__ = ["reason"]
