# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Percent tokens of sshd_config values. Pure. PRIVATE to the collection."""

import re
from typing import Mapping

_TOKEN = re.compile(r"%.")


def expand(text: str, tokens: Mapping[str, str]) -> str:
    """Replace ``%%`` and each token (``%u`` …) in one pass, as sshd does (sshd_config(5) TOKENS).

    A token that is not given stays as it is.
    """
    return _TOKEN.sub(lambda found: "%" if found.group() == "%%" else tokens.get(found.group(), found.group()), text)


def of_account(name: str, home: str, uid: int) -> Mapping[str, str]:
    """Return the tokens that sshd knows for an account before it has seen a key."""
    return {"%u": name, "%h": home, "%U": str(uid)}


__all__ = ["expand", "of_account"]
