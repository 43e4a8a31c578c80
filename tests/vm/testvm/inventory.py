# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a tester uses: known_hosts, ssh_config and an inventory of the machines that exist."""

from pathlib import Path

from testhosts.accounts import OPERATOR, PASSWORDS

from .common import BUILD, KEY
from .machine import machines


def write() -> None:
    """Write them again."""
    found = machines()
    known, config, hosts = [], [], []
    for machine in found:
        base = Path((machine.directory / "image").read_text(encoding="ascii"))
        key = (base / "known_host").read_text(encoding="ascii")
        known.append(f"[127.0.0.1]:{machine.port} {key}\n")
        config.append(f"Host {machine.name}\n  Port {machine.port}\n")
        hosts.append(
            f"    {machine.name}: {{ansible_host: 127.0.0.1, ansible_port: {machine.port}, ansible_user: {OPERATOR}, "
            f"ansible_password: {PASSWORDS[OPERATOR]}, ansible_become_password: {PASSWORDS[OPERATOR]}}}\n"
        )
    rest = (
        "Host *\n  HostName 127.0.0.1\n  User root\n  LogLevel ERROR\n  StrictHostKeyChecking yes\n"
        f"  UserKnownHostsFile {BUILD}/known_hosts\n  IdentityFile {KEY}\n  IdentitiesOnly yes\n"
    )
    extra = f"-o UserKnownHostsFile={BUILD}/known_hosts -o StrictHostKeyChecking=yes"
    inventory = (
        "# Written by tests/vm/vm; every change is lost.\ngen10:\n  vars:\n"
        f"    ansible_ssh_common_args: {extra}\n    ansible_python_interpreter: /usr/libexec/platform-python\n"
        "  hosts:\n" + "".join(hosts)
    )
    for name, text in (
        ("known_hosts", "".join(known)),
        ("ssh_config", "".join(config) + rest),
        ("inventory.yml", inventory),
    ):
        partial = BUILD / f".{name}"
        partial.write_text(text, encoding="utf-8")
        partial.rename(BUILD / name)
