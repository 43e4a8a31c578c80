# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print one line for everything in /etc /home /root /var/lib/latchkey; runs on the host, Python 3.6 and newer.

    path type mode owner:group xattrs mtime content

Equal output before and after means that nothing was changed, not even touched: mtime is in nanoseconds, content is the
SHA-256 of a file, the target of a link. Access times are left out: reading is no change.

Nothing is excluded. A login, accepted or refused, writes below /var/log, /var/lib/sudo and /run only (held by
test_hosts.py on all three generations), so no path in the four trees needs an excuse. What a caller knows better is
left out with --ignore GLOB (a module run without pipelining, say, makes ~/.ansible/tmp).
"""

import argparse
import fnmatch
import grp
import hashlib
import os
import pwd
import stat
import sys

TREES = ("/etc", "/home", "/root", "/var/lib/latchkey")
KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "dir"),
    (stat.S_ISLNK, "link"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISFIFO, "fifo"),
    (stat.S_ISBLK, "block"),
    (stat.S_ISCHR, "char"),
)


def name_of(lookup, number):
    """Return the name of a user or group, or its number."""
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


def content(path, kind):
    """Return what stands for the content of a path of this kind."""
    if kind == "link":
        return "->" + os.readlink(path)
    if kind != "file":
        return "-"
    total = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


def line(path):
    """Return the line of one path."""
    info = os.lstat(path)
    kind = next(word for test, word in KINDS if test(info.st_mode))
    attributes = (
        ",".join(
            "{0}={1}".format(key, os.getxattr(path, key, follow_symlinks=False).hex())
            for key in sorted(os.listxattr(path, follow_symlinks=False))
        )
        or "-"
    )
    return "{0} {1} {2:04o} {3}:{4} {5} {6} {7}".format(
        path,
        kind,
        stat.S_IMODE(info.st_mode),
        name_of(pwd.getpwuid, info.st_uid),
        name_of(grp.getgrgid, info.st_gid),
        attributes,
        info.st_mtime_ns,
        content(path, kind),
    )


def walk(tree):
    """Return all paths of a tree, itself included, links not followed."""
    found = [tree] if os.path.lexists(tree) else []
    for folder, folders, files in os.walk(tree):
        found += [os.path.join(folder, name) for name in folders + files]
    return found


def main():
    """Print the lines, sorted by path."""
    options = argparse.ArgumentParser()
    options.add_argument("--ignore", action="append", default=[])
    ignore = options.parse_args().ignore
    paths = sorted({path for tree in TREES for path in walk(tree)})
    for path in paths:
        if not any(fnmatch.fnmatch(path, glob) for glob in ignore):
            sys.stdout.buffer.write(os.fsencode(line(path)) + b"\n")


main()
