# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guardian's host in directories, with a clock and a service manager that do what a test says."""

import os
import shutil
import tempfile

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import guardian
from ansible_collections.latchkey.ssh.plugins.module_utils._host import accounts

# An id that no distribution gives away; NSS need not know it.
UID = 64321


class Machine(guardian.Machine):
    """Notes what is run and told; ``fails`` are words of commands that fail, ``silent`` says that nobody answers."""

    def __init__(self):
        self.clock, self.ran, self.told, self.fails, self.silent = 1000.0, [], [], (), False

    def now(self):
        return self.clock

    def pause(self, seconds):
        self.clock += seconds

    def run(self, argv, seconds=30.0):
        words = " ".join(argv)
        self.ran.append(words)
        return guardian.Program(1 if any(one in words for one in self.fails) else 0, "it said no")

    def greets(self, address, port):
        return not self.silent

    def tell(self, text):
        self.told.append(text)


@pytest.fixture
def public():
    """Return a directory that others may enter (pytest's own are closed to them)."""
    path = os.path.realpath(tempfile.mkdtemp(prefix="latchkey-test-"))
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def at(public):
    """Return a site whose directories are there and empty."""
    names = ("lib/latchkey", "run/latchkey", "units", "sbin/latchkey")
    for name in names[:3]:
        os.makedirs(os.path.join(public, name))
    return guardian.Site(guardian.Places(*[os.path.join(public, name) for name in names]), Machine())


@pytest.fixture
def state():
    """Return a transaction that is armed, of two operators, with nothing in it."""
    return dict(
        format=guardian.FORMAT,
        id="20261124T120000-abcdef",
        state=guardian.ARMED,
        nonce=guardian.digest(b"secret"),
        began="2026-11-24T12:00:00Z",
        by="a test",
        timeout=300,
        deadline=1300.0,
        cap=4600.0,
        last_write=1000.0,
        operators={"alice": 1001, "bob": 1002},
        confirmed=[],
        units=[],
        entries=[],
        afterwards=[],
        reason="",
        problems=[],
        notes=[],
    )


@pytest.fixture
def armed(at, state):
    """Return the site with that transaction on it."""
    guardian.replace(at.places.marker, state["id"].encode(), 0o600)
    guardian.save(at.places, state)
    return at


@pytest.fixture
def alice(public):
    """Return an account that is not root's, with a home and a .ssh directory of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root to act as somebody else")
    home = os.path.join(public, "alice")
    for path in (home, os.path.join(home, ".ssh")):
        os.mkdir(path, 0o700)
        os.chown(path, UID, UID)
    return accounts.Account("latchkey-nobody", UID, UID, home, "/bin/sh")
