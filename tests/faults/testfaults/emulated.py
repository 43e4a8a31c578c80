# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual machine of tests/vm as a place for faults: SELinux enforcing, a kernel, disks and a clock of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from .place import OPERATOR, PASSWORDS, ROOT, key

sys.path[:0] = [str(ROOT / "tests" / "vm"), str(ROOT / "tests" / "selftest")]
from selfcheck import judge  # noqa: E402  (the tools are programs, not installed packages)
from testvm import inventory, machine  # noqa: E402
from testvm.common import BUILD, install  # noqa: E402

_KEPT = "prepared"
# Of itself ext4 writes down after 5 s what nobody asked for: what the product forgot to sync shall be lost here.
_COMMIT_SECONDS = 300


class Emulated:
    """One virtual machine."""

    generation = 10
    kind = "vm"
    # A login takes seconds under emulation, and Python starts ten times as slowly.
    pace = 6

    def __init__(self, name: str) -> None:
        self.name = name
        self._denied: list[str] = []
        self.reset()

    def reset(self) -> None:
        """Make it new, as it is after its first boot."""
        install()
        self._machine = machine.up(self.name, lambda text: print(text, flush=True), cold=False)
        inventory.write()

    def run(
        self, command: str, *, stdin: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command as root, past sshd."""
        done = self._machine.execute("sh", "-c", command, stdin=stdin or b"")
        if check:
            done.check_returncode()
        return done

    def argv(self, command: str) -> list[str]:
        """Return the words that run a shell command as root, past sshd."""
        return [str(ROOT / "tests" / "vm" / "vm"), "exec", self.name, "--", "sh", "-c", command]

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start a shell command with pipes to it: through sshd, since past it nothing is heard before the end."""
        return subprocess.Popen(
            machine.login(self._machine, "root", ["-S", "none", command]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _options(self) -> list[str]:
        return [f"UserKnownHostsFile={BUILD}/known_hosts", "StrictHostKeyChecking=yes"]

    def ssh(self, command: str) -> list[str]:
        """Return the words that run a command as the operator over a fresh key login of its own."""
        options = [*self._options(), "IdentitiesOnly=yes", "BatchMode=yes", "ConnectTimeout=24"]
        options += ["PreferredAuthentications=publickey", "LogLevel=ERROR", "IdentityAgent=none"]
        argv = ["ssh", "-F", "none", "-S", "none", "-p", str(self._machine.port), "-i", str(key())]
        return [*argv, *[word for one in options for word in ("-o", one)], f"{OPERATOR}@127.0.0.1", command]

    def variables(self) -> dict[str, Any]:
        """Return what an inventory says of it, its operator having a key."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self._machine.port,
            "ansible_user": OPERATOR,
            "ansible_ssh_private_key_file": str(key()),
            "ansible_become": True,
            "ansible_become_password": PASSWORDS[OPERATOR],
            "ansible_ssh_common_args": " ".join(f"-o {word}" for word in self._options()),
            "harden_key": str(key()),
        }

    def restart(self) -> None:
        """Reboot from inside, and wait until sshd is up."""
        self._machine.begin_reboot()
        self.await_up()

    def cut_power(self) -> None:
        """End everything at once; what was not synced is lost."""
        self._machine.kill()

    def switch_on(self) -> None:
        """Start it again, without waiting."""
        self._machine.power_on()

    def await_up(self) -> None:
        """Wait until sshd is up."""
        self._machine.wait(self._machine.greets)

    def keep(self) -> None:
        """Save memory and disks."""
        commands = [f"mount -o remount,commit={_COMMIT_SECONDS} {where}" for where in ("/", "/var")]
        self.run("; ".join(["set -e", *commands, "sync"]))
        # What any login of root is denied here is no doing of ours.
        self.start("true").wait()
        self._denied = self._all_denials()
        self._machine.save(_KEPT)

    def put_back(self) -> None:
        """Go back to the memory and disks that were saved."""
        self._machine.restore(_KEPT)

    def _all_denials(self) -> list[str]:
        found = self.run("grep -hE 'AVC .*denied' /var/log/audit/audit.log", check=False)
        return found.stdout.decode(errors="replace").splitlines()

    def denials(self) -> list[str]:
        """Return what SELinux denied of ours since it was remembered."""
        return judge.denials(self._denied, self._all_denials()).ours

    def close(self) -> None:
        """Switch it off and remove it."""
        self._machine.remove()
        inventory.write()
