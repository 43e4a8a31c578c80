# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host in a directory: real files, and a clock, a service manager and people that are not there.

The guard of the product runs on it unchanged, in this process. What it does to files goes through ``Steps``, which can
end an actor at any of them; what systemd would do is done here. Python 3.6 and newer, root only.
"""

import contextlib
import json
import os
import shutil
import stat
import tempfile
import types

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import arm, fence, guardian, snapshot, units
from ansible_collections.latchkey.ssh.plugins.module_utils._host import accounts, files, home_files, users
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import version
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.sshd_tree import Tree

TIMEOUT = 300
SSHD = "sshd.service"
GUARD, BOOT = guardian.GUARD_UNIT, guardian.BOOT_UNIT
# What a write of the product does to the host before anything else may happen, and what tests count as one step.
CHANGING = "rename unlink fsync mkdir rmdir symlink link fchmod fchown ftruncate setxattr removexattr write".split()

MAIN, DROP_IN, OURS = "etc/ssh/sshd_config", "etc/ssh/sshd_config.d/50-dist.conf", "etc/ssh/sshd_config.d/00-ours.conf"
KEYS, NO_KEYS = "home/alice/.ssh/authorized_keys", "home/bob/.ssh/authorized_keys"
BEFORE = {
    MAIN: (0o600, b"Include sshd_config.d/*.conf\n# of the distribution\n"),
    DROP_IN: (0o644, b"PasswordAuthentication yes\n"),
    KEYS: (0o640, b"ssh-ed25519 AAAA old\n"),
}
# What the changes of the transaction are, in their order; None is for a file that was not there.
WRITES = (
    (OURS, 0o600, b"PasswordAuthentication no\n"),
    (MAIN, 0o600, b"# ours\nInclude sshd_config.d/*.conf\n# of the distribution\n"),
    (KEYS, 0o600, b"ssh-ed25519 BBBB new\n"),
    (NO_KEYS, 0o600, b"ssh-ed25519 CCCC bob\n"),
)
ALICE, BOB = 1001, 1002
_FOREVER = 20000


class Crash(BaseException):
    """The actor was killed."""


class Endless(AssertionError):
    """The actor never ends, and never waits either."""


class Turn(BaseException):
    """The actor would wait now: others may go on."""


class Steps:
    """Every change that the product makes to files and services, one after the other.

    ``at`` is the number of the step before which the actor dies, ``seen`` counts; ``note`` is called with each.
    """

    def __init__(self):
        self.seen, self.at, self.note, self.looked = 0, None, None, 0
        self.real = {name: getattr(os, name) for name in [*CHANGING, "open"]}
        self._over = False

    def take(self, what, *more):
        """Count one step, and die where it is the one."""
        if self._over:
            raise Crash()
        self.seen += 1
        if self.at is not None and self.seen >= self.at:
            self._over = True
            raise Crash()
        if self.note is not None:
            self.note(what, *more)

    def begin(self, at=None):
        """Count anew, for another actor."""
        self.seen, self.at, self.looked, self._over = 0, at, 0, False

    @contextlib.contextmanager
    def installed(self):
        """Have the calls of ``os`` counted."""
        for name in CHANGING:
            setattr(os, name, self._wrapped(name))
        os.open = self._open
        try:
            yield self
        finally:
            for name, real in self.real.items():
                setattr(os, name, real)

    def _wrapped(self, name):
        real = self.real[name]

        def call(*arguments, **more):
            if name == "write":
                return self._write(*arguments)
            self.take(name, arguments, more)
            # Nothing is lost here that was not synced: what a power cut does is played in replay.py.
            return None if name == "fsync" else real(*arguments, **more)

        return call

    def _write(self, handle, data):
        try:
            self.take("write", (handle, data), {})
        except Crash:
            self.real["write"](handle, bytes(data)[: len(data) // 2])
            raise
        return self.real["write"](handle, data)

    def _open(self, path, flags, *rest, **more):
        if flags & (os.O_CREAT | os.O_TRUNC):
            self.take("open", (path, flags) + rest, more)
        return self.real["open"](path, flags, *rest, **more)


class Machine:
    """The clock, systemd and the people of a host; stands in place of ``guardian.Machine``."""

    def __init__(self, host):
        self.host = host
        self.clock, self.told, self.guards = 1000.0, 0, False
        # What the running sshd has read, and whether it runs.
        self.read, self.runs = host.configuration(), True
        self.stopped = lambda: None

    def now(self):
        self.host.steps.looked += 1
        if self.host.steps.looked > _FOREVER:
            raise Endless("somebody looks at the clock for ever")
        return self.clock

    def pause(self, seconds):
        self.host.wait(seconds)

    def greets(self, address, port):
        return self.runs

    def tell(self, text):
        self.told += 1

    def command_line(self, process):
        return ""

    def run(self, argv, seconds=30.0):
        if argv[1] == "show":
            return guardian.Program(0, "")
        self.host.steps.take("run", tuple(argv), {})
        status = 0
        if argv[0] == "systemctl":
            status = getattr(self, "_" + argv[1].replace("-", "_"))(*argv[2:])
        return guardian.Program(status, "")

    def _daemon_reload(self):
        return 0

    def _reset_failed(self, unit):
        return 0

    def _is_active(self, unit):
        return 0 if {SSHD: self.runs, GUARD: self.guards}[unit] else 3

    def _reload(self, unit):
        self.read = self.host.configuration()
        return 0

    def _restart(self, unit):
        return self._start(unit)

    def _start(self, unit):
        if unit == SSHD:
            self.read, self.runs = self.host.configuration(), True
            return 0
        if not os.path.exists(os.path.join(self.host.places.units, unit)):
            return 5
        if unit == BOOT:
            return self.host.boot_unit()
        self.guards = True
        self.host.guardian()
        return 0

    def _stop(self, unit):
        self.guards = False
        self.stopped()
        return 0


class Host:
    """A host in the directory ``root``, with its configuration as it was before."""

    def __init__(self, root):
        self.root, self.steps = root, Steps()
        self.places = guardian.Places(*[self.path(one) for one in ("var/latchkey", "run/latchkey", "units", "sbin/x")])
        for folder in ("etc/ssh/sshd_config.d", "home/alice/.ssh", "home/bob", "var", "run", "units"):
            os.makedirs(self.path(folder))
        for name, (mode, data) in BEFORE.items():
            self._put(name, mode, data)
        for one in ("home/alice", "home/alice/.ssh", "home/bob"):
            os.chmod(self.path(one), 0o700)
        self.machine = Machine(self)
        self.at = guardian.Site(self.places, self.machine)
        self.waits, self.killer = self._turn, self._nobody

    def path(self, name):
        """Return a path of the host as this machine has it."""
        return os.path.join(self.root, name)

    def _put(self, name, mode, data):
        with open(self.path(name), "wb") as stream:
            stream.write(data)
        os.chmod(self.path(name), mode)

    def configuration(self):
        """Return what sshd reads."""
        return tuple(sorted(self.guarded(("etc",)).items()))

    def guarded(self, tops=("etc", "home")):
        """Return the files that the transaction is about: path -> mode and content; also names nobody asked for."""
        found = {}
        for top in tops:
            for path, (mode, data) in _tree(self.root, top).items():
                if "/.latchkey-" not in path:
                    found[path] = (mode, data)
        return found

    # --- who acts ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _turn(seconds):
        raise Turn()

    def wait(self, seconds):
        """Let time pass for the actor whose turn it is."""
        if seconds == guardian._SETTLING:
            self.machine.clock += seconds
        else:
            self.waits(seconds)

    @staticmethod
    def _nobody(path):
        raise AssertionError(path + " is held by nobody where one acts alone")

    def account(self, name):
        """Return an account; both belong to root here, so that nobody has to become somebody else."""
        return accounts.Account(name, 0, 0, self.path("home/" + name), "/bin/sh")

    def engine(self):
        """Return what the engine needs of its own ``Host``."""
        unit = types.SimpleNamespace(name=SSHD, pid=0)
        sshd = types.SimpleNamespace(unit=unit, binary="/usr/sbin/sshd", main=self.path(MAIN), options=())
        files = {self.path(MAIN): b"", self.path(DROP_IN): b""}
        tree = Tree(self.path(MAIN), files, version.EL9, os.path.dirname(self.path(MAIN)))
        uids = {"alice": ALICE, "bob": BOB}
        return types.SimpleNamespace(
            sshd=sshd,
            tree=tree,
            present=types.SimpleNamespace(ask=lambda connection: {}),
            account=lambda name: self.account(name)._replace(uid=uids[name]),
        )

    def arm(self, operators=("alice", "bob")):
        """Arm a transaction over all that ``WRITES`` writes; returns it."""
        touches = [snapshot.Touch(self.path(OURS)), snapshot.Touch(self.path(MAIN))]
        for name in ("alice", "bob"):
            path = self.path("home/" + name + "/.ssh/authorized_keys")
            touches.append(snapshot.Touch(path, self.account(name), merge=True, forget=True))
        return arm.arm(self.engine(), arm.Wish(TIMEOUT, tuple(operators), tuple(touches), "a test"), self.at)

    def write(self, identifier, number):
        """Make one of the writes inside the transaction, as a facet does; returns what refused it."""
        name, mode, data = WRITES[number]
        account = self.account(name.split("/")[1]) if name.startswith("home") else None
        try:
            with fence.Fence(identifier, self.at).writing(self.path(name), data, account):
                if account is None:
                    files.replace(self.path(name), data, mode)
                else:
                    home_files.replace(account, self.path(name), data, mode)
        except LatchkeyError as error:
            return error
        return None

    def reload(self, identifier):
        """Reload sshd inside the transaction; returns what refused it."""
        try:
            with fence.Fence(identifier, self.at).reloading(SSHD):
                self.machine.run(["systemctl", "reload", SSHD])
        except LatchkeyError as error:
            return error
        return None

    def guardian(self):
        """Let the guardian go on until it waits; a guardian that ends with its unit file there is started again."""
        if self.machine.guards:
            with _as_unit(GUARD):
                try:
                    guardian.watch(self.at)
                    self.machine.guards = os.path.exists(os.path.join(self.places.units, GUARD))
                except Turn:
                    pass

    def boot_unit(self):
        """Run the unit of early boot."""
        with _as_unit(BOOT):
            return guardian.boot(self.at)

    def restart(self):
        """Restart the host up to the point where sshd has read its configuration; the guardian has not run yet."""
        for name in os.listdir(self.path("run")):
            _remove(self.path(os.path.join("run", name)))
        self.machine.clock, self.machine.guards, self.machine.runs = 20.0, False, False
        if os.path.exists(guardian.unit_files(self.places)[0]):
            self.boot_unit()
        self.end_of_boot()

    def end_of_boot(self):
        """Start what a boot starts after its early unit, whatever became of that."""
        self.machine.read, self.machine.runs = self.configuration(), True
        self.machine.guards = os.path.exists(guardian.unit_files(self.places)[1])

    def past_deadline(self):
        """Let the clock pass every deadline there can be."""
        self.machine.clock += arm.LONGEST + 60

    # --- what is left -----------------------------------------------------------------------------------------------

    def state(self):
        """Return the transaction."""
        return guardian.load(self.places)

    def remains(self):
        """Return what of a transaction lies about."""
        places = self.places
        runs = [os.path.join(places.run, name) for name in ("armed", "reverting", "rehearsed")]
        ours = guardian.unit_files(places) + runs + [places.copies, places.reserve, places.state + ".new"]
        there = _tree(self.root)
        found = [path for path in (one[len(self.root) + 1 :] for one in ours) if path in there]
        found += [path for path in there if os.path.basename(path).startswith(".latchkey-")]
        return found + (["the guardian"] if self.machine.guards else [])

    # --- keep and restore -------------------------------------------------------------------------------------------

    def keep(self):
        """Return everything that a host is, to come back to it."""
        machine = self.machine
        return _tree(self.root), (machine.clock, machine.guards, machine.read, machine.runs)

    def back_to(self, kept):
        """Be what was kept."""
        wanted, machine = kept
        now = _tree(self.root)
        for path in sorted(set(now) - set(wanted), reverse=True):
            _remove(os.path.join(self.root, path))
        for path in sorted(wanted):
            if now.get(path) != wanted[path]:
                _make(os.path.join(self.root, path), wanted[path], now.get(path))
        self.machine.clock, self.machine.guards, self.machine.read, self.machine.runs = machine


@contextlib.contextmanager
def _as_unit(name):
    before = os.environ.get("LATCHKEY_UNIT")
    os.environ["LATCHKEY_UNIT"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["LATCHKEY_UNIT"]
        else:
            os.environ["LATCHKEY_UNIT"] = before


@contextlib.contextmanager
def alone(host):
    """Have the product act on ``host`` in this very process: nobody becomes another user, nothing looks elsewhere."""
    patches = [
        (users, "run_as", lambda account, work: work()),
        (guardian, "as_user", lambda entry, work, seconds=5.0: work()),
        (snapshot, "_top", lambda folder: host.path("etc") if folder.startswith(host.path("etc")) else "/proc"),
        (snapshot, "_account_fields", _fields),
        (units, "trust", lambda places: []),
        (units, "python", lambda: "/usr/bin/python3"),
        # As small as they can be: every host of a history is compared with every other.
        (units, "pkgutil", types.SimpleNamespace(get_data=lambda package, name: b"# the guardian\n")),
        (arm, "_RESERVE", 8),
        # For people it is indented, which takes Python ten times as long.
        (guardian, "json", types.SimpleNamespace(dumps=_dumps, loads=json.loads, load=json.load)),
        (files, "unsafe", lambda path: ""),
        # One that is never alive: an actor that was killed here is no process that ended.
        (os, "getpid", lambda: 4999999),
        # A race puts another killer in its place later on.
        (guardian, "_kill_holders", lambda path, working: host.killer(path)),
    ]
    kept = [(module, name, getattr(module, name)) for module, name, _new in patches]
    for module, name, new in patches:
        setattr(module, name, new)
    try:
        with host.steps.installed():
            yield host
    finally:
        for module, name, old in kept:
            setattr(module, name, old)


@contextlib.contextmanager
def one_host():
    """Give a host in a directory that needs no disk, with the product acting on it."""
    root = tempfile.mkdtemp(prefix="latchkey-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        with alone(Host(os.path.realpath(root))) as host:
            yield host
    finally:
        shutil.rmtree(root)


def _dumps(value, **_unused):
    return json.dumps(value, sort_keys=True)


def _fields(account):
    return dict(account=account.name, account_uid=0, account_gid=0, account_groups=[0], home=account.home)


def _tree(root, inside=""):
    found = {}
    for one in os.scandir(root + "/" + inside):
        path, mode = (inside + "/" if inside else "") + one.name, one.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            found[path] = (mode, None)
            found.update(_tree(root, path))
        elif stat.S_ISLNK(mode):
            found[path] = (mode, os.readlink(one.path))
        else:
            with open(one.path, "rb", buffering=0) as stream:
                found[path] = (mode, stream.read())
    return found


def _make(path, what, now):
    mode, data = what
    if now is not None and stat.S_IFMT(now[0]) != stat.S_IFMT(mode):
        _remove(path)
        now = None
    if stat.S_ISDIR(mode):
        if now is None:
            os.mkdir(path)
    elif stat.S_ISLNK(mode):
        if now is not None:
            os.unlink(path)
        os.symlink(data, path)
        return
    else:
        with open(path, "wb") as stream:
            stream.write(data)
    os.chmod(path, stat.S_IMODE(mode))


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        for name in os.listdir(path):
            _remove(os.path.join(path, name))
        os.rmdir(path)
    else:
        os.unlink(path)
