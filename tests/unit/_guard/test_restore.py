# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was taken into the snapshot comes back as it was, whatever lies there by then; and nothing of others is lost."""

import errno
import os
import stat
import struct

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, Refused
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import guardian, snapshot
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import version
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.sshd_tree import Tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="putting root's files back is root's work")

OLD, NEW, FOREIGN = b"old\n", b"new\n", b"of somebody else\n"


@pytest.fixture
def etc(public, monkeypatch):
    """Return a directory of root's that stands for /etc."""
    path = os.path.join(public, "etc")
    os.makedirs(os.path.join(path, "ssh"))
    monkeypatch.setattr(snapshot, "_top", lambda folder: path)
    return path


def put(path, data=OLD, mode=0o644):
    with open(path, "wb") as stream:
        stream.write(data)
    os.chmod(path, mode)
    return path


def look(path):
    """Return everything that a path is."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(path)
    attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    data = sorted(os.listdir(path)) if stat.S_ISDIR(info.st_mode) else open(path, "rb").read()
    return info.st_mode, info.st_uid, info.st_gid, attributes, data


def failing(reason):
    """Return a system call that finds no room."""
    def call(*_given, **_more):
        raise OSError(errno.ENOSPC, reason)
    return call


def taken(at, state, *paths, **more):
    """Take paths into the snapshot of an armed transaction."""
    snapshot.take(at.places, state, [snapshot.Touch(path, **more) for path in paths])
    guardian.save(at.places, state)


def back(at, state):
    """Put everything back; returns problems and notes."""
    found = guardian.restore(at, state, homes=False)
    guardian._leave_directories(state)
    return found.problems, found.notes


def tree_of(main, *drop_ins, text=b""):
    """Return a configuration as sshd reads it."""
    files = dict({path: b"" for path in drop_ins}, **{main: text})
    return Tree(main, files, version.EL9)


def acl(path):
    """Let user 64321 read a file (acl(5), the kernel's form of it)."""
    entries = [(1, 6, 0xFFFFFFFF), (2, 4, 64321), (4, 4, 0xFFFFFFFF), (0x10, 4, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", value)
    except OSError:
        pytest.skip("no access control lists here")


# ---- each kind -------------------------------------------------------------------------------------------------------


def changed(path):
    put(path, NEW, 0o600)


def replaced(path):
    os.unlink(path)
    put(path, NEW, 0o600)
    os.chown(path, 64321, 64321)


def gone(path):
    os.unlink(path)


def linked(path):
    os.unlink(path)
    os.symlink("/etc/passwd", path)


def dangling(path):
    os.unlink(path)
    os.symlink("/nowhere", path)


def made_a_directory(path):
    os.unlink(path)
    os.mkdir(path)
    put(os.path.join(path, "inside"), FOREIGN)


def made_an_empty_directory(path):
    os.unlink(path)
    os.mkdir(path)


def only_mode(path):
    os.chmod(path, 0o666)


def only_owner(path):
    os.chown(path, 64321, 0)


def made_a_pipe(path):
    os.unlink(path)
    os.mkfifo(path)


ALL = [changed, replaced, gone, linked, dangling, made_a_directory, made_an_empty_directory, only_mode, only_owner]
ALL += [made_a_pipe]


@pytest.mark.parametrize("ready", [True, False], ids=["by rename", "by copy"])
@pytest.mark.parametrize("change", ALL, ids=lambda one: one.__name__)
def test_a_file_comes_back(at, state, etc, change, ready):
    path = put(os.path.join(etc, "ssh", "sshd_config"), mode=0o640)
    os.chown(path, 0, 64322)
    before = look(path)
    taken(at, state, path)
    if not ready:
        os.unlink(state["entries"][0]["ready"])
    change(path)
    assert back(at, state)[0] == []
    assert look(path) == before
    assert [name for name in os.listdir(etc) if name != "ssh"] == []
    assert {name[:14] for name in os.listdir(os.path.join(etc, "ssh"))} - {"sshd_config"} <= {".latchkey-kept"}


@pytest.mark.parametrize("ready", [True, False], ids=["by rename", "by copy"])
def test_attributes_and_access_control_lists_come_back(at, state, etc, ready):
    path = put(os.path.join(etc, "ssh", "listed"), mode=0o640)
    acl(path)
    os.setxattr(path, "user.of-whom", b"me")
    before = look(path)
    taken(at, state, path)
    if not ready:
        os.unlink(state["entries"][0]["ready"])
    replaced(path)
    assert back(at, state)[0] == [] and look(path) == before


def test_a_list_that_came_goes(at, state, etc):
    path = put(os.path.join(etc, "ssh", "plain"), mode=0o640)
    before = look(path)
    taken(at, state, path)
    acl(path)
    assert look(path) != before
    assert back(at, state)[0] == [] and look(path) == before


def test_what_was_not_there_goes(at, state, etc):
    path = os.path.join(etc, "ssh", "new.conf")
    taken(at, state, path)
    put(path, NEW)
    state["entries"][0]["wrote"] = [guardian.digest(NEW)]
    assert back(at, state) == ([], []) and look(path) is None


def test_what_was_not_there_goes_with_the_directory_that_was_made_for_it(at, state, etc):
    """AlmaLinux 8 has no sshd_config.d."""
    folder = os.path.join(etc, "ssh", "sshd_config.d")
    path = os.path.join(folder, "00.conf")
    taken(at, state, folder, path)
    os.mkdir(folder)
    put(path, NEW)
    assert back(at, state)[0] == [] and look(folder) is None


def test_a_directory_that_others_use_by_then_stays(at, state, etc):
    folder = os.path.join(etc, "ssh", "sshd_config.d")
    taken(at, state, folder)
    os.mkdir(folder)
    put(os.path.join(folder, "theirs"), FOREIGN)
    assert back(at, state)[0] == [] and os.listdir(folder) == ["theirs"]


def test_a_link_comes_back_and_so_does_what_it_leads_to(at, state, etc):
    target, path = put(os.path.join(etc, "real")), os.path.join(etc, "ssh", "sshd_config")
    os.symlink("../real", path)
    taken(at, state, path)
    os.unlink(path)
    put(path, NEW)
    put(target, NEW)
    assert back(at, state)[0] == []
    assert look(path) == "../real" and look(target)[4] == OLD


def test_a_link_comes_back_beside_what_one_who_died_has_left(at, state, etc):
    path = os.path.join(etc, "ssh", "link")
    os.symlink("/a", path)
    taken(at, state, path)
    os.unlink(path)
    os.symlink("/old", os.path.join(etc, "ssh", ".latchkey-%d-link" % os.getpid()))
    assert back(at, state)[0] == [] and os.readlink(path) == "/a"


@pytest.mark.parametrize("change", ["gone", "emptied", "a file", "a link", "mode"])
def test_a_directory_comes_back_with_what_was_in_it(at, state, etc, change):
    folder = os.path.join(etc, "ssh", "sshd_config.d")
    os.mkdir(folder)
    os.chmod(folder, 0o750)
    os.chown(folder, 0, 64322)
    inside = put(os.path.join(folder, "50.conf"), mode=0o600)
    before = look(folder), look(inside)
    taken(at, state, folder)
    if change == "mode":
        os.chmod(folder, 0o777)
    else:
        os.unlink(inside)
        if change != "emptied":
            os.rmdir(folder)
        if change == "a file":
            put(folder, FOREIGN)
        elif change == "a link":
            os.symlink("/tmp", folder)
    assert back(at, state)[0] == []
    assert (look(folder), look(inside)) == before


def test_what_came_into_a_directory_is_kept_elsewhere(at, state, etc):
    folder = os.path.join(etc, "ssh", "sshd_config.d")
    os.mkdir(folder)
    taken(at, state, folder)
    put(os.path.join(folder, "99-theirs.conf"), FOREIGN)
    os.mkdir(os.path.join(folder, "sub"))
    problems, notes = back(at, state)
    assert problems == [] and "kept as" in notes[0]
    assert os.listdir(folder) == ["sub"], "directories are left: sshd does not read them"
    assert look(os.path.join(at.places.base, "kept", state["id"] + "-99-theirs.conf"))[4] == FOREIGN


def test_a_directory_that_was_not_there_goes_with_what_a_killed_writer_left_in_it(at, state, etc):
    """AlmaLinux 8 has no sshd_config.d; whoever was killed before its rename leaves a name that sshd does not read."""
    folder = os.path.join(etc, "ssh", "sshd_config.d")
    taken(at, state, folder, os.path.join(folder, "00-00-latchkey.conf"))
    os.mkdir(folder)
    put(os.path.join(folder, ".latchkey-4999999-00-00-latchkey.conf"), NEW)
    assert back(at, dict(state, state=guardian.REVERTED)) == ([], [])
    assert os.listdir(os.path.join(etc, "ssh")) == []


def test_a_directory_that_was_not_there_stays_where_others_came_to_use_it(at, state, etc):
    folder = os.path.join(etc, "ssh", "sshd_config.d")
    taken(at, state, folder, os.path.join(folder, "00-00-latchkey.conf"))
    os.mkdir(folder)
    os.mkdir(os.path.join(folder, "theirs"))
    assert back(at, dict(state, state=guardian.REVERTED)) == ([], [])
    assert os.listdir(folder) == ["theirs"]


@pytest.mark.parametrize("there", [True, False])
def test_what_sshd_would_read_in_a_drop_in_directory_goes_file_or_link(at, state, etc, there):
    """A link is read like a file; a directory that an Include line looks into may appear in the window."""
    folder = os.path.join(etc, "ssh", "conf")
    if there:
        os.mkdir(folder)
    snapshot.take(at.places, state, [snapshot.Touch(folder, untouched=True, folder=True)])
    if not there:
        os.mkdir(folder)
    put(os.path.join(folder, "10-deny.conf"), FOREIGN)
    os.symlink("/etc/passwd", os.path.join(folder, "20-link.conf"))
    problems, notes = back(at, dict(state, state=guardian.REVERTED))
    assert problems == [] and "kept as" in notes[0] and "made 20-link.conf a link to /etc/passwd" in notes[0]
    assert not os.path.exists(folder) if not there else os.listdir(folder) == []


# ---- what others wrote -----------------------------------------------------------------------------------------------


def test_what_we_wrote_is_not_kept_and_what_others_wrote_is(at, state, etc):
    paths = [put(os.path.join(etc, "ssh", name)) for name in ("ours", "earlier", "theirs")]
    taken(at, state, *paths)
    for entry in state["entries"]:
        entry["wrote"] = [guardian.digest(NEW), guardian.digest(b"first\n")]
    put(paths[0], NEW)
    put(paths[1], b"first\n")
    put(paths[2], FOREIGN)
    problems, notes = back(at, state)
    kept = os.path.join(at.places.base, "kept", state["id"] + "-theirs")
    assert problems == [] and notes == [
        "%s: somebody else changed it meanwhile: that version is kept as %s" % (paths[2], kept)
    ]
    assert look(kept)[4] == FOREIGN and look(kept)[0] & 0o777 == 0o600
    assert os.listdir(os.path.dirname(kept)) == [os.path.basename(kept)]


def no_room_below(monkeypatch, top):
    real = os.open

    def opened(path, flags, *rest, **more):
        if flags & os.O_CREAT and "dir_fd" not in more and str(path).startswith(top):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", opened)


def test_on_a_full_disk_it_is_kept_beside(at, state, etc, monkeypatch):
    path = put(os.path.join(etc, "ssh", "sshd_config"))
    taken(at, state, path)
    replaced(path)
    no_room_below(monkeypatch, at.places.base)
    problems, notes = back(at, state)
    beside = ".latchkey-kept-%s-sshd_config" % state["id"]
    assert problems == [] and beside in notes[0]
    assert look(path)[4] == OLD and look(os.path.join(etc, "ssh", beside))[4] == NEW


def test_where_it_cannot_be_kept_at_all_the_way_back_comes_first(at, state, etc, monkeypatch):
    path = put(os.path.join(etc, "ssh", "sshd_config"))
    taken(at, state, path)
    replaced(path)
    no_room_below(monkeypatch, at.places.base)
    monkeypatch.setattr(os, "link", failing("full"))
    problems, notes = back(at, state)
    assert problems == [] and "is lost (full)" in notes[0] and look(path)[4] == OLD


def test_on_a_full_disk_what_lies_ready_comes_back_all_the_same(at, state, etc, monkeypatch):
    """The rename of the ready file needs no room."""
    path = put(os.path.join(etc, "ssh", "sshd_config"))
    taken(at, state, path)
    state["entries"][0]["wrote"] = [guardian.digest(NEW)]
    replaced(path)
    monkeypatch.setattr(os, "write", failing("full"))
    assert back(at, state) == ([], []) and look(path)[4] == OLD


# ---- what does not work is said --------------------------------------------------------------------------------------


def test_a_ready_file_that_is_damaged_is_not_used(at, state, etc):
    path = put(os.path.join(etc, "ssh", "sshd_config"))
    taken(at, state, path)
    put(state["entries"][0]["ready"], b"damaged\n")
    changed(path)
    assert back(at, state)[0] == [] and look(path)[4] == OLD


def test_a_copy_that_is_damaged_is_a_problem_and_no_silence(at, state, etc):
    path = put(os.path.join(etc, "ssh", "sshd_config"))
    taken(at, state, path)
    os.unlink(state["entries"][0]["ready"])
    put(os.path.join(at.places.copies, state["entries"][0]["copy"]), b"damaged\n")
    changed(path)
    problems, _notes = back(at, state)
    assert problems == ["%s: its copy 0000 is damaged" % path] and look(path)[4] == NEW


def test_a_read_only_file_system_is_a_problem_and_the_rest_comes_back(at, state, etc, monkeypatch):
    paths = [put(os.path.join(etc, "ssh", name)) for name in ("a", "b")]
    taken(at, state, *paths)
    for path in paths:
        changed(path)
    real = os.rename

    def rename(source, target, **more):
        if target == "b":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(source, target, **more)

    monkeypatch.setattr(os, "rename", rename)
    problems, _notes = back(at, state)
    assert problems == ["%s: Read-only file system" % paths[1]]
    assert (look(paths[0])[4], look(paths[1])[4]) == (OLD, NEW)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EBUSY])
def test_a_file_that_is_a_mount_of_its_own_is_written_in_place(at, state, etc, monkeypatch, number):
    path = put(os.path.join(etc, "ssh", "sshd_config"))
    taken(at, state, path)
    changed(path)
    real = os.rename

    def rename(source, target, **more):
        if target == "sshd_config" and (number == errno.EBUSY or not source.startswith(".")):
            raise OSError(number, os.strerror(number))
        return real(source, target, **more)

    monkeypatch.setattr(os, "rename", rename)
    inode = os.stat(path).st_ino
    assert back(at, state)[0] == [] and look(path)[4] == OLD
    assert (os.stat(path).st_ino == inode) is (number == errno.EBUSY)
    assert os.listdir(os.path.join(etc, "ssh")) == ["sshd_config"]


def test_what_is_as_it_was_is_left_alone(at, state, etc):
    path = put(os.path.join(etc, "ssh", "sshd_config"))
    taken(at, state, path)
    inode, ready = os.stat(path).st_ino, state["entries"][0]["ready"]
    assert guardian.restore(at, state, homes=False) == ([], [])
    assert os.stat(path).st_ino == inode and os.path.exists(ready)


# ---- the snapshot ----------------------------------------------------------------------------------------------------


def test_each_path_stands_once_and_what_is_touched_first(at, state, etc):
    main = put(os.path.join(etc, "ssh", "sshd_config"))
    tree = snapshot.sshd_tree(tree_of(main))
    snapshot.take(at.places, state, [snapshot.Touch(main), *tree, snapshot.Touch(main + "/")])
    assert [(one["path"], one["untouched"]) for one in state["entries"]] == [(main, False)]


def test_the_tree_of_sshd_is_its_files_and_the_directories_of_its_drop_ins():
    drop_ins = ["/etc/ssh/sshd_config.d/a.conf", "/etc/ssh/sshd_config.d/b.conf"]
    include = b"Include /etc/ssh/sshd_config.d/*.conf\n"
    found = snapshot.sshd_tree(tree_of("/etc/ssh/sshd_config", *drop_ins, text=include))
    assert [one.path for one in found] == [
        "/etc/ssh/sshd_config.d",
        "/etc/ssh/sshd_config",
        "/etc/ssh/sshd_config.d/a.conf",
        "/etc/ssh/sshd_config.d/b.conf",
    ]
    assert all(one.untouched for one in found)


@pytest.mark.parametrize(
    "include, paths",
    [
        (b"sshd_config.d/*.conf", ["/etc/ssh/sshd_config.d"]),
        (b"/etc/ssh/conf/*", ["/etc/ssh/conf"]),
        (b"extra.conf", ["/etc/ssh/extra.conf"]),
        (b"*.conf", []),
        (b"/nowhere/x/*.conf /nowhere/x.conf", []),
    ],
)
def test_what_include_lines_would_find_belongs_to_the_tree(include, paths):
    """What somebody puts there in the window is read by sshd, also where nothing lay there before."""
    found = snapshot.sshd_tree(tree_of("/etc/ssh/sshd_config", text=b"Include " + include + b"\n"))
    assert sorted(one.path for one in found) == sorted([*paths, "/etc/ssh/sshd_config"])


def test_a_later_take_goes_on_counting(at, state, etc):
    paths = [put(os.path.join(etc, "ssh", name)) for name in ("a", "b")]
    taken(at, state, paths[0])
    (new,) = snapshot.take(at.places, state, [snapshot.Touch(paths[1])])
    assert [one["copy"] for one in state["entries"]] == ["0000", "0001"] and new is state["entries"][1]


def test_copies_and_ready_files_are_nobody_else_s(at, state, etc):
    path = put(os.path.join(etc, "ssh", "sshd_config"), mode=0o644)
    taken(at, state, path)
    entry = state["entries"][0]
    assert os.stat(os.path.join(at.places.copies, entry["copy"])).st_mode & 0o777 == 0o600
    assert os.path.dirname(entry["ready"]) == os.path.join(etc, ".latchkey-" + state["id"])
    assert os.stat(os.path.dirname(entry["ready"])).st_mode & 0o777 == 0o700
    assert os.listdir(os.path.join(etc, "ssh")) == ["sshd_config"], "a listener is held against this directory"


def test_where_others_may_write_above_the_ready_file_lies_beside(at, state, public, monkeypatch):
    folder = os.path.join(public, "srv", "x")
    os.makedirs(folder)
    monkeypatch.setattr(snapshot, "_top", lambda path: "/proc")
    path = put(os.path.join(folder, "file"))
    taken(at, state, path)
    assert state["entries"][0]["ready"] == os.path.join(folder, ".latchkey-%s-file" % state["id"])
    changed(path)
    assert back(at, state)[0] == [] and look(path)[4] == OLD and os.listdir(folder) == ["file"]


def test_a_private_key_is_forgotten_once_it_is_over(at, state, etc):
    secret = b"-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"
    paths = [put(os.path.join(etc, "ssh", "key"), secret, 0o600), put(os.path.join(etc, "ssh", "other"))]
    taken(at, state, *paths)
    guardian.replace(at.places.marker, state["id"].encode(), 0o600)
    assert guardian.confirm(at, state["id"], None, None)["answer"] == "COMMITTED"
    kept = os.path.join(at.places.history, state["id"])
    assert [look(os.path.join(kept, name))[4] for name in os.listdir(kept)] == [OLD]
    assert not os.path.exists(at.places.copies)


def test_what_others_may_write_is_refused(at, state, public):
    folder = os.path.join(public, "theirs")
    os.mkdir(folder)
    os.chown(folder, 64321, 64321)
    with pytest.raises(Refused, match="not root's alone"):
        taken(at, state, put(os.path.join(folder, "file")))
    assert state["entries"] == []


def test_what_cannot_be_brought_back_is_refused(at, state, etc):
    path = os.path.join(etc, "ssh", "pipe")
    os.mkfifo(path)
    with pytest.raises(Refused, match="neither a file nor a directory"):
        taken(at, state, path)


def test_a_directory_with_too_much_in_it_is_refused(at, state, etc):
    for number in range(snapshot._MOST_FILES):
        put(os.path.join(etc, "ssh", str(number)), b"")
    with pytest.raises(Refused, match="more than 500 files"):
        taken(at, state, os.path.join(etc, "ssh"))


def test_no_room_for_the_snapshot_is_said(at, state, etc, monkeypatch):
    path = put(os.path.join(etc, "ssh", "sshd_config"))
    monkeypatch.setattr(os, "write", failing("no space"))
    with pytest.raises(HostError, match="the snapshot cannot be taken: no space"):
        taken(at, state, path)


def test_what_could_not_be_taken_is_looked_at_without_a_copy(at, etc, public):
    path = put(os.path.join(etc, "ssh", "sshd_config"))
    assert snapshot.check([snapshot.Touch(path), *snapshot.sshd_tree(tree_of(path))]) == (path,)
    os.mkdir(os.path.join(public, "open"))
    os.chmod(os.path.join(public, "open"), 0o777)
    with pytest.raises(Refused):
        snapshot.check([snapshot.Touch(os.path.join(public, "open", "x"))])
    assert not os.path.exists(at.places.copies)


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_what_a_killed_writer_left_is_removed_and_that_of_a_living_one_is_not(at, state, etc):
    path = put(os.path.join(etc, "ssh", "sshd_config"))
    taken(at, state, path)
    for name in (".latchkey-4999999-x", ".latchkey-%d-x" % os.getpid(), ".latchkey-kept-1-x", ".other"):
        put(os.path.join(etc, "ssh", name))
    os.mkdir(os.path.join(etc, ".latchkey-20200101T000000-abcdef"))
    put(os.path.join(etc, ".latchkey-20200101T000000-abcdef", "0000"))
    guardian._leave_directories(state)
    assert sorted(os.listdir(os.path.join(etc, "ssh"))) == sorted(
        [".latchkey-%d-x" % os.getpid(), ".latchkey-kept-1-x", ".other", "sshd_config"]
    )
    assert os.listdir(etc) == ["ssh"]


def test_what_a_killed_arm_left_beside_its_units_is_swept(armed, state):
    guardian.save(armed.places, dict(state, state=guardian.REVERTED))
    places = armed.places
    left = [os.path.join(where, ".latchkey-4999999-x") for where in (places.units, places.base)]
    left.append(os.path.join(os.path.dirname(places.command), ".latchkey-4999999-x"))
    for path in left:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        put(path)
    assert guardian.finish(armed)
    assert [path for path in left if os.path.lexists(path)] == []


def test_old_transactions_are_forgotten(at, state):
    for number in range(guardian._KEPT_TRANSACTIONS + 3):
        one = dict(state, id="202601%02dT000000-abcdef" % (number + 1), state=guardian.COMMITTED)
        guardian.save(at.places, one)
        assert guardian.finish(at)
    ids = [one["id"] for one in guardian.history(at.places)]
    assert len(ids) == guardian._KEPT_TRANSACTIONS and ids[0].startswith("20260104")
    assert len(os.listdir(at.places.history)) == 2 * guardian._KEPT_TRANSACTIONS


def test_one_that_is_not_over_is_not_finished(armed):
    assert guardian.finish(armed) is False and os.path.exists(armed.places.marker)


def test_services_are_told_once_what_is_over(armed, state):
    guardian.save(armed.places, dict(state, state=guardian.REVERTED, afterwards=[["fapolicyd-cli", "--update"]]))
    for _time in range(2):
        assert guardian.finish(armed)
    assert armed.machine.ran.count("fapolicyd-cli --update") == 1


def test_the_guardian_has_systemd_forget_it_whoever_removed_its_unit(armed, state, monkeypatch):
    monkeypatch.setenv("LATCHKEY_UNIT", guardian.GUARD_UNIT)
    guardian.save(armed.places, dict(state, state=guardian.REVERTED))
    assert guardian.watch(armed) == 0
    assert "systemctl daemon-reload" in armed.machine.ran
    assert "systemctl stop latchkey-guard.service" not in armed.machine.ran, "it would end itself on the way"
