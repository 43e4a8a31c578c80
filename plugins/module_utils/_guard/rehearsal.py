# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage on which a configuration is tried by a real login before it is applied. PRIVATE to the collection.

systemd starts ``sshd -i`` with the candidate for each connection to a socket that only one account can reach: no port,
no listener, no rule of a firewall changes. The stage ends by itself.
"""

import contextlib
import os
import secrets
import shutil
from typing import Dict, List, NamedTuple, Tuple

from .._errors import HostError, LatchkeyError
from .._host import accounts, programs, selinux, sshd, systemd
from .._host.host import Host
from .._openssh import effective, source_list, sshd_tree
from .._openssh.effective import Connection

SECONDS = 120
# A directory of its own: the label of the guardian's is none that an sshd of systemd's could pass everywhere.
ROOT = "/run/latchkey-rehearsal"
SOCKET = "/run/latchkey-rehearsal.sock"
UNITS = "/run/systemd/system"
SOCKET_UNIT = "latchkey-rehearsal.socket"
LOGIN_UNIT = "latchkey-rehearsal@.service"
END_UNIT = "latchkey-rehearsal-end.service"
_FIELD = "LATCHKEY_REHEARSAL"
# sshd -i has no client address, and says this instead (canohost.c).
_UNKNOWN = "UNKNOWN"
_MOST_LOGINS = 4
_DESCRIPTION = "Latchkey: try a configuration of sshd before it is applied"

_SOCKET = """\
[Unit]
Description={description}
CollectMode=inactive-or-failed

[Socket]
ListenStream={socket}
Accept=yes
SocketUser={uid}
SocketMode=0600
MaxConnections={most}
RemoveOnStop=yes
"""
_LOGIN = """\
[Unit]
Description={description}
CollectMode=inactive-or-failed

[Service]
{environment}
ExecStart=-{binary} -i -e -f {main} {options} -o LogLevel=VERBOSE
StandardInput=socket
StandardError=journal
SyslogIdentifier=sshd
SyslogFacility=authpriv
LogExtraFields={journal}
RuntimeMaxSec={seconds}
TimeoutStopSec=5
Slice=system.slice
"""
# However the sleep ends, what follows is done: at the time limit, when it is stopped, when it is killed.
_END = """\
[Unit]
Description={description} (its end)
CollectMode=inactive-or-failed

