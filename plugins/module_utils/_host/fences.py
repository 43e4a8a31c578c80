# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands between a writer and the host; here nothing does. PRIVATE to the collection."""

import contextlib
from typing import Iterator, Optional

from . import accounts


class Fence:
    """No transaction and nothing to look for: every write may go on."""

    transaction = ""

    @contextlib.contextmanager
    def writing(self, path: str, after: Optional[bytes], account: Optional[accounts.Account] = None) -> Iterator[None]:
        """Let one file be written."""
        yield

    @contextlib.contextmanager
    def reloading(self, unit: str) -> Iterator[None]:
        """Let one service be reloaded or restarted."""
        yield


__all__ = ["Fence"]
