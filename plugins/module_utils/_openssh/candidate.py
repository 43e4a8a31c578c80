# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lead Include lines of a configuration to a copy of the tree below another root. Pure. PRIVATE to the collection."""

from . import sshd_config, sshd_tree
from .version import SshdVersion


def with_include_root(data: bytes, version: SshdVersion, base_dir: str, root: str) -> bytes:
    """Return the text of one file with every Include pattern moved below ``root``; line numbers stay the same.

    Relative patterns are below ``base_dir`` (sshd_config(5) Include).
    """
    document = sshd_config.parse(data, "", version)
    return b"".join(_moved(line, base_dir, root) for line in document.lines)


def _moved(line: sshd_config.Line, base_dir: str, root: str) -> bytes:
    if line.keyword != "include" or line.problem:
        return line.raw
    # A leading ~ is no home directory: sshd looks for that very name, where it runs.
    patterns = [sshd_tree.absolute(("/" if pattern[:1] == "~" else "") + pattern, base_dir) for pattern in line.args]
    end = line.raw[len(line.raw.rstrip(b"\r\n")) :]
    return b"Include " + " ".join(f'"{root}{pattern}"' for pattern in patterns).encode("utf-8", "surrogateescape") + end


__all__ = ["with_include_root"]
