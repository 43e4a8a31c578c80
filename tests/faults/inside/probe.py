# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop a process of the product at one exact step; runs on the host, Python 3.6 and newer.

A step is one call that changes something: it makes, renames, removes or syncs a file, or runs a program. It is named
by its process, the phase that process is in, its number there, and what it does to which file. What happens there is
said by ``plan.json`` beside this file; without it nothing is done. A plan is carried out once.

    python probe.py watch|boot        in place of guardian.py, by a drop-in of the units
"""

import errno
import importlib.util
import json
import mmap
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PLAN = os.path.join(HERE, "plan.json")
FIRED = os.path.join(HERE, "fired")
REACHED = os.path.join(HERE, "reached")
GO = os.path.join(HERE, "go")
STEPS = os.path.join(HERE, "steps")
GUARDIAN = "/var/lib/latchkey/guardian.py"
PHASES = ("revert", "commit", "finish", "_report_rehearsal")
_REAL = {name: getattr(os, name) for name in "open rename unlink fsync mkdir rmdir link symlink".split()}
# They change nothing; scratch copies of a configuration are nobody's state.
_HARMLESS = ("sshd_-", "systemctl_show", "systemctl_is-active", "wall_", "getent", "ps_", "fapolicyd")
_SCRATCH = ("latchkey-candidate", "/tmp/")
_CHANGING = re.compile(
    r"\d{8}T\d{6}-[0-9a-f]{6}|(?<=\.latchkey-)\d+(?=-)|\b\d{4}\b|(?<=candidate-)\w+|#\d+ \(deleted\)"
)


class Probe:
    """Counts the steps of one process, children of its own included, and does what the plan says at one of them."""

    def __init__(self, process, plan):
        self.process, self.plan = process, plan
        self.phase = ""
        self.main = os.getpid()
        # Shared with forked children, which count on: number of the step, error that writes meet, and the wish to die.
        self._shared = mmap.mmap(-1, 24)
        if plan:
            threading.Thread(target=self._die_when_asked, daemon=True).start()

    def _get(self, which):
        return struct.unpack_from("q", self._shared, which * 8)[0]

    def _set(self, which, value):
        struct.pack_into("q", self._shared, which * 8, value)

    def _die_when_asked(self):
        # A child that has given up root cannot kill its parent.
        while os.getpid() == self.main:
            if self._get(2):
                os.kill(self.main, signal.SIGKILL)
            time.sleep(0.002)

    def enter(self, phase):
        """Begin to count anew; nested phases belong to the outer one."""
        self.phase = phase
        self._set(0, 0)

    def step(self, what, path):
        """Note one step, and carry out the plan where it is the one."""
        if not self.phase or self.plan.get("process") != self.process or any(one in path for one in _SCRATCH):
            return
        name = _CHANGING.sub("X", os.path.basename(path.rstrip("/")))
        if what == "run" and name.startswith(_HARMLESS):
            return
        self._set(0, self._get(0) + 1)
        label = "{0}-{1:02d}-{2}-{3}".format(self.phase, self._get(0), what, name)
        if self.plan["do"] == "record":
            with open(STEPS, "a") as handle:
                handle.write("{0}:{1}\n".format(self.process, label))
        elif label == self.plan["step"] and not os.path.exists(FIRED):
            mark(FIRED)
            self._act()
        self._fail(what, path)

    def _act(self):
        do = self.plan["do"]
        mark(REACHED)
        if do == "kill":
            self._set(2, 1)
            while os.getpid() == self.main or os.getppid() == self.main:
                time.sleep(0.001)
            os._exit(1)
        elif do == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif do == "wait":
            while not os.path.exists(GO):
                time.sleep(0.01)
        elif do in ("ENOSPC", "EROFS"):
            self._set(1, getattr(errno, do))

    def _fail(self, what, path):
        """Let writes meet a full or a read-only disk, until somebody makes room."""
        failing = self._get(1)
        if what == "unlink" and path.endswith("/reserve") and failing == errno.ENOSPC:
            # The room that was kept for this is free now.
            self._set(1, 0)
        if not path.startswith(self.plan.get("below", "/")):
            return
        needs_room = ("create", "mkdir", "symlink")
        if failing and what != "run" and (failing == errno.EROFS or what in needs_room) and not os.path.exists(GO):
            raise OSError(failing, os.strerror(failing), path)


def mark(path):
    """Leave a file that says that this point was reached, whatever becomes of the power then."""
    for name, flags in ((path, os.O_WRONLY | os.O_CREAT), (os.path.dirname(path), os.O_RDONLY)):
        handle = _REAL["open"](name, flags, 0o666)
        _REAL["fsync"](handle)
        os.close(handle)


def install(process):
    """Put the probe around every call that changes something; returns it."""
    try:
        with open(PLAN) as handle:
            plan = json.load(handle)
    except FileNotFoundError:
        plan = {}
    probe = Probe(process, plan)
    for name in ("rename", "unlink", "mkdir", "rmdir", "link", "symlink", "fsync", "open"):
        setattr(os, name, _wrapped(probe, name))
    real = subprocess.Popen.__init__

    def started(self, args, *rest, **more):
        probe.step("run", "_".join([os.path.basename(args[0])] + [word for word in args[1:3] if word[:1] != "/"]))
        real(self, args, *rest, **more)

    subprocess.Popen.__init__ = started
    return probe


def _wrapped(probe, name):
    real = _REAL[name]

    def call(path, *rest, **more):
        if name == "open":
            flags = rest[0] if rest else more.get("flags", 0)
            if flags & os.O_CREAT and not str(path).endswith(".lock"):
                probe.step("create", _whole(path, more.get("dir_fd")))
        elif name == "fsync":
            probe.step("fsync", os.readlink("/proc/self/fd/{0}".format(path)))
        elif name in ("rename", "link", "symlink"):
            probe.step(name, _whole(rest[0], more.get("dst_dir_fd", more.get("dir_fd"))))
        elif not (name == "mkdir" and "dir_fd" not in more and os.path.isdir(path)):
            probe.step(name, _whole(path, more.get("dir_fd")))
        return real(path, *rest, **more)

    return call


def _whole(path, directory):
    return str(path) if directory is None else os.readlink("/proc/self/fd/{0}".format(directory)) + "/" + str(path)


def follow_phases(probe, guardian):
    """Have the probe know which phase the guardian is in."""
    for name in PHASES:
        _follow(probe, guardian, name)


def _follow(probe, guardian, name):
    real = getattr(guardian, name)

    def call(*arguments, **more):
        outer = probe.phase
        if not outer:
            probe.enter(name.strip("_"))
        try:
            return real(*arguments, **more)
        finally:
            if not outer:
                probe.phase = ""

    setattr(guardian, name, call)


def load_guardian():
    """Return the guardian of this host as a module."""
    spec = importlib.util.spec_from_file_location("guardian", GUARDIAN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    """Be the guardian: probed, or switched off (it says that it is there, and then does nothing)."""
    guardian = load_guardian()
    probe = install(sys.argv[1])
    if probe.plan.get("guardian") == "off":
        guardian.revert = lambda *unused, **more: False
        if sys.argv[1] == "boot":
            return 0
    else:
        follow_phases(probe, guardian)
    return guardian.main([sys.argv[1]])


if __name__ == "__main__":
    sys.exit(main())
