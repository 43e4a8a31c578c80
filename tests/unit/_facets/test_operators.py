# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators and the way Ansible gets in, in the state that is planned."""

import base64
import collections
import struct

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import keyrings, keys, operators
from ansible_collections.latchkey.ssh.plugins.module_utils._host import accounts, files, home_files, key_command
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import version
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.effective import Connection

OPS = accounts.Account("ops", 1001, 1001, "/home/ops", "/bin/sh")
PATH = "/home/ops/.ssh/authorized_keys"
Sshd = collections.namedtuple("Sshd", "version")


def line(number):
    blob = b"".join(struct.pack(">I", len(part)) + part for part in (b"ssh-ed25519", bytes([number]) * 32))
    return "ssh-ed25519 " + base64.b64encode(blob).decode()


K1, K2 = line(1), line(2)
WAY = operators.Way("ops", K1)


class FakeHost:
    sshd = Sshd(version.EL9)
    client = "192.0.2.7"

    def __init__(self, today=None, planned=None):
        self.today, self.planned = today or {}, planned or {}

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


@pytest.fixture
def ask(monkeypatch):
    """Plan wishes for ops, whose key file has ``text``, and return what is said against its way in."""
    monkeypatch.setattr(accounts, "find", lambda name: OPS if name == "ops" else None)
    monkeypatch.setattr(accounts, "groups_of", lambda who: ("ops",))
    monkeypatch.setattr(key_command, "output", lambda answer, who: answer.get("lines", b""))

    def ask(text="", wishes=(), names=(), way=WAY, today=None, planned=None, **more):
        found = ring(text, **more)
        monkeypatch.setattr(keyrings, "look", lambda host, who: found)
        host = FakeHost(today, planned)
        changes = []
        if wishes:
            desired = keys.Desired.from_params({"accounts": [dict({"user": "ops"}, **wish) for wish in wishes]})
            changes = keys.plan(desired, keys.Current(version.EL9, {"ops": found}))
        tree = "a tree" if planned is not None else None
        return [str(one) for one in operators.problems(names, way, operators.Planned(changes, tree), host)]

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
    assert "no key file has it" in ask(K1 + "\n", mode=0o666)[0]
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
    assert "/sbin/nologin of ops starts no session" in ask(names=["ops"], way=None)[0]


def test_what_goes_wrong_while_looking_is_their_problem(ask, monkeypatch):
    monkeypatch.setattr(FakeHost, "effective", lambda self, who: (unused for unused in ()).throw(HostError("no sshd")))
    assert ask(names=["ops"]) == ["no sshd"]


def test_without_all_keys_known_only_the_configuration_is_judged(ask, monkeypatch):
    monkeypatch.setattr(keyrings, "look", lambda host, who: ring(""))
    planned = operators.Planned([], None, False)
    assert operators.problems(["ops"], WAY, planned, FakeHost()) == []
    assert len(operators.problems(["ops"], WAY, planned, FakeHost({"denyusers": ("ops",)}))) == 1
