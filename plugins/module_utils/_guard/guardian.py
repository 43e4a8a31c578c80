# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guardian: brings a host back when nobody confirmed its changes in time. PRIVATE to the collection.

This one file is copied to the host and run there by systemd, without Ansible and without the rest of the collection:
the standard library of Python 3.6 is all it may use. On the host it is also the command ``latchkey``.

A transaction is one JSON file, replaced atomically. What it says is decided in ``decide``, a pure function; every other
function may be cut off at any instruction and called again.
"""

import base64
import collections
import contextlib
import errno
import fcntl
import hashlib
import hmac
import json
import os
import pwd
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, TextIO, Tuple

FORMAT = 1
PREPARED, ARMED, APPLIED, COMMITTING, COMMITTED, REVERTING, REVERTED, REVERT_FAILED = (
    "PREPARED ARMED APPLIED COMMITTING COMMITTED REVERTING REVERTED REVERT_FAILED".split()
)
OPEN = (ARMED, APPLIED)
OVER = (COMMITTED, REVERTED)
WAIT, REVERT, COMMIT, FINISH = "wait revert commit finish".split()

GUARD_UNIT, BOOT_UNIT = "latchkey-guard.service", "latchkey-boot.service"
# time.CLOCK_BOOTTIME is known to Python 3.7 and later only; it also counts while the host sleeps (clock_gettime(2)).
_CLOCK_BOOTTIME = 7
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
# How long the way back waits for who holds a lock, in seconds: together well below the 30 s that are promised.
_WRITER_PATIENCE = 1.0
_STATE_PATIENCE = 3.0
_REVERTER_PATIENCE = 10.0
# Whoever is at work has longer: taking over would begin again what is slow.
_WORKING_PATIENCE = 90.0
_FINISH_PATIENCE = 30.0
_DYING = 5.0
_SETTLING = 0.3
_WARN_BEFORE = 60.0
_KEPT_TRANSACTIONS = 10
_XATTRS = ("system.posix_acl_access", "security.selinux")
# The status that timeout(1) gives to a program that had to be ended.
_NO_ANSWER = 124
_MANAGER_SECONDS = 5.0
# Where units and their drop-ins lie (systemd.unit(5), UNIT FILE LOAD PATH).
_UNIT_FILES = ("/etc/systemd/", "/run/systemd/", "/usr/lib/systemd/", "/usr/local/lib/systemd/")
# What _guard/rehearsal.py makes; its stop takes everything else of a rehearsal away.
_REHEARSAL = "/run/systemd/system/latchkey-rehearsal-end.service"
_NO_LABEL = (errno.EPERM, errno.ENOTSUP)
# sshd reads any; whoever makes one larger than this in the window wants to hold the way back up.
_LARGEST_KEY_FILE = 1024 * 1024
# In a home: what is there now, for each kind that was there before. No link is followed or replaced there, so what
# comes where one was is not ours, nor is a directory where a file was: users can swap them while we write.
_PUT_BACK_OVER = {"file": ("file", "missing"), "dir": ("dir",), "missing": ("file", "dir")}
_NOFOLLOW = os.O_NOFOLLOW | os.O_CLOEXEC
# Temporary names of this collection: by the process that writes, or by the transaction.
_TEMPORARY = re.compile(r"\.latchkey-(?:([0-9]+)-|[0-9]{8}T[0-9]{6}-[0-9a-f]{6}(?:-|$))")
# What sshd says first, also to one who is one too many (sshd.c, srclimit.c).
GREETINGS = (b"SSH-", b"Exceeded MaxStartups", b"Not allowed at this time")

State = Dict[str, Any]
Entry = Dict[str, Any]


class Places(NamedTuple):
    """Where things are on the host."""

    base: str = "/var/lib/latchkey"
    run: str = "/run/latchkey"
    units: str = "/etc/systemd/system"
    command: str = "/usr/local/sbin/latchkey"

    @property
    def state(self) -> str:
        """The file that is the transaction."""
        return os.path.join(self.base, "transaction.json")

    @property
    def copies(self) -> str:
        """The directory of what the files were before."""
        return os.path.join(self.base, "copies")

    @property
    def history(self) -> str:
        """The directory of transactions that are over."""
        return os.path.join(self.base, "history")

    @property
    def marker(self) -> str:
        """The file that does not survive a reboot; it holds the id of the transaction."""
        return os.path.join(self.run, "armed")

    @property
    def reserve(self) -> str:
        """The file whose blocks are given up when the disk is full, so that the state can be written."""
        return os.path.join(self.base, "reserve")


def write_line(text: str, stream: Optional[TextIO] = None) -> None:
    """Write a line for whoever started this."""
    stream = stream or sys.stdout
    stream.write(text + "\n")
    stream.flush()


class Program(NamedTuple):
    """What a program said and how it ended."""

    status: int
    said: str


class Machine:
    """The host as the guardian meets it: its clock, its service manager, its people. Tests put another in its place."""

    def now(self) -> float:
        """Return the seconds since boot, sleep included."""
        return time.clock_gettime(_CLOCK_BOOTTIME)

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def run(self, argv: Sequence[str], seconds: float = 30.0) -> Program:
        """Run a program of the host; one that is missing or does not end is status 127 or 124.

        What it leaves running may hold its output open (wall(1) at a terminal that is stopped): nobody waits for that.
        """
        reader, writer = os.pipe()
        try:
            process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with # no AnsibleModule
                list(argv), stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, env=_ENVIRONMENT, cwd="/"
            )
        except OSError as error:
            os.close(reader)
            return Program(127, f"`{argv[0]}` cannot be run: {error.strerror}")
        finally:
            os.close(writer)
        try:
            said = _listen(reader, process, time.monotonic() + seconds)
        finally:
            os.close(reader)
        if process.returncode is None:
            return Program(_NO_ANSWER, f"`{argv[0]}` did not end within {seconds:g} s")
        return Program(process.returncode, " ".join(said.decode("utf-8", "replace").split()))

    def command_line(self, process: str) -> str:
        """Return the arguments of a process, or the title it gave itself; '' where it is gone."""
        try:
            with open(f"/proc/{int(process)}/cmdline", "rb") as handle:
                return handle.read().rstrip(b"\0 ").replace(b"\0", b" ").decode("utf-8", "replace")
        except (OSError, ValueError):
            return ""

    def greets(self, address: str, port: int) -> bool:
        """Say whether an SSH server answers at an address of this host (RFC 4253, 4.2)."""
        address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        try:
            with socket.create_connection((address, port), 3.0) as connection:
                connection.settimeout(3.0)
                return connection.recv(64).startswith(GREETINGS)
        except OSError:
            return False

    def tell(self, text: str) -> None:
        """Tell the journal, and everybody who is logged in; neither is waited for longer than a moment."""
        if os.environ.get("LATCHKEY_UNIT"):
            with contextlib.suppress(OSError):
                write_line(text, sys.stderr)
        else:
            self.run(["logger", "-t", "latchkey", "--", text], 2.0)
        self.run(["wall", f"latchkey: {text}"], 2.0)


def _listen(reader: int, process: "subprocess.Popen[bytes]", end: float) -> bytes:
    """Return what a process says until it ends; at ``end`` it is killed."""
    said, more = b"", True
    while process.poll() is None and time.monotonic() < end:
        if select.select([reader] if more else [], [], [], 0.01)[0]:
            part = os.read(reader, 1 << 16)
            said, more = said + part, bool(part)
    if process.returncode is None:
        process.kill()
        # One that hangs in the kernel is left behind.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
            process.returncode = None
    while more and select.select([reader], [], [], 0.0)[0]:
        part = os.read(reader, 1 << 16)
        said, more = said + part, bool(part)
    return said


class Site(NamedTuple):
    """One host: where things are, and how it is met."""

    places: Places = Places()
    machine: Any = Machine()


# --- the decision ---------------------------------------------------------------------------------------------------


def decide(state: Optional[State], now: float, *, rebooted: bool) -> str:
    """Say what the guardian has to do: wait, revert, commit (finish what the last confirmation began) or finish.

    ``now`` is in seconds of the boot clock. A reboot inside the window reverts (RFC 6241, 8.4.1); a commit that began
    is never taken back.
    """
    if state is None or state["state"] in OVER:
        return FINISH
    if state["state"] == COMMITTING:
        return COMMIT
    if state["state"] in (REVERTING, REVERT_FAILED):
        return REVERT
    return REVERT if rebooted or now >= state["deadline"] else WAIT


# --- the transaction as a file --------------------------------------------------------------------------------------


def load(places: Places) -> Optional[State]:
    """Return the transaction, or None where there never was one.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    try:
        with open(places.state, "rb") as handle:
            state = json.loads(handle.read().decode("utf-8"))
    except FileNotFoundError:
        return None
    if state.get("format") != FORMAT:
        raise ValueError(f"{places.state} has format {state.get('format')}, not {FORMAT}")
    return dict(state)


