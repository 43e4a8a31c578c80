# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key files outside homes: nobody but root and the account may have a hand in the way to them."""

import os
import shutil
import tempfile

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Refused
from ansible_collections.latchkey.ssh.plugins.module_utils._host import accounts, outside_files

UID = 64321
ALICE = accounts.Account("alice", UID, UID, "/home/alice", "/bin/sh")


@pytest.fixture
def base():
    if os.geteuid() != 0:
        pytest.skip("needs root: every directory on the way has to be root's")
    path = tempfile.mkdtemp(prefix="latchkey-test-", dir="/var/lib")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


def write(path, data=b"keys\n", mode=0o644, uid=0):
    with open(path, "wb") as stream:
        stream.write(data)
    os.chmod(path, mode)
    os.chown(path, uid, uid)
    return path


def test_the_way_is_told_from_the_root_on(base):
    found = outside_files.read(ALICE, write(base + "/alice", uid=UID))
    assert (found.state.data, found.state.uid, found.outside) == (b"keys\n", UID, True)
    assert [one.path for one in found.directories] == ["/", "/var", "/var/lib", base]


@pytest.mark.parametrize("missing", ["alice", "no/such/alice"])
def test_what_is_missing(base, missing):
    found = outside_files.read(ALICE, os.path.join(base, missing))
    assert found.state.kind == "missing" and found.directories[-1].path == base and found.outside


def test_a_file_that_is_a_link_is_not_read(base):
    os.symlink("/etc/shadow", base + "/alice")
    with pytest.raises(Refused, match="link"):
        outside_files.read(ALICE, base + "/alice")


def test_a_directory_that_is_a_link_is_not_followed(base):
    os.mkdir(base + "/real")
    os.symlink("real", base + "/link")
    write(base + "/real/alice")
    with pytest.raises(Refused) as caught:
        outside_files.read(ALICE, base + "/link/alice")
    assert caught.value.where == base + "/link"


@pytest.mark.parametrize("uid, mode", [(UID + 1, 0o755), (0, 0o775), (0, 0o1777), (UID, 0o757)])
def test_a_directory_that_others_can_write_is_refused(base, uid, mode):
    below = base + "/d"
    os.mkdir(below)
    write(below + "/alice")
    os.chown(below, uid, uid)
    os.chmod(below, mode)
    with pytest.raises(Refused) as caught:
        outside_files.read(ALICE, below + "/alice")
    assert caught.value.where == below and "go-w" in caught.value.remedy


def test_a_file_of_somebody_else_is_refused(base):
    with pytest.raises(Refused, match="belongs to uid"):
        outside_files.read(ALICE, write(base + "/alice", uid=UID + 1))
