# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a service comes to run what was put back: reloaded, or restarted where a reload lets it keep what it has."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import guardian

BEFORE = "/usr/sbin/sshd -D -oCiphers=aes256-ctr"
GOOD = guardian._Found([], [])
UNIT = dict(name="sshd.service", pid=7, check=[], listeners=[], arguments=BEFORE, current=True)


@pytest.fixture
def sshd(at):
    """Return the machine, whose sshd runs with ``line``, and with ``then`` once it is restarted."""
    machine = at.machine
    machine.line = machine.then = BEFORE
    plain = machine.run

    def run(argv, seconds=30.0):
        done = plain(argv, seconds)
        machine.line = machine.then if argv[1] == "restart" else machine.line
        return guardian.Program(0, "MainPID=4711") if argv[1] == "show" else done

    machine.run = run
    machine.command_line = lambda process: machine.line if process == "4711" else ""
    return machine


def verbs(machine):
    """Return what systemd was asked to do."""
    return [words.split()[1] for words in machine.ran if words.split()[1] not in ("show", "is-active", "reset-failed")]


@pytest.mark.parametrize("line", [BEFORE, "sshd: %s [listener] 0 of 10-100 startups" % BEFORE, ""])
def test_one_that_runs_as_before_is_reloaded(at, sshd, line):
    sshd.line = line
    assert guardian.follow(at, [UNIT]) == GOOD and verbs(sshd) == ["reload"]


@pytest.mark.parametrize(
    "line", ["/usr/sbin/sshd -D -oAllowUsers=bob", "sshd: /usr/sbin/sshd -D -p 2222 [listener] 0 of 10-100 startups"]
)
def test_one_that_was_restarted_with_other_arguments_is_restarted(at, sshd, line):
    """SIGHUP keeps them (sshd(8)), so files that are back would not help."""
    sshd.line = line
    assert guardian.follow(at, [UNIT]) == GOOD and verbs(sshd) == ["restart"]


def test_arguments_that_no_restart_brings_back_are_told(at, sshd):
    """They waited in its unit for a restart, and somebody restarted it in the window."""
    sshd.line = sshd.then = "/usr/sbin/sshd -D -oCiphers=aes128-ctr"
    found = guardian.follow(at, [UNIT])
    assert found.problems == [] and "other arguments than before" in found.notes[0]


def test_where_the_arguments_are_not_known_it_is_reloaded(at, sshd):
    sshd.line = "/usr/sbin/sshd -D"
    assert guardian.follow(at, [dict(UNIT, arguments="")]) == GOOD and verbs(sshd) == ["reload"]
    sshd.ran.clear()
    sshd.line = "sshd: a title that was cut off"
    assert guardian.follow(at, [UNIT]) == GOOD and verbs(sshd) == ["reload"]


@pytest.mark.parametrize("homes, asked", [(True, ["daemon-reload", "reload"]), (False, ["daemon-reload"])])
def test_a_unit_file_that_is_back_is_read_first(armed, state, sshd, homes, asked):
    """At a boot, too: systemd has read it before it was back, and starts sshd by what it has read."""
    missing = dict(path="/etc/systemd/system/sshd.service.d/no/such.conf", kind="missing", sha256="")
    state.update(state=guardian.APPLIED, units=[UNIT], entries=[missing])
    guardian.save(armed.places, state)
    guardian.revert(armed, "late", homes=homes)
    assert [verb for verb in verbs(sshd) if verb in ("reload", "restart", "daemon-reload")][: len(asked)] == asked


@pytest.mark.parametrize("current, asked", [(True, ["reload"]), (False, [])])
def test_what_somebody_else_has_not_had_it_read_is_not_read_by_a_refused_arm(armed, state, sshd, current, asked):
    """An edit that waits for its reload must not go live because a transaction could not be armed."""
    state.update(state=guardian.PREPARED, units=[dict(UNIT, current=current)])
    guardian.save(armed.places, state)
    assert guardian.cancel(armed, state["id"], "it could not be armed")["answer"] == guardian.REVERTED
    assert [verb for verb in verbs(sshd) if verb in ("reload", "restart")] == asked


# ---- who asks --------------------------------------------------------------------------------------------------------


CGROUPS = {
    "tmux of a login, cgroup v2": ("0::/user.slice/user-1001.slice/session-3.scope\n", True),
    "the same, cgroup v1": ("5:pids:/x\n1:name=systemd:/user.slice/user-1001.slice/session-3.scope\n", True),
    "a service of a user": ("0::/user.slice/user-1001.slice/user@1001.service/tmux.service\n", True),
    "sshd without a session": ("0::/system.slice/sshd.service\n", True),
    "sshd by a socket": ("0::/system.slice/system-sshd.slice/sshd@4-1.service\n", True),
    "a login at a console": ("0::/user.slice/user-0.slice/session-4.scope\n", False),
    "a service": ("0::/system.slice/serial-getty@ttyS0.service\n", False),
    "no systemd": ("0::/\n", False),
}


@pytest.mark.parametrize("groups, left", CGROUPS.values(), ids=list(CGROUPS))
def test_what_a_login_left_behind_is_no_console(monkeypatch, tmp_path, groups, left):
    """The server of tmux is a child of PID 1, so nothing but its control group says where it is from."""
    group = tmp_path / "cgroup"
    group.write_text(groups)
    plain = open
    monkeypatch.setattr("builtins.open", lambda path, *more, **named: plain(group, *more, **named)
                        if str(path).endswith("/cgroup") else plain(path, *more, **named))
    monkeypatch.setattr(guardian, "_by_ancestors", lambda process: None)
    monkeypatch.setattr(guardian, "_is_local", lambda name: name == "4")
    assert guardian.session() == (guardian._UNKNOWN if left else None)


def test_what_is_from_nobody_knows_when_cannot_confirm(armed):
    answer = guardian.confirm(armed, "20261124T120000-abcdef", None, guardian._UNKNOWN)
    assert answer["answer"] == "REFUSED" and "nobody knows from when" in answer["reason"]