def save(places: Places, state: State) -> None:
    """Replace the transaction durably; on a full disk the reserve is given up for it."""
    data = json.dumps(state, indent=1, sort_keys=True).encode("utf-8")
    try:
        replace(places.state, data, 0o600)
    except OSError as error:
        if error.errno != errno.ENOSPC or not os.path.exists(places.reserve):
            raise
        os.unlink(places.reserve)
        replace(places.state, data, 0o600)


def replace(path: str, data: bytes, mode: int) -> None:
    """Put ``data`` at ``path`` so that a reader, or the next boot, finds the old content or the new."""
    temporary = f"{path}.new"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NOFOLLOW, 0o600)
    try:
        _write_all(handle, data)
        os.fchmod(handle, mode)
        os.fsync(handle)
    except OSError:
        os.unlink(temporary)
        raise
    finally:
        os.close(handle)
    os.rename(temporary, path)
    sync_directory(os.path.dirname(path))


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(
    at: Site, name: str, *, shared: bool = False, patience: Optional[float] = None, working: float = 0.0
) -> Iterator[None]:
    """Hold a lock of the host; after ``patience`` seconds whoever holds on to it is killed.

    Those who are not stopped have ``working`` seconds. ``state`` is held for one read and write of the transaction,
    ``write`` by writers (shared) and by a revert, ``revert`` by whoever reverts, finishes or begins. One that was
    killed and hangs in the kernel does nothing any more, and is not waited for.
    """
    os.makedirs(at.places.run, 0o700, exist_ok=True)
    path = os.path.join(at.places.run, f"{name}.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | _NOFOLLOW, 0o600)
    try:
        began, killed = at.machine.now(), None
        while not _try_lock(handle, shared=shared):
            now, pause = at.machine.now(), 0.02
            if patience is not None and now - began > patience:
                if _kill_holders(path, working=now - began > working):
                    # Not to take the time of whoever is at work.
                    pause = 0.5
                else:
                    killed = now if killed is None else killed
                    if now - killed > _DYING:
                        break
            at.machine.pause(pause)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int, *, shared: bool) -> bool:
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _kill_holders(path: str, *, working: bool) -> bool:
    """Kill whoever has the file open and is stopped, or ``working`` too; say whether one was spared."""
    spared = False
    for process in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        if process == os.getpid():
            continue
        try:
            handles = os.listdir(f"/proc/{process}/fd")
            if not any(os.readlink(f"/proc/{process}/fd/{one}") == path for one in handles):
                continue
            if working or _is_stopped(process):
                os.kill(process, signal.SIGKILL)
            else:
                spared = True
        except OSError:
            continue
    return spared


def _is_stopped(process: int) -> bool:
    with open(f"/proc/{process}/stat", "rb") as handle:
        return handle.read().rpartition(b")")[2].split()[0] in (b"T", b"t")


def rebooted(places: Places, state: Optional[State]) -> bool:
    """Say whether the host was started anew since the transaction began: what /run held is gone."""
    try:
        with open(places.marker, encoding="utf-8") as handle:
            return state is not None and handle.read().strip() != state["id"]
    except OSError:
        return True


def _step(at: Site, state: Optional[State]) -> str:
    if state is not None and state["state"] in OPEN and is_reverting(at.places):
        return REVERT
    return decide(state, at.machine.now(), rebooted=rebooted(at.places, state))


# --- confirm, cancel, extend ----------------------------------------------------------------------------------------


class Session(NamedTuple):
    """The SSH session that somebody confirms from: its user, and when it began (seconds of the boot clock)."""

    uid: int
    began: float


# That of a process whose login is gone.
_UNKNOWN = Session(-1, 0.0)


def session(process: int = 0) -> Optional[Session]:
    """Return the SSH session a process belongs to, found by its ancestors; None on a console.

    sshd calls its processes ``sshd: USER [priv]`` and ``sshd: USER@tty`` (setproctitle), ``sshd-session:`` since 9.8;
    the one nearest to us runs as the user, the topmost began when the connection did. What has left its login behind
    (tmux, screen, nohup) is no console either, and nobody knows any more from when it is.
    """
    process = process or os.getpid()
    found = _by_ancestors(process)
    return _left_behind(process) if found is None else found


def _by_ancestors(process: int) -> Optional[Session]:
    found: Optional[Session] = None
    while process > 1:
        try:
            with open(f"/proc/{process}/stat", "rb") as handle:
                fields = handle.read().rpartition(b")")[2].split()
            with open(f"/proc/{process}/cmdline", "rb") as handle:
                title = handle.read()
            with open(f"/proc/{process}/status", "rb") as handle:
                uid = int(handle.read().partition(b"\nUid:")[2].split()[1])
        except (OSError, IndexError):
            return found
        if title.startswith((b"sshd: ", b"sshd-session: ")) and b"[listener]" not in title:
            began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
            found = Session(found.uid if found else uid, began)
        process = int(fields[1])
    return found


def _left_behind(process: int) -> Optional[Session]:
    """Find the login that a process came from by its control group (systemd-logind.service(8)); None on a console."""
    try:
        with open(f"/proc/{process}/cgroup", encoding="utf-8") as handle:
            groups = handle.read()
    except OSError:
        return None
    scope = re.search(r"/session-(\w+)\.scope", groups)
    if scope:
        return None if _is_local(scope.group(1)) else _UNKNOWN
    # A user's own services, and what sshd itself was left with where no PAM module makes sessions.
    return _UNKNOWN if re.search(r"/user@[0-9]+\.service|/sshd(@[^/]*)?\.service", groups) else None


def _is_local(name: str) -> bool:
    try:
        with open(f"/run/systemd/sessions/{name}", encoding="utf-8") as handle:
            return "\nREMOTE=0" in handle.read()
    except OSError:
        return False