[Service]
ExecStart={sleep} {seconds}
ExecStopPost=-{systemctl} stop {socket_unit} latchkey-rehearsal@*.service
ExecStopPost=-{rm} -rf {root} {socket} {units}
TimeoutStopSec=20
"""


class Stage(NamedTuple):
    """What a controller needs to rehearse: the socket, what journalctl finds its log by, and when it ends by itself.

    ``origin`` names what depends on the client's address, which sshd does not know here. ``why`` says why nothing can
    be rehearsed on this host; '' where it can.
    """

    socket: str = ""
    journal: str = ""
    seconds: int = 0
    origin: Tuple[str, ...] = ()
    why: str = ""


def start(host: Host, tree: sshd_tree.Tree, account: accounts.Account, *, seconds: int = SECONDS) -> Stage:
    """Let ``account`` reach an sshd that has ``tree`` for its configuration; this never fails, see ``Stage.why``.

    Args:
        seconds: the time after which everything is gone again, whoever still runs.
    """
    try:
        stop()
        stage = Stage(SOCKET, f"{_FIELD}={secrets.token_hex(8)}", seconds, origin(host, tree, account))
        os.mkdir(ROOT, 0o700)
        main = sshd.lay_out(host.sshd, tree, ROOT)
        _label_below(ROOT)
        for name, text in _units(host.sshd, main, stage, account.uid).items():
            _write(os.path.join(UNITS, name), text)
        for argv in (["daemon-reload"], ["start", END_UNIT], ["start", SOCKET_UNIT]):
            _control(argv)
        return stage
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    except LatchkeyError as error:
        reason = error.reason
    with contextlib.suppress(OSError, LatchkeyError):
        stop()
    return Stage(why=f"the host cannot do it: {reason}")


def stop() -> None:
    """End the stage and every login on it; nothing happens where there is none."""
    units = [os.path.join(UNITS, name) for name in (END_UNIT, SOCKET_UNIT, LOGIN_UNIT)]
    if not any(os.path.lexists(path) for path in units + [ROOT, SOCKET]):
        return
    programs.run(["systemctl", "stop", END_UNIT, SOCKET_UNIT, LOGIN_UNIT.replace("@", "@*")])
    shutil.rmtree(ROOT, ignore_errors=True)
    for path in units + [SOCKET]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def origin(host: Host, tree: sshd_tree.Tree, account: accounts.Account) -> Tuple[str, ...]:
    """Name what sshd would decide in another way for this account if it did not know where the login comes from."""
    real = host.connection(account)._replace(groups=accounts.groups_of(account))
    unknown = Connection(real.user, real.groups, _UNKNOWN, "", "", 65535)
    known, other = effective.evaluate_all(tree, [real, unknown])
    found = [key for key in known.values if known.values[key] != other.values.get(key)]
    for keyword in ("allowusers", "denyusers"):
        lists = other.values.get(keyword, ())
        if _listed(lists, real) != _listed(lists, unknown) and keyword not in found:
            found.append(keyword)
    return tuple(sorted(found))


def _listed(patterns: Tuple[str, ...], connection: Connection) -> bool:
    """Say whether a list of users names the one who connects (match.c match_user)."""
    for pattern in patterns:
        user, at, place = pattern.rpartition("@")
        if source_list.match_pattern(connection.user, user if at else pattern):
            if not at or source_list.match_source(connection.host, connection.addr or _UNKNOWN, place) == 1:
                return True
    return False


def _units(daemon: sshd.Sshd, main: str, stage: Stage, uid: int) -> Dict[str, str]:
    units = " ".join(os.path.join(UNITS, name) for name in (END_UNIT, SOCKET_UNIT, LOGIN_UNIT))
    fields: Dict[str, object] = dict(description=_DESCRIPTION, socket=stage.socket, uid=uid, most=_MOST_LOGINS)
    fields.update(binary=daemon.binary, main=systemd.quoted(main), journal=stage.journal, seconds=stage.seconds)
    fields.update(options=" ".join(systemd.quoted(word) for word in daemon.options))
    fields.update(environment="\n".join(systemd.environment_lines(daemon.unit.name)))
    fields.update(sleep=_program("sleep"), systemctl=_program("systemctl"), rm=_program("rm"))
    fields.update(socket_unit=SOCKET_UNIT, root=ROOT, units=units)
    return {
        SOCKET_UNIT: _SOCKET.format(**fields),
        LOGIN_UNIT: _LOGIN.format(**fields),
        END_UNIT: _END.format(**fields),
    }


def _program(name: str) -> str:
    found = programs.find(name)
    if found is None:
        raise HostError(f"`{name}` is missing")
    return found


def _write(path: str, text: str) -> None:
    # Nothing here has to survive a power cut: /run does not.
    os.makedirs(UNITS, 0o755, exist_ok=True)
    with open(path, "w", encoding="utf-8") as handle:
        os.fchmod(handle.fileno(), 0o644)
        handle.write(text)
    _label(path, path)


def _label_below(root: str) -> None:
    """Give each file and directory the label of the one it stands for: that is what an sshd of systemd's can read.

    The way to them gets that of sshd's own configuration.
    """
    if selinux.enabled():
        _label(root, "/etc/ssh")
        for folder, folders, names in os.walk(root):
            for path in [os.path.join(folder, name) for name in folders + names]:
                _label(path, path[len(root) :])


def _label(path: str, like: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        selinux.set_label(handle, selinux.label_for(like, os.fstat(handle).st_mode))
    finally:
        os.close(handle)


def _control(argv: List[str]) -> None:
    done = programs.run(["systemctl"] + argv)
    if done.status != 0:
        raise HostError(f"`systemctl {' '.join(argv)}` failed: {' '.join(done.err.split())}")


__all__ = ["END_UNIT", "SECONDS", "Stage", "origin", "start", "stop"]
