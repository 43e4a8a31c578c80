# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts: what a shadow entry says about logging in by password, and who can start a session."""

import os

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._host import accounts, programs

ALICE = accounts.Account("alice", 1001, 1001, "/home/alice", "/bin/bash")


@pytest.mark.parametrize(
    "field, state",
    [
        (None, "unknown"),
        ("", "empty"),
        ("!", "locked"),
        ("!!", "locked"),
        ("!*", "locked"),
        ("!$6$salt$hash", "locked"),
        ("*", "none"),
        ("*LK*", "none"),
        ("x", "none"),
        ("**NOPASSWORD**", "none"),
        ("$1$salt$hash", "usable"),
        ("$5$salt$hash", "usable"),
        ("$6$rounds=5000$salt$hash", "usable"),
        ("$y$j9T$salt$hash", "usable"),
        ("$2b$12$hash", "usable"),
        ("_J9..saltHash.......", "usable"),
        ("ab0123456789.", "usable"),
        ("ab0123456789", "none"),
    ],
)
def test_password_states(field, state):
    assert accounts.password_state(field) == state


def test_shadow_entries_are_asked_once_through_nss(monkeypatch):
    asked = []

    def run(argv):
        asked.append(argv)
        return programs.Outcome(2, "alice:$6$a$b:19000:0:99999:7:::\nbob:!!:19000::::::\nnoise\n", "")

    monkeypatch.setattr(programs, "run", run)
    people = [ALICE, ALICE._replace(name="bob"), ALICE._replace(name="ldap")]
    found = {account.name: account.password for account in accounts.with_passwords(people)}
    assert found == {"alice": "usable", "bob": "locked", "ldap": "unknown"}
    assert asked == [["getent", "shadow", "alice", "bob", "ldap"]]
    assert accounts.with_passwords([]) == [] and len(asked) == 1


@pytest.mark.parametrize(
    "shell, can",
    [
        ("/bin/sh", True),
        ("", True),
        ("/sbin/nologin", False),
        ("/usr/sbin/nologin", False),
        ("/bin/false", False),
        ("/bin/sync", False),
        ("/no/such/shell", False),
        ("/etc/passwd", False),
    ],
)
def test_who_can_have_a_shell(shell, can):
    assert accounts.can_have_a_shell(ALICE._replace(shell=shell)) is can


def test_root_is_found_and_nobody_else_is_made_up():
    root = accounts.find("root")
    assert (root.uid, root.home) == (0, "/root") and root in accounts.everyone()
    assert accounts.groups_of(root)[0] == "root"
    assert accounts.find("no-such-account") is None
    names = [account.name for account in accounts.everyone()]
    assert len(names) == len(set(names))


def test_a_group_number_without_a_name_is_passed_over():
    if os.geteuid() != 0:
        pytest.skip("needs root's groups only")
    assert accounts.groups_of(ALICE._replace(name="no-such-account", gid=64321)) == ()
