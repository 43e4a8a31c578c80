# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who would be stranded: the whole table of what somebody has and how they logged in."""

import itertools

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._access import stranded
from ansible_collections.latchkey.ssh.plugins.module_utils._access.stranded import Person, Stranded, Use

EVERY = ("password", "keyboard-interactive", "gssapi-with-mic", "gssapi-keyex", "hostbased", "publickey")
KEYS = ("publickey",)


@pytest.mark.parametrize(
    "kept, lost",
    [
        (("publickey",), {"password", "keyboard-interactive", "gssapi-with-mic", "gssapi-keyex", "hostbased"}),
        (("publickey", "gssapi-with-mic"), {"password", "keyboard-interactive", "hostbased"}),
        (("publickey", "hostbased"), {"password", "keyboard-interactive", "gssapi-with-mic", "gssapi-keyex"}),
        (("publickey", "hostbased", "gssapi-with-mic"), {"password", "keyboard-interactive"}),
    ],
)
def test_methods_that_go_away(kept, lost):
    assert set(stranded.lost_methods(kept)) == lost


@pytest.mark.parametrize("password, key, used", itertools.product([False, True], [False, True], [None] + list(EVERY)))
def test_table(password, key, used):
    uses = (Use(used, "192.0.2.1", 5.0),) if used else ()
    found = stranded.stranded([Person("bob", password, key, uses)], KEYS)
    if key or used == "publickey":
        assert found == []
    elif used:
        assert found == [Stranded("bob", uses[0])]
    else:
        assert found == ([Stranded("bob", None)] if password else [])


def test_a_method_that_stays_strands_nobody_but_a_password_may():
    uses = (Use("gssapi-with-mic", "192.0.2.1", 5.0),)
    kept = ("publickey", "gssapi-with-mic")
    assert stranded.stranded([Person("bob", False, False, uses)], kept) == []
    assert stranded.stranded([Person("bob", True, False, uses)], kept) == [Stranded("bob", None)]


def test_the_last_real_use_counts_and_comes_first():
    uses = (Use("password", "a", 9.0), Use("hostbased", "b", 7.0))
    people = [
        Person("possible", True, False, ()),
        Person("early", True, False, (Use("password", "a", 1.0),)),
        Person("late", True, False, uses),
        Person("also", True, False, ()),
        Person("eve", True, False, (Use("password", "a", 1.0),)),
    ]
    found = stranded.stranded(people, KEYS)
    assert [one.name for one in found] == ["late", "early", "eve", "also", "possible"]
    assert found[0].last == uses[0]


@pytest.mark.parametrize("by_key, by_password, out", [(9.0, 5.0, False), (5.0, 9.0, True), (5.0, 5.0, True)])
def test_a_login_by_key_counts_until_a_password_was_needed_again(by_key, by_password, out):
    uses = (Use("publickey", "a", by_key), Use("password", "b", by_password))
    found = stranded.stranded([Person("bob", True, False, uses)], KEYS)
    assert found == ([Stranded("bob", uses[1])] if out else [])


def test_reports():
    assert stranded.report(Stranded("bob", Use("password", "192.0.2.7", 1767441599.9))) == {
        "account": "bob", "use": "real", "method": "password", "last": "2026-01-03T11:59:59Z", "from": "192.0.2.7"}
    assert stranded.report(Stranded("bob", None)) == {
        "account": "bob", "use": "possible", "method": "password", "last": "", "from": ""}
