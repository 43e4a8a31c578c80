# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux labels by the policy's own file contexts, through libselinux. PRIVATE to the collection.

A file that root makes in a home directory gets the wrong label by inheritance, and sshd may then not read it.
Hosts have libselinux, but not always its Python binding for the interpreter in use: hence ctypes.
"""

import ctypes
import os
from typing import Optional

from .._errors import HostError


def enabled() -> bool:
    """Say whether the kernel enforces or reports SELinux on this machine (selinuxfs is mounted)."""
    return os.path.exists("/sys/fs/selinux/enforce")


def label_for(path: str, mode: int) -> Optional[bytes]:
    """Return the context that the policy gives ``path`` of that st_mode, or None without SELinux (matchpathcon(3))."""
    if not enabled():
        return None
    try:
        library = ctypes.CDLL("libselinux.so.1", use_errno=True)
    except OSError as error:
        raise HostError(
            "SELinux is on, but libselinux.so.1 cannot be loaded", "install the package libselinux"
        ) from error
    context = ctypes.c_char_p()
    if library.matchpathcon(os.fsencode(path), ctypes.c_uint(mode), ctypes.byref(context)) != 0:
        return None
    label = bytes(context.value or b"") + b"\0"
    library.freecon(context)
    return label


def set_label(handle: int, label: Optional[bytes]) -> None:
    """Label an open file; None leaves it alone."""
    if label is None or not enabled():
        return
    try:
        if os.getxattr(handle, "security.selinux").rstrip(b"\0") == label.rstrip(b"\0"):
            return
    except OSError:
        pass
    os.setxattr(handle, "security.selinux", label)


__all__ = ["enabled", "label_for", "set_label"]
