# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acting as somebody else: no more rights than theirs, and errors that arrive as they were raised."""

import os
import signal

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError, Malformed, Refused
from ansible_collections.latchkey.ssh.plugins.module_utils._host import accounts, users

UID = 64321


def test_user_groups_and_umask_are_the_accounts(place):
    def look():
        umask = os.umask(0)
        return os.getresuid(), os.getresgid(), sorted(os.getgroups()), umask

    before = os.getresuid(), os.getgroups()
    assert users.run_as(place.account, look) == ((UID,) * 3, (UID,) * 3, [UID], 0o077)
    assert (os.getresuid(), os.getgroups()) == before


def test_root_cannot_be_taken_back(place):
    def attempt():
        os.setresuid(0, 0, 0)

    with pytest.raises(PermissionError):
        users.run_as(place.account, attempt)


def test_no_capability_is_left(place):
    def look():
        with open("/proc/self/status") as status:
            return [line.split()[1] for line in status if line.startswith(("CapEff", "CapPrm"))]

    assert users.run_as(place.account, look) == ["0" * 16] * 2


@pytest.mark.parametrize("kind", [Malformed, Refused, HostError])
def test_engine_errors_pass_through_whole(place, kind):
    def fail():
        raise kind("what was found", "what to do", "where:7")

    with pytest.raises(kind) as caught:
        users.run_as(place.account, fail)
    error = caught.value
    assert isinstance(error, kind)
    assert (error.reason, error.remedy, error.where) == ("what was found", "what to do", "where:7")
    assert str(error) == "where:7: what was found. what to do"


def test_errors_of_the_system_pass_through_with_number_and_path(place):
    with pytest.raises(PermissionError) as caught:
        users.run_as(place.account, lambda: open("/etc/shadow", "rb").close())
    assert (caught.value.errno, caught.value.filename) == (13, "/etc/shadow")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def mistake():
    raise ZeroDivisionError


def unsendable():
    return lambda: None


@pytest.mark.parametrize("work", [die, mistake, unsendable])
def test_a_child_without_an_answer_is_an_error_and_never_a_second_parent(place, work, capfd):
    mine = os.getpid()
    with pytest.raises(HostError) as caught:
        users.run_as(place.account, work)
    assert os.getpid() == mine
    assert "the work as latchkey-nobody ended without an answer" in caught.value.reason
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_child_that_its_user_stops_is_ended(place, monkeypatch):
    monkeypatch.setattr(users, "_SECONDS", 0.2)
    monkeypatch.setattr(users, "_GRACE", 0.05)
    with pytest.raises(HostError) as caught:
        users.run_as(place.account, lambda: os.kill(os.getpid(), signal.SIGSTOP))
    assert "did not end within 0.2 s" in caught.value.reason
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_large_answers_do_not_block(place):
    assert users.run_as(place.account, lambda: b"x" * 3000000) == b"x" * 3000000


def test_who_is_not_root_can_only_be_itself(place):
    def as_user():
        users.become(place.account)
        users.become(place.account)
        try:
            users.become(place.account._replace(uid=UID + 1))
        except LatchkeyError as error:
            return str(error)
        return ""

    assert "only root can act as latchkey-nobody" in users.run_as(place.account, as_user)


def test_root_itself_needs_no_change():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    root = accounts.Account("root", 0, 0, "/root", "/bin/sh")
    assert users.run_as(root, os.getresuid) == (0, 0, 0)
