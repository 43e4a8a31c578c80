# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts at every write point of the guard, by replaying what was recorded. Python 3.6 and newer, root only.

    python replay.py --list             print the ids
    python replay.py [WORD...]          run those whose id contains a word; prints one line each

A run of the product is recorded: what it makes, writes, renames, removes and syncs. For each point of it every state is
made that a disk may have after a power cut there, and the host is started with it: early boot, sshd, guardian. What a
disk may have lost is assumed as badly as POSIX allows: of a file, everything since its last fsync (nothing of it, half
of it, or all of it is there); of a directory, the names that came or went since its own last fsync, in their order.
"""

import argparse
import collections
import contextlib
import hashlib
import itertools
import os
import random
import stat
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", ".collections"), HERE]

import histories  # noqa: E402  (found only after the line above)
import onehost  # noqa: E402
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import guardian  # noqa: E402
from onehost import ALICE, BOB, WRITES  # noqa: E402

# A power cut there can leave what it cannot leave one step earlier.
_CUTS = ("fsync", "rename", "unlink", "mkdir", "rmdir", "symlink", "link", "run")
# Where there are more states than that after one cut, some of them are drawn by lot.
MOST = 48
_UMASK = 0o022
PHASES = ("arm", "apply", "confirm", "revert", "boot", "revert-again", "confirm-again")

Cut = collections.namedtuple("Cut", "id disk answered before wrote")
Cut.__doc__ = """One power cut: what was on the disk, whether COMMITTED had been answered, the guarded files before the
transaction, and how they were at that moment."""


class Node:
    """A file, a link or a directory: as it is, and as a disk surely has it."""

    def __init__(self, mode, data=b""):
        self.mode, self.data = mode, data
        self.sure = None
        # Of directories: names now and surely, and what has come and gone between the two.
        self.names, self.sure_names, self.pending = {}, {}, []

    def is_directory(self):
        """Say whether it has names."""
        return stat.S_ISDIR(self.mode)

    def states(self):
        """Return what a disk may have of a file: mode and content."""
        now = (self.mode, self.data)
        if self.sure == now:
            return [now]
        if stat.S_ISLNK(self.mode):
            return [now]
        old = self.sure or (stat.S_IFREG | 0o600, b"")
        half = (old[0], self.data[: len(self.data) // 2])
        return list(collections.OrderedDict.fromkeys([old, half, (self.mode, b""), (old[0], self.data), now]))


class Disk:
    """The files of a host and what of them is durable, kept up by the steps of the product."""

    def __init__(self, host):
        self.host, self.moves = host, 0
        self.root = Node(stat.S_IFDIR | 0o755)
        for path, (mode, data) in sorted(onehost._tree(host.root).items()):
            node = Node(mode, data if data is not None else b"")
            node.sure = (node.mode, node.data)
            above, name = self._above(path)
            above.names[name] = above.sure_names[name] = node

    # --- what the product does --------------------------------------------------------------------------------------

    def take(self, what, arguments, more):
        """Do one step on the model; the same is done to the real files right after."""
        do = getattr(self, "_" + what, None)
        if do is not None:
            # A directory that is not there is met by the real call, too.
            with contextlib.suppress(KeyError):
                do(arguments, more)

    def _inside(self, path, directory=None):
        path = os.fspath(path)
        if isinstance(path, bytes):
            path = path.decode()
        if directory is not None:
            path = os.path.join(os.readlink("/proc/self/fd/%d" % directory), path)
        return path[len(self.host.root) + 1 :]

    def _above(self, inside):
        node, parts = self.root, inside.split("/")
        for part in parts[:-1]:
            node = node.names[part]
        return node, parts[-1]

    def _node(self, inside):
        above, name = self._above(inside)
        return above.names.get(name) if inside else self.root

    def _of_handle(self, handle):
        inside = os.readlink("/proc/self/fd/%d" % handle)[len(self.host.root) + 1 :]
        # One without a name is nobody's.
        return (self._node(inside) if inside else self.root) or Node(stat.S_IFREG)

    def _put(self, above, name, node, move=None):
        if node is None:
            above.names.pop(name)
        else:
            above.names[name] = node
        above.pending.append((name, node, move))

    def _open(self, arguments, more):
        path, flags = arguments[0], arguments[1]
        above, name = self._above(self._inside(path, more.get("dir_fd")))
        if name not in above.names:
            if flags & os.O_CREAT:
                self._put(above, name, Node(stat.S_IFREG | 0o600))
        elif flags & os.O_TRUNC:
            above.names[name].data = b""

    def _write(self, arguments, more):
        self._of_handle(arguments[0]).data += bytes(arguments[1])

    def _fchmod(self, arguments, more):
        node = self._of_handle(arguments[0])
        node.mode = stat.S_IFMT(node.mode) | arguments[1]

    def _fsync(self, arguments, more):
        node = self._of_handle(arguments[0])
        if not node.is_directory():
            node.sure = (node.mode, node.data)
            return
        node.sure_names, node.pending = dict(node.names), []

    def _mkdir(self, arguments, more):
        above, name = self._above(self._inside(arguments[0], more.get("dir_fd")))
        if name not in above.names:
            mode = (arguments[1] if len(arguments) > 1 else 0o777) & ~_UMASK
            self._put(above, name, Node(stat.S_IFDIR | mode))

    def _unlink(self, arguments, more):
        above, name = self._above(self._inside(arguments[0], more.get("dir_fd")))
        if name in above.names:
            self._put(above, name, None)

    def _rmdir(self, arguments, more):
        above, name = self._above(self._inside(arguments[0], more.get("dir_fd")))
        if name in above.names and not above.names[name].names:
            self._put(above, name, None)

    def _symlink(self, arguments, more):
        above, name = self._above(self._inside(arguments[1], more.get("dir_fd")))
        self._put(above, name, Node(stat.S_IFLNK | 0o777, arguments[0]))

    def _link(self, arguments, more):
        source, name = self._above(self._inside(arguments[0], more.get("src_dir_fd")))
        above, new = self._above(self._inside(arguments[1], more.get("dst_dir_fd")))
        self._put(above, new, source.names[name])

    def _rename(self, arguments, more):
        source, old = self._above(self._inside(arguments[0], more.get("src_dir_fd")))
        above, new = self._above(self._inside(arguments[1], more.get("dst_dir_fd")))
        if old not in source.names:
            return
        self.moves += 1
        node = source.names[old]
        self._put(above, new, node, self.moves)
        self._put(source, old, None, self.moves)

    def compare(self, host):
        """See that the model is what the host is."""
        tree, real = {}, onehost._tree(host.root)
        self._lay_out(self.root, "", None, tree)
        tree = {path: what for path, what in tree.items() if not path.endswith("/reserve")}
        real = {path: what for path, what in real.items() if not path.endswith("/reserve")}
        wrong = [path for path in set(tree) | set(real) if tree.get(path) != real.get(path)]
        assert not wrong, {path: (tree.get(path), real.get(path)) for path in wrong}

    # --- what a power cut leaves ------------------------------------------------------------------------------------

    def after_cut(self, rng):
        """Return the trees that the disk may have, each as ``onehost`` keeps one; not all where they are too many."""
        directories, files = self._uncertain()
        choices = [range(len(_groups(node)) + 1) for node in directories] + [range(len(one.states())) for one in files]
        total = 1
        for one in choices:
            total *= len(one)
        if total <= MOST:
            picked = itertools.product(*choices)
        else:
            least = tuple(0 for one in choices)
            full = tuple(len(one) - 1 for one in choices)
            # Each alone lost, each alone there; the rest by lot.
            picked = {least, full}
            for place, one in enumerate(choices):
                for value in one:
                    picked.add(full[:place] + (value,) + full[place + 1 :])
                    picked.add(least[:place] + (value,) + least[place + 1 :])
            while len(picked) < MOST:
                picked.add(tuple(rng.choice(one) for one in choices))
        for pick in picked:
            sure = dict(zip([id(node) for node in directories + files], pick))
            tree = {}
            self._lay_out(self.root, "", sure, tree)
            yield tree

    def _uncertain(self):
        directories, files, queue, known = [], [], [self.root], set()
        while queue:
            node = queue.pop()
            if id(node) in known:
                continue
            known.add(id(node))
            if node.is_directory():
                if node.pending:
                    directories.append(node)
                mine = list(node.names.values()) + list(node.sure_names.values())
                queue += mine + [one for _name, one, _move in node.pending if one is not None]
            elif len(node.states()) > 1:
                files.append(node)
        return directories, files

    def _lay_out(self, node, inside, pick, tree):
        names = dict(node.names if pick is None else node.sure_names)
        for group in _groups(node)[: pick.get(id(node), 0) if pick else 0]:
            for name, one, _move in group:
                if one is None:
                    names.pop(name, None)
                else:
                    names[name] = one
        for name, one in names.items():
            path = inside + "/" + name if inside else name
            if one.is_directory():
                tree[path] = (one.mode, None)
                self._lay_out(one, path, pick, tree)
            else:
                tree[path] = (one.mode, one.data) if pick is None else one.states()[pick.get(id(one), 0)]


def _groups(node):
    """Return what came and went in a directory, a rename inside it as one."""
    found = []
    for one in node.pending:
        if found and one[2] is not None and found[-1][0][2] == one[2]:
            found[-1].append(one)
        else:
            found.append([one])
    return found


class Recorder:
    """Runs the product through its phases on ``host``, and gives each cut of the phases that are asked for."""

    def __init__(self, host, wanted):
        self.host, self.wanted = host, wanted
        self.disk, self.before, self.answered = None, None, False
        self.phase, self.number, self.cuts = "", 0, []
        self.rng = None

    def record(self, phases, rng):
        """Do what leads to the cuts of ``phases``; returns those whose id is wanted."""
        self.rng, self.cuts = rng, []
        fresh = self.host.keep()
        os.umask(_UMASK)
        for scenario in (self._committed, self._reverted, self._restarted):
            self.host.back_to(fresh)
            scenario(phases)
        for name, do in (("revert-again", self._expire), ("confirm-again", self._confirm)):
            if name in phases:
                self.host.back_to(fresh)
                self._again(name, do)
        return self.cuts

    def _begin(self):
        self.before, self.answered, self.phase = self.host.guarded(), False, ""
        self.disk = Disk(self.host)
        self.host.steps.begin()
        self.host.steps.note = self._note

    def _note(self, what, arguments, more):
        if self.phase:
            self.number += 1
            if what in _CUTS:
                self._cut()
        self.disk.take(what, arguments, more)

    def _cut(self):
        name = "replay/%s/%d" % (self.phase, self.number)
        if self.wanted(name):
            seen = list(_distinct(self.disk.after_cut(self.rng)))
            self.cuts.append(Cut(name, seen, self.answered, self.before, self.host.guarded()))

    def _enter(self, phase, phases):
        self.phase, self.number = (phase if phase in phases else ""), 0

    def _leave(self):
        self.disk.compare(self.host)
        if self.phase:
            self.number += 1
            self._cut()
        self.phase = ""

    def _apply(self):
        for number in range(len(WRITES)):
            assert self.host.write(self.armed.id, number) is None
        assert self.host.reload(self.armed.id) is None
        self.host.machine.clock += 5

    def _confirm(self):
        for uid in (BOB, ALICE):
            session = guardian.Session(uid, self.host.machine.clock)
            done = guardian.confirm(self.host.at, self.armed.id, self.armed.nonce, session)
        self.answered = done["answer"] == "COMMITTED"

    def _expire(self):
        self.host.past_deadline()
        self.host.guardian()

    def _committed(self, phases):
        self._begin()
        for phase in ("arm", "apply", "confirm"):
            self._enter(phase, phases)
            if phase == "arm":
                self.armed = self.host.arm()
            else:
                (self._apply if phase == "apply" else self._confirm)()
            self._leave()

    def _until_applied(self):
        self._begin()
        self.armed = self.host.arm()
        self._apply()

    def _reverted(self, phases):
        self._until_applied()
        self._enter("revert", phases)
        self._expire()
        self._leave()

    def _restarted(self, phases):
        self._until_applied()
        # The host is cut off once: from here on the disk has everything for sure, /run nothing.
        self.host.steps.note = None
        for name in list(self.host.keep()[0]):
            if name.startswith("run/") and os.path.lexists(self.host.path(name)):
                onehost._remove(self.host.path(name))
        self.disk = Disk(self.host)
        self.host.steps.note = self._note
        self._enter("boot", phases)
        self.host.restart()
        self.host.guardian()
        self._leave()

    def _again(self, name, do):
        """Kill whoever acts at each step, let the guardian bring it to its end, and cut the power then."""
        self._until_applied()
        kept = self.host.keep()
        self.host.steps.begin()
        do()
        last = self.host.steps.seen
        for number in range(1, last + 1):
            # Recorded anew each time: a model of a disk is not copied.
            self.host.steps.note = None
            self.host.back_to(kept)
            self.disk, self.answered = Disk(self.host), False
            self.host.steps.begin(at=number)
            self.host.steps.note = self._note
            try:
                do()
            except onehost.Crash:
                pass
            self.host.steps.begin()
            self.host.past_deadline()
            for _turn in range(3):
                self.host.guardian()
            self.phase, self.number = name, number
            self._cut()
            self.phase = ""


def _distinct(trees):
    seen = set()
    for tree in trees:
        key = hashlib.md5(repr(sorted(tree.items())).encode()).digest()
        if key not in seen:
            seen.add(key)
            yield tree


def judge(host, cut):
    """Start the host with each disk that the cut may have left; returns how many, raises Broken for one that fails."""
    for tree in cut.disk:
        host.steps.note = None
        host.steps.begin()
        # What is in /run does not survive anyway.
        there = {path: what for path, what in tree.items() if not path.startswith("run/") or path == "run"}
        host.back_to((there, (20.0, False, (), False)))
        try:
            _start(host, cut)
        except histories.Broken as error:
            raise histories.Broken("%s: %s\non a disk with %s" % (cut.id, error, sorted(there))) from error
    return len(cut.disk)


def _start(host, cut):
    first = host.state()
    host.restart()
    if first is not None and first["state"] in (guardian.APPLIED, guardian.REVERTING, guardian.REVERT_FAILED):
        histories.check_boot(host, cut.before)
    for _turn in range(6):
        host.guardian()
    if first is None:
        _never_began(host, cut)
        return
    before = cut.wrote if first["state"] in (guardian.COMMITTED, guardian.COMMITTING) else cut.before
    if first["state"] == guardian.PREPARED and not host.state()["state"] == guardian.REVERTED:
        # Nobody was told to guard it yet, and nobody could write: the next one who arms ends it.
        _never_began(host, cut)
        return
    said = {"COMMITTED"} if cut.answered else set()
    histories.check(host, cut.before, first["state"], before, said, restarted=True)


def _never_began(host, cut):
    if cut.answered:
        raise histories.Broken("it was answered COMMITTED, and nothing of it is there")
    if host.guarded() != cut.before:
        raise histories.Broken("a mix, and no transaction")
    enabled = [path for path in guardian.unit_files(host.places)[:2] if os.path.lexists(path)]
    if enabled and host.machine.guards:
        raise histories.Broken("a guardian runs, and there is no transaction: %s" % enabled)


def ids(host):
    """Return the ids of all cuts."""
    found = []
    Recorder(host, found.append).record(PHASES, random.Random(0))
    return found


def run(host, phases, seed, wanted=lambda name: True):
    """Judge every cut of some phases; yields its id, and how many disks it may have left."""
    kept = host.keep()
    cuts = Recorder(host, wanted).record(phases, random.Random(seed))
    for cut in cuts:
        yield cut.id, judge(host, cut)
    host.back_to(kept)


def main():
    """Run what is asked for, and print a line for each cut."""
    parser = argparse.ArgumentParser(description="Power cuts at every write point of the guard, replayed.")
    parser.add_argument("--list", action="store_true", help="print the ids")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="repeats a run")
    parser.add_argument("words", nargs="*", help="run ids that contain one of these words")
    asked = parser.parse_args()
    with onehost.one_host() as host:
        if asked.list:
            print("\n".join(ids(host)))
            return 0
        print("seed %d" % asked.seed)
        cuts = disks = 0
        for name, number in run(host, PHASES, asked.seed, lambda name: _fits(name, asked.words)):
            print("%-32s survived on %d disks" % (name, number), flush=True)
            cuts, disks = cuts + 1, disks + number
        print("power cuts survived: %d, on %d disks" % (cuts, disks))
    return 0


def _fits(name, words):
    return not words or any(word in name for word in words)


if __name__ == "__main__":
    sys.exit(main())