def confirm(at: Site, name: str, nonce: Optional[str], who: Optional[Session]) -> Dict[str, Any]:
    """Keep the changes of transaction ``name``, as far as it lies with who asks.

    ``nonce`` may be None only on a console, where root speaks for every operator. The answer is COMMITTED,
    WAITING_FOR (other operators), TOO_LATE, or REFUSED with a reason.
    """
    # A change that is being made has not been seen by anybody.
    with locked(at, "write"), locked(at, "state"):
        state = load(at.places)
        problem = _confirm_problem(at, state, (name, nonce), who)
        if problem is not None or state is None:
            return problem or {"answer": "REFUSED", "reason": "there is no transaction"}
        if state["state"] in OPEN:
            names = [one for one, uid in state["operators"].items() if who is None or uid == who.uid]
            state["confirmed"] = sorted(set(state["confirmed"]) | set(names))
            waiting = sorted(set(state["operators"]) - set(state["confirmed"]))
            state["state"] = state["state"] if waiting else COMMITTING
            save(at.places, state)
            if waiting:
                return {"answer": "WAITING_FOR", "operators": waiting}
    commit(at)
    return {"answer": "COMMITTED", "id": state["id"]}


def _confirm_problem(
    at: Site, state: Optional[State], asked: Tuple[str, Optional[str]], who: Optional[Session]
) -> Optional[Dict[str, Any]]:
    name, nonce = asked
    if state is None or state["id"] != name:
        return {"answer": "REFUSED", "reason": f"the transaction on this host is not {name}"}
    if nonce is not None and not hmac.compare_digest(digest(nonce.encode()), state["nonce"]):
        return {"answer": "REFUSED", "reason": "the nonce is wrong"}
    if state["state"] in (COMMITTING, COMMITTED):
        return None
    if state["state"] not in OPEN or _step(at, state) != WAIT:
        return {"answer": "TOO_LATE", "state": state["state"]}
    if who is None:
        # A nonce comes from a controller, and that has to come through sshd.
        reason = "this login cannot be traced to sshd: become by sudo" if nonce is not None else ""
        return {"answer": "REFUSED", "reason": reason} if reason else None
    if who == _UNKNOWN:
        return {"answer": "REFUSED", "reason": "nobody knows from when this session is: log in anew, or use a console"}
    if who.began <= state["last_write"]:
        return {"answer": "REFUSED", "reason": "this session is older than the last change: log in anew"}
    if who.uid not in state["operators"].values():
        return {"answer": "REFUSED", "reason": "this account is no operator of the transaction"}
    return None


def commit(at: Site) -> None:
    """Finish what the last confirmation began."""
    with locked(at, "state", patience=_REVERTER_PATIENCE):
        state = load(at.places)
        if state is None or state["state"] != COMMITTING:
            return
        state["state"] = COMMITTED
        state["over"] = _wall_clock()
        for entry in state["entries"]:
            if not entry.get("account"):
                entry["committed"] = _digest_of(entry["path"])
        state["reason"] = state["reason"] or "confirmed"
        save(at.places, state)
    at.machine.tell(f"confirmed: the SSH access of this host stays as it is now ({_title(state)})")
    # It is committed whatever becomes of this; the guardian tries again.
    with contextlib.suppress(OSError):
        finish(at)


def _digest_of(path: str) -> str:
    try:
        with open(path, "rb") as handle:
            return digest(handle.read())
    except OSError:
        return ""


def extend(at: Site, name: str, seconds: float) -> Dict[str, Any]:
    """Move the deadline away by ``seconds``, up to the cap; answers EXTENDED, TOO_LATE or REFUSED."""
    with locked(at, "state"):
        state = load(at.places)
        if state is None or state["id"] != name:
            return {"answer": "REFUSED", "reason": f"the transaction on this host is not {name}"}
        if seconds <= 0:
            return {"answer": "REFUSED", "reason": "a deadline moves away only: give a positive number of seconds"}
        if state["state"] not in OPEN or _step(at, state) != WAIT:
            return {"answer": "TOO_LATE", "state": state["state"]}
        later = min(state["deadline"] + seconds, state["cap"])
        if later <= state["deadline"]:
            return {"answer": "REFUSED", "reason": "its deadline is as far away as it may be: an hour after the begin"}
        state["deadline"] = later
        save(at.places, state)
        return {"answer": "EXTENDED", "seconds_left": later - at.machine.now()}


def cancel(at: Site, name: str, reason: str) -> Dict[str, Any]:
    """Revert now; answers REVERTED, TOO_LATE (committed already), REVERT_FAILED or REFUSED."""
    with locked(at, "state", patience=_STATE_PATIENCE):
        state = load(at.places)
        if state is None or state["id"] != name:
            return {"answer": "REFUSED", "reason": f"the transaction on this host is not {name}"}
        if state["state"] in (COMMITTING, COMMITTED):
            return {"answer": "TOO_LATE", "state": state["state"]}
    if state["state"] != REVERTED:
        revert(at, reason, homes=True)
        settled = load(at.places)
        state = settled or state
    with contextlib.suppress(OSError):
        finish(at)
    return {"answer": state["state"], "reason": state["reason"], "problems": state["problems"]}


# --- revert ---------------------------------------------------------------------------------------------------------


def revert(at: Site, reason: str, *, homes: bool, due: bool = False) -> bool:
    """Bring back what was before; False where something is still missing and has to be tried again.

    ``due`` says that only the clock asks for it, which may have been given more time meanwhile. ``homes`` is False
    before the file systems of users are there: then the rest waits for the guardian. The state is changed first, so
    that no confirmation and no writer gets in between.
    """
    with locked(at, "revert", patience=_REVERTER_PATIENCE, working=_WORKING_PATIENCE):
        state = _begin_revert(at, reason, due=due)
        if state is None:
            return True
        found = _Found([], [])
        if state.get("unused") and homes:
            # Nobody was allowed to write yet, so nothing that a service says now comes from here; and what it has
            # not read was somebody else's to have it read.
            follow(at, [unit for unit in state["units"] if unit["current"]])
        elif not state.get("unused") and not state.get("restored"):
            with locked(at, "write", patience=_WRITER_PATIENCE):
                found = restore(at, state, homes=False)
            if any(entry["path"].startswith(_UNIT_FILES) for entry in state["entries"]):
                # At a boot, too: systemd has read them before they were back.
                at.machine.run(["systemctl", "daemon-reload"])
            if homes:
                followed = follow(at, state["units"])
                found = _Found(found.problems + followed.problems, found.notes + followed.notes)
                state["restored"] = not found.problems
        if homes and not state.get("unused"):
            # Last, since users can hold this up; and no writer of ours is in there any more.
            more = restore(at, state, homes=True)
            found = _Found(found.problems + more.problems, found.notes + more.notes)
        return _end_revert(at, state, found, over=homes or bool(state.get("unused")))


class _Found(NamedTuple):
    """What putting back came to: what is still missing, and what people should know."""

    problems: List[str]
    notes: List[str]


def is_reverting(places: Places) -> bool:
    """Say whether a revert has begun, also where the disk took no write of the transaction."""
    return os.path.exists(_reverting(places))


def _reverting(places: Places) -> str:
    return os.path.join(places.run, "reverting")


def _begin_revert(at: Site, reason: str, *, due: bool) -> Optional[State]:
    with locked(at, "state", patience=_STATE_PATIENCE):
        state = load(at.places)
        if state is None or state["state"] in OVER + (COMMITTING,) or due and _step(at, state) != REVERT:
            return None
        first = not is_reverting(at.places)
        with contextlib.suppress(OSError):
            # Where the disk takes no write, this tells confirmations that they are late.
            replace(_reverting(at.places), b"", 0o600)
        if state["state"] not in (REVERTING, REVERT_FAILED):
            state.update(unused=state["state"] == PREPARED, state=REVERTING, reason=reason)
            with contextlib.suppress(OSError):
                save(at.places, state)
    if first:
        at.machine.tell(f"{reason}: the SSH access of this host goes back to what it was ({_title(state)})")
    return state


