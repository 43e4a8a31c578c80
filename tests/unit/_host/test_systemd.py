# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units as systemctl prints them on AlmaLinux 8, 9 and 10."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError
from ansible_collections.latchkey.ssh.plugins.module_utils._host import programs, systemd

EXEC = (
    "{ path=/usr/sbin/sshd ; argv[]=/usr/sbin/sshd -D %s ; ignore_errors=no ; start_time=[Mon 2026-11-23 01:31:40 UTC]"
    " ; stop_time=[n/a] ; pid=27 ; code=(null) ; status=0/0 }"
)
CRYPTO = "CRYPTO_POLICY='-oCiphers=aes256-gcm@openssh.com,aes256-ctr -oMACs=hmac-sha2-256 -oKexAlgorithms=a,b'\n"


@pytest.fixture
def unit(tmp_path, monkeypatch):
    """Show a unit: the words behind ``sshd -D``, its Environment= line, and the contents of its EnvironmentFiles."""

    def show(words, environment="", contents=(), more=()):
        lines = ["MainPID=27", "ExecStart=" + EXEC % words, "Environment=" + environment]
        for number, text in enumerate(contents):
            path = tmp_path / ("env%d" % number)
            if text is not None:
                path.write_text(text)
            lines.append("EnvironmentFiles=%s (ignore_errors=yes)" % path)
        lines += list(more) or ["LoadState=loaded", "ActiveState=active", "NeedDaemonReload=no"]
        answer = programs.Outcome(0, "\n".join(lines) + "\n", "")
        monkeypatch.setattr(programs, "run", lambda argv, **more: answer)
        return systemd.show("sshd.service")

    return show


EL8 = "$OPTIONS $CRYPTO_POLICY"
SYSCONFIG = "# CRYPTO_POLICY=\n\nSSH_USE_STRONG_RNG=0\n# SSH_USE_STRONG_RNG=1\n"


@pytest.mark.parametrize(
    "words, environment, contents, options",
    [
        (EL8, "", [CRYPTO, SYSCONFIG], ["-oCiphers=aes256-gcm@openssh.com,aes256-ctr", "-oMACs=hmac-sha2-256",
                                        "-oKexAlgorithms=a,b"]),
        # The later file wins, as /etc/sysconfig/sshd says of itself.
        (EL8, "", [CRYPTO, SYSCONFIG + "CRYPTO_POLICY=\n"], []),
        (EL8, "", [None, 'OPTIONS="-4 -p 2222"\n'], ["-4", "-p", "2222"]),
        ("$OPTIONS", "", ["OPTIONS=-4\n"], ["-4"]),
        ("$OPTIONS", "", ["OPTIONS='-o \"Banner /etc/my banner\" -4'\n"], ["-o", "Banner /etc/my banner", "-4"]),
        ("$OPTIONS", "", ['OPTIONS="-4 \\\n -6"\n'], ["-4", "-6"]),
        ("$OPTIONS", "", [' OPTIONS = "-4" \n'], ["-4"]),
        ("$OPTIONS", "", ["; OPTIONS=-6\n"], []),
        ("$OPTIONS", "", ["OPTIONS=\n"], []),
        ("$OPTIONS", "", [None], []),
        ("$OPTIONS", "", [], []),
        ("$OPTIONS", "", ["export OPTIONS=-4\n"], []),
        # Environment= as systemctl quotes it, and files that beat it.
        ("$OPTIONS", 'A=b "OPTIONS=-o X11Forwarding=no -p 22"', [], ["-o", "X11Forwarding=no", "-p", "22"]),
        ("$OPTIONS", '"OPTIONS=-4 -6"', ["OPTIONS=-p 24\n"], ["-p", "24"]),
        ("${OPTIONS}", '"OPTIONS=-o X=y z"', [], ["-o X=y z"]),
        ("-p$PORT", "PORT=24", [], ["-p24"]),
        ("-o Port=24", "", [], ["-o", "Port=24"]),
        # A quote that is not closed: systemd is lenient, and so are we.
        ("$OPTIONS", "", ["OPTIONS=-4 it's\n"], ["-4", "its"]),
    ],
)
def test_arguments(unit, words, environment, contents, options):
    assert list(unit(words, environment, contents).argv) == ["/usr/sbin/sshd", "-D"] + options


