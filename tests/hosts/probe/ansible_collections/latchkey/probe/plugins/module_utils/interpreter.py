# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say which Python runs here; enough to show that module_utils reach the host and work on its Python."""

import sys
from typing import NamedTuple


class Interpreter(NamedTuple):
    """The Python that runs a module."""

    executable: str
    version: str


def interpreter() -> Interpreter:
    """Return the running interpreter."""
    return Interpreter(sys.executable, '.'.join(str(part) for part in sys.version_info[:3]))
