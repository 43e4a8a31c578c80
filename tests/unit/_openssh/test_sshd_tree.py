# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files one configuration is made of."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.candidate import with_include_root
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.sshd_tree import (
    Tree,
    expand,
    include_patterns,
    with_files,
)
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import EL8, EL9


@pytest.mark.parametrize(
    "data, release, expected",
    [
        (b"", EL9, []),
        (b"Include /a/*.conf\n", EL9, ["/a/*.conf"]),
        (b"include=sshd_config.d/*.conf x\nPort 22\n", EL9, ["/etc/ssh/sshd_config.d/*.conf", "/etc/ssh/x"]),
        (b'Include "/a b/c" /d\n', EL9, ["/a b/c", "/d"]),
        (b"Include '/a b'\n", EL9, ["/a b"]),
        (b"Include '/a b'\n", EL8, ["/etc/ssh/'/a", "/etc/ssh/b'"]),
        (b"Match User bob\n Include /a\nInclude /a\n", EL8, ["/a"]),
        (b"#Include /a\nInclude\nInclude ''\nInclude \"/a\nNoSuch /b\n", EL9, []),
        (b"Include /a#b /c # /d\n", EL9, ["/a#b", "/c"]),
        (b"Include /a#b /c # /d\n", EL8, ["/a"]),
    ],
)
def test_patterns_to_look_for(data, release, expected):
    assert include_patterns(data, release) == expected


@pytest.mark.parametrize(
    "written, pattern",
    [
        ("../../../../foo.conf", "/foo.conf"),
        ("/etc/ssh/x/../d/*.conf", "/etc/ssh/d/*.conf"),
        ("//etc//ssh/./a", "/etc/ssh/a"),
        ("~/a", "~/a"),
    ],
)
def test_no_pattern_leads_above_the_root(written, pattern):
    assert include_patterns(b"Include %s\n" % written.encode(), EL9) == [pattern]
    moved = with_include_root(b"Include %s\n" % written.encode(), EL9, "/etc/ssh", "/run/x").decode()
    assert moved == 'Include "/run/x%s"\n' % (pattern if pattern[0] == "/" else "/" + pattern)


def test_relative_patterns_are_below_the_configuration_directory():
    assert include_patterns(b"Include d/*\n", EL9, "/usr/local/etc") == ["/usr/local/etc/d/*"]


@pytest.mark.parametrize(
    "pattern, paths, expected",
    [
        (
            "/d/*.conf",
            ["/d/b.conf", "/d/a.conf", "/d/.h.conf", "/d/a.conf.bak", "/d/s/a.conf", "/e/a.conf"],
            ["/d/a.conf", "/d/b.conf"],
        ),
        # Byte order: digits, upper case, lower case, everything else.
        (
            "/d/*",
            ["/d/z", "/d/\u00e9", "/d/Z", "/d/00-a", "/d/0-b", "/d/~"],
            ["/d/0-b", "/d/00-a", "/d/Z", "/d/z", "/d/~", "/d/\u00e9"],
        ),
        ("/d/.*", ["/d/.h", "/d/h"], ["/d/.h"]),
        ("/d/?.c", ["/d/a.c", "/d/ab.c", "/d/.c"], ["/d/a.c"]),
        ("/d/[0-4]*", ["/d/4x", "/d/5x"], ["/d/4x"]),
        ("/d/[!0-4]*", ["/d/4x", "/d/5x", "/d/.5"], ["/d/5x"]),
        ("/d/[]x]", ["/d/]", "/d/x", "/d/y"], ["/d/]", "/d/x"]),
        ("/d/[z-a]", ["/d/z", "/d/a"], []),
        ("/d/[a", ["/d/[a", "/d/a"], ["/d/[a"]),
        ("/d/\\*", ["/d/*", "/d/a"], ["/d/*"]),
        ("/d/a.conf", ["/d/a.conf", "/d/axconf"], ["/d/a.conf"]),
        ("/*/a", ["/d/a", "/d/e/a"], ["/d/a"]),
        ("~/x", ["/root/x"], []),
        ("/none/*", [], []),
    ],
)
def test_expands_as_glob_does(pattern, paths, expected):
    assert expand(pattern, paths) == expected


def test_own_drop_in_sorts_before_the_others():
    names = ["50-redhat.conf", "01-permitrootlogin.conf", "00-complianceascode-hardening.conf", "00-00-latchkey.conf"]
    paths = ["/etc/ssh/sshd_config.d/" + name for name in names]
    assert expand("/etc/ssh/sshd_config.d/*.conf", paths) == list(reversed(paths))


def test_changes_files_without_changing_the_tree():
    tree = Tree("/a", {"/a": b"1", "/b": b"2"}, EL9)
    changed = with_files(tree, {"/b": None, "/c": b"3", "/a": b"4", "/gone": None})
    assert dict(changed.files) == {"/a": b"4", "/c": b"3"}
    assert dict(tree.files) == {"/a": b"1", "/b": b"2"}
