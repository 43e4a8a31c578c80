# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log in to what the scenario left: by the key, and by everything that must not work any more."""

from pathlib import Path
from typing import Any

import pytest
from live import OPERATOR, PASSWORDS, log_in

testinfra_hosts = ["ssh://mol8", "ssh://mol9", "ssh://mol10"]
USERS = (OPERATOR, "alice", "root")


@pytest.fixture
def name(host: Any) -> str:
    """Return the host's name for a login of our own."""
    return str(host.backend.get_hostname())


def as_root(host: Any, command: str) -> str:
    """Run a command in a login by the key that becomes root with the sudo password; return what it printed."""
    return str(host.check_output(f"echo %s | sudo -S -p '' {command}", PASSWORDS[OPERATOR]))


def test_the_key_logs_in_and_becomes_root(host: Any) -> None:
    assert host.check_output("id -un") == OPERATOR
    assert as_root(host, "id -un") == "root"


def test_the_key_alone_is_offered(name: str, key: Path) -> None:
    login = log_in(name, OPERATOR, key=key)
    assert login.ok and login.offered == ("publickey",), login.said


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("method", ["password", "kbd"])
def test_the_right_password_is_refused(name: str, user: str, method: str) -> None:
    login = log_in(name, user, **{method: PASSWORDS[user]})
    assert login.refused_by("publickey"), login.said


def test_a_wrong_key_is_refused(name: str, wrong_key: Path) -> None:
    login = log_in(name, OPERATOR, key=wrong_key)
    assert login.refused_by("publickey"), login.said


def test_sshd_says_so_for_every_account(host: Any) -> None:
    closed = {"passwordauthentication no", "kbdinteractiveauthentication no", "permitemptypasswords no"}
    for user in USERS:
        said = as_root(host, f"sshd -T -C user={user},host=x,addr=192.0.2.1")
        assert closed <= set(said.splitlines()), user