def _end_revert(at: Site, state: State, found: _Found, *, over: bool) -> bool:
    with locked(at, "state", patience=_STATE_PATIENCE):
        now = load(at.places)
        if now is None or now["state"] in OVER:
            return True
        told = bool(state["problems"])
        state.update(problems=found.problems, notes=sorted(set(state["notes"]) | set(found.notes)), state=REVERTING)
        if found.problems:
            state["state"] = REVERT_FAILED
        elif over:
            state.update(state=REVERTED, over=_wall_clock())
        saved = False
        with contextlib.suppress(OSError):
            save(at.places, state)
            saved = True
    if saved and found.problems and not told:
        at.machine.tell(f"the way back is not complete, it is tried again: {'; '.join(found.problems)}")
    elif saved and state["state"] == REVERTED:
        at.machine.tell(f"reverted: the SSH access of this host is what it was ({_title(state)})")
    return saved and state["state"] == REVERTED


def restore(at: Site, state: State, *, homes: bool) -> _Found:
    """Put back the files of users or those of root, the last entry first; of the operators before others."""
    found = _Found([], [])
    entries = [entry for entry in reversed(state["entries"]) if bool(entry.get("account")) == homes]
    entries.sort(key=lambda entry: entry.get("account") not in state["operators"])
    # Directories are there before what lies in them, and get their attributes after it.
    steps = [(_make_directory, entry) for entry in reversed(entries) if entry["kind"] == "dir" and not homes]
    steps += [(_restore_home if homes else _restore_root, entry) for entry in entries]
    for step, entry in steps:
        try:
            note = step(at.places, state, entry)
        except (OSError, ValueError) as error:
            found.problems.append(f"{entry['path']}: {getattr(error, 'strerror', None) or error}")
            continue
        if note:
            found.notes.append(f"{entry['path']}: {note}")
    return found


def _make_directory(places: Places, state: State, entry: Entry) -> str:
    parent, name = os.path.split(entry["path"])
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        now = observe(directory, name)["kind"]
        if now == "dir":
            return ""
        note = _keep(places, state, directory, name) if now == "file" else ""
        _remove(directory, name, now)
        os.mkdir(name, 0o700, dir_fd=directory)
        return note
    finally:
        os.close(directory)


def _restore_root(places: Places, state: State, entry: Entry) -> str:
    path = entry["path"]
    try:
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        if entry["kind"] == "missing":
            return ""
        raise
    name = os.path.basename(path)
    try:
        note = ""
        now = observe(directory, name)
        if entry["kind"] == "dir":
            note = _restore_directory(places, state, entry, (directory, name))
        elif not _same(now, entry):
            ours = [entry["sha256"]] + entry.get("wrote", [])
            if now["kind"] == "file" and now["sha256"] not in ours:
                note = _keep(places, state, directory, name)
            if entry["kind"] == "missing":
                if now["kind"] == "dir" and entry.get("names") is not None:
                    note = _take_out(places, state, entry, where=(directory, name))
                _remove(directory, name, now["kind"])
            else:
                if now["kind"] == "dir":
                    os.rename(name, f".latchkey-kept-{state['id']}-{name}", src_dir_fd=directory, dst_dir_fd=directory)
                    note = "a directory was in its place: kept beside it"
                _put_back(places, entry, directory, name)
        # Also where it is as it was: whoever put it back may have died before this.
        os.fsync(directory)
        return note
    finally:
        os.close(directory)


def _restore_directory(places: Places, state: State, entry: Entry, where: Tuple[int, str]) -> str:
    """Give a directory its owner and mode back; what appeared in it since is kept elsewhere, where names are known."""
    handle = os.open(where[1], os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW, dir_fd=where[0])
    try:
        if not _same(observe(where[0], where[1]), dict(entry, sha256="")):
            _dress(handle, entry)
    finally:
        os.close(handle)
    return "" if entry.get("names") is None else _take_out(places, state, entry, where)


def _take_out(places: Places, state: State, entry: Entry, where: Tuple[int, str]) -> str:
    """Take files and links out of a directory that were not in it; directories stay, sshd does not look into them."""
    notes = []
    known = {os.path.basename(one["path"]) for one in state["entries"] if _lies_in(one, entry)}
    known |= set(entry.get("names") or [])
    handle = os.open(where[1], os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW, dir_fd=where[0])
    try:
        for name in sorted(set(os.listdir(handle)) - known):
            seen = observe(handle, name)
            if name.startswith(".latchkey-") or seen["kind"] not in ("file", "link"):
                continue
            if seen["kind"] == "file":
                notes.append(_keep(places, state, handle, name))
            else:
                notes.append(f"somebody else made {name} a link to {seen['target']} meanwhile: taken away")
            os.unlink(name, dir_fd=handle)
        os.fsync(handle)
    finally:
        os.close(handle)
    return "; ".join(notes)


def _lies_in(entry: Entry, directory: Entry) -> bool:
    return bool(os.path.dirname(entry["path"]) == directory["path"])


def _put_back(places: Places, entry: Entry, directory: int, name: str) -> None:
    """Put a file back by a rename alone where its ready copy lies beside it: that needs no room on the disk."""
    if _rename_ready(entry, directory, name):
        return
    temporary = f".latchkey-{os.getpid()}-{name}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory)
    if entry["kind"] == "link":
        os.symlink(entry["target"], temporary, dir_fd=directory)
    else:
        make_file(directory, temporary, entry, copy_of(places, entry))
    try:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError as error:
        if error.errno != errno.EBUSY or entry["kind"] != "file":
            raise
        # A file that is mounted by itself can only be written in place.
        _write_over(directory, name, entry, copy_of(places, entry))
        os.unlink(temporary, dir_fd=directory)


def _rename_ready(entry: Entry, directory: int, name: str) -> bool:
    if not entry.get("ready"):
        return False
    folder, ready = os.path.split(entry["ready"])
    try:
        source = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        if not _same(observe(source, ready), entry):
            return False
        os.rename(ready, name, src_dir_fd=source, dst_dir_fd=directory)
    except OSError as error:
        # Another mount of the same file system, or a file that is mounted by itself.
        if error.errno in (errno.EXDEV, errno.EBUSY):
            return False
        raise
    finally:
        os.close(source)
    return True


def _write_over(directory: int, name: str, entry: Entry, data: bytes) -> None:
    handle = os.open(name, os.O_WRONLY | os.O_TRUNC | _NOFOLLOW, dir_fd=directory)
    try:
        _write_all(handle, data)
        _dress(handle, entry)
        os.fsync(handle)
    finally:
        os.close(handle)


def copy_of(places: Places, entry: Entry) -> bytes:
    """Return what a file was before.

    Raises:
        OSError, ValueError: the copy is gone or damaged.
    """
    with open(os.path.join(places.copies, entry["copy"]), "rb") as handle:
        data = handle.read()
    if digest(data) != entry["sha256"]:
        raise ValueError(f"its copy {entry['copy']} is damaged")
    return data


