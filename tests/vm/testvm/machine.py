# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One virtual machine: its files, its qemu, and when it is ready."""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from testhosts.common import ToolError, locked, run

from . import image, talk
from .common import BUILD, CACHE

Say = Callable[[str], None]
MEMORY = "1024"
READY_SECONDS = 1800  # a boot is 75 s on two cores of its own, and ten times that on a machine that is busy
DISKS = ("root", "var")
BOOTED = "booted"
CMDLINE = (
    "root=/dev/vda rw console=ttyS0 security=selinux selinux=1 enforcing=1 audit=1 audit_backlog_limit=8192 "
    "net.ifnames=0 loglevel=4 systemd.show_status=1"
)


class Machine:
    """A machine by name; everything about it is in build/vm/NAME."""

    def __init__(self, name: str, directory: Path | None = None) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ToolError(f"{name!r} is no name for a machine: small letters, digits, hyphens")
        self.name = name
        self.directory = directory or BUILD / name

    # ---- what is there ----------------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Return whether it has disks."""
        return (self.directory / "root.qcow2").exists()

    @property
    def pid(self) -> int:
        """Return the process id of its qemu, 0 when it is off."""
        try:
            pid = int((self.directory / "pid").read_text(encoding="ascii"))
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return 0
        return pid if str(self.directory / "pid").encode() in words.split(b"\0") else 0

    @property
    def port(self) -> int:
        """Return the port on 127.0.0.1 that leads to its port 22."""
        return int((self.directory / "port").read_text(encoding="ascii"))

    def need(self, *, on: bool) -> None:
        """Refuse to go on with a machine that is not there, or not on (or off)."""
        if not self.exists:
            raise ToolError(f"no machine {self.name}: tests/vm/vm up {self.name}")
        if bool(self.pid) != on:
            raise ToolError(f"{self.name} is {'off: tests/vm/vm start' if on else 'on: tests/vm/vm kill'} {self.name}")

    # ---- making and removing -----------------------------------------------------------------------------------------

    def create(self, base: Path) -> None:
        """Make it new on copy-on-write disks over an image, switched off."""
        self.remove()
        self.directory.mkdir(parents=True)
        for disk in DISKS:
            over = ["-b", str(base / f"{disk}.img"), "-F", "raw", str(self.directory / f"{disk}.qcow2")]
            run(["qemu-img", "create", "-q", "-f", "qcow2", *over])
        self._note(base)

    def copy(self, golden: Path, base: Path) -> None:
        """Make it new as a copy of a machine that was saved when it had booted."""
        self.remove()
        self.directory.mkdir(parents=True)
        for disk in DISKS:
            run(["cp", "--sparse=always", "--reflink=auto", str(golden / f"{disk}.qcow2"), str(self.directory)])
        self._note(base)

    def _note(self, base: Path) -> None:
        (self.directory / "image").write_text(str(base), encoding="ascii")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            (self.directory / "port").write_text(str(free.getsockname()[1]), encoding="ascii")

    def remove(self) -> None:
        """Switch it off and remove it, but for what it and its qemu said: build/vm/logs."""
        self.kill()
        logs = BUILD / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for name in ("console", "qemu.log"):
            with contextlib.suppress(FileNotFoundError):
                (self.directory / name).replace(logs / f"{self.name}-{name}")
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---- power -------------------------------------------------------------------------------------------------------

    def power_on(self, saved: str = "") -> None:
        """Start its qemu, with a saved state if one is named."""
        base = Path((self.directory / "image").read_text(encoding="ascii"))
        argv = self._argv(base) + (["-loadvm", saved] if saved else [])
        log = self.directory / "qemu.log"
        with open(log, "ab") as words:
            qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=words, stderr=words, start_new_session=True)
        # A saved state is in place when qemu answers.
        while not (self.directory / "pid").exists() or not self._answers():
            if qemu.poll() is not None:
                raise ToolError(f"qemu has not started: {log.read_text(errors='replace')[-1000:]}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            return bool(talk.qmp(self.directory / "qmp", "query-status")["running"])
        except talk.Silent:
            return False

    def _argv(self, base: Path) -> list[str]:
        """Return qemu's command line. cache=writeback: what the guest has flushed survives a kill of qemu."""
        own = self.directory
        argv = ["qemu-system-x86_64", "-name", f"latchkey-{self.name}", "-machine", "q35", "-cpu", "max"]
        argv += ["-accel", "tcg,thread=multi", "-m", MEMORY, "-smp", "2", "-display", "none", "-nodefaults"]
        argv += ["-kernel", str(base / "vmlinuz"), "-initrd", str(base / "initrd.img"), "-append", CMDLINE]
        for disk in DISKS:
            argv += ["-drive", f"file={own}/{disk}.qcow2,format=qcow2,if=virtio,cache=writeback"]
        argv += ["-nic", f"user,id=net0,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{self.port}-:22"]
        argv += ["-chardev", f"file,id=console,path={own}/console,append=on", "-serial", "chardev:console"]
        argv += ["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]
        for number in range(talk.PORTS):
            argv += ["-chardev", f"socket,id=exec{number},path={own}/exec{number},server=on,wait=off"]
            argv += ["-device", f"virtserialport,chardev=exec{number},name=latchkey.exec.{number}"]
        argv += ["-qmp", f"unix:{own}/qmp,server=on,wait=off", "-pidfile", str(own / "pid")]
        return argv

    def kill(self) -> None:
        """Cut the power."""
        if self.pid:
            with self._ending(10) as qemu:
                signal.pidfd_send_signal(qemu, signal.SIGKILL)

    def poweroff(self) -> None:
        """Shut it down from inside and wait until it is off."""
        with self._ending(READY_SECONDS):
            self._ask("poweroff")

    def _ask(self, verb: str) -> None:
        # The shell inside may be gone before it has answered.
        with contextlib.suppress(talk.Silent):
            self.execute("systemctl", "--no-block", verb)

    @contextlib.contextmanager
    def _ending(self, seconds: float) -> Iterator[int]:
        """Wait at the end until its qemu has ended and let go of its files; give the body a handle of it."""
        qemu = os.pidfd_open(self.pid)
        try:
            yield qemu
            if not select.select([qemu], [], [], seconds)[0]:
                raise ToolError(f"{self.name} has not gone off after {seconds:.0f} s; see {self.directory}/console")
        finally:
            os.close(qemu)

    def reboot(self) -> None:
        """Shut it down from inside, let it boot again, and wait until it is ready."""
        self.begin_reboot()
        self.wait_ready()

    def begin_reboot(self) -> None:
        """Shut it down from inside, and wait until the next boot has come as far as answering."""
        before = self.boot_id()
        self._ask("reboot")
        self.wait(lambda: self.boot_id() != before)

    # ---- saved states ------------------------------------------------------------------------------------------------

    def save(self, tag: str) -> None:
        """Save memory and disks of the running machine."""
        talk.monitor(self.directory / "qmp", f"savevm {tag}")

    def restore(self, tag: str) -> None:
        """Go back to what was saved, running, with this machine's time of day."""
        if tag not in self.saved():
            raise ToolError(f"{self.name} has no saved state {tag!r}; there are: {', '.join(self.saved()) or 'none'}")
        self.kill()
        self.power_on(tag)
        self.wait_ready()
        self.set_clock()

    def saved(self) -> list[str]:
        """Return the names of its saved states."""
        disk = str(self.directory / "root.qcow2")
        words = json.loads(run(["qemu-img", "info", "-U", "--output=json", disk]).stdout)
        return [state["name"] for state in words.get("snapshots", [])]

    def set_clock(self) -> None:
        """Set the clock inside to this machine's: in a saved state it has stood still."""
        self.execute("date", "-s", f"@{time.time():.3f}")

    # ---- inside ------------------------------------------------------------------------------------------------------

    def execute(self, *argv: str, stdin: bytes = b"", seconds: float = 600) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside as root, past sshd."""
        return talk.execute(self.directory, argv, stdin, seconds)

    def boot_id(self) -> bytes:
        """Return the kernel's id of this boot."""
        return self.execute("cat", "/proc/sys/kernel/random/boot_id", seconds=10).stdout

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition about the inside holds."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if not self.pid:
                raise ToolError(f"{self.name} has gone off; see console and qemu.log in {self.directory}")
            try:
                if condition():
                    return
            except talk.Silent:
                pass
            time.sleep(0.5)
        raise ToolError(f"{self.name} is not ready after {READY_SECONDS} s; see {self.directory}/console")

    def wait_ready(self) -> None:
        """Wait until systemd has started everything and sshd answers."""
        states = (b"running\n", b"degraded\n")
        self.wait(lambda: self.execute("systemctl", "is-system-running", seconds=10).stdout in states)
        self.wait(self.greets)

    def greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.settimeout(10)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def golden(base: Path, say: Say) -> Path:
    """Return the directory of a machine of this image that was saved after its first boot; made now if need be."""
    directory = CACHE / f"{base.name}-booted-{MEMORY}"
    with locked("vm-golden"):
        if not directory.exists():
            say("first boot of the image, to save a machine that has booted")
            first = Machine("first-boot", CACHE / "first-boot")
            first.create(base)
            first.power_on()
            try:
                first.wait_ready()
                first.save(BOOTED)
            finally:
                first.kill()
            first.directory.rename(directory)
    return directory


def up(name: str, say: Say, *, cold: bool) -> Machine:
    """Make a machine new and return it ready: from the saved first boot, or (cold) booted now."""
    base = image.ensure(say)
    machine = Machine(name)
    if cold:
        machine.create(base)
        machine.power_on()
        machine.wait_ready()
    else:
        machine.copy(golden(base, say), base)
        machine.power_on(BOOTED)
        machine.wait_ready()
        machine.set_clock()
    return machine


def machines() -> list[Machine]:
    """Return all that exist."""
    return [Machine(path.parent.name) for path in sorted(BUILD.glob("*/root.qcow2"))]


def login(machine: Machine, user: str, command: Sequence[str]) -> list[str]:
    """Return the command line of a login by ssh."""
    return ["ssh", "-F", str(BUILD / "ssh_config"), "-l", user, machine.name, *command]
