# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook as a person starts them: an own home, an own inventory, and the results as data."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from live import BUILD, ROOT, Host

# What a run may inherit from the shell that starts the tests; anything else could change what is tested.
_KEPT = ("PATH", "LANG", "TERM", "PYTHONDONTWRITEBYTECODE", "ANSIBLE_COLLECTIONS_PATH")


class Result:
    """What one run did: exit code, what it printed, and what each task returned on each host."""

    def __init__(self, rc: int, out: str, tasks: list[dict[str, Any]]) -> None:
        self.rc = rc
        self.out = out
        self.tasks = tasks

    @property
    def words(self) -> str:
        """Return what it printed with all white space made single blanks: messages are folded as they come."""
        return " ".join(self.out.split())

    def of(self, host: Any, action: str) -> dict[str, Any]:
        """Return the last result of an action of ours (its short name) on a host; {} where it did not run."""
        name = getattr(host, "name", host)
        wanted = (name, f"latchkey.ssh.{action}")
        found = [one["result"] for one in self.tasks if (one["host"], one["action"]) == wanted]
        return found[-1] if found else {}

    def record(self, host: Any) -> dict[str, Any]:
        """Return the record that the summary made of a host; fail the test with the run's words where there is none."""
        record = self.of(host, "summary").get("record")
        assert record, self.out
        return record

    def status(self, host: Any) -> str:
        """Return the one word for a host, with the reasons where it was refused."""
        return "; ".join(text for text in (self.record(host)["status"], self.refused(host)) if text)

    def refused(self, host: Any) -> str:
        """Return why a host was refused; '' where it was not."""
        return self.of(host, "summary").get("msg", "")

    def __repr__(self) -> str:
        return f"<run: exit {self.rc}>\n{self.out}"


class Controller:
    """One person's machine: a home of its own that ssh and Ansible both believe in, an inventory, maybe an agent."""

    def __init__(self) -> None:
        # Short: the sockets of connection sharing live below it, and their paths end at 108 bytes.
        self.path = Path(tempfile.mkdtemp(prefix="lk-", dir="/tmp"))
        self.home = self.path / "home"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self.environment.update(HOME=str(self.home), LC_ALL="C.UTF-8", ANSIBLE_NOCOLOR="1")
        self._agents: list[int] = []
        self._passwd()

    def close(self) -> None:
        """End what was started and remove what was written."""
        for pid in self._agents:
            os.kill(pid, signal.SIGTERM)
        shutil.rmtree(self.path, ignore_errors=True)

    def key(self, name: str = "keys/operator", *options: str, passphrase: str = "") -> Path:
        """Make a key pair below the home and return its private file."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        words = options or ("-t", "ed25519")
        argv = ["ssh-keygen", "-q", *words, "-N", passphrase, "-C", path.name, "-f", str(path)]
        subprocess.run(argv, check=True, capture_output=True, text=True)
        return path

    def agent(self, *keys: Path, passphrase: str = "") -> str:
        """Start an agent that holds these keys, let the next runs see it, and return its socket."""
        socket = str(self.path / f"agent{len(self._agents)}")
        said = subprocess.run(["ssh-agent", "-s", "-a", socket], check=True, capture_output=True, text=True).stdout
        self._agents.append(int(said.split("SSH_AGENT_PID=")[1].split(";")[0]))
        self.environment["SSH_AUTH_SOCK"] = socket
        for key in keys:
            self.add_to_agent(key, passphrase)
        return socket

    def add_to_agent(self, key: Path, passphrase: str = "") -> None:
        """Do what a person does with ssh-add."""
        answer = self.path / "askpass"
        answer.write_text('#!/bin/sh\nprintf "%s\\n" "$ANSWER"\n')
        answer.chmod(0o700)
        shell = {"SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force", "ANSWER": passphrase, "DISPLAY": ":0"}
        subprocess.run(["ssh-add", "-q", str(key)], env={**self.environment, **shell}, check=True, capture_output=True)

    def known_hosts(self, *hosts: Host) -> None:
        """Write what the home knows of these hosts' keys, as after a first careful login."""
        wanted = {host.name for host in hosts}
        lines = (BUILD / "known_hosts").read_text(encoding="ascii").splitlines()
        kept = [line for line in lines if line.split(" ", 1)[0].split(",")[-1] in wanted]
        (self.home / ".ssh" / "known_hosts").write_text("\n".join([*kept, ""]), encoding="ascii")

    def inventory(self, hosts: Sequence[Host], changes: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
        """Write an inventory of hosts; ``changes`` are variables by host, a value of None takes one away."""
        listed = {}
        for host in hosts:
            variables = {**host.variables, **(changes or {}).get(host.name, {})}
            listed[host.name] = {name: value for name, value in variables.items() if value is not None}
        folder = self.path / "inventory"
        folder.mkdir(exist_ok=True)
        # Every JSON document is YAML.
        (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": listed}}, indent=1), encoding="utf-8")
        return folder

    def play(self, text: str) -> Path:
        """Write a playbook of somebody's own and return its path."""
        path = self.path / "play.yml"
        path.write_text(text, encoding="utf-8")
        return path

    def run(
        self, inventory: Path, *arguments: str, core: str = "new", playbook: Any = None, **environment: str
    ) -> Result:
        """Run a playbook, harden.yml unless another is given; keyword arguments are environment variables."""
        return self.finish(self.start(inventory, *arguments, core=core, playbook=playbook, **environment))

    def start(
        self, inventory: Path, *arguments: str, core: str = "new", playbook: Any = None, **environment: str
    ) -> tuple[subprocess.Popen[str], Path]:
        """Start a run without waiting for its end."""
        records = self.path / "records"
        records.write_text("")
        variables = {
            **self.environment,
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests" / "e2e" / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "keep_results",
            "LATCHKEY_TEST_RESULTS": str(records),
            **environment,
        }
        ansible = ROOT / ".venv" / core / "bin" / "ansible-playbook"
        argv = [str(ansible), "-i", str(inventory), str(playbook or ROOT / "playbooks" / "harden.yml"), *arguments]
        return self.popen(argv, variables), records

    def finish(self, started: tuple[subprocess.Popen[str], Path], seconds: float = 180) -> Result:
        """Wait for a run and return what it did."""
        process, records = started
        try:
            out = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        # A person never wants to see one, whatever went wrong.
        assert "Traceback (most recent call last)" not in out, out
        return Result(process.returncode, out, [json.loads(line) for line in records.read_text().splitlines()])

    def popen(self, argv: Sequence[str], variables: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a program in which getpwuid() and HOME agree on this home: ssh asks the one, Ansible the other."""
        script = 'mount --bind "$1" /etc/passwd; shift; exec "$@"'
        wrapped = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", str(self._passwd())]
        return subprocess.Popen(
            [*wrapped, *argv],
            env=dict(variables or self.environment),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _passwd(self) -> Path:
        path = self.path / "passwd"
        if not path.exists():
            lines = []
            for line in Path("/etc/passwd").read_text(encoding="utf-8").splitlines():
                fields = line.split(":")
                if int(fields[2]) == os.geteuid():
                    fields[5] = str(self.home)
                lines.append(":".join(fields))
            path.write_text("\n".join([*lines, ""]), encoding="utf-8")
        return path


__all__ = ["Controller", "Result"]
