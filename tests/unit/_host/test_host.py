# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs, sessions, key commands and the one look at a host."""

import os
import sys

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, Refused, Unsupported
from ansible_collections.latchkey.ssh.plugins.module_utils._host import (
    accounts,
    host,
    key_command,
    programs,
    selinux,
    sessions,
    sshd,
    systemd,
    users,
)
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import sshd_tree, version

ALICE = accounts.Account("alice", 1001, 1001, "/home/alice", "/bin/bash")
BOB = ALICE._replace(name="bob", uid=1002, gid=1002)


# ---- programs --------------------------------------------------------------------------------------------------------


def test_programs_run_in_the_c_locale_without_our_environment(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD_TEST", "x")
    found = programs.run(["sh", "-c", "env; pwd; cat; echo err >&2; exit 3"])
    assert (found.status, found.err) == (3, "err\n")
    assert "LC_ALL=C\n" in found.out and "LD_PRELOAD_TEST" not in found.out and found.out.endswith("/\n")


def test_standard_input_is_empty_and_never_ours():
    assert programs.run(["cat"]).out == ""


def test_programs_that_are_missing_or_hang():
    with pytest.raises(HostError) as caught:
        programs.run(["no-such-program"])
    assert "`no-such-program` cannot be run" in caught.value.reason
    with pytest.raises(HostError) as caught:
        programs.run(["sleep", "20"], timeout=0.1)
    assert "did not end within 0.1 s" in caught.value.reason and caught.value.remedy


def test_output_in_any_encoding():
    assert programs.run(["printf", r"\377a"]).out == "\ufffda"


def test_lines_come_one_by_one_and_not_for_ever():
    assert list(programs.lines(["printf", "a\\n\\nb\\377"], 20)) == ["a", "", "b\ufffd"]
    assert list(programs.lines(["true"], 20)) == []
    endless = programs.lines(["yes"], 20)
    assert next(endless) == "y"
    endless.close()
    with pytest.raises(HostError, match="did not end within 0.1 s"):
        list(programs.lines(["sleep", "20"], 0.1))
    with pytest.raises(HostError, match="cannot be run"):
        list(programs.lines(["no-such-program"], 1))


def test_where_programs_are():
    assert programs.find("sh").endswith("/sh") and programs.find("no-such-program") is None
    assert programs.find("../etc/passwd") is None


# ---- the session -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variable, address",
    [
        ("192.0.2.7 40000 192.0.2.9 22", "192.0.2.7"),
        ("fe80::1%eth0 40000 fe80::2%eth0 22", "fe80::1"),
        ("2001:db8::7 1 2001:db8::9 22", "2001:db8::7"),
    ],
)
def test_the_client_is_found_although_sudo_removed_the_variable(variable, address):
    """sudo leaves SSH_CONNECTION in the environment of the parents only."""
    script = "import sys; sys.path[:0] = %r\nfrom %s import sessions\nprint(sessions.client_address())" % (
        sys.path, sessions.__name__.rpartition(".")[0])
    environment = dict(os.environ, SSH_CONNECTION=variable)
    inner = "env -u SSH_CONNECTION %s -c \"$SCRIPT\"" % sys.executable
    environment["SCRIPT"] = script
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1)
        os.execve("/bin/sh", ["sh", "-c", inner + "; true"], environment)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read().strip()
    os.waitpid(child, 0)
    assert said == address


def test_no_session_is_a_local_one(monkeypatch):
    monkeypatch.setattr(sessions, "_look", lambda process: ({"SSH_CONNECTION": "odd"}, 0))
    assert sessions.connection() == ("127.0.0.1", "0", "127.0.0.1", "22")


# ---- AuthorizedKeysCommand -------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """Record what is run and as whom."""
    calls = []
    monkeypatch.setattr(accounts, "find", lambda name: ALICE._replace(name=name) if name in ("nobody", "x") else None)
    monkeypatch.setattr(users, "run_as", lambda account, work: calls.append(account.name) or work())

    def run(words, timeout):
        calls.append(list(words))
        return programs.Outcome(0, "keys\n", "")

    monkeypatch.setattr(programs, "run", run)
    return calls


def command(text, user="nobody"):
    return {"authorizedkeyscommand": (text,), "authorizedkeyscommanduser": (user,)}


@pytest.mark.parametrize(
    "text, words",
    [
        ("/usr/bin/sss_ssh_authorizedkeys", ["/usr/bin/sss_ssh_authorizedkeys", "bob"]),
        ("/usr/bin/sss_ssh_authorizedkeys %u", ["/usr/bin/sss_ssh_authorizedkeys", "bob"]),
        ("/x --home %h --uid %U 'a b' %%u", ["/x", "--home", "/home/alice", "--uid", "1002", "a b", "%u"]),
    ],
)
def test_the_command_is_asked_as_its_own_user(asked, text, words):
    assert key_command.output(command(text), BOB) == b"keys\n"
    assert asked == ["nobody", words]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        command("none"),
        command("/x %k"),
        command("/x %f"),
        command("/x %t %u"),
        command("/x", user="gone"),
    ],
)
def test_what_cannot_be_asked_beforehand_is_not(asked, answer):
    assert key_command.output(answer, BOB) == b"" and asked == []


def test_a_command_that_fails_lists_nothing(asked, monkeypatch):
    def fail(words, timeout):
        raise HostError("gone")

    monkeypatch.setattr(programs, "run", fail)
    assert key_command.output(command("/x"), BOB) == b""


