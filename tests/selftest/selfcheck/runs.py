# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook with this clone's collection, and their results as data."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .link import Link
from .options import Options

ROOT = Path(__file__).resolve().parents[3]
PLAYS = ROOT / "tests" / "selftest" / "plays"
CALLBACKS = ROOT / "tests" / "e2e" / "callbacks"
NAME = "host"
_SECONDS = 600
# What a run may take from the user's shell; anything else could change what is tested.
_KEPT = ("PATH", "HOME", "USER", "LANG", "TERM", "SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY", "ANSIBLE_COLLECTIONS_PATH")


class Run(NamedTuple):
    """One finished run: exit code, what it printed, what each task returned."""

    rc: int
    out: str
    tasks: list[dict[str, Any]]

    def of(self, action: str) -> dict[str, Any]:
        """Return the last result of an action of ours by its short name; {} where it did not run."""
        found = [one["result"] for one in self.tasks if one["action"] == f"latchkey.ssh.{action}"]
        return dict(found[-1]) if found else {}

    @property
    def why(self) -> str:
        """Return what the run says went wrong, in one line."""
        texts = [str(one["result"].get("msg", "")) for one in self.tasks if one["outcome"] in ("failed", "unreachable")]
        said = " ".join([text for text in texts if text] or self.out.split()[-60:])
        return " ".join(said.split()) or f"ansible-playbook ended with {self.rc}"


class Runner:
    """Starts runs for one host."""

    def __init__(self, options: Options, link: Link, folder: Path, core: str) -> None:
        self._link, self._folder, self._core = link, folder, core
        self._count = itertools.count(1)
        variables = {"ansible_host": options.host, "ansible_ssh_common_args": shlex.join(_common(options))}
        if options.user:
            variables["ansible_user"] = options.user
        if link.key:
            variables["ansible_ssh_private_key_file"] = str(Path(link.key).expanduser().absolute())
        if link.password is not None:
            # In the environment of the runs alone, never in a file.
            variables["ansible_become_password"] = "{{ lookup('env', 'SELFTEST_BECOME_PASSWORD') }}"
        self._inventory = folder / "inventory.json"
        self._inventory.write_text(json.dumps({"all": {"hosts": {NAME: variables}}}), encoding="utf-8")

    def play(self, playbook: Path, variables: Mapping[str, Any] | None = None) -> Run:
        """Run a playbook and wait for its end."""
        records = self._folder / f"records{next(self._count)}"
        records.write_text("", encoding="utf-8")
        ansible = ROOT / ".venv" / self._core / "bin" / "ansible-playbook"
        argv = [str(ansible), "-i", str(self._inventory), str(playbook), "-e", json.dumps(dict(variables or {}))]
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env=self._environment(records),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        lines = records.read_text(encoding="utf-8").splitlines()
        return Run(done.returncode, done.stdout, [json.loads(line) for line in lines])

    def _environment(self, records: Path) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        # Shared connections of one run must not be met by the next: the host may have been restarted in between.
        sockets = self._folder / f"s{records.name[len('records') :]}"
        return {
            **kept,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "keep_results",
            "LATCHKEY_TEST_RESULTS": str(records),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
            "SELFTEST_BECOME_PASSWORD": self._link.password or "",
        }


def _common(options: Options) -> list[str]:
    only = ["-o", "IdentitiesOnly=yes"] if options.key else []
    return [*only, *options.ssh_args]


__all__ = ["NAME", "PLAYS", "ROOT", "Run", "Runner"]
