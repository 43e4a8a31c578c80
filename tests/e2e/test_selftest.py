# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make selftest` itself, on a stand-in: the cases that take no restart and no half minute."""

import json
import os
import subprocess
from typing import Any

import pytest
from live import OPERATOR, PASSWORDS, ROOT, Farm, Host, differences
from runs import Controller

_CASES = ("environment", "arm", "rehearsal", "expiry", "failed-proof")


@pytest.fixture(scope="module")
def host(farm: Farm, desk: Controller) -> Host:
    (found,) = farm.fresh("self9=9")
    key = desk.key().with_suffix(".pub")
    found.authorize(OPERATOR, key.read_text(encoding="ascii"))
    desk.known_hosts(found)
    return found


def selftest(host: Host, desk: Controller, *words: str) -> tuple[str, dict[str, Any]]:
    """Run it, and return what it printed and what it kept as data."""
    out = desk.path / "selftest.json"
    out.unlink(missing_ok=True)
    known = f"-o UserKnownHostsFile={desk.home}/.ssh/known_hosts -o StrictHostKeyChecking=yes"
    argv = [str(ROOT / ".venv" / "new" / "bin" / "python"), str(ROOT / "tests" / "selftest" / "selftest")]
    argv += [f"{OPERATOR}@{host.address}", "--key", str(desk.home / "keys" / "operator"), "--ssh-args", known]
    argv += ["--deadline", "6", "--out", str(out), *words]
    environment = {**os.environ, "ANSIBLE_BECOME_PASSWORD": PASSWORDS[OPERATOR]}
    done = subprocess.run(argv, env=environment, input="", capture_output=True, text=True, timeout=300, check=False)
    kept = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    return done.stdout + done.stderr, {**kept, "exit": done.returncode}


def test_the_promise_is_seen_to_hold_and_the_host_left_as_found(host: Host, desk: Controller) -> None:
    before = host.tree()
    said, kept = selftest(host, desk, "--only", ",".join(_CASES))
    assert kept["exit"] == 0, said
    assert [one["case"] for one in kept["results"]] == [*_CASES, "as-found"]
    count = len(_CASES) + 1
    assert f"selftest: {count}/{count} on stand-in for AlmaLinux 9" in said, said
    assert (kept["survived"], kept["cases"]) == (count, count) and not kept["platform"].startswith("AlmaLinux")
    assert not differences(before, host.tree()) and not host.root(
        "ls -d /var/lib/latchkey* /run/latchkey*", check=False
    )


def test_a_host_in_use_is_not_touched(host: Host, desk: Controller) -> None:
    line = "Accepted publickey for bob from 192.0.2.9 port 4$i ssh2"
    host.root(f'for i in 1 2 3 4; do logger -t sshd "{line}"; done; journalctl --sync')
    before = host.tree()
    said, kept = selftest(host, desk)
    assert kept == {"exit": 2} and "bob from 192.0.2.9" in said and "--yes-throw-away" in said, said
    assert host.tree() == before
