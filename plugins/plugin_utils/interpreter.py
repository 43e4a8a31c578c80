# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's Python, chosen inside the very command that uses it: asking beforehand would be one login more."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from ansible import constants as C
from ansible.module_utils import basic
from ansible.release import __version__ as core_version

NONE_FITS = "LATCHKEY-NO-PYTHON"
_AUTOMATIC = (None, "", "auto", "auto_silent", "auto_legacy", "auto_legacy_silent")
_CANDIDATES = "/usr/bin/python3 /usr/libexec/platform-python /usr/bin/python3.1[0-9] /usr/bin/python3.[6-9]"
# What each core's modules need on the host; from 2.20 on core itself says so in a tuple.
_MINOR_BY_CORE = {(2, 16): 6, (2, 17): 7, (2, 18): 8, (2, 19): 8}


def minimum() -> int:
    """Return N of the oldest Python 3.N that modules of this core run on."""
    said = getattr(basic, "_PY_MIN", None)
    major, minor = (int(part) for part in core_version.split(".")[:2])
    return said[1] if isinstance(said, tuple) else _MINOR_BY_CORE.get((major, minor), 9)


def choose(task_vars: dict[str, Any]) -> str:
    """Return the interpreter the user set, or a command that finds one that fits and becomes it."""
    return _configured(task_vars) or _finder(minimum())


def program(task_vars: dict[str, Any], source: str, arguments: Sequence[str]) -> str:
    """Return a command for the host's shell that runs ``source``, with the standard library alone."""
    # What follows a script of `sh -c` starts with its name. One line: not every login shell takes more in quotes.
    starter = _configured(task_vars) or f"{_finder(minimum())} sh"
    return f"{starter} -I -S -c {shlex.join([f'exec({json.dumps(source)})', *arguments])}"


def _configured(task_vars: dict[str, Any]) -> str:
    value = C.config.get_config_value("INTERPRETER_PYTHON", variables=task_vars)
    return "" if value in _AUTOMATIC else str(value)


def _finder(minor: int) -> str:
    # The minor version is read off the name behind the link; only a name without one is asked, which takes a start.
    script = (
        f'for p in {_CANDIDATES}; do [ -x "$p" ] || continue; r=$(readlink -f "$p"); v=${{r##*python3.}}; '
        'case "$v" in *[!0-9]*) v=$("$p" -c "import sys; print(sys.version_info[1])");; esac; '
        f'[ "$v" -ge {minor} ] && exec "$p" "$@"; s="$s $p=3.$v"; done; echo "{NONE_FITS}$s" >&2; exit 127'
    )
    return f"/bin/sh -c '{script}'"


__all__ = ["NONE_FITS", "choose", "minimum", "program"]
