# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three generations of AlmaLinux and what stands in for them."""

from typing import NamedTuple


class Generation(NamedTuple):
    """One generation: its number, the release that is imitated, the Debian suite below, the image to pull."""

    number: int
    release: str
    suite: str
    image: str

    @property
    def group(self) -> str:
        """Return the inventory group of its hosts."""
        return f"gen{self.number}"


GENERATIONS = {
    8: Generation(8, "8.10", "bullseye", "docker.io/almalinux/8-init"),
    9: Generation(9, "9.6", "bookworm", "docker.io/almalinux/9-init"),
    10: Generation(10, "10.0", "trixie", "docker.io/almalinux/10-init"),
}

# What a minimal installation of AlmaLinux has and its init image lacks.
ALMALINUX_PACKAGES = (
    "openssh-server",
    "openssh-clients",
    "sudo",
    "firewalld",
    "nftables",
    "rsyslog",
    "iproute",
    "procps-ng",
    "passwd",
)

# What a stand-in is made of. libnss-extrausers: accounts that are in no /etc/passwd (start state ipa).
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "openssh-server",
    "openssh-client",
    "python3",
    "sudo",
    "iproute2",
    "procps",
    "netbase",
    "passwd",
    "firewalld",
    "nftables",
    "rsyslog",
    "libnss-extrausers",
)
