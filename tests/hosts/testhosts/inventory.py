# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what others need to use the hosts: inventory.yml, known_hosts, ssh_config, state.json."""

import json
import os
from collections.abc import Iterable

from .accounts import OPERATOR, PASSWORDS
from .common import BUILD
from .hosts import Host
from .states import load

FILES = ("inventory.yml", "known_hosts", "ssh_config", "state.json")


def write(hosts: Iterable[Host]) -> None:
    """Write the four files for the hosts that are up; their host keys come from build/hosts/kept (hosts.keep_keys)."""
    ready = [host for host in hosts if host.running and (BUILD / "kept" / host.name / "host_keys.tar").exists()]
    _replace("known_hosts", "".join(_known(host) for host in ready))
    _replace("ssh_config", "".join(_ssh_config(host) for host in ready))
    _replace("inventory.yml", _yaml(ready))
    _replace("state.json", json.dumps({host.name: _record(host) for host in ready}, indent=2, sort_keys=True) + "\n")


def _replace(name: str, content: str) -> None:
    fresh = BUILD / f"{name}.new"
    fresh.write_text(content, encoding="utf-8")
    os.replace(fresh, BUILD / name)


def _known(host: Host) -> str:
    lines = []
    for path in sorted((BUILD / "kept" / host.name).glob("*.pub")):
        kind, blob = path.read_text(encoding="ascii").split()[:2]
        lines.append(f"{host.ip},{host.name} {kind} {blob}\n")
    return "".join(lines)


def _ssh_config(host: Host) -> str:
    return (
        f"Host {host.name}\n  HostName {host.ip}\n  User {OPERATOR}\n"
        f'  UserKnownHostsFile "{BUILD}/known_hosts"\n  StrictHostKeyChecking yes\n\n'
    )


def variables(host: Host) -> dict[str, str | bool]:
    """Return the inventory variables of one host: the common ones, then its start state's."""
    values: dict[str, str | bool] = {
        "ansible_host": host.ip,
        "ansible_user": OPERATOR,
        "ansible_password": PASSWORDS[OPERATOR],
        "ansible_become": True,
        "ansible_become_password": PASSWORDS[OPERATOR],
        "ansible_ssh_common_args": f'-o UserKnownHostsFile="{BUILD}/known_hosts" -o StrictHostKeyChecking=yes',
    }
    values.update(load(host.state).variables)
    return {key: value for key, value in values.items() if value != ""}


def _yaml(hosts: list[Host]) -> str:
    if not hosts:
        return "---\nall: {}\n"
    lines = ["---", "# Written by tests/hosts/hosts; the next up or down writes it again.", "all:", "  hosts:"]
    for host in hosts:
        lines.append(f"    {host.name}:")
        lines += [f"      {key}: {json.dumps(value)}" for key, value in variables(host).items()]
    lines.append("  children:")
    groups: dict[str, list[str]] = {}
    for host in hosts:
        for group in (f"gen{host.generation}", f"state_{host.state}"):
            groups.setdefault(group, []).append(host.name)
    for group, members in sorted(groups.items()):
        lines += [f"    {group}:", "      hosts:", *(f"        {name}: {{}}" for name in members)]
    return "\n".join(lines) + "\n"


def _record(host: Host) -> dict[str, str | int]:
    return {
        "generation": host.generation,
        "state": host.state,
        "kind": host.kind,
        "address": host.ip,
        "container": host.container,
        "image": host.image,
    }