def make_file(directory: int, name: str, entry: Entry, data: bytes) -> None:
    """Make a file with the attributes of an entry, durably but for its name."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o600, dir_fd=directory)
    try:
        _write_all(handle, data)
        _dress(handle, entry)
        os.fsync(handle)
    except OSError:
        os.unlink(name, dir_fd=directory)
        raise
    finally:
        os.close(handle)


def _dress(handle: int, entry: Entry) -> None:
    if os.geteuid() == 0:
        os.fchown(handle, entry["uid"], entry["gid"])
    os.fchmod(handle, entry["mode"])
    for attribute, value in entry["xattrs"].items():
        try:
            os.setxattr(handle, attribute, base64.b64decode(value))
        except OSError as error:
            # Where SELinux is off, a label is nobody's but root's to set, and means nothing (capabilities(7)).
            if os.geteuid() == 0 or attribute != "security.selinux" or error.errno not in _NO_LABEL:
                raise
    if "system.posix_acl_access" not in entry["xattrs"]:
        with contextlib.suppress(OSError):
            os.removexattr(handle, "system.posix_acl_access")


def _remove(directory: int, name: str, kind: str) -> None:
    if kind == "dir":
        # Somebody else's files may lie in it by now.
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=directory)
    elif kind != "missing":
        os.unlink(name, dir_fd=directory)


def _keep(places: Places, state: State, directory: int, name: str) -> str:
    """Keep what somebody else wrote meanwhile, for them to look at; on a full disk under another name beside it.

    Where neither can be done the way back still comes first.
    """
    aside = f".latchkey-kept-{state['id']}-{name}"
    kept = os.path.join(places.base, "kept", f"{state['id']}-{name}")
    handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _NOFOLLOW, dir_fd=directory)
    with os.fdopen(handle, "rb") as stream:
        try:
            os.makedirs(os.path.dirname(kept), 0o700, exist_ok=True)
            sync_directory(places.base)
            replace(kept, stream.read(), 0o600)
        except OSError:
            kept = aside
            try:
                os.link(name, aside, src_dir_fd=directory, dst_dir_fd=directory)
            except FileExistsError:
                pass
            except OSError as error:
                return f"somebody else changed it meanwhile: that version is lost ({error.strerror})"
    return f"somebody else changed it meanwhile: that version is kept as {kept}"


def observe(directory: int, name: str, largest: Optional[int] = None) -> Entry:
    """Return what is there: kind, mode, owner, attributes, and for a file the SHA256 of its content.

    The content of one of more than ``largest`` bytes is not read; then its kind is ``large``.
    """
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return {"kind": "missing", "sha256": ""}
    kind = _kind(status.st_mode)
    if kind == "file" and largest is not None and status.st_size > largest:
        kind = "large"
    found: Entry = {"kind": kind, "mode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}
    found.update(sha256="", xattrs={}, links=status.st_nlink)
    if kind == "link":
        found["target"] = os.readlink(name, dir_fd=directory)
    if kind not in ("file", "dir"):
        return found
    handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _NOFOLLOW, dir_fd=directory)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, handle)
        found["xattrs"] = _xattrs(handle)
        if kind == "file":
            with os.fdopen(os.dup(handle), "rb") as stream:
                found["sha256"] = digest(stream.read())
    return found


def read_at(directory: int, name: str) -> bytes:
    """Return the content of a file in an open directory."""
    handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _NOFOLLOW, dir_fd=directory)
    with os.fdopen(handle, "rb") as stream:
        return stream.read()


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "dir"
    return "link" if stat.S_ISLNK(mode) else "other"


def _xattrs(handle: int) -> Dict[str, str]:
    try:
        names = [name for name in os.listxattr(handle) if name in _XATTRS or name.startswith("user.")]
    except OSError:
        return {}
    return {name: base64.b64encode(os.getxattr(handle, name)).decode() for name in names}


def _same(now: Entry, entry: Entry) -> bool:
    if now["kind"] != entry["kind"] or now["kind"] == "missing":
        return bool(now["kind"] == entry["kind"])
    return all(now.get(name) == entry.get(name) for name in ("sha256", "mode", "uid", "gid", "xattrs", "target"))


def digest(data: bytes) -> str:
    """Return the SHA256 of ``data`` in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


# --- files of users -------------------------------------------------------------------------------------------------


def as_user(entry: Entry, work: Callable[[], str], seconds: float = 5.0) -> str:
    """Do ``work`` in a child that has given up root for the account of an entry; returns what it says.

    Raises:
        OSError: it failed, or did not end in time: a user can stop its own processes.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _in_child(entry, work, writer)
    os.close(writer)
    said = b""
    end = time.monotonic() + seconds
    os.set_blocking(reader, False)
    try:
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                part = os.read(reader, 4096)
                said += part
                if not part:
                    break
            time.sleep(0.005)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        # One that hangs in the kernel, in a home that does not answer, is left behind.
        while not os.waitpid(child, os.WNOHANG)[0] and time.monotonic() < end + 1.0:
            time.sleep(0.001)
    if not said.startswith(b"+"):
        raise OSError(errno.EIO, said[1:].decode("utf-8", "replace") or "the work as its owner did not end")
    return said[1:].decode("utf-8", "replace")


def _in_child(entry: Entry, work: Callable[[], str], writer: int) -> None:
    said = "-"
    try:
        # Locks above all: a user can stop this process for as long as it likes.
        os.closerange(3, writer)
        os.closerange(writer + 1, 4096)
        os.umask(0o077)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            # The guardian is spared when memory runs out; what a user can blow up is not.
            score.write("0")
        if os.geteuid() == 0 and entry["account_uid"] != 0:
            os.setgroups(entry["account_groups"])
            os.setresgid(entry["account_gid"], entry["account_gid"], entry["account_gid"])
            os.setresuid(entry["account_uid"], entry["account_uid"], entry["account_uid"])
        said = "+" + work()
    except (OSError, ValueError) as error:
        said = f"-{getattr(error, 'strerror', None) or error}"
    finally:
        try:
            _write_all(writer, said.encode("utf-8", "replace"))
        finally:
            # Never back into the work of the parent.
            os._exit(0)


def _restore_home(places: Places, state: State, entry: Entry) -> str:
    if not entry.get("wrote") and not entry.get("merge"):
        return ""
    data, problem = b"", ""
    try:
        data = copy_of(places, entry) if entry["kind"] == "file" else b""
    except (OSError, ValueError) as error:
        problem = f"its copy cannot be read: {error}"
    return as_user(entry, lambda: _restore_as_owner(state, entry, (data, problem)))


def _restore_as_owner(state: State, entry: Entry, before: Tuple[bytes, str]) -> str:
    """Put a user's file back where it still is what we made of it; into a later one go only the lines that are gone."""
    directory, name = walk(entry), os.path.basename(entry["path"])
    if directory is None:
        if not os.path.isdir(entry["home"]):
            return _without_home(entry)
        _remove_made(entry)
        return "" if entry["kind"] == "missing" else "left alone: the way to it has changed"
    note = ""
    try:
        now = observe(directory, name, _LARGEST_KEY_FILE)
        if not _same(now, entry):
            if before[1]:
                raise ValueError(before[1])
            note = _put_back_as_owner(state, entry, now, (directory, before[0]))
        if entry.get("wrote"):
            _sweep(directory)
        # Also where it is as it was: whoever put it back may have died before this.
        os.fsync(directory)
    finally:
        os.close(directory)
    _remove_made(entry)
    return note


