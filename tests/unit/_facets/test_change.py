# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes as values: what results and diffs show of them."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import change
from ansible_collections.latchkey.ssh.plugins.module_utils._facets.change import NARROW, WIDEN, Change

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    "given, shown",
    [
        (
            Change("keys", WIDEN, "file", "/h/a", "keys of a", after=b"secret\n", mode=0o600, owner="a", account="a"),
            {"facet": "keys", "phase": "widen", "kind": "file", "path": "/h/a", "what": "keys of a",
             "touches": ["/h/a"], "mode": "0600", "owner": "a", "sha256_before": "",
             "sha256_after": change.digest(b"secret\n")},
        ),
        (
            Change("server", NARROW, "file", "/etc/x", "w", before=b"", existed=True, after=b"", mode=0o4755),
            {"facet": "server", "phase": "narrow", "kind": "file", "path": "/etc/x", "what": "w",
             "touches": ["/etc/x"], "mode": "4755", "owner": "root", "sha256_before": EMPTY, "sha256_after": EMPTY},
        ),
        (
            Change("keys", WIDEN, "mode", "/h", "m", mode=0o700, owner="a"),
            {"facet": "keys", "phase": "widen", "kind": "mode", "path": "/h", "what": "m", "touches": ["/h"],
             "mode": "0700", "owner": "a"},
        ),
        (
            Change("server", NARROW, "reload", "sshd.service", "r"),
            {"facet": "server", "phase": "narrow", "kind": "reload", "path": "sshd.service", "what": "r",
             "touches": ["sshd.service"]},
        ),
    ],
)
def test_reports(given, shown):
    found = change.report(given)
    assert found == shown
    assert "secret" not in repr(found)


def test_digests_are_sha256_in_hexadecimal():
    assert change.digest(b"") == EMPTY and len(change.digest(b"x")) == 64


def test_diffs_show_files_as_text_and_everything_else_as_a_line():
    file = Change("server", NARROW, "file", "/etc/x", "w", before=b"a\n", existed=True, after=b"b \xff\n")
    reload = Change("server", NARROW, "reload", "sshd.service", "read it")
    assert change.diffs([file, reload]) == [
        {"before": "a\n", "after": "b \\xff\n", "before_header": "/etc/x", "after_header": "/etc/x"},
        {"prepared": "sshd.service: read it\n"},
    ]
    assert change.diffs([]) == []
