# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes: their real start, and the arguments of a listener however it shows them."""

import builtins
import io
import os
import subprocess
import time

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._host import processes


def test_the_start_of_a_process_is_not_when_somebody_first_looked():
    before = time.time()
    process = subprocess.Popen(["sleep", "60"])
    try:
        after = time.time()
        time.sleep(0.3)
        started = processes.started_ns(process.pid) / 1e9
        # The kernel counts in hundredths.
        assert before - 0.05 <= started <= after + 0.05
        assert abs(processes.started_ns(process.pid) / 1e9 - started) < 0.02
    finally:
        process.kill()
        process.wait()
    assert processes.started_ns(2**22 + 1) == 0


@pytest.mark.parametrize(
    "shown, arguments",
    [
        (b"/usr/sbin/sshd\0-D\0-oX=a b\0", ("/usr/sbin/sshd", "-D", "-oX=a", "b")),
        (b"sshd: /usr/sbin/sshd -D -oX=a [listener] 0 of 10-100 startups\0\0\0", ("/usr/sbin/sshd", "-D", "-oX=a")),
        (b"sshd: /usr/sbin/sshd -D -oX=a,b,c,d [liste\0", None),
        (b"", ()),
    ],
)
def test_how_a_listener_shows_its_arguments(monkeypatch, shown, arguments):
    real = builtins.open
    monkeypatch.setattr(
        builtins, "open", lambda path, *rest, **more: io.BytesIO(shown) if path == "/proc/7/cmdline"
        else real(path, *rest, **more))
    assert processes.listener_arguments(7) == arguments


def test_a_process_that_is_gone_has_none():
    assert processes.listener_arguments(2**22 + 1) is None
    assert processes.listener_arguments(os.getpid())