def _remove_made(entry: Entry) -> None:
    """Remove directories that were made for a file, where nothing else has come to lie in them."""
    for path in entry.get("absent", []) if entry.get("wrote") else []:
        above = walk(dict(entry, path=path))
        if above is not None:
            _remove(above, os.path.basename(path), "dir")
            os.fsync(above)
            os.close(above)


def _without_home(entry: Entry) -> str:
    """After a restart a home may come later than this; that of an account which is gone does not come."""
    try:
        pwd.getpwuid(entry["account_uid"])
    except KeyError:
        return "left alone: the account is gone"
    raise OSError(errno.ENOENT, "the home is not there")


def _put_back_as_owner(state: State, entry: Entry, now: Entry, where: Tuple[int, bytes]) -> str:
    (directory, data), name = where, os.path.basename(entry["path"])
    if entry.get("merge") and entry["kind"] == "file" and now["kind"] not in ("file", "missing"):
        return _replace_as_owner(state, entry, now, where)
    if now["kind"] not in _PUT_BACK_OVER.get(entry["kind"], ()):
        return _left_alone(entry)
    if not _as_written(now, entry):
        present = read_at(directory, name) if now["kind"] == "file" else b""
        if entry["kind"] != "file" or b"PRIVATE KEY" in data + present:
            return _left_alone(entry)
        data = _with_lines(present, data)
    if entry["kind"] == "missing":
        _remove(directory, name, now["kind"])
    elif entry["kind"] == "dir":
        _set_mode(directory, name, entry["mode"])
    else:
        temporary = f".latchkey-{state['id']}-{name}"
        make_file(directory, temporary, entry, data)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    return ""


def _left_alone(entry: Entry) -> str:
    return "" if entry.get("merge") else "left alone: it has changed since"


def _replace_as_owner(state: State, entry: Entry, now: Entry, where: Tuple[int, bytes]) -> str:
    """Put an operator's key file back where something else has come into its place, which is kept beside it."""
    (directory, data), name = where, os.path.basename(entry["path"])
    aside = f".latchkey-kept-{state['id']}-{name}"
    os.rename(name, aside, src_dir_fd=directory, dst_dir_fd=directory)
    temporary = f".latchkey-{state['id']}-{name}"
    make_file(directory, temporary, entry, data)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    what = {"link": f"a link to {now.get('target')}", "dir": "a directory", "large": "a far larger file"}
    return f"{what.get(now['kind'], 'something else')} was in its place: kept beside it as {aside}"


def _as_written(now: Entry, entry: Entry) -> bool:
    wrote = entry.get("wrote", [])
    if now["kind"] == "file":
        return now["links"] == 1 and now["sha256"] in wrote
    return bool(now["kind"] == "dir" and "dir" in wrote)


def _with_lines(present: bytes, before: bytes) -> bytes:
    there = set(present.splitlines())
    gone = [line for line in before.splitlines() if line not in there]
    if not gone:
        return present
    # First: sshd takes the first line that has the key, and a later one may be narrower (sshd(8), AUTHORIZED_KEYS).
    return b"\n".join(gone) + b"\n" + present


def _set_mode(directory: int, name: str, mode: int) -> None:
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW, dir_fd=directory)
    try:
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def walk(entry: Entry) -> Optional[int]:
    """Open the directory of a user's file from its home down, no link followed; None where the way has changed."""
    flags = os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW
    inside = os.path.relpath(os.path.dirname(entry["path"]), entry["home"])
    handle = -1
    try:
        handle = os.open(entry["home"], flags)
        for part in [part for part in inside.split(os.sep) if part != "."]:
            below = os.open(part, flags, dir_fd=handle)
            os.close(handle)
            handle = below
    except OSError as error:
        if handle >= 0:
            os.close(handle)
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT):
            return None
        raise
    return handle


# --- services -------------------------------------------------------------------------------------------------------


def follow(at: Site, units: Sequence[Dict[str, Any]]) -> _Found:
    """Have the services read what was put back, start those that are gone, and see that they answer."""
    found = _Found([], [])
    for unit in units:
        problem = _check(at, unit)
        if not problem or at.machine.run(["systemctl", "is-active", unit["name"]]).status != 0:
            problem = _bring_up(at, unit)
        if problem:
            found.problems.append(f"{unit['name']}: {problem}")
        elif not _as_before(unit, started_with(at, unit["name"])):
            found.notes.append(f"{unit['name']}: it runs with other arguments than before: its unit has others now")
    return found


def _check(at: Site, unit: Dict[str, Any]) -> str:
    if not unit["check"]:
        return ""
    done = at.machine.run(unit["check"])
    return "" if done.status == 0 else f"it would not start: {done.said}"


def _bring_up(at: Site, unit: Dict[str, Any]) -> str:
    name = unit["name"]
    # A reload lets it keep the arguments it has.
    if _as_before(unit, started_with(at, name)) and _is_active(at, name):
        # Also where nothing was written: the rehearsal touched directories that a listener is held against.
        done = at.machine.run(["systemctl", "reload", name], _MANAGER_SECONDS)
        if done.status == _NO_ANSWER and _hang_up(unit):
            done = Program(0, "")
    else:
        at.machine.run(["systemctl", "reset-failed", name])
        # A start would wait for RestartSec (sshd's is 42 s) where systemd is about to restart it by itself.
        done = at.machine.run(["systemctl", "restart", name])
    # What answers before the signal has arrived is still the old listener.
    at.machine.pause(_SETTLING)
    if done.status == 0 and _answers(at, unit, 5.0):
        return ""
    # A unit that was started too often is stopped by a restart, and not started again (systemd.unit(5)).
    at.machine.run(["systemctl", "reset-failed", name])
    done = at.machine.run(["systemctl", "restart", name], 60.0)
    if _answers(at, unit, 10.0):
        return ""
    return done.said or "it does not answer"


def _as_before(unit: Dict[str, Any], now: str) -> bool:
    return not now or not unit["arguments"] or now == unit["arguments"]


def started_with(at: Site, name: str) -> str:
    """Return the arguments a service runs with; '' where they cannot be told.

    sshd calls itself ``sshd: ARGUMENTS [listener] 0 of 10-100 startups`` since 8.4 (setproctitle, sshd.c).
    """
    said = at.machine.run(["systemctl", "show", "-p", "MainPID", name], _MANAGER_SECONDS).said
    line = at.machine.command_line(said.partition("=")[2])
    if line.startswith("sshd: ") and " [listener]" not in line:
        return ""
    return line[len("sshd: ") :].partition(" [listener]")[0] if line.startswith("sshd: ") else line


def _is_active(at: Site, name: str) -> bool:
    """Ask systemd; while it reads its units anew it does not answer, and then the service counts as running."""
    return at.machine.run(["systemctl", "is-active", name], _MANAGER_SECONDS).status in (0, _NO_ANSWER)


def _hang_up(unit: Dict[str, Any]) -> bool:
    """Tell the service by itself to read its configuration, where systemd does not answer."""
    pid = int(unit.get("pid") or 0)
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            if os.path.basename(unit["check"][0]).encode() not in handle.read():
                return False
        os.kill(pid, signal.SIGHUP)
    except (OSError, IndexError):
        return False
    return True


def _answers(at: Site, unit: Dict[str, Any], seconds: float) -> bool:
    end = at.machine.now() + seconds
    while True:
        if _is_active(at, unit["name"]):
            if not unit["listeners"] or any(at.machine.greets(*listener) for listener in unit["listeners"]):
                return True
        if at.machine.now() > end:
            return False
        at.machine.pause(0.2)


