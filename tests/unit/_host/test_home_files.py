# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files below homes, against owners who set traps: every step happens as the owner, and no link is followed."""

import os
import signal
import stat
import threading

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError, Refused
from ansible_collections.latchkey.ssh.plugins.module_utils._host import home_files

UID, OTHER = 64321, 64322
KEYS, NEW = b"# mine\n", b"# mine\nnew\n"


def put(path, data=KEYS, mode=0o600, owner=UID):
    """Write a file with an owner."""
    with open(path, "wb") as stream:
        stream.write(data)
    os.chown(path, owner, owner)
    os.chmod(path, mode)
    return path


def content(path):
    """Return the bytes, and what root's own files would never have: owner and mode."""
    status = os.lstat(path)
    with open(path, "rb") as stream:
        return stream.read(), status.st_uid, stat.S_IMODE(status.st_mode)


@pytest.fixture(autouse=True)
def no_hang():
    """End a test that waits, for example for a writer of a FIFO."""
    def end(_signal, _frame):
        raise AssertionError("it hangs")

    signal.signal(signal.SIGALRM, end)
    signal.alarm(20)
    yield
    signal.alarm(0)


def test_reading_tells_the_file_and_every_directory_on_the_way(place, ssh_dir):
    put(place.path, mode=0o640)
    found = home_files.read(place.account, place.path)
    assert (found.state.data, found.state.mode, found.state.uid, found.state.kind) == (KEYS, 0o640, UID, "file")
    assert [(one.path, one.mode, one.uid) for one in found.directories] == [
        (place.home, 0o700, UID),
        (ssh_dir, 0o700, UID),
    ]


def test_what_is_missing_is_missing(place):
    found = home_files.read(place.account, place.path)
    assert (found.state.kind, found.state.path) == ("missing", place.path)
    assert [one.path for one in found.directories] == [place.home]


def test_directories_are_made_for_their_owner_only(place):
    home_files.replace(place.account, place.path, NEW, 0o600)
    assert content(place.path) == (NEW, UID, 0o600)
    status = os.stat(os.path.dirname(place.path))
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o700, UID, UID)
    assert os.listdir(os.path.dirname(place.path)) == ["authorized_keys"]


def test_a_file_is_replaced_whole(place, ssh_dir):
    put(place.path)
    before = os.stat(place.path).st_ino
    home_files.replace(place.account, place.path, NEW, 0o640)
    assert content(place.path) == (NEW, UID, 0o640)
    assert os.stat(place.path).st_ino != before and os.listdir(ssh_dir) == ["authorized_keys"]


def link_file(place, ssh_dir):
    put(os.path.join(place.home, "elsewhere"))
    os.symlink(os.path.join(place.home, "elsewhere"), place.path)


def link_to_shadow(place, ssh_dir):
    os.symlink("/etc/shadow", place.path)


def link_directory(place, ssh_dir):
    os.rename(ssh_dir, os.path.join(place.home, "real"))
    put(os.path.join(place.home, "real", "authorized_keys"))
    os.symlink("real", ssh_dir)


def fifo(place, ssh_dir):
    os.mkfifo(place.path)
    os.chown(place.path, UID, UID)


def directory(place, ssh_dir):
    os.mkdir(place.path)
    os.chown(place.path, UID, UID)


def hard_link(place, ssh_dir):
    put(place.path)
    os.link(place.path, os.path.join(place.home, "other"))


def foreign_file(place, ssh_dir):
    put(place.path, owner=OTHER, mode=0o644)


def foreign_directory(place, ssh_dir):
    put(place.path)
    os.chown(ssh_dir, OTHER, OTHER)
    os.chmod(ssh_dir, 0o755)


def file_for_directory(place, ssh_dir):
    os.rmdir(ssh_dir)
    put(ssh_dir)


def closed_home(place, ssh_dir):
    put(place.path)
    os.chmod(place.home, 0)


def unreadable(place, ssh_dir):
    put(place.path, owner=0, mode=0o600)


