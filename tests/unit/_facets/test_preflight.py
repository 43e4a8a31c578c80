# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators and the way Ansible gets in, in the planned state, and what is looked at closely before a change."""

import base64
import collections
import struct

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import keyrings, keys, operators, preflight
from ansible_collections.latchkey.ssh.plugins.module_utils._host import (
    accounts,
    files,
    home_files,
    key_command,
    listeners,
    login_model,
    pam,
    programs,
    sessions,
    sshd,
)
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import version
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.effective import Connection

OPS = accounts.Account("ops", 1001, 1001, "/home/ops", "/bin/sh")
PATH = "/home/ops/.ssh/authorized_keys"
Unit = collections.namedtuple("Unit", "pid")
Sshd = collections.namedtuple("Sshd", "version unit")


def line(number):
    blob = b"".join(struct.pack(">I", len(part)) + part for part in (b"ssh-ed25519", bytes([number]) * 32))
    return "ssh-ed25519 " + base64.b64encode(blob).decode()


K1, K2 = line(1), line(2)
WAY = operators.Way("ops", K1)


class FakeHost:
    sshd = Sshd(version.EL9, Unit(1))
    client = "192.0.2.7"

    def __init__(self, today=None, planned=None):
        self.today, self.planned = today or {}, planned or {}
        self.present = self
        self.blocks = []

    def ask(self, connection):
        return self.today

    def client_name(self, answer):
        return self.client

    def connection(self, account):
        return Connection(account.name, (), self.client, self.client)

    def effective(self, account):
        return self.today

    def judge(self, tree, connections):
        return None, [self.planned for _one in connections]


def ring(text, mode=0o600):
    kind = "file" if text else "missing"
    state = files.FileState(PATH, kind, text.encode(), mode, 1001, 1001)
    above = tuple(files.FileState(path, "dir", b"", 0o700, 1001, 1001) for path in ("/home/ops", "/home/ops/.ssh"))
    return keyrings.Keyring(OPS, (home_files.HomeFile(state, above),), True, 0)


def judge(names, client, planned, host, closely=False):
    asked = preflight.people(names, client) + [one.user for one in client.behind]
    said = operators.answers(asked, planned, host)
    return preflight.judge(names, client, preflight.State(planned, said, host), closely=closely)


@pytest.fixture
def ask(monkeypatch):
    """Plan wishes for ops, whose key file has ``text``, and return what is said against its way in."""
    monkeypatch.setattr(accounts, "find", lambda name: OPS if name == "ops" else None)
    monkeypatch.setattr(accounts, "groups_of", lambda who: ("ops",))
    monkeypatch.setattr(key_command, "output", lambda answer, who: answer.get("lines", b""))

    def ask(text="", wishes=(), names=(), way=WAY, today=None, planned=None, **more):
        client, closely = more.pop("client", None), more.pop("closely", False)
        found = ring(text, **more)
        monkeypatch.setattr(keyrings, "look", lambda host, who: found)
        host = FakeHost(today, planned)
        changes = []
        if wishes:
            desired = keys.Desired.from_params({"accounts": [dict({"user": "ops"}, **wish) for wish in wishes]})
            changes = keys.plan(desired, keys.Current(version.EL9, {"ops": found}))
        tree = "a tree" if planned is not None else None
        verdict = judge(names, preflight.client_of(way, client), operators.Planned(changes, tree), host, closely)
        return [str(one) for one in verdict.refused] + [one.cause for one in verdict.told]

    return ask


@pytest.mark.parametrize(
    "text, wishes, words",
    [
        (K1, [], None),
        ("", [{"key": K1}], None),
        (K2, [{"key": K1}], None),
        (K1, [{"key": K1, "state": "absent"}], "no key file has it"),
        (K1, [{"key": K1, "key_options": 'from="10.9.0.0/16"'}], "not from a permitted host"),
        (K1, [{"key": K1, "key_options": 'from="192.0.2.0/24"'}], None),
        (K1, [{"key": K1, "key_options": 'expiry-time="20200101"'}], "entry expired"),
        (K1, [{"key": K1, "key_options": 'command="/bin/true"'}], "force a command"),
        ('command="/bin/wrap" ' + K1, [], None),
        (K2, [], "no key file has it"),
        ("bad-option " + K1, [], "bad key options"),
    ],
)
def test_the_key_that_ansible_uses_opens_its_account_after_the_plan(ask, text, wishes, words):
    found = ask(text and text + "\n", wishes)
    assert found == [] if words is None else len(found) == 1 and words in found[0] and "SHA256:" in found[0]


def test_a_file_that_sshd_would_not_open_has_no_key(ask):
    (said,) = ask(K1 + "\n", mode=0o666)
    assert PATH in said and "0666 lets group or others write" in said and "chmod go-w" in said
    assert ask(K1 + "\n", mode=0o666, planned={"strictmodes": ("no",)}) == []
    assert "no key file has it" in ask(K2 + "\n", mode=0o666)[0]
    assert ask(K1 + "\n", [{"key": K1}], mode=0o666) == []