# --- rehearsal ------------------------------------------------------------------------------------------------------


def rehearse(at: Site, state: State) -> List[str]:
    """Do everything a revert does short of changing anything: the copies, the directories, the services."""
    problems = []
    for entry in state["entries"]:
        try:
            if entry.get("account"):
                as_user(entry, lambda entry=entry: _rehearse_home(state, entry))  # type: ignore[misc]
            else:
                _rehearse_root(at.places, state, entry)
        except (OSError, ValueError) as error:
            problems.append(f"{entry['path']}: {getattr(error, 'strerror', None) or error}")
    for unit in state["units"]:
        problem = _check(at, unit)
        if not problem and at.machine.run(["systemctl", "is-active", unit["name"]]).status != 0:
            problem = "it is not running"
        if problem:
            problems.append(f"{unit['name']}: {problem}")
    return problems


def _rehearse_root(places: Places, state: State, entry: Entry) -> None:
    if entry["kind"] == "file":
        copy_of(places, entry)
    parent = os.path.dirname(entry["path"])
    while entry["kind"] == "missing" and not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        probe = dict(entry if entry["kind"] == "file" else observe(directory, "."), kind="file")
        _probe(directory, state, probe)
    finally:
        os.close(directory)


def _rehearse_home(state: State, entry: Entry) -> str:
    directory = walk(entry)
    if directory is not None:
        try:
            _probe_home(directory, state)
        finally:
            os.close(directory)
    return ""


def _probe_home(directory: int, state: State) -> None:
    """Write without a name, so that nothing stays in a home where the power goes; not every file system can."""
    try:
        handle = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=directory)
    except OSError:
        _probe(directory, state, dict(observe(directory, "."), xattrs={}))
        return
    try:
        _write_all(handle, b"rehearsal\n")
        os.fsync(handle)
    finally:
        os.close(handle)


def _probe(directory: int, state: State, like: Entry) -> None:
    name = f".latchkey-{state['id']}-rehearsal"
    make_file(directory, name, dict(like, mode=0o600), b"rehearsal\n")
    os.unlink(name, dir_fd=directory)


def rehearsal_path(places: Places) -> str:
    """Return the file in which the guardian tells that it runs and could revert."""
    return os.path.join(places.run, "rehearsed")


def _report_rehearsal(at: Site, state: State) -> None:
    report: Dict[str, Any] = {"id": state["id"], "pid": os.getpid(), "context": _context()}
    replace(rehearsal_path(at.places), json.dumps(report).encode(), 0o600)
    report["problems"] = rehearse(at, state)
    replace(rehearsal_path(at.places), json.dumps(report).encode(), 0o600)


def _context() -> str:
    try:
        with open("/proc/self/attr/current", "rb") as handle:
            return handle.read().rstrip(b"\0\n").decode("utf-8", "replace")
    except OSError:
        return ""


# --- the end --------------------------------------------------------------------------------------------------------


def finish(at: Site) -> bool:
    """Leave nothing running, enabled or lying about once a transaction is over; True when that is done."""
    with locked(at, "revert", patience=_FINISH_PATIENCE):
        state = load(at.places)
        if state is not None and state["state"] not in OVER:
            return False
        if state is not None:
            # Whoever wrote that it is over may have died before this; what the way back needs goes after it only.
            sync_directory(at.places.base)
            _leave_directories(state)
            if not state.get("filed"):
                for argv in state["afterwards"]:
                    at.machine.run(argv)
                _file_away(at.places, state)
        if os.path.lexists(_REHEARSAL):
            at.machine.run(["systemctl", "stop", os.path.basename(_REHEARSAL)])
        for name in ("armed", "reverting", "rehearsed"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(at.places.run, name))
        # Last: until then the guardian is there to do the rest.
        _remove_units(at)
    return True


def abandon(at: Site, state: State) -> None:
    """Take away what was prepared for a transaction that never began."""
    _leave_directories(state)
    shutil.rmtree(at.places.copies, ignore_errors=True)
    for path in (at.places.reserve, at.places.marker):
        with contextlib.suppress(OSError):
            os.unlink(path)
    with contextlib.suppress(OSError):
        _remove_units(at)
    for argv in state["afterwards"]:
        at.machine.run(argv)


def _leave_directories(state: State) -> None:
    """Remove the copies that lay ready, with the directory that held them, and what a killed writer left.

    A directory that was not there goes only now: what such a writer left in it kept it from going before.
    """
    folders = set()
    for entry in state["entries"]:
        if not entry.get("account"):
            folders.add(os.path.dirname(entry["path"]))
        if entry.get("ready"):
            folder = os.path.dirname(entry["ready"])
            folders.add(os.path.dirname(folder) if _TEMPORARY.match(os.path.basename(folder)) else folder)
    absent = [entry["path"] for entry in state["entries"] if entry["kind"] == "missing" and not entry.get("account")]
    # The deepest first, and in the same order every time.
    for folder in sorted(folders, reverse=True):
        _tidy(folder)
        if folder in absent and state["state"] == REVERTED:
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def _tidy(folder: str) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _sweep(handle)
            os.fsync(handle)
        finally:
            os.close(handle)


def _sweep(directory: int) -> None:
    """Remove what is left of writers that are gone, and of transactions that are over: there is none but this one."""
    for name in os.listdir(directory):
        writer = _TEMPORARY.match(name)
        if not writer or writer.group(1) and os.path.exists(f"/proc/{writer.group(1)}"):
            continue
        if observe(directory, name)["kind"] == "dir":
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW, dir_fd=directory)
            for inner in os.listdir(handle):
                os.unlink(inner, dir_fd=handle)
            os.close(handle)
            os.rmdir(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)


