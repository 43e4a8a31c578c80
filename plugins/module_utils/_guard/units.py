# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units that systemd starts the guardian by, and the host's command. PRIVATE to the collection."""

import os
import pkgutil
from typing import Dict, List

from .._errors import HostError
from .._host import files, programs
from . import guardian

# AlmaLinux 8 has no /usr/bin/python3 unless somebody installed it.
_INTERPRETERS = ("/usr/libexec/platform-python", "/usr/bin/python3")
_BOOT = """\
[Unit]
Description=Latchkey: after a restart, go back to the SSH access that was confirmed last
DefaultDependencies=no
RequiresMountsFor=/etc {base}
After=local-fs.target
Before=sysinit.target sockets.target network-pre.target firewalld.service sshd.service sshd.socket shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
Environment=LATCHKEY_UNIT={boot}
SyslogIdentifier=latchkey
ExecStart={python} -I -S -B {program} boot
TimeoutStartSec=90

[Install]
WantedBy=sysinit.target
"""
_GUARD = """\
[Unit]
Description=Latchkey: go back to the old SSH access unless somebody confirms the new one
After=local-fs.target remote-fs.target autofs.service nss-user-lookup.target
IgnoreOnIsolate=yes
StartLimitIntervalSec=0

[Service]
Environment=LATCHKEY_UNIT={guard}
SyslogIdentifier=latchkey
ExecStart={python} -I -S -B {program} watch
Restart=always
RestartSec=1
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
"""
_COMMAND = """\
#!/bin/sh
# Latchkey: the way back of this host, without controller or network.
exec {python} -I -S -B {program} "$@"
"""


def python() -> str:
    """Return the system's own interpreter: never the one that somebody chose for Ansible, which may go away.

    Raises:
        HostError: there is none.
    """
    for path in _INTERPRETERS:
        if os.access(path, os.X_OK):
            return path
    raise HostError("the host has no Python of its own for the guardian", "run `dnf install python3`", _INTERPRETERS[0])


def program(places: guardian.Places) -> str:
    """Return where the guardian's file lies on the host."""
    return os.path.join(places.base, "guardian.py")


def install(places: guardian.Places) -> None:
    """Put the guardian, its units and the command ``latchkey`` in place; nothing is enabled or started."""
    source = pkgutil.get_data(guardian.__name__.rpartition(".")[0], "guardian.py")
    if source is None:
        raise HostError("the guardian's own file is not in the collection", "install the collection anew")
    fields: Dict[str, object] = dict(python=python(), program=program(places), base=places.base)
    fields.update(boot=guardian.BOOT_UNIT, guard=guardian.GUARD_UNIT)
    _write(program(places), source, 0o600)
    if os.path.isdir(os.path.dirname(places.command)):
        _write(places.command, _COMMAND.format(**fields).encode(), 0o755)
    for name, text in ((guardian.BOOT_UNIT, _BOOT), (guardian.GUARD_UNIT, _GUARD)):
        _write(os.path.join(places.units, name), text.format(**fields).encode(), 0o644)


def enable(places: guardian.Places) -> None:
    """Have systemd start both units at boot, by the links that `systemctl enable` would make."""
    for link in [path for path in guardian.unit_files(places) if path.count(".wants/")]:
        os.makedirs(os.path.dirname(link), 0o755, exist_ok=True)
        if not os.path.islink(link):
            os.symlink(os.path.join("..", os.path.basename(link)), link)
        guardian.sync_directory(os.path.dirname(link))
        guardian.sync_directory(places.units)


def trust(places: guardian.Places) -> List[List[str]]:
    """Tell fapolicyd, where it runs, about the guardian's file; returns what takes that back.

    Its stock rules let nobody open a script that it does not trust (fapolicyd.rules(5)).

    Raises:
        HostError: it does not take it.
    """
    path = program(places)
    command = programs.find("fapolicyd-cli")
    if command is None or programs.run(["systemctl", "is-active", "fapolicyd.service"]).status != 0:
        return []
    for argv in ([command, "--file", "add", path], [command, "--update"]):
        done = programs.run(argv)
        if done.status != 0 and "already" not in done.out + done.err:
            raise HostError(
                f"fapolicyd does not take the guardian: {(done.err or done.out).strip()}",
                f"run `fapolicyd-cli --file add {path}; fapolicyd-cli --update` and look at its answer",
                path,
            )
    return [[command, "--file", "delete", path], [command, "--update"]]


def _write(path: str, data: bytes, mode: int) -> None:
    if files.read(path).data != data or files.look(path).mode != mode:
        files.replace(path, data, mode)


__all__ = ["enable", "install", "program", "python", "trust"]
