# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key files of operators come back as their owners, whatever came into their place meanwhile."""

import errno
import itertools
import os
import shutil

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import guardian

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="acting as somebody else is root's work")

UID = 64321
KEY = b"ssh-ed25519 AAAAkey admin"


@pytest.fixture
def home(public):
    """Return the home of an operator, with one key."""
    path = os.path.join(public, "home")
    os.makedirs(os.path.join(path, ".ssh"))
    write(os.path.join(path, ".ssh", "authorized_keys"), KEY + b"\n")
    for one in (path, os.path.join(path, ".ssh"), os.path.join(path, ".ssh", "authorized_keys")):
        os.chown(one, UID, UID)
    return path


@pytest.fixture
def keys(at, state, home):
    """Return the operator's key file, as it is in the snapshot of an armed transaction."""
    folder = os.open(os.path.join(home, ".ssh"), os.O_RDONLY)
    entry = dict(guardian.observe(folder, "authorized_keys"), path=os.path.join(home, ".ssh", "authorized_keys"))
    os.close(folder)
    entry.update(home=home, account="admin", account_uid=UID, account_gid=UID, account_groups=[], merge=True, copy="0")
    os.makedirs(at.places.copies)
    write(os.path.join(at.places.copies, "0"), KEY + b"\n")
    state["entries"] = [entry]
    return entry["path"]


def write(path, data):
    with open(path, "wb") as stream:
        stream.write(data)


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def back(at, state):
    """Put everything of users back; returns problems and notes."""
    return guardian.restore(at, state, homes=True)


def test_a_line_that_was_narrowed_comes_before_what_narrows_it(at, state, keys):
    """sshd takes the first line that has the key."""
    narrow = b'command="/usr/bin/backup" ' + KEY + b"\n"
    write(keys, narrow)
    assert back(at, state) == ([], [])
    assert read(keys) == KEY + b"\n" + narrow


def test_lines_of_others_stay(at, state, keys):
    write(keys, b"ssh-ed25519 AAAAother bob")
    assert back(at, state) == ([], [])
    assert read(keys) == KEY + b"\nssh-ed25519 AAAAother bob"


@pytest.mark.parametrize("what", ["link", "directory", "large"])
def test_what_is_no_key_file_any_more_is_set_aside(at, state, keys, what):
    os.unlink(keys)
    if what == "link":
        os.symlink("/etc/shadow", keys)
    elif what == "directory":
        os.mkdir(keys)
    else:
        write(keys, b"")
        os.truncate(keys, 64 << 30)
    problems, notes = back(at, state)
    assert problems == [] and "was in its place: kept beside it" in notes[0]
    assert read(keys) == KEY + b"\n" and os.stat(keys).st_uid == UID
    assert len(os.listdir(os.path.dirname(keys))) == 2
    assert back(at, state) == ([], [])


def test_a_label_that_only_root_may_set_does_not_hold_the_keys_up(at, state, keys, monkeypatch):
    """Labels stay on files where SELinux is off; the kernel lets nobody but root write them then."""
    state["entries"][0]["xattrs"] = {"security.selinux": "eA=="}

    def refused(handle, name, value):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "setxattr", refused)
    os.unlink(keys)
    assert back(at, state) == ([], [])
    assert read(keys) == KEY + b"\n"


def _become(path, kind):
    """Let a user put something of a kind at a path, whatever is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    make = {
        "missing": lambda: None,
        "file": lambda: write(path, KEY + b"\n"),
        "dir": lambda: os.mkdir(path),
        "link": lambda: os.symlink("/etc", path),
        "other": lambda: os.mkfifo(path),
    }
    make[kind]()
    if kind != "missing":
        os.chown(path, UID, UID, follow_symlinks=False)


KINDS = ["missing", "file", "dir", "link", "other"]


@pytest.mark.parametrize("before, now", list(itertools.product(KINDS, KINDS)))
@pytest.mark.parametrize("wrote", ["dir", guardian.digest(KEY + b"\n")])
@pytest.mark.parametrize("merge", [False, True])
def test_a_user_who_swaps_things_holds_no_revert_up(at, state, keys, before, now, wrote, merge):
    """It may have been anything when it was copied, and be anything now; the way back comes to its end."""
    folder = os.open(os.path.dirname(keys), os.O_RDONLY)
    _become(keys, before)
    seen = guardian.observe(folder, os.path.basename(keys))
    os.close(folder)
    kept = {name: value for name, value in state["entries"][0].items() if name not in seen and name != "target"}
    state["entries"] = [dict(kept, **seen, wrote=[wrote], merge=merge)]
    _become(keys, now)
    assert back(at, state).problems == []
    assert back(at, state).problems == []