def test_state(unit):
    found = unit("$OPTIONS", contents=["", ""])
    assert (found.name, found.loaded, found.active, found.pid) == ("sshd.service", True, True, 27)


@pytest.mark.parametrize(
    "more, loaded, active",
    [
        (["LoadState=loaded", "ActiveState=inactive"], True, False),
        (["LoadState=loaded", "ActiveState=failed"], True, False),
        (["LoadState=loaded", "ActiveState=reloading"], True, False),
        (["LoadState=not-found", "ActiveState=inactive"], False, False),
        (["LoadState=masked", "ActiveState=inactive"], False, False),
    ],
)
def test_states(unit, more, loaded, active):
    found = unit("$OPTIONS", more=more)
    assert (found.loaded, found.active) == (loaded, active)


def test_a_unit_that_is_not_there(monkeypatch):
    text = "MainPID=0\nLoadState=not-found\nActiveState=inactive\nNeedDaemonReload=no\n"
    monkeypatch.setattr(programs, "run", lambda argv: programs.Outcome(0, text, ""))
    assert systemd.show("ssh.service") == systemd.Unit("ssh.service", False, False, 0, ())


def test_no_systemd(monkeypatch):
    monkeypatch.setattr(programs, "run", lambda argv: programs.Outcome(1, "", "System has not been booted\n"))
    with pytest.raises(HostError) as caught:
        systemd.show("sshd.service")
    assert "System has not been booted" in caught.value.reason and "PID 1" in caught.value.remedy


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_control_says_where_to_look(monkeypatch, verb):
    asked = []

    def run(argv, timeout):
        asked.append(argv)
        return programs.Outcome(1, "", "Job failed.\n")

    monkeypatch.setattr(programs, "run", run)
    with pytest.raises(HostError) as caught:
        getattr(systemd, verb)(systemd.Unit("sshd.service", True, True, 1, ()))
    assert asked == [["systemctl", verb, "sshd.service"]]
    assert caught.value.reason == "`systemctl %s sshd.service` failed: Job failed." % verb
    assert caught.value.remedy == "see `journalctl -u sshd.service`"


def test_waiting_ends(monkeypatch):
    answers = [False, False, True]
    systemd.wait_for(lambda: answers.pop(0), "it")
    assert answers == []
    with pytest.raises(HostError) as caught:
        systemd.wait_for(lambda: False, "the reload", seconds=0.05)
    assert "the reload did not happen within 0.05 s" in caught.value.reason


def test_the_environment_for_another_unit(monkeypatch):
    shown = (
        'Environment=A=b "OPTIONS=-o X=100% y"\n'
        "EnvironmentFiles=/etc/crypto-policies/back-ends/opensshserver.config (ignore_errors=yes)\n"
        "EnvironmentFiles=/etc/a (b) (ignore_errors=no)\n"
    )
    monkeypatch.setattr(programs, "run", lambda argv: programs.Outcome(0, shown, ""))
    assert systemd.environment_lines("sshd.service") == [
        'Environment=A=b "OPTIONS=-o X=100%% y"',
        "EnvironmentFile=-/etc/crypto-policies/back-ends/opensshserver.config",
        "EnvironmentFile=/etc/a (b)",
    ]
    monkeypatch.setattr(programs, "run", lambda argv: programs.Outcome(0, "Environment=\nEnvironmentFiles=\n", ""))
    assert systemd.environment_lines("sshd.service") == []


@pytest.mark.parametrize(
    "word, written",
    [("-4", '"-4"'), ("a b", '"a b"'), ('"', '"\\""'), ("\\", '"\\\\"'), ("$A ${A}", '"$$A $${A}"'), ("%h", '"%%h"')],
)
def test_a_word_of_a_command_line(word, written):
    assert systemd.quoted(word) == written
