# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In check mode a writer is refused what it would be refused without, and nothing is recorded."""

import os

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Refused
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import fence, guardian

ID = "20261124T120000-abcdef"
COVERED = "/etc/ssh/sshd_config"


@pytest.fixture
def covering(armed, state):
    """Return a site with a transaction over one file and one service."""
    state.update(entries=[dict(path=COVERED, kind="file")], units=[dict(name="sshd.service")])
    guardian.save(armed.places, state)
    return armed


def recorded(at):
    with open(at.places.state, "rb") as handle:
        return handle.read(), sorted(os.listdir(at.places.run))


@pytest.mark.parametrize("what", [COVERED, "sshd.service"])
def test_what_a_transaction_of_others_covers_is_refused(covering, what):
    before = recorded(covering)
    with pytest.raises(Refused, match="covers this"):
        fence.Fence("", covering).check(["/etc/other", what])
    assert recorded(covering) == before


def test_what_it_does_not_cover_is_let_through(covering, at):
    fence.Fence("", covering).check(["/etc/other", "chronyd.service"])
    fence.Fence(ID, covering).check([COVERED])
    assert recorded(covering)[1] == ["armed"]


@pytest.mark.parametrize("named, clock, words", [("another", 1000.0, "not the one"), (ID, 1300.0, "past its deadline")])
def test_a_transaction_that_takes_no_changes_is_refused(covering, named, clock, words):
    covering.machine.clock = clock
    with pytest.raises(Refused, match=words):
        fence.Fence(named, covering).check([COVERED])


def test_where_nothing_is_to_be_written_nothing_is_asked(at):
    fence.Fence("another", at).check([])
