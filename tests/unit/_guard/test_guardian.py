# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guardian: what it decides, who may confirm, how it waits, what it says."""

import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import guardian
from ansible_collections.latchkey.ssh.plugins.module_utils._guard.guardian import (
    APPLIED,
    ARMED,
    COMMIT,
    COMMITTED,
    COMMITTING,
    FINISH,
    PREPARED,
    REVERT,
    REVERT_FAILED,
    REVERTED,
    REVERTING,
    WAIT,
)

ID = "20261124T120000-abcdef"
ALICE, BOB, EVE = 1001, 1002, 1003


def session(uid, began=1001.0):
    return guardian.Session(uid, began)


# ---- the decision ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, in_time, late, rebooted",
    [
        (PREPARED, WAIT, REVERT, REVERT),
        (ARMED, WAIT, REVERT, REVERT),
        (APPLIED, WAIT, REVERT, REVERT),
        (COMMITTING, COMMIT, COMMIT, COMMIT),
        (COMMITTED, FINISH, FINISH, FINISH),
        (REVERTING, REVERT, REVERT, REVERT),
        (REVERTED, FINISH, FINISH, FINISH),
        (REVERT_FAILED, REVERT, REVERT, REVERT),
    ],
)
def test_the_decision(state, name, in_time, late, rebooted):
    state["state"] = name
    assert guardian.decide(state, 1299.9, rebooted=False) == in_time
    assert guardian.decide(state, 1300.0, rebooted=False) == late
    assert guardian.decide(state, 0.0, rebooted=True) == rebooted


def test_nothing_is_guarded_where_there_is_no_transaction():
    assert guardian.decide(None, 0.0, rebooted=True) == FINISH


def test_a_revert_that_the_disk_took_no_note_of_is_gone_on_with(armed, state):
    assert guardian._step(armed, state) == WAIT
    open(guardian._reverting(armed.places), "w").close()
    assert guardian._step(armed, state) == REVERT


@pytest.mark.parametrize("marker, known", [(ID + "\n", False), ("another\n", True), (None, True)])
def test_a_restart_is_known_by_what_run_has_lost(at, state, marker, known):
    if marker is not None:
        guardian.replace(at.places.marker, marker.encode(), 0o600)
    assert guardian.rebooted(at.places, state) is known


# ---- the transaction as a file ---------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded_and_nobody_else_reads_it(at, state):
    assert guardian.load(at.places) is None
    guardian.save(at.places, state)
    assert guardian.load(at.places) == state
    assert os.stat(at.places.state).st_mode & 0o777 == 0o600
    assert os.listdir(at.places.base) == ["transaction.json"]


def test_another_format_is_no_transaction_to_guess_at(at, state):
    guardian.save(at.places, dict(state, format=2))
    with pytest.raises(ValueError, match="format 2, not 1"):
        guardian.load(at.places)


