# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""StrictModes: upstream's rule, and whether the user can open the file at all."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.strict_modes import (
    PathStat,
    open_problem,
    strict_modes_problem,
)

ALICE, BOB = 1001, 1002
HOME = "/home/alice"


def components(file_mode=0o600, dir_mode=0o700, home_mode=0o700, owner=ALICE, parent_mode=0o755):
    return [
        PathStat(HOME + "/.ssh/authorized_keys", "file", file_mode, owner, ALICE),
        PathStat(HOME + "/.ssh", "dir", dir_mode, ALICE, ALICE),
        PathStat(HOME, "dir", home_mode, ALICE, ALICE),
        PathStat("/home", "dir", parent_mode, 0, 0),
        PathStat("/", "dir", 0o755, 0, 0),
    ]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({}, None),
        ({"file_mode": 0o644, "dir_mode": 0o755, "home_mode": 0o755}, None),
        ({"file_mode": 0o666}, "for file /home/alice/.ssh/authorized_keys: mode 0666"),
        ({"file_mode": 0o620}, "for file"),
        ({"dir_mode": 0o777}, "for directory /home/alice/.ssh: mode 0777"),
        ({"dir_mode": 0o770}, "for directory /home/alice/.ssh"),
        ({"home_mode": 0o775}, "for directory /home/alice: mode 0775"),
        ({"parent_mode": 0o1777}, None),
        ({"owner": BOB}, "owned by uid 1002"),
        ({"owner": 0}, None),
    ],
)
def test_strict_modes(changes, words):
    found = strict_modes_problem(components(**changes), ALICE, HOME)
    assert found is None if words is None else words in found


def test_the_users_own_group_may_not_write_either():
    """Debian's sshd lets a private group write; AlmaLinux's does not, so a stand-in's yes is not enough."""
    assert "0664" in strict_modes_problem(components(file_mode=0o664), ALICE, HOME)


def test_outside_home_every_directory_up_to_the_root_counts():
    path = [
        PathStat("/tmp/keys", "file", 0o600, ALICE, ALICE),
        PathStat("/tmp", "dir", 0o1777, 0, 0),
        PathStat("/", "dir", 0o755, 0, 0),
    ]
    assert "directory /tmp" in strict_modes_problem(path, ALICE, HOME)
    path[1] = path[1]._replace(mode=0o755)
    assert strict_modes_problem(path, ALICE, HOME) is None
    path[2] = path[2]._replace(uid=BOB)
    assert "directory /:" in strict_modes_problem(path, ALICE, HOME)


@pytest.mark.parametrize("kind, words", [("dir", "not a regular file"), ("missing", "does not exist")])
def test_only_regular_files_are_read(kind, words):
    path = components()
    path[0] = path[0]._replace(kind=kind)
    assert words in strict_modes_problem(path, ALICE, HOME)


@pytest.mark.parametrize(
    "place, change, words",
    [
        (0, {"uid": 0, "mode": 0o600}, "may not read"),
        (0, {"uid": 0, "mode": 0o644}, None),
        (0, {"uid": 0, "mode": 0o640}, None),
        (0, {"uid": 0, "gid": 0, "mode": 0o640}, "may not read"),
        (0, {"mode": 0o044}, "may not read"),
        (1, {"uid": 0, "mode": 0o700}, "may not enter"),
        (1, {"uid": 0, "gid": 0, "mode": 0o711}, None),
        (2, {"mode": 0o600}, "may not enter"),
        (3, {"mode": 0o700}, "/home: uid 1001 may not enter"),
        (1, {"kind": "missing"}, "does not exist"),
        (0, {"kind": "missing"}, "does not exist"),
    ],
)
def test_sshd_opens_the_file_as_the_user(place, change, words):
    path = components()
    path[place] = path[place]._replace(**change)
    found = open_problem(path, ALICE, [ALICE])
    assert found is None if words is None else words in found


def test_root_opens_everything():
    assert open_problem(components(file_mode=0, dir_mode=0), 0, [0]) is None
