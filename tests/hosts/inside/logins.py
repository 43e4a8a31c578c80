# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the logins since boot that sshd's journal tells of, as JSON; runs on the host, Python 3.6 and newer.

One object each, oldest first: time, user, method, address, port, fingerprint, ok.
method is sshd's word (password, publickey, keyboard-interactive/pam, gssapi-with-mic, ...); "none" is a client that had
named a user and left, or was cut off, without success (at LogLevel INFO a refused key is logged as nothing else).
"""

import json
import os
import re
import subprocess

TAGS = ("sshd", "sshd-session", "sshd-auth")
AUTH = re.compile(
    r"(?P<word>Accepted|Failed) (?P<method>\S+) for (?:invalid user )?(?P<user>.*?) from (?P<address>\S+) "
    r"port (?P<port>\d+)(?: ssh2)?(?:: (?P<rest>.*))?$"
)
LEFT = re.compile(
    r"(?:Connection (?:closed|reset) by|Disconnected from|Disconnecting) (?:authenticating|invalid) user (?P<user>.*?) "
    r"(?P<address>\S+) port (?P<port>\d+).*\[preauth\]$"
)


def boot_time():
    """Return when this host's first process started: the machine's boot id says nothing here."""
    with open("/proc/1/stat") as handle:
        ticks = int(handle.read().rsplit(")", 1)[1].split()[19])
    with open("/proc/stat") as handle:
        base = next(int(text.split()[1]) for text in handle if text.startswith("btime"))
    return base + ticks // os.sysconf("SC_CLK_TCK") - 1


def login(entry):
    """Return the login that one journal entry tells of, or None."""
    message = entry["MESSAGE"]
    if not isinstance(message, str):
        message = bytes(message).decode("utf-8", "replace")
    match = AUTH.match(message) or LEFT.match(message)
    if match is None:
        return None
    found = match.groupdict()
    fingerprint = re.search(r"SHA256:[A-Za-z0-9+/]+", found.get("rest") or "")
    return {
        "time": int(entry["__REALTIME_TIMESTAMP"]) / 1e6,
        "user": found["user"],
        "method": found.get("method", "none"),
        "address": found["address"],
        "port": int(found["port"]),
        "fingerprint": fingerprint.group(0) if fingerprint else None,
        "ok": found.get("word") == "Accepted",
    }


def main():
    """Print the list."""
    subprocess.call(["journalctl", "-q", "--sync"])
    argv = ["journalctl", "-q", "-o", "json", "--all", "--since", "@{0}".format(boot_time())]
    text = subprocess.check_output(argv + [word for tag in TAGS for word in ("-t", tag)])
    entries = [json.loads(part) for part in text.decode("utf-8", "replace").splitlines()]
    print(json.dumps([found for found in map(login, entries) if found], indent=1))


main()