TRAPS = [
    (link_file, "symbolic link", "authorized_keys"),
    (link_to_shadow, "symbolic link", "authorized_keys"),
    (link_directory, "symbolic link", ".ssh"),
    (fifo, "not a regular file", "authorized_keys"),
    (directory, "not a regular file", "authorized_keys"),
    (hard_link, "2 hard links", "authorized_keys"),
    (foreign_file, "belongs to uid 64322", "authorized_keys"),
    (foreign_directory, "belongs to uid 64322", ".ssh"),
    (file_for_directory, "not a directory", ".ssh"),
    (closed_home, "cannot be opened as latchkey-nobody: Permission denied", "alice"),
    (unreadable, "cannot be opened as latchkey-nobody: Permission denied", "authorized_keys"),
]


@pytest.mark.parametrize("trap, words, name", TRAPS, ids=lambda value: getattr(value, "__name__", None))
def test_a_trap_is_refused_by_name_when_looked_at(place, ssh_dir, trap, words, name):
    trap(place, ssh_dir)
    with pytest.raises(Refused) as caught:
        home_files.read(place.account, place.path)
    assert words in caught.value.reason
    assert os.path.basename(caught.value.where) == name and caught.value.remedy


def missing_home(place):
    os.rmdir(place.home)


def linked_home(place):
    os.rename(place.home, place.home + ".real")
    os.symlink(place.home + ".real", place.home)


def foreign_home(place):
    os.chown(place.home, OTHER, OTHER)


def file_home(place):
    os.rmdir(place.home)
    put(place.home)


HOMES = [
    (missing_home, "does not exist", "never created here"),
    (linked_home, "is a symbolic link", "real directory"),
    (foreign_home, "belongs to uid 64322", "chown latchkey-nobody"),
    (file_home, "is not a directory", "correct the account's entry"),
]


