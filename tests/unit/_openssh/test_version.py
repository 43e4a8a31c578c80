# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of sshd, read from what ssh -V prints."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Malformed
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import (
    EL8,
    EL9,
    U99,
    SshdVersion,
    label,
    parse_version,
    release,
)


@pytest.mark.parametrize(
    "banner, flavour, expected",
    [
        ("OpenSSH_8.0p1, OpenSSL 1.1.1k  FIPS 25 Mar 2021", "redhat", EL8),
        ("OpenSSH_8.7p1, OpenSSL 3.0.7 1 Nov 2022\n", "redhat", EL9),
        ("OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.17", "debian", SshdVersion(9, 2, 1, "debian")),
        ("OpenSSH_9.2, OpenSSL 3.0.19 27 Jan 2026", "debian", SshdVersion(9, 2, 0, "debian")),
        ("OpenSSH_9.9p1, OpenSSL 3.2.2", "upstream", U99),
        ("OpenSSH_10.0p2, OpenSSL 3.5.1", "redhat", SshdVersion(10, 0, 2, "redhat")),
        ("SSH-2.0-OpenSSH_7.4", "redhat", SshdVersion(7, 4, 0, "redhat")),
    ],
)
def test_reads_the_release(banner, flavour, expected):
    assert parse_version(banner, flavour) == expected


@pytest.mark.parametrize(
    "banner, flavour, words",
    [
        ("dropbear 2022.83", "redhat", ["dropbear 2022.83", "ssh -V"]),
        ("", "redhat", ["names no OpenSSH release"]),
        ("OpenSSH_8.7p1", "suse", ["suse", "redhat, debian, upstream"]),
    ],
)
def test_says_what_it_cannot_read(banner, flavour, words):
    with pytest.raises(Malformed) as caught:
        parse_version(banner, flavour)
    for word in words:
        assert word in str(caught.value)


def test_releases_are_ordered_by_number_not_by_text():
    assert release(SshdVersion(10, 0, 1, "upstream")) > release(U99) > release(EL9) > release(EL8)
    assert label(EL8) == "OpenSSH 8.0"
