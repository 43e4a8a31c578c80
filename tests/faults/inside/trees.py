# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host's files are, and back to what they were; runs on the host, Python 3.6 and newer.

python trees.py keep            remember how everything is now
python trees.py show            one JSON object: path -> what it is (times left out)
python trees.py restore         go back to what was remembered, whatever happened, and start sshd anew
"""

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT, LISTED = os.path.join(HERE, "kept.tar"), os.path.join(HERE, "kept.json")
TREES = ("/etc", "/home", "/root")
# Ansible's own working directory of a user; nobody's access depends on it.
LEFT_OUT = ("/.ansible", "/etc/resolv.conf", "/etc/.updated", "/etc/machine-id")
UNITS = ("latchkey-guard.service", "latchkey-boot.service")


def line(path):
    """Return what a path is."""
    info = os.lstat(path)
    found = "{0:o} {1}:{2}".format(info.st_mode, info.st_uid, info.st_gid)
    if stat.S_ISLNK(info.st_mode):
        return found + " ->" + os.readlink(path)
    names = sorted(name for name in os.listxattr(path, follow_symlinks=False))
    found += " " + ",".join(name + "=" + os.getxattr(path, name, follow_symlinks=False).hex() for name in names)
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as handle:
            found += " " + hashlib.sha256(handle.read()).hexdigest()
    return found


def show():
    """Return everything in the trees."""
    found = {}
    for tree in TREES:
        for folder, folders, files in os.walk(tree):
            for name in folders + files:
                path = os.path.join(folder, name)
                if not any(word in path for word in LEFT_OUT):
                    try:
                        found[path] = line(path)
                    except FileNotFoundError:
                        continue
    return found


def keep():
    """Remember the trees."""
    with open(LISTED, "w") as handle:
        json.dump(show(), handle)
    subprocess.run(["tar", "-C", "/", "-cpf", KEPT] + [tree[1:] for tree in TREES], check=True)


def restore():
    """End what tests have started, and put back every path that is not what it was."""
    for word in ("faults-loop", "drive.py", "probe.py", "guardian.py"):
        _end(word)
    # Whoever still writes would do so behind our back.
    for unit in UNITS:
        subprocess.run(["systemctl", "stop", unit], stderr=subprocess.DEVNULL, check=False)
    for word in ("drive.py", "probe.py", "guardian.py"):
        _end(word)
    subprocess.run(["pkill", "-KILL", "-u", "alice"], check=False)
    for path in ("/var/lib/latchkey", "/run/latchkey"):
        shutil.rmtree(path, ignore_errors=True)
    _remove("/usr/local/sbin/latchkey")
    with open(LISTED) as handle:
        before = json.load(handle)
    now = show()
    wrong = [path for path, what in before.items() if now.get(path) != what]
    for path in sorted(set(now) - set(before), reverse=True):
        _remove(path)
    for path in wrong:
        if os.path.islink(path) or not os.path.isdir(path):
            _remove(path)
    if wrong:
        names = "".join(path[1:] + "\n" for path in sorted(wrong)).encode()
        argv = ["tar", "-C", "/", "-xpf", KEPT, "--overwrite", "--no-recursion", "-T", "-"]
        subprocess.run(argv, input=names, check=True)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "reset-failed"], check=False)
    subprocess.run(["systemctl", "restart", "sshd"], check=True)
    after = show()
    return [path for path in set(after) | set(before) if after.get(path) != before.get(path)]


def _end(word):
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/{0}/cmdline".format(name), "rb") as handle:
                words = handle.read().split(b"\0")
            if any(os.path.basename(one) == word.encode() for one in words):
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            continue


def _remove(path):
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        else:
            os.unlink(path)
    except OSError:
        pass


def main():
    """Do what was asked."""
    if sys.argv[1] == "keep":
        keep()
    elif sys.argv[1] == "show":
        print(json.dumps(show()))
    else:
        print(json.dumps(restore()))


if __name__ == "__main__":
    main()