def full_while(monkeypatch, there):
    """Let writes fail as on a full disk for as long as ``there()``."""
    real = os.write

    def write(handle, data):
        if there():
            real(handle, bytes(data)[:1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data)

    monkeypatch.setattr(os, "write", write)


def test_on_a_full_disk_the_reserve_is_given_up_for_the_transaction(armed, state, monkeypatch):
    open(armed.places.reserve, "w").close()
    full_while(monkeypatch, lambda: os.path.exists(armed.places.reserve))
    guardian.save(armed.places, dict(state, state=REVERTING))
    assert guardian.load(armed.places)["state"] == REVERTING
    assert os.listdir(armed.places.base) == ["transaction.json"]


def test_without_a_reserve_the_old_one_stays_and_nothing_lies_about(armed, state, monkeypatch):
    full_while(monkeypatch, lambda: True)
    with pytest.raises(OSError):
        guardian.save(armed.places, dict(state, state=REVERTING))
    assert guardian.load(armed.places)["state"] == ARMED
    assert os.listdir(armed.places.base) == ["transaction.json"]


def test_on_a_full_disk_a_revert_is_done_and_told_and_not_over(armed, state, monkeypatch):
    full_while(monkeypatch, lambda: True)
    assert guardian.revert(armed, "late", homes=True) is False
    assert guardian.load(armed.places)["state"] == ARMED
    assert guardian.confirm(armed, ID, None, None)["answer"] == "TOO_LATE"
    assert guardian.extend(armed, ID, 10.0)["answer"] == "TOO_LATE"
    monkeypatch.undo()
    assert guardian.revert(armed, "late", homes=True) is True
    assert (guardian.load(armed.places)["state"], guardian.load(armed.places)["reason"]) == (REVERTED, "late")


# ---- locks -----------------------------------------------------------------------------------------------------------

HOLDER = """
import fcntl, os, sys, time
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(handle, fcntl.LOCK_SH if sys.argv[2] == "shared" else fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def hold(at):
    """Have another process hold a lock; returns it."""
    started = []

    def start(name, kind="exclusive"):
        path = os.path.join(at.places.run, name + ".lock")
        process = subprocess.Popen([sys.executable, "-c", HOLDER, path, kind], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"held\n"
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class RealTime(guardian.Machine):
    """A clock that goes by itself, on a machine where nothing is run."""

    def run(self, argv, seconds=30.0):
        return guardian.Program(0, "")

    def tell(self, text):
        """Tell nobody."""


def test_who_holds_a_lock_for_too_long_is_killed(at, hold):
    holder = hold("write", "shared")
    with guardian.locked(at._replace(machine=RealTime()), "write", patience=0.2):
        assert holder.wait(10) == -signal.SIGKILL


def test_one_that_was_stopped_is_killed_as_well(at, hold):
    holder = hold("state")
    os.kill(holder.pid, signal.SIGSTOP)
    with guardian.locked(at._replace(machine=RealTime()), "state", patience=0.1):
        assert holder.wait(10) == -signal.SIGKILL


def test_without_patience_one_waits(at, hold):
    holder = hold("state")
    taken = threading.Event()

    def wait():
        with guardian.locked(at._replace(machine=RealTime()), "state"):
            taken.set()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    assert not taken.wait(0.3) and holder.poll() is None
    holder.kill()
    assert taken.wait(10)
    waiting.join()


def test_one_that_is_killed_and_does_not_die_is_not_waited_for(at, hold, monkeypatch):
    """It hangs in the kernel, in a file system that does not answer."""
    hold("write")
    killed = []
    monkeypatch.setattr(guardian, "_kill_holders", lambda path, working: killed.append(path))
    began = at.machine.now()
    with guardian.locked(at, "write", patience=1.0):
        assert at.machine.now() - began < 7 and killed


def test_writers_share_and_a_revert_does_not(at, hold):
    hold("write", "shared")
    with guardian.locked(at, "write", shared=True):
        pass
    handle = os.open(os.path.join(at.places.run, "write.lock"), os.O_RDWR)
    assert not guardian._try_lock(handle, shared=False)
    os.close(handle)


def test_who_is_at_work_on_the_way_back_is_not_killed_for_being_slow(at, hold):
    """Taking over would begin again what is slow, and two who take over from each other never end."""
    holder = hold("revert")
    clock = at.machine

    def pause(seconds):
        clock.clock += 1.0
        if clock.clock > 1080:
            holder.kill()
            holder.wait()

    clock.pause = pause
    with guardian.locked(at, "revert", patience=10.0, working=90.0):
        assert 1080 < clock.clock < 1095


def test_who_is_at_work_for_ever_is_killed_in_the_end(at, hold):
    holder = hold("revert")
    at.machine.pause = lambda seconds: setattr(at.machine, "clock", at.machine.clock + 1.0)
    with guardian.locked(at, "revert", patience=10.0, working=90.0):
        assert holder.wait(10) == -signal.SIGKILL and at.machine.clock > 1090


def test_a_revert_waits_for_nobody_for_long(armed, hold):
    """Whoever holds whatever: the way back takes seconds."""
    holders = [hold("state"), hold("write", "shared"), hold("revert")]
    for holder in holders:
        os.kill(holder.pid, signal.SIGSTOP)
    began = armed.machine.now()
    assert guardian.revert(armed, "late", homes=True) is True
    assert armed.machine.now() - began < 20
    assert [holder.wait(10) for holder in holders] == [-signal.SIGKILL] * 3


# ---- confirm ---------------------------------------------------------------------------------------------------------


def test_all_operators_have_to_confirm(armed):
    assert guardian.confirm(armed, ID, "secret", session(ALICE)) == {"answer": "WAITING_FOR", "operators": ["bob"]}
    assert guardian.confirm(armed, ID, "secret", session(ALICE)) == {"answer": "WAITING_FOR", "operators": ["bob"]}
    assert guardian.confirm(armed, ID, "secret", session(BOB)) == {"answer": "COMMITTED", "id": ID}
    after = guardian.load(armed.places)
    assert (after["state"], after["confirmed"], after["reason"]) == (COMMITTED, ["alice", "bob"], "confirmed")


def test_a_confirmation_may_be_repeated(armed):
    for uid in (ALICE, BOB, BOB, ALICE):
        answer = guardian.confirm(armed, ID, "secret", session(uid))
    assert answer["answer"] == "COMMITTED"


def test_root_on_the_console_speaks_for_everybody(armed):
    assert guardian.confirm(armed, ID, None, None)["answer"] == "COMMITTED"


@pytest.mark.parametrize(
    "name, nonce, who, reason",
    [
        ("another", "secret", session(ALICE), "the transaction on this host is not another"),
        (ID, "wrong", session(ALICE), "the nonce is wrong"),
        (ID, "", session(ALICE), "the nonce is wrong"),
        (ID, "secret", None, "cannot be traced to sshd"),
        (ID, "secret", session(ALICE, 1000.0), "older than the last change"),
        (ID, None, session(ALICE, 999.0), "older than the last change"),
        (ID, "secret", session(EVE), "no operator"),
    ],
)
def test_who_may_not_confirm_is_told_why(armed, name, nonce, who, reason):
    answer = guardian.confirm(armed, name, nonce, who)
    assert answer["answer"] == "REFUSED" and reason in answer["reason"]
    assert guardian.load(armed.places)["confirmed"] == []


def test_without_a_transaction_nothing_is_confirmed(at):
    assert guardian.confirm(at, ID, "secret", session(ALICE))["answer"] == "REFUSED"


@pytest.mark.parametrize("name", [PREPARED, REVERTING, REVERTED, REVERT_FAILED])
def test_what_is_not_open_is_too_late(armed, state, name):
    guardian.save(armed.places, dict(state, state=name))
    assert guardian.confirm(armed, ID, "secret", session(ALICE)) == {"answer": "TOO_LATE", "state": name}


def test_after_the_deadline_it_is_too_late_even_before_the_guardian_knows(armed):
    armed.machine.clock = 1300.0
    assert guardian.confirm(armed, ID, "secret", session(ALICE))["answer"] == "TOO_LATE"


def test_after_a_restart_it_is_too_late(armed):
    os.unlink(armed.places.marker)
    assert guardian.confirm(armed, ID, "secret", session(ALICE))["answer"] == "TOO_LATE"


def test_what_is_committed_is_so_also_where_clearing_away_fails(armed, monkeypatch):
    def fail(at):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(guardian, "finish", fail)
    assert guardian.confirm(armed, ID, None, None)["answer"] == "COMMITTED"


def test_two_operators_with_one_id_are_one_person(armed, state):
    guardian.save(armed.places, dict(state, operators={"alice": ALICE, "alice-too": ALICE}))
    assert guardian.confirm(armed, ID, "secret", session(ALICE))["answer"] == "COMMITTED"


# ---- extend, cancel --------------------------------------------------------------------------------------------------


def test_a_deadline_moves_away_up_to_its_cap(armed):
    assert guardian.extend(armed, ID, 60.0) == {"answer": "EXTENDED", "seconds_left": 360.0}
    assert guardian.extend(armed, ID, 99999.0) == {"answer": "EXTENDED", "seconds_left": 3600.0}
    again = guardian.extend(armed, ID, 60.0)
    assert again["answer"] == "REFUSED" and "as far away as it may be" in again["reason"]


@pytest.mark.parametrize("seconds", [0.0, -100.0])
def test_a_deadline_does_not_come_nearer(armed, seconds):
    assert guardian.extend(armed, ID, seconds)["answer"] == "REFUSED"
    assert guardian.load(armed.places)["deadline"] == 1300.0


def test_another_transaction_is_neither_moved_nor_taken_back(armed):
    assert guardian.extend(armed, "another", 60.0)["answer"] == "REFUSED"
    assert guardian.cancel(armed, "another", "x")["answer"] == "REFUSED"
    assert guardian.load(armed.places)["state"] == ARMED


def test_after_the_deadline_nothing_moves_it(armed):
    armed.machine.clock = 1300.0
    assert guardian.extend(armed, ID, 60.0)["answer"] == "TOO_LATE"


def test_taken_back_is_taken_back_as_often_as_one_asks(armed):
    for _time in range(2):
        assert guardian.cancel(armed, ID, "by hand") == {"answer": "REVERTED", "reason": "by hand", "problems": []}
    assert guardian.confirm(armed, ID, "secret", session(ALICE))["answer"] == "TOO_LATE"


@pytest.mark.parametrize("name", [COMMITTING, COMMITTED])
def test_what_was_confirmed_is_not_taken_back(armed, state, name):
    guardian.save(armed.places, dict(state, state=name))
    assert guardian.cancel(armed, ID, "x") == {"answer": "TOO_LATE", "state": name}


def test_one_that_was_never_armed_puts_nothing_back(armed, state, monkeypatch):
    """Whoever changes the host while it is prepared is not behind it."""
    guardian.save(armed.places, dict(state, state=PREPARED))
    monkeypatch.setattr(guardian, "restore", lambda *unused, **more: pytest.fail("it restores"))
    assert guardian.cancel(armed, ID, "it could not be armed")["answer"] == "REVERTED"


# ---- watching --------------------------------------------------------------------------------------------------------


def test_the_guardian_goes_back_at_the_deadline_and_ends(armed):
    assert guardian.watch(armed) == 0
    assert 1300.0 <= armed.machine.clock < 1301.0
    assert guardian.load(armed.places)["state"] == REVERTED
    assert [line.split(" (")[0] for line in armed.machine.told] == [
        "not confirmed yet; in 60 s this host goes back",
        "nobody confirmed in time: the SSH access of this host goes back to what it was",
        "reverted: the SSH access of this host is what it was",
    ]
    assert not os.path.exists(armed.places.marker)


def test_each_deadline_is_warned_of_once(armed):
    """Somebody holds it in the last minute: the new deadline is as good as the first."""
    pause = armed.machine.pause

    def held(seconds):
        pause(seconds)
        if 1250.0 <= armed.machine.clock < 1251.0 and guardian.load(armed.places)["deadline"] < 1301.0:
            assert guardian.extend(armed, ID, 300.0)["answer"] == "EXTENDED"

    armed.machine.pause = held
    assert guardian.watch(armed) == 0 and armed.machine.clock >= 1600.0
    assert len([line for line in armed.machine.told if "not confirmed yet; in 60 s" in line]) == 2


def test_a_deadline_that_was_moved_meanwhile_is_not_acted_on(armed, state):
    """The guardian decides, somebody extends, and only then it gets the lock."""
    armed.machine.clock = 1299.0
    assert guardian.extend(armed, ID, 300.0)["answer"] == "EXTENDED"
    assert guardian.revert(armed, "nobody confirmed in time", homes=True, due=True) is True
    assert guardian.load(armed.places)["state"] == ARMED


def test_people_hear_that_a_change_stays(armed):
    assert guardian.confirm(armed, ID, "secret", session(ALICE))["answer"] in ("COMMITTED", "WAITING_FOR")
    guardian.confirm(armed, ID, "secret", session(BOB))
    assert [line for line in armed.machine.told if line.startswith("confirmed: the SSH access of this host stays")]


def test_a_short_time_is_not_warned_of(armed, state):
    guardian.save(armed.places, dict(state, timeout=60, deadline=1060.0))
    guardian.watch(armed)
    assert not [line for line in armed.machine.told if "not confirmed yet" in line]


def test_the_guardian_tries_again_and_tells_once(armed, state, monkeypatch):
    answers = [guardian._Found(["x: y"], []), guardian._Found([], []), guardian._Found(["x: y"], [])]
    monkeypatch.setattr(
        guardian, "restore", lambda *unused, **more: answers.pop() if answers else guardian._Found([], [])
    )
    guardian.watch(armed)
    assert len([line for line in armed.machine.told if "not complete" in line]) == 1
    assert len([line for line in armed.machine.told if "goes back" in line]) == 2, "the warning, and once at the start"
    assert guardian.load(armed.places)["state"] == REVERTED and guardian.load(armed.places)["problems"] == []


def test_root_s_files_are_put_back_once_where_only_a_home_is_missing(armed, state, monkeypatch):
    """Whoever mends them by hand meanwhile is not overwritten again and again."""
    seen = []

    def restore(at, state, homes):
        seen.append(homes)
        return guardian._Found(["/home/alice: it is not there"] if homes and seen.count(True) < 3 else [], [])

    monkeypatch.setattr(guardian, "restore", restore)
    guardian.watch(armed)
    assert seen == [False, True, True, True]


def test_a_restarted_host_is_taken_back_before_sshd_and_finished_later(armed, state, monkeypatch):
    seen = []
    monkeypatch.setattr(guardian, "follow", lambda at, units: seen.append("follow") or guardian._Found([], []))
    monkeypatch.setattr(
        guardian,
        "restore",
        lambda at, state, homes: seen.append("homes" if homes else "root") or guardian._Found([], []),
    )
    os.unlink(armed.places.marker)
    assert guardian.boot(armed) == 0
    assert seen == ["root"] and guardian.load(armed.places)["state"] == REVERTING
    assert guardian.watch(armed) == 0
    assert seen == ["root", "root", "follow", "homes"] and guardian.load(armed.places)["state"] == REVERTED


def test_without_a_restart_early_boot_leaves_everything(armed):
    """It is started when a transaction is armed, to see that it runs."""
    before = guardian.load(armed.places)
    assert guardian.boot(armed) == 0 and guardian.load(armed.places) == before


# ---- the machine -----------------------------------------------------------------------------------------------------


def test_what_a_program_says_comes_on_one_line():
    done = guardian.Machine().run(["sh", "-c", "echo out; echo error >&2; exit 3"])
    assert done == guardian.Program(3, "out error")


def test_a_program_says_more_than_a_pipe_holds():
    assert len(guardian.Machine().run(["sh", "-c", "seq 1 100000"]).said) > 500000


def test_a_program_that_is_missing_or_does_not_end_is_an_answer():
    machine = guardian.Machine()
    assert machine.run(["/no/such/program"]).status == 127
    began = time.monotonic()
    assert machine.run(["sleep", "60"], 0.2).status == 124
    assert time.monotonic() - began < 5


def test_what_a_program_leaves_running_is_not_waited_for():
    """wall(1) does at a terminal that was stopped, for minutes."""
    began = time.monotonic()
    done = guardian.Machine().run(["sh", "-c", "sleep 60 & echo $!"])
    os.kill(int(done.said), signal.SIGKILL)
    assert done.status == 0 and time.monotonic() - began < 5


@pytest.mark.parametrize("unit", ["", guardian.GUARD_UNIT])
def test_people_hear_it_on_their_terminals_and_in_the_journal(monkeypatch, capsys, unit):
    """Below systemd what is said on standard error is in the journal already."""
    ran = []
    monkeypatch.setenv("LATCHKEY_UNIT", unit)
    machine = guardian.Machine()
    monkeypatch.setattr(machine, "run", lambda argv, seconds=30.0: ran.append(argv))
    machine.tell("it goes back")
    assert ran[-1] == ["wall", "latchkey: it goes back"]
    assert (capsys.readouterr().err, len(ran)) == (("it goes back\n", 1) if unit else ("", 2))
    assert unit or ran[0] == ["logger", "-t", "latchkey", "--", "it goes back"]


@pytest.mark.parametrize(
    "said, heard",
    [
        (b"SSH-2.0-OpenSSH_8.0\r\n", True),
        (b"Exceeded MaxStartups\r\n", True),
        (b"Not allowed at this time\r\n", True),
        (b"HTTP/1.1 400\r\n", False),
        (b"", False),
    ],
)
def test_only_an_ssh_server_answers_as_one(said, heard):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)

        def answer():
            connection = server.accept()[0]
            connection.sendall(said)
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        assert guardian.Machine().greets("0.0.0.0", server.getsockname()[1]) is heard


def test_nobody_there_is_no_answer():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        assert guardian.Machine().greets("127.0.0.1", server.getsockname()[1]) is False


# ---- the session -----------------------------------------------------------------------------------------------------

CHILD = "import sys; sys.path[:0] = %r; from %s import guardian; print(guardian.session())"


def started_as(*titles):
    """Run a process whose ancestors are called so, the topmost first; returns what it takes for its session."""
    child = CHILD % (sys.path, guardian.__name__.rpartition(".")[0])
    command = [sys.executable, "-B", "-c", child]
    for title in reversed(titles):
        # A shell that has another name, and waits for what it starts.
        inner = " ".join("'%s'" % word.replace("'", "'\\''") for word in command)
        command = ["bash", "-c", 'exec -a "$0" bash -c "$1"', title, inner + "; true"]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    return found


@pytest.mark.parametrize(
    "titles",
    [
        ["sshd: admin [priv]"],
        ["sshd: admin [priv]", "sshd: admin@pts/0"],
        ["sshd-session: admin [priv]", "sshd-session: admin@notty"],
        ["sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", "sshd: root@notty"],
    ],
)
def test_a_session_is_found_by_its_ancestors(titles):
    found = started_as(*titles)
    assert found.startswith("Session(uid=%d, began=" % os.getuid())
    began = float(found.split("began=")[1].rstrip(")"))
    now = time.clock_gettime(7)
    assert now - 30 < began <= now


@pytest.mark.parametrize("titles", [[], ["login -- root"], ["sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"]])
def test_a_console_is_no_session(titles):
    assert started_as(*titles) in ("None", str(guardian.session()))


def test_the_session_began_when_its_topmost_process_did():
    # The shell below it is started later, which shows only after a while: the kernel counts in hundredths.
    inner = 'sleep 1; exec -a "sshd: admin@pts/0" bash -c "$SHOW; true"'
    show = "'%s' -B -c \"%s\"" % (sys.executable, CHILD % (sys.path, guardian.__name__.rpartition(".")[0]))
    before = time.clock_gettime(7)
    done = subprocess.run(
        ["bash", "-c", 'exec -a "sshd: admin [priv]" bash -c "$0; true"', inner],
        stdout=subprocess.PIPE,
        check=True,
        env=dict(os.environ, SHOW=show),
    )
    began = float(done.stdout.decode().split("began=")[1].split(")")[0])
    assert before - 0.1 <= began < before + 0.9, "and not when the one below it did"


# ---- the command of the host -----------------------------------------------------------------------------------------


@pytest.fixture
def command(at, capsys, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(guardian, "session", lambda: None)

    def run(*words):
        code = guardian.main(words, at)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_command_without_a_transaction(command):
    assert command("status") == (0, "no transaction on this host\n", "")
    assert command("status", "--json") == (0, '{"state": "NONE"}\n', "")
    assert command("list") == (0, "", "")
    for words in (["confirm"], ["revert"], ["hold", "60"]):
        code, out, error = command(*words)
        assert (code, out) == (1, "") and "there is no transaction on this host" in error


def test_the_command_shows_what_is_under_way(command, armed, state):
    state["entries"] = [dict(path="/etc/ssh/sshd_config"), dict(path="/etc/ssh/x", untouched=True)]
    guardian.save(armed.places, state)
    code, out, _error = command("status")
    assert code == 0 and out.splitlines() == [
        "ARMED  %s, begun 2026-11-24T12:00:00Z by a test" % ID,
        "goes back in 300 s unless confirmed by: alice, bob",
        "  /etc/ssh/sshd_config",
    ]
    shown = json.loads(command("status", "--json")[1])
    assert shown["seconds_left"] == 300.0 and shown["operators"] == ["alice", "bob"] and "nonce" not in shown


def test_the_command_holds_confirms_and_lists(command, armed):
    assert command("hold", "60")[:2] == (0, "EXTENDED  goes back in 360 s\n")
    assert command("hold")[0] == command("hold", "soon")[0] == 2
    assert command("confirm")[:2] == (0, "COMMITTED\n")
    code, out, _error = command("list")
    assert code == 0 and out == "2026-11-24T12:00:00Z  %s  COMMITTED  by a test  confirmed\n" % ID
    assert command("status")[1].splitlines()[0].startswith("COMMITTED  ")


def test_the_command_takes_back(command, armed):
    assert command("revert", "--json") == (
        0,
        '{"answer": "REVERTED", "reason": "reverted by hand", "problems": []}\n',
        "",
    )
    assert command("confirm", ID)[:2] == (1, "TOO_LATE\n")
    assert "  reverted by hand" in command("status")[1].splitlines()


def test_the_command_shows_problems(command, armed, state):
    guardian.save(armed.places, dict(state, state=REVERT_FAILED, reason="late", problems=["x: y"], notes=["z: kept"]))
    out = command("status")[1].splitlines()
    assert out[0].startswith("REVERT_FAILED") and out[1:] == ["  late", "  x: y", "  z: kept"]


def test_the_nonce_comes_on_standard_input(command, armed, monkeypatch):
    monkeypatch.setattr(guardian, "session", lambda: session(ALICE))
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    assert command("confirm", ID, "--nonce", "--json")[:2] == (0, '{"answer": "WAITING_FOR", "operators": ["bob"]}\n')
    monkeypatch.setattr(sys, "stdin", io.StringIO("wrong\n"))
    assert command("confirm", ID, "--nonce")[:2] == (1, "REFUSED  the nonce is wrong\n")


def test_a_transaction_that_cannot_be_read_is_said_in_a_line(command, at):
    guardian.replace(at.places.state, b"{", 0o600)
    code, out, error = command("status")
    assert code == 1 and out == "" and error.startswith("latchkey: ") and error.count("\n") == 1


def test_only_root_may_ask(command, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command("status") == (2, "", "latchkey: only root may ask: sudo /usr/local/sbin/latchkey\n")


@pytest.mark.parametrize("words", [[], ["help"], ["--json"]])
def test_usage(command, words):
    code, out, error = command(*words)
    assert (code, out) == (2, "") and error.startswith("usage: latchkey COMMAND")