def _file_away(places: Places, state: State) -> None:
    """Keep the record, and of what was committed the copies of root's files; those of users are forgotten."""
    target = os.path.join(places.history, state["id"])
    for directory in [places.history] + ([target] if state["state"] == COMMITTED else []):
        os.makedirs(directory, 0o700, exist_ok=True)
    for entry in state["entries"]:
        forgotten = any(entry.get(name) for name in ("account", "forget", "untouched"))
        if state["state"] == COMMITTED and entry.get("copy") and not forgotten:
            with contextlib.suppress(FileNotFoundError):
                os.rename(os.path.join(places.copies, entry["copy"]), os.path.join(target, entry["copy"]))
    shutil.rmtree(places.copies, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(places.reserve)
    state["filed"] = True
    data = json.dumps(state, indent=1, sort_keys=True).encode()
    replace(os.path.join(places.history, f"{state['id']}.json"), data, 0o600)
    replace(places.state, data, 0o600)
    ids = sorted(name[: -len(".json")] for name in os.listdir(places.history) if name.endswith(".json"))
    for old in ids[:-_KEPT_TRANSACTIONS]:
        os.unlink(os.path.join(places.history, f"{old}.json"))
        shutil.rmtree(os.path.join(places.history, old), ignore_errors=True)


def unit_files(places: Places) -> List[str]:
    """Return the unit files and the links that enable them, in the order in which they are taken away."""
    links = (("sysinit.target.wants", BOOT_UNIT), ("multi-user.target.wants", GUARD_UNIT), ("", BOOT_UNIT))
    return [os.path.join(places.units, *parts) for parts in links + (("", GUARD_UNIT),)]


def _remove_units(at: Site) -> None:
    # Whoever was killed while it put these in place left its temporary file beside them.
    for folder in (at.places.units, os.path.dirname(at.places.command), at.places.base):
        _tidy(folder)
    there = [path for path in unit_files(at.places) if os.path.lexists(path)]
    for path in unit_files(at.places):
        with contextlib.suppress(FileNotFoundError):
            if path in there:
                os.unlink(path)
            # Also where it is gone: whoever removed it may have died before this.
            sync_directory(os.path.dirname(path))
    for directory in sorted({os.path.dirname(path) for path in there} - {at.places.units}):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    alone = os.environ.get("LATCHKEY_UNIT") == GUARD_UNIT
    if there or alone:
        # Also where somebody else removed them and died: else systemd would start this again and again.
        at.machine.run(["systemctl", "daemon-reload"])
        at.machine.run(["systemctl", "reset-failed", BOOT_UNIT])
    if not alone:
        at.machine.run(["systemctl", "stop", GUARD_UNIT])
        at.machine.run(["systemctl", "reset-failed", GUARD_UNIT])


# --- what systemd starts --------------------------------------------------------------------------------------------


def watch(at: Site) -> int:
    """Guard the transaction until it is over."""
    state = load(at.places)
    if state is not None and state["state"] == PREPARED and not rebooted(at.places, state):
        _report_rehearsal(at, state)
    pause, owed = 0.2, 0.0
    while True:
        state = load(at.places)
        step = _step(at, state)
        if step == FINISH:
            finish(at)
            # With its unit file gone nothing starts this again.
            return 0
        if step == COMMIT:
            commit(at)
        elif step == REVERT:
            if not revert(at, _why(at, state), homes=True, due=True):
                at.machine.pause(pause)
                pause = min(pause * 2, 5.0)
        elif state is not None:
            left = state["deadline"] - at.machine.now()
            if left > _WARN_BEFORE:
                # Each deadline that is far enough away is warned of once.
                owed = state["deadline"]
            elif owed == state["deadline"] and state["state"] in OPEN:
                owed = 0.0
                at.machine.tell(f"not confirmed yet; in {left:.0f} s this host goes back ({_title(state)})")
            at.machine.pause(max(0.01, min(0.25, left)))


def boot(at: Site) -> int:
    """Before network and sshd: after a reboot inside the window put root's files back; homes wait for the guardian."""
    state = load(at.places)
    step = _step(at, state)
    if step == FINISH:
        finish(at)
    elif step == REVERT and rebooted(at.places, state) and not (state or {}).get("restored"):
        if revert(at, "the host was restarted before anybody confirmed", homes=False):
            finish(at)
    return 0


def _why(at: Site, state: Optional[State]) -> str:
    if state is None or rebooted(at.places, state):
        return "the host was restarted before anybody confirmed"
    return str(state["reason"] or "nobody confirmed in time")


def _title(state: State) -> str:
    return f"transaction {state['id']}, begun by {state['by']}"


def _wall_clock() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# --- the command of the host ----------------------------------------------------------------------------------------


def status(at: Site) -> Dict[str, Any]:
    """Return what is known of the transaction, without secrets."""
    state = load(at.places)
    if state is None:
        return {"state": "NONE"}
    shown = {name: state[name] for name in ("id", "state", "by", "began", "timeout", "confirmed", "reason")}
    shown.update(operators=sorted(state["operators"]), problems=state["problems"], notes=state["notes"])
    shown["paths"] = [entry["path"] for entry in state["entries"] if not entry.get("untouched")]
    if state["state"] in OPEN + (PREPARED,):
        shown["seconds_left"] = round(max(0.0, state["deadline"] - at.machine.now()), 1)
    return shown


_USAGE = """usage: latchkey COMMAND      (as root)
  status         what is under way, and until when
  confirm        keep the changes (from a console, or from a login made after them)
  revert         go back to what was before, now
  hold SECONDS   move the deadline away
  list           past transactions
"""


def _show_status(at: Site, words: Sequence[str]) -> int:
    shown = status(at)
    if "--json" in words:
        write_line(json.dumps(shown))
        return 0
    if shown["state"] == "NONE":
        write_line("no transaction on this host")
        return 0
    write_line(f"{shown['state']}  {shown['id']}, begun {shown['began']} by {shown['by']}")
    if "seconds_left" in shown:
        waiting = sorted(set(shown["operators"]) - set(shown["confirmed"]))
        write_line(f"goes back in {shown['seconds_left']:.0f} s unless confirmed by: {', '.join(waiting)}")
    for path in shown["paths"]:
        write_line(f"  {path}")
    for line in [shown["reason"]] + shown["problems"] + shown["notes"]:
        if line:
            write_line(f"  {line}")
    return 0


def _current(at: Site) -> str:
    state = load(at.places)
    if state is None or state["state"] in OVER:
        raise ValueError("there is no transaction on this host")
    return str(state["id"])


def _say(answer: Dict[str, Any], good: Sequence[str], words: Sequence[str]) -> int:
    if "--json" in words:
        write_line(json.dumps(answer))
    else:
        rest = [answer.get("reason"), ", ".join(answer.get("operators", [])), "; ".join(answer.get("problems", []))]
        if "seconds_left" in answer:
            rest.append(f"goes back in {answer['seconds_left']:.0f} s")
        write_line("  ".join([answer["answer"]] + [str(one) for one in rest if one]))
    return 0 if answer["answer"] in good else 1


def _confirm(at: Site, words: Sequence[str]) -> int:
    named = [word for word in words if not word.startswith("--")]
    nonce = sys.stdin.readline().strip() if "--nonce" in words else None
    return _say(confirm(at, named[0] if named else _current(at), nonce, session()), ("COMMITTED", "WAITING_FOR"), words)


def _revert(at: Site, words: Sequence[str]) -> int:
    named = [word for word in words if not word.startswith("--")]
    return _say(cancel(at, named[0] if named else _current(at), "reverted by hand"), ("REVERTED",), words)


def _hold(at: Site, words: Sequence[str]) -> int:
    if not words or not words[0].isdigit():
        sys.stderr.write(_USAGE)
        return 2
    return _say(extend(at, _current(at), float(words[0])), ("EXTENDED",), words)


def history(places: Places) -> List[State]:
    """Return the transactions that are over, the oldest first."""
    found = []
    names = sorted(os.listdir(places.history)) if os.path.isdir(places.history) else []
    for name in [name for name in names if name.endswith(".json")]:
        with open(os.path.join(places.history, name), encoding="utf-8") as handle:
            found.append(dict(json.load(handle)))
    return found


def _list(at: Site, words: Sequence[str]) -> int:
    for state in history(at.places):
        write_line(f"{state['began']}  {state['id']}  {state['state']:9}  by {state['by']}  {state['reason']}")
    return 0


def main(words: Sequence[str], at: Optional[Site] = None) -> int:
    """Do what the unit or the person at the console asks for."""
    at = at or Site()
    commands: Dict[str, Callable[..., int]] = collections.OrderedDict(
        status=_show_status, confirm=_confirm, revert=_revert, hold=_hold, list=_list
    )
    if words[:1] == ["watch"] or words[:1] == ["boot"]:
        return watch(at) if words[0] == "watch" else boot(at)
    if not words or words[0] not in commands:
        sys.stderr.write(_USAGE)
        return 2
    if os.geteuid() != 0:
        write_line("latchkey: only root may ask: sudo /usr/local/sbin/latchkey", sys.stderr)
        return 2
    try:
        return commands[words[0]](at, list(words[1:]))
    except (OSError, ValueError) as error:
        write_line(f"latchkey: {error}", sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
