# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes that the modules of this collection share."""


class ModuleDocFragment:
    """Check mode, diff and platform."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run without changing the host.
    support: full
  diff_mode:
    description: Shows what is changed, file by file.
    support: full
  idempotent:
    description: Changes nothing where nothing is to do.
    support: full
  platform:
    description: Where it works.
    support: full
    platforms: AlmaLinux
requirements:
  - Python 3.6 or newer on the host
"""
