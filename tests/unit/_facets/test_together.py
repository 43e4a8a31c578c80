# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All facets in one look: what is refused is collected, and who would be stranded is found."""

import collections

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._access import model
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, Malformed, Refused
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import (
    keyrings,
    keys,
    operators,
    preflight,
    server,
    together,
)
from ansible_collections.latchkey.ssh.plugins.module_utils._facets.change import NARROW, WIDEN, Change, Outcome
from ansible_collections.latchkey.ssh.plugins.module_utils._host import accounts, files, home_files, key_command, logins
from ansible_collections.latchkey.ssh.plugins.module_utils._host.logins import Login
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import version

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF12zMF6tQrTaNA1r6e4tPAOP+/ncrHaROzuCQvxFhLQ"
OPEN = {
    "passwordauthentication": ("yes",),
    "permitrootlogin": ("yes",),
    "authorizedkeysfile": (".ssh/authorized_keys",),
    "authenticationmethods": ("any",),
}
DESIRED = {"server": {"methods": ["publickey"]}}
POLICY = together.Policy("refuse", (), 90)
WIDENS = Change("keys", WIDEN, "file", "/k", "keys of alice")
NARROWS = Change("server", NARROW, "file", "/s", "settings of sshd")

Sshd = collections.namedtuple("Sshd", "version")


class FakeHost:
    """A host of accounts with answers of sshd, all alike unless ``answers`` says otherwise."""

    def __init__(self, people=(), answer=None, answers=None):
        self.sshd = Sshd(version.EL9)
        self.people = {account.name: account for account in people}
        self.answer = dict(OPEN, **(answer or {}))
        self.answers = answers or {}
        self.present = self

        self.client = "192.0.2.7"

    def ask(self, _connection):
        return self.answer

    def client_name(self, answer):
        return self.client

    def effective(self, account):
        return dict(self.answer, **self.answers.get(account.name, {}))

    def everyone(self):
        return list(self.people.values())

    def account(self, name):
        if name not in self.people:
            raise Refused("no such account", "", name)
        return self.people[name]


def account(name, password="usable", uid=1001, shell="/bin/sh"):
    return accounts.Account(name, uid, uid, "/home/" + name, shell, password)


@pytest.fixture
def world(monkeypatch):
    """Let a host be what a test says: ``plans`` per facet, ``logins``, who has ``keys`` in files or from a command."""
    world = collections.namedtuple("World", "plans logins keys commands")({}, [], set(), {})

    def outcome(name):
        def plan(params, host):
            found = world.plans.get(name, Outcome([], []))
            if isinstance(found, Exception):
                raise found
            return found

        return plan

    def keyring(host, who):
        if who.name == "odd":
            raise Refused("its home is a link", "", who.home)
        text = (KEY + "\n").encode() if who.name in world.keys else b""
        state = files.FileState("/k", "file", text, 0o600, who.uid, who.uid)
        return keyrings.Keyring(who, (home_files.HomeFile(state, ()),), True, False)

    monkeypatch.setattr(keys, "outcome", outcome("keys"))
    monkeypatch.setattr(server, "outcome", outcome("server"))
    monkeypatch.setattr(keyrings, "look", keyring)
    monkeypatch.setattr(logins, "recent", lambda days: list(world.logins))
    monkeypatch.setattr(accounts, "with_passwords", list)
    monkeypatch.setattr(accounts, "find", lambda name: account(name, "unknown") if name == "ldap" else None)
    monkeypatch.setattr(key_command, "output", lambda answer, who: world.commands.get(who.name, b""))
    monkeypatch.setattr(together, "_KEYTAB", "/no/such/keytab")
    monkeypatch.setattr(accounts, "groups_of", lambda who: ())
    # The machine that runs these tests is not the host.
    monkeypatch.setattr(preflight, "_facts", lambda names, host: None)
    monkeypatch.setattr(preflight, "_closely", preflight._server)
    world.plans["server"] = Outcome([NARROWS], [])
    return world


def used(name, method="password"):
    return Login(name, method, "192.0.2.7", 1767441599.0)