@pytest.mark.parametrize("spoil, words, remedy", HOMES, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("write", [False, True])
def test_a_home_that_is_not_the_accounts_own_is_refused(place, spoil, words, remedy, write):
    spoil(place)
    with pytest.raises(Refused) as caught:
        if write:
            home_files.replace(place.account, place.path, NEW, 0o600)
        else:
            home_files.read(place.account, place.path)
    assert words in caught.value.reason and remedy in caught.value.remedy and caught.value.where == place.home


def root_ssh_dir(place):
    os.mkdir(os.path.join(place.home, ".ssh"), 0o755)


def root_home(place):
    os.chown(place.home, 0, 0)
    os.chmod(place.home, 0o755)


@pytest.mark.parametrize("spoil", [root_ssh_dir, root_home])
def test_what_root_keeps_from_the_owner_is_not_written_for_it(place, spoil):
    """Some sites make .ssh root's so that nobody adds a key: that is theirs to decide."""
    spoil(place)
    assert home_files.read(place.account, place.path).state.kind == "missing"
    with pytest.raises(LatchkeyError) as caught:
        home_files.replace(place.account, place.path, NEW, 0o600)
    assert "Permission denied" in caught.value.reason and "latchkey-nobody" in caught.value.reason
    assert not os.path.exists(place.path)


def test_a_link_put_there_between_the_look_and_the_write_is_not_followed(place, ssh_dir, public):
    put(place.path)
    assert home_files.read(place.account, place.path).state.data == KEYS
    os.rename(ssh_dir, ssh_dir + ".away")
    os.mkdir(os.path.join(public, "root"), 0o700)
    os.symlink(os.path.join(public, "root"), ssh_dir)
    with pytest.raises(Refused):
        home_files.replace(place.account, place.path, NEW, 0o600)
    assert os.listdir(os.path.join(public, "root")) == []


def test_a_linked_file_is_replaced_and_its_target_left_alone(place, ssh_dir, public):
    """rename(2) replaces the name itself: what the owner's link points to is never opened for writing."""
    victim = put(os.path.join(public, "victim"), data=b"root's", owner=0, mode=0o666)
    os.symlink(victim, place.path)
    home_files.replace(place.account, place.path, NEW, 0o600)
    assert content(victim)[0] == b"root's"
    assert content(place.path) == (NEW, UID, 0o600) and not os.path.islink(place.path)


def test_a_race_over_the_directory_never_reaches_beyond_the_owner(place, ssh_dir, public):
    """The owner swaps .ssh for a link to a directory of root's as fast as it can."""
    target = os.path.join(public, "root")
    os.mkdir(target, 0o700)
    put(os.path.join(target, "authorized_keys"), data=b"root's own\n", owner=0)
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            try:
                os.rename(ssh_dir, ssh_dir + ".away")
                os.symlink(target, ssh_dir)
                os.unlink(ssh_dir)
                os.rename(ssh_dir + ".away", ssh_dir)
            except OSError:
                # The writer made a new .ssh in between: take that one away.
                if os.path.isdir(ssh_dir) and not os.path.islink(ssh_dir):
                    os.rename(ssh_dir, ssh_dir + ".made.%d" % len(os.listdir(place.home)))
                if os.path.isdir(ssh_dir + ".away"):
                    os.rename(ssh_dir + ".away", ssh_dir)

    hostile = threading.Thread(target=swap)
    hostile.start()
    refused = 0
    try:
        for _round in range(40):
            try:
                home_files.replace(place.account, place.path, NEW, 0o600)
            except LatchkeyError:
                refused += 1
    finally:
        stop.set()
        hostile.join()
    assert content(os.path.join(target, "authorized_keys")) == (b"root's own\n", 0, 0o600)
    assert os.listdir(target) == ["authorized_keys"]
    assert refused, "the race was never hit"


def test_paths_outside_the_home_are_refused(place, ssh_dir):
    for path in (place.home + "/../bob/authorized_keys", "/etc/shadow", place.home + ".ssh/x"):
        with pytest.raises(Refused) as caught:
            home_files.read(place.account, path)
        assert "not below the home" in caught.value.reason


def test_a_temporary_file_left_by_a_dead_process_is_no_obstacle(place, ssh_dir):
    put(place.path)
    for number in range(os.getpid(), os.getpid() + 200):
        os.symlink("/etc/passwd", os.path.join(ssh_dir, ".latchkey-%d-authorized_keys" % number))
    home_files.replace(place.account, place.path, NEW, 0o600)
    assert content(place.path)[0] == NEW


@pytest.mark.parametrize("step", ["fchmod", "fsync", "rename", "write"])
def test_a_step_that_fails_leaves_the_old_file_and_nothing_else(place, ssh_dir, step, monkeypatch):
    put(place.path)
    original = getattr(os, step)

    def fail(*args, **more):
        # The answer to the parent is written too.
        if step == "write" and bytes(args[1]) != NEW:
            return original(*args, **more)
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(HostError) as caught:
        home_files.replace(place.account, place.path, NEW, 0o600)
    monkeypatch.undo()
    assert "cannot be written as latchkey-nobody: Disk quota exceeded" in caught.value.reason
    assert caught.value.where == place.path
    assert content(place.path)[0] == KEYS and os.listdir(ssh_dir) == ["authorized_keys"]


def test_modes_are_set_without_following_links(place, ssh_dir, public):
    put(place.path, mode=0o666)
    home_files.set_mode(place.account, place.path, 0o600)
    home_files.set_mode(place.account, ssh_dir, 0o711)
    assert content(place.path)[2] == 0o600
    assert stat.S_IMODE(os.stat(ssh_dir).st_mode) == 0o711
    os.unlink(place.path)
    victim = put(os.path.join(public, "victim"), owner=UID, mode=0o600)
    os.symlink(victim, place.path)
    with pytest.raises(LatchkeyError):
        home_files.set_mode(place.account, place.path, 0o666)
    assert content(victim)[2] == 0o600


def test_a_mode_that_cannot_be_set_is_said(place, ssh_dir):
    put(place.path, owner=0, mode=0o644)
    with pytest.raises(LatchkeyError) as caught:
        home_files.set_mode(place.account, place.path, 0o600)
    assert caught.value.where == place.path


def test_a_file_of_any_size_does_not_fill_roots_memory(place, ssh_dir):
    with open(place.path, "wb") as stream:
        stream.truncate(1 << 40)
    os.chown(place.path, place.account.uid, place.account.uid)
    with pytest.raises(Refused, match="too large"):
        home_files.read(place.account, place.path)
