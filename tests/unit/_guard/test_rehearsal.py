# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage of a rehearsal: what it says about the client's address, what it writes, and that nothing of it stays."""

import os

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import rehearsal
from ansible_collections.latchkey.ssh.plugins.module_utils._host import accounts, programs, sshd, systemd
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import sshd_tree, version
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.effective import Connection

MAIN = "/etc/ssh/sshd_config"
ADMIN = accounts.Account("admin", 1000, 1000, "/home/admin", "/bin/sh")


class Host:
    """A host with one account, looked at from 10.0.0.5."""

    def __init__(self, *options):
        unit = systemd.Unit("sshd.service", True, True, 1, ("/usr/sbin/sshd", "-D"))
        self.sshd = sshd.Sshd("/usr/sbin/sshd", version.EL9, unit, MAIN, options)

    def connection(self, account):
        return Connection(account.name, (), "10.0.0.5", "10.0.0.5", "10.0.0.1", 22)


@pytest.fixture(autouse=True)
def groups(monkeypatch):
    monkeypatch.setattr(accounts, "groups_of", lambda account: ("admin", "wheel"))


def tree(text, drop_in=None):
    files = {MAIN: text.encode()}
    if drop_in is not None:
        files["/etc/ssh/sshd_config.d/a.conf"] = drop_in
    return sshd_tree.Tree(MAIN, files, version.EL9)


@pytest.mark.parametrize(
    "text, found",
    [
        ("", ()),
        ("PasswordAuthentication no\n", ()),
        ("AllowUsers admin\n", ()),
        ("AllowUsers root@10.0.0.5\n", ()),
        ("AllowUsers admin@10.0.0.5\n", ("allowusers",)),
        ("AllowUsers adm*@10.0.0.0/8 root\n", ("allowusers",)),
        ("AllowUsers admin@*\n", ()),
        ("AllowUsers admin@10.0.0.5 admin\n", ()),
        ("DenyUsers admin@10.0.0.5\n", ("denyusers",)),
        ("DenyUsers admin@192.0.2.1\n", ()),
        ("Match Address 192.0.2.0/24\nPubkeyAuthentication no\n", ()),
        ("Match Address 10.0.0.0/8\nPubkeyAuthentication yes\n", ()),
        ("Match Address 10.0.0.0/8\nPubkeyAuthentication no\n", ("pubkeyauthentication",)),
        ("Match User bob Address 10.0.0.0/8\nPubkeyAuthentication no\n", ()),
        ("Match Group wheel Address 10.0.0.0/8\nBanner none\nPasswordAuthentication no\n", ("passwordauthentication",)),
        ("Match LocalPort 22\nPasswordAuthentication no\n", ("passwordauthentication",)),
        ("Match LocalAddress 10.0.0.1\nPasswordAuthentication no\n", ("passwordauthentication",)),
        ("Match Address 10.0.0.0/8\nAllowUsers admin\n", ("allowusers",)),
        ("NoSuchKeyword yes\n", ()),
    ],
)
def test_what_depends_on_the_address(text, found):
    assert rehearsal.origin(Host(), tree(text), ADMIN) == found


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Let the stage lie in a directory of its own; return what was run, and what systemctl answers by its verb."""
    asked, answers = [], {}
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(rehearsal, "ROOT", str(tmp_path / "run" / "latchkey-rehearsal"))
    monkeypatch.setattr(rehearsal, "SOCKET", str(tmp_path / "run" / "latchkey-rehearsal.sock"))
    monkeypatch.setattr(rehearsal, "UNITS", str(tmp_path / "run" / "systemd" / "system"))
    monkeypatch.setattr(systemd, "environment_lines", lambda name: ["EnvironmentFile=-/etc/sysconfig/sshd"])

    def answer(argv, **_more):
        asked.append(" ".join(argv))
        return answers.get(argv[1], programs.Outcome(0, "", ""))

    monkeypatch.setattr(programs, "run", answer)
    return asked, answers, tmp_path


def left(tmp_path):
    return [os.path.join(folder, name) for folder, _folders, names in os.walk(str(tmp_path)) for name in names]


def test_a_stage_is_made_and_taken_away(run):
    asked, _answers, tmp_path = run
    planned = tree("Include /etc/ssh/sshd_config.d/*.conf\nPort 24\n", drop_in=b"UseDNS no\n")
    stage = rehearsal.start(Host('-oBanner=/etc/my "$HOME" 100%'), planned, ADMIN, seconds=30)
    assert stage.why == "" and stage.socket == rehearsal.SOCKET and stage.seconds == 30
    root = os.path.join(rehearsal.ROOT, "etc", "ssh")
    with open(os.path.join(root, "sshd_config"), encoding="utf-8") as handle:
        assert handle.read() == 'Include "%s/sshd_config.d/*.conf"\nPort 24\n' % root
    assert os.listdir(os.path.join(root, "sshd_config.d")) == ["a.conf"]
    assert os.stat(rehearsal.ROOT).st_mode & 0o777 == 0o700
    with open(os.path.join(rehearsal.UNITS, rehearsal.LOGIN_UNIT), encoding="utf-8") as handle:
        unit = handle.read()
    assert "EnvironmentFile=-/etc/sysconfig/sshd\n" in unit and "LogExtraFields=%s\n" % stage.journal in unit
    assert '-i -e -f "%s/sshd_config" "-oBanner=/etc/my \\"$$HOME\\" 100%%%%" -o LogLevel' % root in unit
    with open(os.path.join(rehearsal.UNITS, rehearsal.SOCKET_UNIT), encoding="utf-8") as handle:
        assert "SocketUser=1000\nSocketMode=0600\n" in handle.read()
    # What ends it runs before anybody can come in.
    assert [one.split(" ", 1)[1] for one in asked] == [
        "daemon-reload",
        "start " + rehearsal.END_UNIT,
        "start " + rehearsal.SOCKET_UNIT,
    ]
    rehearsal.stop()
    assert asked[-1].startswith("systemctl stop ") and left(tmp_path) == [] and not os.path.exists(rehearsal.ROOT)
    count = len(asked)
    rehearsal.stop()
    assert len(asked) == count


@pytest.mark.parametrize("verb", ["daemon-reload", "start"])
def test_where_it_cannot_be_made_the_reason_is_said_and_nothing_stays(run, verb):
    _asked, answers, tmp_path = run
    answers[verb] = programs.Outcome(1, "", "no\nbus\n")
    stage = rehearsal.start(Host(), tree(""), ADMIN)
    assert stage.why.startswith("the host cannot do it: `systemctl %s" % verb) and "no bus" in stage.why
    assert stage.socket == "" and left(tmp_path) == []


def test_a_directory_that_cannot_be_written_is_said(run, monkeypatch):
    _asked, _answers, tmp_path = run
    (tmp_path / "run").rmdir()
    (tmp_path / "run").write_text("in the way")
    assert "the host cannot do it" in rehearsal.start(Host(), tree(""), ADMIN).why
