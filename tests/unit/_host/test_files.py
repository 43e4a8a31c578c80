# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in root's directories: replaced in one step, with what hangs on them, never where others could interfere."""

import os
import signal
import stat
import struct

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, Refused
from ansible_collections.latchkey.ssh.plugins.module_utils._host import files

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="replacing files is root's work")

OLD, NEW = b"old\n", b"new bytes \xff\x00 without an end"


def put(path, data=OLD, mode=0o644):
    with open(path, "wb") as stream:
        stream.write(data)
    os.chmod(path, mode)
    return path


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


@pytest.fixture
def directory(tmp_path):
    os.chmod(str(tmp_path), 0o755)
    return str(tmp_path)


def test_a_new_file_has_exactly_what_was_asked(directory):
    path = os.path.join(directory, "new")
    umask = os.umask(0o077)
    try:
        files.replace(path, NEW, 0o644)
    finally:
        os.umask(umask)
    status = os.stat(path)
    assert (read(path), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (NEW, 0o644, 0, 0)
    assert os.listdir(directory) == ["new"]


def test_owner_and_group_stay(directory):
    """A key file outside homes belongs to its account: were it root's with mode 0600, sshd could not read it."""
    path = put(os.path.join(directory, "alice"), mode=0o640)
    os.chown(path, 64321, 64322)
    files.replace(path, NEW, 0o640)
    status = os.stat(path)
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (64321, 64322, 0o640)


def test_an_access_control_list_stays(directory):
    path = put(os.path.join(directory, "listed"), mode=0o640)
    # acl(5), linux/posix_acl_xattr.h: user::rw-, user:64321:r--, group::r--, mask::r--, other::---
    entries = [(1, 6, 0xFFFFFFFF), (2, 4, 64321), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", acl)
        os.setxattr(path, "user.note", b"mine")
    except OSError as error:
        pytest.skip("this file system has no ACLs or user attributes: %s" % error)
    files.replace(path, NEW, 0o640)
    assert read(path) == NEW
    assert os.getxattr(path, "system.posix_acl_access") == acl
    assert os.getxattr(path, "user.note") == b"mine"


def test_a_link_is_written_through_and_stays(directory):
    target = put(os.path.join(directory, "real"))
    link = os.path.join(directory, "link")
    os.symlink("real", link)
    files.replace(link, NEW, 0o644)
    assert os.path.islink(link) and read(target) == NEW


def test_a_temporary_file_left_by_a_dead_process_of_the_same_number_is_no_obstacle(directory):
    path = put(os.path.join(directory, "file"))
    os.symlink("/etc/passwd", os.path.join(directory, ".latchkey-%d-file" % os.getpid()))
    files.replace(path, NEW, 0o644)
    assert read(path) == NEW and os.listdir(directory) == ["file"]
    assert b"root" in read("/etc/passwd")


def test_no_reader_of_drop_ins_takes_the_temporary_file(directory):
    """sshd's glob ``*.conf`` passes over names with a leading dot."""
    seen = []
    path = os.path.join(directory, "00-00-latchkey.conf")
    original = os.rename

    def spy(source, target, **where):
        seen.append(source)
        return original(source, target, **where)

    files.os.rename = spy
    try:
        files.replace(path, NEW, 0o600)
    finally:
        files.os.rename = original
    assert seen and all(name.startswith(".") for name in seen)


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o1777])
def test_a_directory_that_others_can_write_is_refused(directory, mode):
    os.chmod(directory, mode)
    path = put(os.path.join(directory, "file"))
    with pytest.raises(Refused) as caught:
        files.replace(path, NEW, 0o644)
    assert caught.value.where == directory and "chmod go-w" in caught.value.remedy
    assert read(path) == OLD


def test_a_directory_of_somebody_else_is_refused(directory):
    path = put(os.path.join(directory, "file"))
    os.chown(directory, 64321, 64321)
    with pytest.raises(Refused):
        files.replace(path, NEW, 0o644)
    assert read(path) == OLD


