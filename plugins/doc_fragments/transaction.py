# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that every writing module shares."""


class ModuleDocFragment:
    """The transaction that a write belongs to."""

    DOCUMENTATION = r"""
options:
  transaction:
    description:
      - The id of the transaction (M(latchkey.ssh.guard)) that the changes belong to. They are refused when it is over
        or past its deadline, and taken back when nobody confirms it.
      - Without it, changes are refused where a transaction that is under way covers what they write.
    type: str
"""
