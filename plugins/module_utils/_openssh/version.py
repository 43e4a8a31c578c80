# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of sshd. Pure."""

import re
from typing import NamedTuple, Tuple

from .._errors import Malformed

FLAVOURS = ("redhat", "debian", "upstream")


class SshdVersion(NamedTuple):
    """A release of sshd; ``flavour`` is redhat, debian or upstream."""

    major: int
    minor: int
    patch: int
    flavour: str


def parse_version(banner: str, flavour: str) -> SshdVersion:
    """Read the release out of what ``ssh -V`` or ``sshd -V`` prints.

    Args:
        banner: such as ``OpenSSH_8.7p1, OpenSSL 3.0.7 1 Nov 2022``.
        flavour: who patched it: redhat, debian or upstream. The banner of Red Hat's does not say.
    Raises:
        Malformed: no release in the banner, or no such flavour.
    """
    if flavour not in FLAVOURS:
        raise Malformed(f"'{flavour}' is no flavour of OpenSSH", f"Use one of {', '.join(FLAVOURS)}")
    found = re.search(r"OpenSSH_([0-9]+)\.([0-9]+)(?:\.[0-9]+)?(?:p([0-9]+))?", banner)
    if not found:
        raise Malformed(
            f"'{banner.strip()}' names no OpenSSH release", "Give what 'ssh -V' prints, such as OpenSSH_8.7p1"
        )
    return SshdVersion(int(found.group(1)), int(found.group(2)), int(found.group(3) or 0), flavour)


def release(version: SshdVersion) -> Tuple[int, int]:
    """Return (major, minor), which is what the rules of sshd_config depend on."""
    return (version.major, version.minor)


def label(version: SshdVersion) -> str:
    """Name a release for people: ``OpenSSH 8.0``."""
    return f"OpenSSH {version.major}.{version.minor}"


# The releases whose answers are recorded: AlmaLinux 8, AlmaLinux 9 up to 9.7, and the nearest known to 9.8 and 10.
EL8 = SshdVersion(8, 0, 1, "redhat")
EL9 = SshdVersion(8, 7, 1, "redhat")
U99 = SshdVersion(9, 9, 1, "upstream")