@pytest.mark.parametrize("source", ["authorizedkeyscommand", "trustedusercakeys"])
def test_a_key_from_elsewhere_is_not_ours_to_judge(ask, source):
    answer = {source: ("/usr/bin/some",)}
    assert ask("", today=answer) == []
    assert len(ask('from="10.9.0.0/16" %s\n' % K1, today=answer)) == 1


@pytest.mark.parametrize(
    "planned, words",
    [
        ({}, None),
        ({"allowusers": ("alice",)}, "AllowUsers alice keeps ops out"),
        ({"authorizedkeysfile": ("/etc/ssh/keys/%u",)}, "AuthorizedKeysFile"),
        ({"forcecommand": ("/bin/true",)}, "ForceCommand"),
        ({"chrootdirectory": ("/srv",)}, "ChrootDirectory"),
        ({"authorizedkeysfile": (".ssh/authorized_keys",), "forcecommand": ("none",)}, None),
        ({"pubkeyacceptedalgorithms": ("rsa-sha2-512",)}, "leaves out ssh-ed25519"),
    ],
)
def test_the_planned_configuration_counts(ask, planned, words):
    today = {"authorizedkeysfile": (".ssh/authorized_keys",), "forcecommand": ("none",)}
    found = ask(K1 + "\n", today=today, planned=dict({"authorizedkeysfile": today["authorizedkeysfile"]}, **planned))
    assert found == [] if words is None else len(found) == 1 and words in found[0]


@pytest.mark.parametrize(
    "text, wishes, answer, words",
    [
        (K2, [], {}, None),
        ("", [{"key": K1}], {}, None),
        ("", [], {"lines": (K2 + "\n").encode()}, None),
        ("", [], {"trustedusercakeys": ("/etc/ssh/ca",)}, None),
        ("", [], {}, "would have no key"),
        (K2, [{"key": K2, "state": "absent"}], {}, "would have no key"),
        ("", [], {"lines": b"garbage\n"}, "would have no key"),
    ],
)
def test_a_named_operator_has_a_key(ask, text, wishes, answer, words):
    found = ask(text and text + "\n", wishes, ["ops"], None, answer)
    assert found == [] if words is None else len(found) == 1 and words in found[0]


def test_who_does_not_exist_or_gets_no_shell(ask, monkeypatch):
    assert "does not exist on this host" in ask(names=["nobody-here"], way=None)[0]
    monkeypatch.setattr(accounts, "find", lambda name: OPS._replace(shell="/sbin/nologin"))
    assert "/sbin/nologin of ops starts no session: it only refuses" in ask(names=["ops"], way=None)[0]


def test_what_goes_wrong_while_looking_is_their_problem(ask, monkeypatch):
    monkeypatch.setattr(FakeHost, "effective", lambda self, who: (unused for unused in ()).throw(HostError("no sshd")))
    assert ask(names=["ops"], planned={}) == ["no sshd"]


def test_without_all_keys_known_only_the_configuration_is_judged(ask, monkeypatch):
    monkeypatch.setattr(keyrings, "look", lambda host, who: ring(""))
    planned, client = operators.Planned([], None, False), preflight.client_of(WAY, None)
    assert judge(["ops"], client, planned, FakeHost()).refused == []
    assert len(judge(["ops"], client, planned, FakeHost({"denyusers": ("ops",)})).refused) == 1


# ---- closely: what costs more than sshd's answers --------------------------------------------------------------------


@pytest.fixture
def quiet(monkeypatch):
    """Let a host have nothing that could end a login; a test changes one thing."""
    said = dict(shadow={}, nologin="", socket_unit="", addresses=(), package_writer="", fips=False, host_keys=())
    said.update(fail2ban_ignores=None, sudo=None, labels=("", ""))
    for name in said:
        monkeypatch.setattr(login_model, name, lambda *unused, name=name: said[name])
    monkeypatch.setattr(pam, "stack", lambda service, kind: [("pam_unix.so", ()), ("pam_nologin.so", ())])
    monkeypatch.setattr(pam, "failures", lambda name, stack: said.get("failures"))
    monkeypatch.setattr(pam, "authselect_problem", lambda: said.get("authselect", ""))
    monkeypatch.setattr(listeners, "of_process", lambda pid: said.get("listening", []))
    monkeypatch.setattr(sessions, "connection", lambda: said.get("session", ("192.0.2.7", "999", "198.51.100.1", "22")))
    monkeypatch.setattr(sshd, "newer_program", lambda found, answer: said.get("newer", ""))
    monkeypatch.setattr(accounts, "find", lambda name: known(name) if name in ("ops", "bob", "root") else None)
    return said