def test_a_missing_directory_is_said(directory):
    with pytest.raises(HostError) as caught:
        files.replace(os.path.join(directory, "no", "file"), NEW, 0o644)
    assert str(caught.value) == "%s/no: cannot be opened: No such file or directory" % directory


STEPS = ["open", "write", "fchown", "fchmod", "fsync", "rename"]


@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_before_any_step_leaves_the_old_file_whole(directory, step):
    path = put(os.path.join(directory, "file"))
    child = os.fork()
    if child == 0:
        original = getattr(os, step)

        def die(*args, **more):
            if step == "open" and not (len(args) > 1 and args[1] & os.O_CREAT):
                return original(*args, **more)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(os, step, die)
        try:
            files.replace(path, NEW, 0o644)
        finally:
            os._exit(7)
    _pid, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the step %s was not reached" % step
    assert read(path) == OLD
    files.replace(path, NEW, 0o644)
    assert read(path) == NEW


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_step_that_fails_leaves_the_old_file_and_nothing_else(directory, step, monkeypatch):
    path = put(os.path.join(directory, "file"))

    def fail(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(HostError) as caught:
        files.replace(path, NEW, 0o644)
    monkeypatch.undo()
    assert "make room" in caught.value.remedy and caught.value.where == path
    assert read(path) == OLD and os.listdir(directory) == ["file"]


def test_short_writes_are_continued(directory, monkeypatch):
    path = os.path.join(directory, "file")
    original = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: original(handle, bytes(data[:3])))
    files.replace(path, NEW, 0o644)
    monkeypatch.undo()
    assert read(path) == NEW


def test_an_immutable_file_is_told_as_one(directory, monkeypatch):
    def refuse(*_args, **_more):
        raise PermissionError(1, "Operation not permitted")

    path = put(os.path.join(directory, "file"))
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(HostError) as caught:
        files.replace(path, NEW, 0o644)
    assert "lsattr" in caught.value.remedy


def test_looking_follows_no_link_and_reading_does(directory):
    target = put(os.path.join(directory, "real"))
    link = os.path.join(directory, "link")
    os.symlink("real", link)
    assert files.look(link).kind == "link"
    assert files.look(link).data == b""
    assert (files.read(link).path, files.read(link).kind, files.read(link).data) == (link, "file", OLD)
    os.unlink(target)
    assert files.read(link).kind == "missing"


@pytest.mark.parametrize("name, kind", [("", "dir"), ("no", "missing"), ("file/below", "missing"), ("pipe", "other")])
def test_kinds(directory, name, kind):
    put(os.path.join(directory, "file"))
    os.mkfifo(os.path.join(directory, "pipe"))
    assert files.look(os.path.join(directory, name)).kind == kind
    assert files.read(os.path.join(directory, name)).kind == kind


def test_a_directory_is_made_with_its_mode_whatever_the_umask(directory):
    path = os.path.join(directory, "d")
    umask = os.umask(0o077)
    try:
        files.make_directory(path, 0o755)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o755
    with pytest.raises(HostError) as caught:
        files.make_directory(path, 0o755)
    assert "File exists" in str(caught.value)


def test_removing_what_is_not_there_is_no_error(directory):
    path = put(os.path.join(directory, "file"))
    files.remove(path)
    files.remove(path)
    assert os.listdir(directory) == []


def test_a_power_cut_loses_neither(directory):
    """The order on disk is what fsync says: the data before the name, the name before the answer."""
    calls = []
    names = {"fsync": os.fsync, "rename": os.rename}
    try:
        files.os.fsync = lambda handle: (calls.append("dir" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"),
                                         names["fsync"](handle))
        files.os.rename = lambda *args, **more: (calls.append("rename"), names["rename"](*args, **more))
        files.replace(os.path.join(directory, "file"), NEW, 0o644)
    finally:
        files.os.fsync, files.os.rename = names["fsync"], names["rename"]
    assert calls == ["file", "rename", "dir"]
