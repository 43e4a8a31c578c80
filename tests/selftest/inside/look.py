# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a host as root and print what is there as JSON; changes nothing. Runs on the host, Python 3.6 and newer.

look.py facts           what kind of host this is, and who uses it
look.py moment          now, since when sshd is up, whether this is still the boot that was marked
look.py guard           the transaction, and in which SELinux domain the guardian runs
look.py denials SINCE   what SELinux has denied since then (seconds since the epoch)
look.py order           when the last revert at boot began and when sshd started (seconds of the monotonic clock)
look.py left            what is left of the guardian
"""

import glob
import json
import os
import re
import subprocess
import sys
import time

STATE = "/var/lib/latchkey/transaction.json"
MARK = "/run/latchkey-selftest"
WEEK = 7 * 24 * 3600
_ACCEPTED = re.compile(r"Accepted \S+ for (\S+) from (\S+) port")
_DENIAL = re.compile(r"(?:type=|^)(?:USER_)?AVC\b.*\bdenied\b|\bavc:\s+denied\b")
_EPOCH = re.compile(r"audit\((\d+)\.\d+:(\d+)\)")


def said(*argv):
    """Return (status, output) of a program; 127 where there is none."""
    try:
        done = subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except OSError:
        return 127, ""
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def text_of(path):
    """Return the content of a file; '' where it cannot be read."""
    try:
        with open(path, errors="replace") as handle:
            return handle.read()
    except OSError:
        return ""


def release():
    """Return os-release as a dictionary."""
    lines = [line.partition("=") for line in text_of("/etc/os-release").splitlines() if "=" in line]
    return {name: value.strip("\"'") for name, _equals, value in lines}


def selinux():
    """Return enforcing, permissive or off."""
    enforce = text_of("/sys/fs/selinux/enforce").strip()
    return {"1": "enforcing", "0": "permissive"}.get(enforce, "off")


def version(pattern, *argvs):
    """Return what a pattern finds in the first of several answers that has it."""
    for argv in argvs:
        found = re.search(pattern, said(*argv)[1])
        if found:
            return found.group(1)
    return "unknown"


def listening():
    """Return the TCP ports that are open to others (proc(5), /proc/net/tcp: state 0A is LISTEN)."""
    ports = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in text_of(path).splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            host, _colon, port = address.partition(":")
            loopback = host.endswith("7F") or host == "0" * 24 + "01000000"
            if state == "0A" and not loopback:
                ports.add(int(port, 16))
    return sorted(ports)


def logins():
    """Return how often who logged in by ssh from where in the last week, as [user, address, times]."""
    journal = ["journalctl", "-q", "-o", "cat", "--since", "@{0:.0f}".format(time.time() - WEEK)]
    texts = [said(*(journal + ["-t", "sshd", "-t", "sshd-session"]))[1]]
    recent = [path for path in glob.glob("/var/log/secure*") if time.time() - os.path.getmtime(path) < WEEK]
    texts += [text_of(path) for path in recent if not path.endswith((".gz", ".xz"))]
    counted = {}
    for text in texts:
        found = {}
        for who in _ACCEPTED.findall(text):
            found[who] = found.get(who, 0) + 1
        for who, times in found.items():
            counted[who] = max(times, counted.get(who, 0))
    return sorted([user, address, times] for (user, address), times in counted.items())


def facts():
    """Return what kind of host this is, and who uses it."""
    systemd = ["systemctl", "--version"]
    return {
        "release": release(),
        "rpm": said("rpm", "-q", "almalinux-release")[0] == 0,
        "dpkg": os.path.exists("/usr/bin/dpkg"),
        "virtualization": said("systemd-detect-virt")[1] or "unknown",
        "container": said("systemd-detect-virt", "-c", "-q")[0] == 0,
        "selinux": selinux(),
        "sshd": version(r"(OpenSSH_[^\s,]+)", ["sshd", "-V"], ["/usr/sbin/sshd", "-V"], ["ssh", "-V"]),
        "systemd": version(r"systemd (\d+)", systemd),
        "python": "%d.%d.%d" % sys.version_info[:3],
        "kernel": os.uname().release,
        "fapolicyd": said("systemctl", "is-active", "fapolicyd.service")[1] == "active",
        "var_mount": os.path.ismount("/var"),
        "machine_id": text_of("/etc/machine-id").strip(),
        "days_up": round(float(text_of("/proc/uptime").split()[0]) / 86400, 1),
        "logins": logins(),
        "sessions": sorted(set(line.split()[0] for line in said("who")[1].splitlines() if line)),
        "listening": listening(),
        "state": guard()["state"],
        "committed": len(glob.glob("/var/lib/latchkey/history/*.json")),
        "now": time.time(),
    }


def moment():
    """Return now and how long sshd has been up, in seconds; ``marked`` as long as the host was not restarted."""
    shown = said("systemctl", "show", "sshd.service", "-p", "ActiveEnterTimestampMonotonic")[1]
    since = int(shown.partition("=")[2] or 0) / 1e6
    up = time.clock_gettime(time.CLOCK_MONOTONIC) - since if since else 0.0
    return {"sshd_up": round(up, 2), "marked": os.path.exists(MARK), "root": os.geteuid() == 0, "now": time.time()}


def guard():
    """Return the transaction as far as it is of interest, and the guardian's SELinux domain where it told it."""
    try:
        state = json.loads(text_of(STATE) or "{}")
        rehearsed = json.loads(text_of("/run/latchkey/rehearsed") or "{}")
    except ValueError as error:
        return {"state": "unreadable: {0}".format(error), "id": "", "left": 0.0}
    # CLOCK_BOOTTIME: Python 3.6 has no name for it.
    left = state.get("deadline", 0.0) - time.clock_gettime(7)
    return {
        "state": state.get("state", "NONE"),
        "id": state.get("id", ""),
        "left": round(left, 2),
        "reason": state.get("reason", ""),
        "problems": state.get("problems", []),
        "notes": state.get("notes", []),
        "domain": rehearsed.get("context", ""),
        "active": said("systemctl", "is-active", "latchkey-guard.service")[1],
        "enabled": sorted(os.path.basename(path) for path in glob.glob("/etc/systemd/system/*.wants/latchkey-*")),
    }


