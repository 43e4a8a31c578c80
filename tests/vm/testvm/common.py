# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths of the tool, and the packages of this machine that it needs."""

import os
import shutil
from pathlib import Path

from testhosts.common import PROJECT, ToolError, run

HOME = Path(__file__).resolve().parents[1]
HOSTS = HOME.parent / "hosts"
BUILD = PROJECT / "build" / "vm"
CACHE = BUILD / "cache"
KEY = BUILD / "keys" / "root"

# program that shows that the package is there -> its name for apt
PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "ssh": "openssh-client",
    "sshpass": "sshpass",
}


def install() -> list[str]:
    """Install what is missing by apt and return the packages installed; say which where that cannot be done."""
    absent = [probe for probe in PACKAGES if not (shutil.which(probe) or os.path.exists(probe))]
    names = sorted({PACKAGES[probe] for probe in absent})
    if not names:
        return []
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ToolError("these packages (Debian's names) are missing, install them first: " + " ".join(names))
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run(["apt-get", "update", "-qq"], check=False)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names])
    return names