def plan(host, desired=None, policy=POLICY, operators=()):
    return together.plan(desired or DESIRED, policy, operators, host)


def reasons(found):
    return [str(error) for error in found.refused]


# ---- collecting ------------------------------------------------------------------------------------------------------


def test_facets_are_planned_in_order_and_only_those_asked_for(world):
    world.plans["keys"] = Outcome([WIDENS], [])
    world.plans["server"] = Outcome([NARROWS], ["a line"])
    found = plan(FakeHost(), dict(DESIRED, keys={"user": "alice", "key": [KEY]}))
    assert (found.changes, found.conflicts, found.refused) == ([WIDENS, NARROWS], ["a line"], [])
    assert plan(FakeHost()).changes == [NARROWS]
    assert found.sshd_version == "8.7"


def test_what_is_refused_is_collected(world):
    world.plans["keys"] = Refused("one", "", "a")
    world.plans["server"] = HostError("two", "", "b")
    found = plan(FakeHost(), dict(DESIRED, keys={"user": "alice", "key": [KEY]}), operators=["nobody-here"])
    assert [text.split(":")[0] for text in reasons(found)] == ["a", "b", "nobody-here"]
    assert found.changes == []


def test_a_malformed_key_does_not_hide_the_others(world):
    world.plans["keys"] = Malformed("no key", "", "accounts[0].key")
    found = plan(FakeHost([account("bob")]), dict(DESIRED, keys={"user": "alice", "key": ["garbage"]}))
    assert len(found.refused) == 1 and found.changes == [NARROWS]


@pytest.fixture
def judged(monkeypatch):
    """Keep what the pre-flight is asked, and let it refuse and tell one thing."""
    asked = []

    def judge(names, client, state, closely):
        asked.append((list(names), client, state.planned, closely))
        return preflight.Verdict([Refused("no key", "", "alice")], [model.Finding("warn", "r", "m", "w", "c")])

    monkeypatch.setattr(preflight, "judge", judge)
    monkeypatch.setattr(operators, "answers", lambda names, planned, host: operators.Said(OPEN, {}))
    return asked


def test_operators_and_the_way_in_are_judged_in_the_planned_state(world, judged):
    world.plans["keys"], world.plans["server"] = Outcome([WIDENS], []), Outcome([NARROWS], [], "the planned tree")
    host, way = FakeHost(), together.Way("alice", KEY)
    wanted = dict(DESIRED, keys={"user": "a", "key": [KEY]})
    found = together.plan(wanted, POLICY, ["bob"], host, way=way, client={"forks": 7})
    ((names, client, planned, closely),) = judged
    assert (names, planned) == (["bob"], operators.Planned([WIDENS, NARROWS], "the planned tree")) and closely
    assert (client.user, client.key.text, client.forks) == ("alice", KEY, 7)
    assert reasons(found) == ["alice: no key"]
    assert found.findings == [{"cause": "c", "where": "w", "reason": "r", "remedy": "m"}]


def test_only_what_takes_something_away_is_looked_at_closely(world, judged):
    for outcome, closely in (([NARROWS], True), ([NARROWS._replace(phase=WIDEN)], False), ([], False)):
        world.plans["server"] = Outcome(outcome, [])
        plan(FakeHost())
        assert judged[-1][3] is closely


def test_where_a_facet_is_refused_the_keys_of_operators_are_not_known(world, judged):
    world.plans["server"] = Refused("one", "", "a")
    plan(FakeHost())
    assert judged[0][2].complete is False and judged[0][3]


def test_an_sshd_that_does_not_answer_is_a_refusal_and_its_methods_are_those_asked_for(world, monkeypatch):
    def answers(names, planned, host):
        raise Malformed("sshd does not accept it")

    monkeypatch.setattr(operators, "answers", answers)
    found = plan(FakeHost())
    assert reasons(found) == ["sshd does not accept it"] and found.methods == ["publickey"]