def denials(since):
    """Return the lines in which SELinux denied something, from auditd's log and from the journal; oldest first."""
    found = {}
    for path in sorted(glob.glob("/var/log/audit/audit.log*"), reverse=True):
        for line in text_of(path).splitlines():
            when = _EPOCH.search(line)
            if when and _DENIAL.search(line) and int(when.group(1)) >= since - 1:
                found[when.groups()] = line
    if not found:
        journal = ["journalctl", "-q", "-o", "json", "--since", "@{0:.0f}".format(since)]
        for line in said(*(journal + ["_TRANSPORT=audit", "+", "_TRANSPORT=kernel"]))[1].splitlines():
            message = str(json.loads(line).get("MESSAGE", "")) if line.startswith("{") else ""
            if _DENIAL.search(message):
                found[message] = message
    return list(found.values())


def order():
    """Return when the last revert at boot began and when sshd started; 0 where the journal does not tell."""
    argv = ["journalctl", "-q", "-o", "json", "_SYSTEMD_UNIT=latchkey-boot.service"]
    entries = [json.loads(line) for line in said(*argv)[1].splitlines() if line.startswith("{")]
    begun = [one for one in entries if "was restarted before anybody confirmed" in str(one.get("MESSAGE"))]
    shown = said("systemctl", "show", "sshd.service", "-p", "ExecMainStartTimestampMonotonic")[1]
    last = int(begun[-1]["__MONOTONIC_TIMESTAMP"]) if begun else 0
    return {"revert": last / 1e6, "sshd": int(shown.partition("=")[2] or 0) / 1e6}


def left():
    """Return what is there of a guardian whose work is over: units, links, processes, names in /etc and /run."""
    found = []
    for words in (["list-units", "--all"], ["list-unit-files"]):
        shown = said("systemctl", *(words + ["--no-legend", "--plain", "latchkey*"]))[1]
        found += ["unit " + line.split()[0] for line in shown.splitlines() if line]
    for pattern in ("/etc/**/.latchkey-*", "/etc/systemd/system/**/latchkey-*", "/root/.latchkey-*"):
        found += glob.glob(pattern, recursive=True)
    found += glob.glob("/.latchkey-*") + glob.glob("/*/.latchkey-*")
    found += [path for path in glob.glob("/run/latchkey/*") if not path.endswith(".lock")]
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        if b"/var/lib/latchkey/guardian.py" in text_of(path).encode():
            found.append("process " + text_of(path).replace("\0", " ").strip())
    return sorted(set(found))


def main():
    """Print what was asked for."""
    asked = {"facts": facts, "moment": moment, "guard": guard, "order": order, "left": left}
    words = sys.argv[1:]
    print(json.dumps(denials(float(words[1])) if words[0] == "denials" else asked[words[0]]()))


main()
