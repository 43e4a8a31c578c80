# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run what the tester sends over virtio ports, as root and past sshd; runs in the virtual machine.

A request is one line of JSON (id, argv, stdin as base64), an answer too (id, code, out and err as base64).
"""

import base64
import glob
import json
import os
import subprocess
import threading
import time

PORTS = "/dev/virtio-ports/latchkey.exec.*"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
}
NOBODY_THERE_SECONDS = 0.2


def answer(line: bytes) -> bytes:
    """Run one request and return the answer."""
    request = json.loads(line)
    try:
        done = subprocess.run(
            request["argv"],
            input=base64.b64decode(request["stdin"]),
            capture_output=True,
            check=False,
            cwd="/root",
            env=ENVIRONMENT,
        )
        code, out, err = done.returncode, done.stdout, done.stderr
    except OSError as error:
        code, out, err = 127, b"", f"{error}\n".encode()
    words = {"id": request["id"], "code": code, "out": _text(out), "err": _text(err)}
    return json.dumps(words).encode() + b"\n"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def serve(path: str) -> None:
    """Answer requests on one port for ever; a read of nothing means that nobody is at the other end."""
    port = os.open(path, os.O_RDWR)
    waiting = b""
    while True:
        data = os.read(port, 65536)
        if not data:
            waiting = b""
            time.sleep(NOBODY_THERE_SECONDS)
            continue
        waiting += data
        while b"\n" in waiting:
            line, waiting = waiting.split(b"\n", 1)
            if line:
                write(port, answer(line))


def write(port: int, data: bytes) -> None:
    """Write all of it."""
    while data:
        data = data[os.write(port, data) :]


def main() -> None:
    """Serve every port."""
    while not glob.glob(PORTS):
        time.sleep(NOBODY_THERE_SECONDS)
    threads = [threading.Thread(target=serve, args=(path,)) for path in glob.glob(PORTS)]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main()