def test_mistakes_of_our_own_are_not_swallowed(world):
    world.plans["server"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        plan(FakeHost())


# ---- stranded --------------------------------------------------------------------------------------------------------


def test_real_use_is_refused_with_all_names_and_ways_out(world):
    world.logins.extend([used("bob"), used("carol", "keyboard-interactive")])
    found = plan(FakeHost([account("bob"), account("carol"), account("dave")]))
    assert [(one["account"], one["use"]) for one in found.stranded] == [
        ("bob", "real"), ("carol", "real"), ("dave", "possible")]
    assert len(found.refused) == 1
    assert "bob (password from 192.0.2.7, 2026-01-03T11:59:59Z)" in found.refused[0].reason
    assert "dave" not in found.refused[0].reason and "harden_stranded_ok" in found.refused[0].remedy


@pytest.mark.parametrize(
    "policy, refused",
    [
        (POLICY, 1),
        (POLICY._replace(action="report"), 0),
        (POLICY._replace(accepted=("bob",)), 0),
        (POLICY._replace(accepted=("dave",)), 1),
    ],
)
def test_what_may_be_accepted(world, policy, refused):
    world.logins.append(used("bob"))
    found = plan(FakeHost([account("bob")]), policy=policy)
    assert len(found.refused) == refused and len(found.stranded) == 1


def test_who_has_a_key_in_the_plan_or_anywhere_is_not_stranded(world):
    names = ["planned", "file", "command", "recent"]
    world.logins.extend([used(name) for name in names] + [used("recent", "publickey")._replace(when=1767441600.0)])
    world.keys.add("file")
    world.commands["command"] = (KEY + "\n").encode()
    desired = dict(DESIRED, keys={"accounts": [{"user": "planned", "key": [KEY]}]})
    assert plan(FakeHost([account(name) for name in names]), desired).stranded == []


def test_a_key_that_the_plan_takes_away_is_no_key_of_the_plan(world):
    world.logins.append(used("bob"))
    desired = dict(DESIRED, keys={"accounts": [{"user": "bob", "key": [KEY], "state": "absent"}]})
    assert [one["account"] for one in plan(FakeHost([account("bob")]), desired).stranded] == ["bob"]


@pytest.mark.parametrize("listed", ["", "garbage", "cert-authority " + KEY, "bad-option " + KEY])
def test_a_command_that_lists_no_key_gives_none(world, listed):
    world.logins.append(used("bob"))
    world.commands["bob"] = listed.encode()
    assert len(plan(FakeHost([account("bob")])).stranded) == 1


def test_an_account_whose_keys_cannot_be_looked_at_counts_as_without(world):
    world.logins.append(used("odd"))
    assert [one["account"] for one in plan(FakeHost([account("odd")])).stranded] == ["odd"]


def test_other_spellings_of_a_name_are_the_same_account(world, monkeypatch):
    monkeypatch.setattr(accounts, "find", lambda name: account("bob") if name.lower().startswith("bob") else None)
    world.logins.extend([used("bob@ad.example.com"), used("BOB")._replace(when=1767441600.0)])
    for people in ([account("bob")], []):
        found = plan(FakeHost(people))
        assert [(one["account"], one["use"]) for one in found.stranded] == [("bob", "real")]
        assert len(found.refused) == 1


def test_a_command_gives_keys_although_the_home_is_not_made_yet(world):
    world.logins.append(used("odd"))
    world.commands["odd"] = (KEY + "\n").encode()
    assert plan(FakeHost([account("odd")])).stranded == []


def test_who_is_stranded_is_said_whatever_else_is_refused(world):
    world.logins.append(used("bob"))
    world.plans["keys"] = Malformed("no key", "", "accounts[0].key")
    desired = dict(DESIRED, keys={"accounts": [{"user": "alice", "key": ["garbage"]}]})
    found = plan(FakeHost([account("bob"), account("alice")]), desired)
    assert [one["account"] for one in found.stranded] == ["bob"] and len(found.refused) == 2
    world.plans["server"] = Refused("a line of others", "", "f:1")
    assert [text[:15] for text in reasons(plan(FakeHost([account("bob")]), desired))] == [
        "accounts[0].key", "f:1: a line of ", "stranded: these"]


def test_the_same_reason_is_given_once(world, monkeypatch):
    world.plans["keys"] = world.plans["server"] = Refused("its home is a link", "", "/home/odd")
    assert len(plan(FakeHost(), dict(DESIRED, keys={"user": "odd", "key": [KEY]})).refused) == 1


OFF = {"passwordauthentication": ("no",), "kbdinteractiveauthentication": ("no",), "pubkeyauthentication": ("yes",)}


@pytest.mark.parametrize(
    "answer, offered",
    [
        (OFF, ["publickey"]),
        (dict(OFF, gssapiauthentication=("yes",)), ["publickey", "gssapi-with-mic"]),
        (dict(OFF, hostbasedauthentication=("yes",)), ["publickey", "hostbased"]),
        (dict(OFF, passwordauthentication=("yes",)), ["publickey", "password"]),
        (dict(OFF, kbdinteractiveauthentication=("yes",)), ["publickey", "keyboard-interactive"]),
    ],
)
def test_which_methods_sshd_will_offer_foreign_lines_included(world, answer, offered):
    assert plan(FakeHost(answer=answer), {"server": {"methods": ["publickey"]}}).methods == offered


def test_who_logged_in_counts_although_no_list_names_them(world):
    world.logins.extend([used("ldap"), used("gone")])
    assert [one["account"] for one in plan(FakeHost()).stranded] == ["ldap"]


@pytest.mark.parametrize(
    "who, answer, possible",
    [
        (account("bob"), {}, True),
        (account("bob", "unknown"), {}, True),
        (account("bob", "locked"), {}, False),
        (account("bob", "none"), {}, False),
        (account("bob", "empty"), {}, False),
        (account("bob", "empty"), {"permitemptypasswords": ("yes",)}, True),
        (account("bob", shell="/sbin/nologin"), {}, False),
        (account("bob"), {"passwordauthentication": ("no",)}, False),
        (account("bob"), {"passwordauthentication": ("no",), "kbdinteractiveauthentication": ("yes",)}, True),
        (account("root", uid=0), {}, True),
        (account("root", uid=0), {"permitrootlogin": ("without-password",)}, False),
        (account("root", uid=0), {"permitrootlogin": ("no",)}, False),
    ],
)
def test_who_could_log_in_by_password_today(world, who, answer, possible):
    found = plan(FakeHost([who], answer)).stranded
    assert [one["use"] for one in found] == (["possible"] if possible else [])


def test_nobody_is_stranded_where_nothing_is_taken_away(world):
    world.logins.append(used("bob"))
    host = FakeHost([account("bob")])
    world.plans["server"] = Outcome([], [])
    assert plan(host).stranded == []
    world.plans["server"] = Outcome([NARROWS._replace(phase=WIDEN)], [])
    assert plan(host).stranded == []
    world.plans["server"] = Outcome([NARROWS], [])
    assert plan(host, {"server": {"settings": {"X11Forwarding": "no"}}}).stranded == []


@pytest.mark.parametrize(
    "gssapi, keytab, methods, action, refused",
    [
        ("yes", True, ["publickey"], "refuse", 1),
        ("yes", True, ["publickey"], "report", 0),
        ("yes", True, ["publickey", "gssapi-with-mic"], "refuse", 0),
        ("no", True, ["publickey"], "refuse", 0),
        ("yes", False, ["publickey"], "refuse", 0),
    ],
)
def test_a_host_that_takes_tickets(world, monkeypatch, tmp_path, gssapi, keytab, methods, action, refused):
    if keytab:
        (tmp_path / "keytab").write_bytes(b"")
    monkeypatch.setattr(together, "_KEYTAB", str(tmp_path / "keytab"))
    host = FakeHost(answer={"gssapiauthentication": (gssapi,)})
    found = plan(host, {"server": {"methods": methods}}, POLICY._replace(action=action))
    assert len(found.refused) == refused
    if refused:
        assert "Kerberos tickets" in found.refused[0].reason