@pytest.mark.parametrize("status, said", [(0, b"keys\n"), (1, b"")])
def test_what_a_command_prints_that_fails_is_thrown_away(asked, monkeypatch, status, said):
    monkeypatch.setattr(programs, "run", lambda words, timeout: programs.Outcome(status, "keys\n", ""))
    assert key_command.output(command("/x"), BOB) == said


def test_a_command_line_that_cannot_be_cut_lists_nothing(asked):
    assert key_command.output(command('/x "a'), BOB) == b""


def test_many_accounts_are_asked_about_for_a_minute_in_all(asked, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(key_command.time, "monotonic", lambda: now[0])
    asker = key_command.Asker()
    assert asker.output(command("/x"), BOB) == b"keys\n"
    now[0] += 61
    assert asker.output(command("/x"), BOB) == b""


# ---- SELinux ---------------------------------------------------------------------------------------------------------


def test_without_selinux_nothing_is_labelled(monkeypatch):
    monkeypatch.setattr(selinux, "enabled", lambda: False)
    assert selinux.label_for("/etc/ssh/sshd_config", 0o100600) is None
    selinux.set_label(-1, b"never looked at")


def test_selinux_without_its_library_is_said(monkeypatch):
    def missing(*_args, **_more):
        raise OSError("no such library")

    monkeypatch.setattr(selinux, "enabled", lambda: True)
    monkeypatch.setattr(selinux.ctypes, "CDLL", missing)
    with pytest.raises(HostError) as caught:
        selinux.label_for("/etc/ssh/sshd_config", 0o100600)
    assert "libselinux" in caught.value.remedy


# ---- the host --------------------------------------------------------------------------------------------------------

MAIN = "/etc/ssh/sshd_config"


class FakeCandidate:
    made = []

    def __init__(self, found, tree):
        self.tree, self.asked, self.closed = tree, [], False
        FakeCandidate.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_unused):
        self.closed = True

    def check(self):
        return "bad" if b"bad" in self.tree.files[MAIN] else None

    def ask(self, connection):
        self.asked.append(connection)
        return {"user": (connection.user if connection else "",)}


@pytest.fixture
def machine(monkeypatch):
    """A host whose configuration is the given text."""
    FakeCandidate.made = []
    located = []
    unit = systemd.Unit("sshd.service", True, True, 1, ())

    def make(text):
        tree = sshd_tree.Tree(MAIN, {MAIN: text.encode()}, version.EL9)
        found = sshd.Sshd("/usr/sbin/sshd", version.EL9, unit, MAIN, ())
        monkeypatch.setattr(sshd, "locate", lambda: located.append(1) or found)
        monkeypatch.setattr(sshd, "read_tree", lambda one: tree)
        monkeypatch.setattr(host, "Candidate", FakeCandidate)
        monkeypatch.setattr(sessions, "connection", lambda: ("192.0.2.7", "50000", "192.0.2.1", "22"))
        monkeypatch.setattr(accounts, "groups_of", lambda account: (account.name, "staff"))
        made = host.Host()
        made.located = located
        return made

    return make


def test_everything_is_read_once_and_forgotten_on_demand(machine):
    with machine("Port 22\n") as one:
        assert one.sshd is one.sshd and one.tree is one.tree and one.present is one.present
        assert len(one.located) == 1
        one.forget()
        assert FakeCandidate.made[0].closed
        assert one.present is not FakeCandidate.made[0] and len(one.located) == 2
    assert FakeCandidate.made[1].closed


def test_without_match_all_accounts_share_one_question(machine):
    one = machine("Port 22\n")
    assert one.effective(ALICE) == one.effective(BOB) == {"user": ("",)}
    assert set(one.present.asked) == {None}


def test_accounts_that_the_same_blocks_concern_share_a_question(machine):
    one = machine("Match User alice\nPermitTTY no\nMatch Address 192.0.2.0/24\nX11Forwarding no\n")
    carol = ALICE._replace(name="carol", uid=1003)
    assert one.effective(BOB) == one.effective(carol) == {"user": ("bob",)}
    assert one.effective(ALICE) == {"user": ("alice",)}
    assert {connection.addr for connection in one.present.asked} == {"192.0.2.7"}
    assert one.groups(ALICE) == (), "no block asks for groups"


def test_groups_are_looked_up_where_a_block_asks_for_them(machine):
    one = machine("Match Group staff\nPermitTTY no\n")
    assert one.connection(ALICE).groups == ("alice", "staff")


def test_another_tree_is_judged_apart(machine):
    one = machine("Port 22\n")
    tree = one.tree
    assert one.judge(tree, [None]) == (None, [{"user": ("",)}])
    bad = sshd_tree.with_files(tree, {MAIN: b"bad\n"})
    assert one.judge(bad, [None]) == ("bad", [])
    assert all(made.closed for made in FakeCandidate.made)


def test_an_account_that_does_not_exist_is_refused(machine):
    with pytest.raises(Refused) as caught:
        machine("").account("no-such-account")
    assert caught.value.where == "no-such-account" and "create it first" in caught.value.remedy


def test_the_blocks_of_the_tree(machine):
    assert machine("Port 22\n").blocks == []
    assert [block.criteria for block in machine("Match User a\n").blocks] == [(("user", "a"),)]


def test_a_line_that_only_sshd_understands_hides_no_block(machine):
    """Blocks behind such a line would be asked about by nobody."""
    one = machine("Port 22\nNoSuchKeyword x\nMatch User alice\nPermitTTY no\n")
    with pytest.raises(Unsupported) as caught:
        one.effective(ALICE)
    assert caught.value.where == MAIN + ":2"
    assert machine("NoSuchKeyword bad\n").blocks == [], "what sshd refuses too is said by others"
