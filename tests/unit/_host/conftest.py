# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Homes of an account that is not root's, with a real user id: a hostile owner has to be able to do its worst here."""

import collections
import os
import shutil
import tempfile

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._host import accounts

# An id that no distribution gives away; NSS need not know it.
UID = 64321

Place = collections.namedtuple("Place", "account home path")


@pytest.fixture
def public():
    """Return a directory that others may enter (pytest's own are closed to them)."""
    path = tempfile.mkdtemp(prefix="latchkey-test-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def place(public):
    """Return an account with a home of its own, and the path of its authorized_keys, which is not there yet."""
    if os.geteuid() != 0:
        pytest.skip("needs root to act as somebody else")
    home = os.path.join(public, "alice")
    os.mkdir(home, 0o700)
    os.chown(home, UID, UID)
    account = accounts.Account("latchkey-nobody", UID, UID, home, "/bin/sh")
    return Place(account, home, os.path.join(home, ".ssh", "authorized_keys"))


@pytest.fixture
def ssh_dir(place):
    """Return the account's .ssh directory, made as ssh-keygen makes it."""
    path = os.path.join(place.home, ".ssh")
    os.mkdir(path, 0o700)
    os.chown(path, UID, UID)
    return path
