# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Race a confirmation against the deadline, again and again; runs on the host, Python 3.6 and newer.

    python race.py ROUNDS SEED

Both are processes of their own, as on a host; the transaction lies in a directory of its own, and no service is asked.
"""

import collections
import importlib.util
import json
import os
import random
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GUARDIAN = os.path.join(HERE, "engine/ansible_collections/latchkey/ssh/plugins/module_utils/_guard/guardian.py")


def load():
    """Return the guardian as a module."""
    spec = importlib.util.spec_from_file_location("guardian", GUARDIAN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


guardian = load()


class Quiet(guardian.Machine):
    """The real clock, and nobody to talk to."""

    def run(self, argv, seconds=30.0):
        """Ask no service."""
        return guardian.Program(0, "")

    def tell(self, text):
        """Tell nobody."""


def site(base):
    """Return a place of its own below a directory."""
    places = guardian.Places(*[os.path.join(base, name) for name in ("lib", "run", "units", "command")])
    for path in (places.base, places.run, places.units, places.copies, os.path.join(base, "etc")):
        os.makedirs(path, 0o700)
    return guardian.Site(places, Quiet())


def armed(at, number, seconds):
    """Write a transaction that has changed one file and ends so many seconds from now."""
    name = "20261124T000000-{0:06x}".format(number)
    directory = os.path.join(os.path.dirname(at.places.base), "etc")
    path = os.path.join(directory, "file")
    with open(path, "w") as handle:
        handle.write("old")
    os.chmod(path, 0o600)
    handle = os.open(directory, os.O_RDONLY)
    entry = dict(guardian.observe(handle, "file"), path=path, after=guardian.digest(b"new"), copy="0000")
    os.close(handle)
    os.makedirs(at.places.copies, exist_ok=True)
    guardian.replace(os.path.join(at.places.copies, "0000"), b"old", 0o600)
    guardian.replace(path, b"new", 0o600)
    now = at.machine.now()
    state = dict(format=guardian.FORMAT, id=name, state=guardian.APPLIED, nonce="", by="a race", timeout=1)
    state.update(began="", deadline=now + seconds, cap=now + 60, last_write=now, operators={"root": 0}, confirmed=[])
    state.update(units=[], entries=[entry], afterwards=[], reason="", problems=[], notes=[])
    guardian.replace(at.places.marker, name.encode(), 0o600)
    guardian.save(at.places, state)
    return state, path


def child(work):
    """Do something in a process of its own; returns it."""
    process = os.fork()
    if process == 0:
        try:
            work()
        finally:
            os._exit(0)
    return process


def one(at, number, chance):
    """Run one race; returns who won, or what is wrong."""
    state, path = armed(at, number, 0.004)
    said = os.path.join(at.places.run, "said")
    when = state["deadline"] + chance.uniform(-0.003, 0.003)

    def confirm():
        while at.machine.now() < when:
            pass
        answer = guardian.confirm(at, state["id"], None, None)
        with open(said, "w") as handle:
            json.dump(answer, handle)

    for process in (child(lambda: guardian.watch(at)), child(confirm)):
        os.waitpid(process, 0)
    with open(said) as handle:
        answer = json.load(handle)["answer"]
    with open(path) as handle:
        content = handle.read()
    end = guardian.load(at.places)["state"]
    seen = (answer, end, content)
    if seen in (("COMMITTED", "COMMITTED", "new"), ("TOO_LATE", "REVERTED", "old")):
        return end
    return "WRONG: round {0}: answered {1}, is {2}, the file is {3}".format(number, *seen)


def main():
    """Run the races, and print how they ended as JSON."""
    rounds, seed = int(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed)
    base = tempfile.mkdtemp(prefix="latchkey-race-", dir="/run")
    ends = collections.Counter()
    begun = time.monotonic()
    try:
        at = site(base)
        for number in range(rounds):
            ends[one(at, number, chance)] += 1
    finally:
        shutil.rmtree(base)
    print(json.dumps({"ends": ends, "seed": seed, "seconds": round(time.monotonic() - begun, 1)}))


if __name__ == "__main__":
    main()