def known(name):
    return OPS if name == "ops" else OPS._replace(name=name, uid=0 if name == "root" else 1002)


def test_nothing_is_found_on_a_host_where_nothing_is_wrong(ask, quiet):
    assert ask(K1 + "\n", names=["ops", "bob", "root"], closely=True, planned={"listenaddress": ("0.0.0.0:22",)}) == []


AGED = ("usable", 0, 99999, -1)
LOCKED = ("locked", -1, -1, -1)


@pytest.mark.parametrize(
    "changed, planned, words",
    [
        (dict(socket_unit="sshd.socket"), {}, "sshd.socket starts sshd at the next boot"),
        (dict(package_writer="somebody"), {}, "packages are being changed right now (somebody)"),
        (dict(fips=True), {}, "FIPS mode"),
        (dict(session=("192.0.2.7", "999", "fe80::1%eth0", "22")), {"listenaddress": ("0.0.0.0:22",)}, "[fe80::1]:22"),
        (dict(fail2ban_ignores=("::1",)), {}, "fail2ban"),
        (dict(labels=("a_t", "b_t")), {}, "label"),
        (dict(newer="/usr/sbin/sshd"), {}, "newer"),
        (dict(authselect="/etc/pam.d/x"), {}, "authselect"),
        (dict(addresses=("192.0.2.1",)), {"listenaddress": ("198.51.100.9:22", "0.0.0.0:22")}, "foreign_address"),
        (dict(listening=[("0.0.0.0", 22)]), {"listenaddress": ("0.0.0.0:22", "0.0.0.0:2222")}, "new_port"),
        (dict(host_keys=[("/k", None, "mode 0644")]), {}, "host_key_files"),
    ],
)
def test_what_is_looked_at_reaches_the_table(ask, quiet, changed, planned, words):
    quiet.update(changed)
    found = ask(K1 + "\n", planned=planned, closely=True)
    assert len(found) == 1 and words in found[0]
    assert ask(K1 + "\n", planned=planned) == []


def test_without_a_session_where_it_came_in_is_not_known(ask, quiet):
    quiet["session"] = ("127.0.0.1", "0", "127.0.0.1", "22")
    assert ask(K1 + "\n", planned={"listenaddress": ("0.0.0.0:2222",)}, closely=True) == []


@pytest.mark.parametrize(
    "changed, words",
    [
        (dict(sudo=login_model.SudoRules(False, "")), "no rule of sudo lets bob become root"),
        (dict(sudo=login_model.SudoRules(True, "root"), shadow={"root": LOCKED}), "password of root"),
        (dict(sudo=login_model.SudoRules(True, "root"), shadow={"root": AGED}), "password of root, which is too old"),
        (dict(shadow={"bob": AGED}), "the password of bob is too old"),
        (dict(nologin="/run/nologin"), "/run/nologin is there and keeps bob out"),
        (dict(sudo=login_model.SudoRules(True, "bob"), failures=pam.Tally(3, 2 ** 40, 3, 600)), "faillock"),
    ],
)
def test_whoever_asks_has_come_in_and_is_root_already_others_have_to(ask, quiet, changed, words):
    quiet.update(changed)
    quiet.update(shadow=dict({"ops": AGED}, **quiet["shadow"]))
    names = ["ops", "bob"] if "root" in quiet["shadow"] else ["ops", "bob", "root"]
    found = ask(K1 + "\n", names=names, closely=True)
    assert len(found) == 1 and words in found[0]


VIEW = {"earlier": 7, "forks": 3, "kex": ["a"], "known": None, "behind": [
    {"host": "db", "user": "bob", "target": "10.0.0.9", "port": 22},
    {"host": "web", "user": "nobody-here", "target": "10.0.0.8", "port": 22},
]}


def test_the_clients_view(ask, quiet):
    client = preflight.client_of(WAY, VIEW)
    assert (client.user, client.earlier, client.kex, client.known) == ("ops", 7, ("a",), ())
    assert client.key.text == K1 and client.behind[0] == ("db", "bob", "10.0.0.9", 22)
    assert preflight.client_of(None, None).key is None
    found = ask(K1 + "\n", client=VIEW, closely=True, planned={"allowtcpforwarding": ("no",), "allowusers": ("ops",)})
    assert [text.split(":")[0] for text in found] == ["ops", "bob", "bob"], found
    assert "offers 7 other keys first" in found[0] and "AllowUsers" in found[1] and "cut off" in found[2]


def test_a_host_with_nothing_to_do_is_asked_for_no_program(ask, monkeypatch):
    monkeypatch.setattr(programs, "run", lambda *args, **more: pytest.fail("%s was run" % args[0]))
    monkeypatch.setattr(pam, "stack", lambda *args: pytest.fail("PAM was read"))
    assert ask(K1 + "\n", names=["ops"], client=VIEW) == []
