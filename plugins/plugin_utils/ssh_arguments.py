# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments of the ssh client: what stands before the user's own, what is taken out, how jumps are made."""

from __future__ import annotations

import getopt
import shlex
from typing import NamedTuple

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Malformed

# First value wins in ssh(1), so these stand before everything the user configured.
_ALIVE = tuple("-o ServerAliveInterval=5 -o ServerAliveCountMax=4".split())
UNSHARED = (*"-S none -o ControlMaster=no".split(), *_ALIVE)
KEY_ONLY = (
    *"-o BatchMode=yes -o NumberOfPasswordPrompts=0".split(),
    *"-o PreferredAuthentications=publickey".split(),
)
FRESH = (*UNSHARED, *"-o ControlPersist=no".split(), *KEY_ONLY, "-v")
# What a client says that was to go through an open connection and found none; it must not make one of its own.
GONE = "the connection that was kept open is gone"
# ssh.c of 8.0 to 10.0; with -E and -y nothing would be left to read.
_GETOPT = "1246ab:c:e:fgi:kl:m:no:p:qstvxAB:CD:E:F:GI:J:KL:MNO:P:Q:R:S:TVw:W:XYy"
_SPOILING = ("-S", "-M", "-O", "-q", "-E", "-y", "-t")
_CONTROL_OPTIONS = ("controlmaster", "controlpath", "controlpersist")
# A terminal would mix what comes back with what was sent.
_QUIETING_OPTIONS = ("loglevel", "requesttty")
_CHECKING_OPTIONS = ("stricthostkeychecking",)
_JUMP_OPTIONS = ("proxyjump",)


class Cleaned(NamedTuple):
    """The user's own arguments without what would spoil a fresh login; ``jump`` is the ProxyJump they named."""

    words: tuple[str, ...]
    jump: str


def clean(arguments: str) -> Cleaned:
    """Take out of an ssh argument string: connection sharing, host key checking, quiet modes and ProxyJump.

    Sharing would let a login ride an old connection (``-S path`` beats an earlier ``-S none``); checking is decided by
    ``harden_host_key`` alone; ProxyJump comes back as a fresh ProxyCommand.
    """
    kept: list[str] = []
    jump = ""
    try:
        found, rest = getopt.getopt(shlex.split(arguments or ""), _GETOPT)
    except (getopt.GetoptError, ValueError) as error:
        raise Malformed(f"ssh cannot read its arguments `{arguments}`: {error}", "correct them", "ssh_args") from error
    for option, value in found:
        name, argument = split_option(value) if option == "-o" else ("", "")
        if option == "-J" or name in _JUMP_OPTIONS:
            jump = jump or argument or value
        elif option not in _SPOILING and name not in _CONTROL_OPTIONS + _QUIETING_OPTIONS + _CHECKING_OPTIONS:
            kept += [option, value] if value else [option]
    return Cleaned((*kept, *rest), jump)


def master(path: str, seconds: int) -> list[str]:
    """Return the arguments of a client that leaves its connection open for others at the socket ``path``.

    It takes no forwardings of the user's: those of the logins beside it would find their ports taken. With ``-v`` it
    would keep its standard error open, and Ansible waits for that.

    Args:
        seconds: for how long it stays without being used; nobody closes it where this run is killed.
    """
    words = f"-o ControlMaster=yes -o ControlPersist={seconds} -o ClearAllForwardings=yes".split()
    return ["-o", "ControlPath=" + path.replace("%", "%%"), *words, *_ALIVE]


def through(path: str) -> list[str]:
    """Return the arguments of a client that goes through the connection at the socket ``path``, or nowhere."""
    words = ["-F", "/dev/null", "-S", path.replace("%", "%%"), "-o", "ControlMaster=no", "-o", "BatchMode=yes"]
    # Without this the client would log in by itself where the connection is gone. It ends its command as soon as
    # that has no standard output any more, so a shell holds it until the words are said.
    return [*words, "-o", f"ProxyCommand=sh -c 'echo {GONE} >&2'"]


def split_option(text: str) -> tuple[str, str]:
    """Split the argument of ``-o`` into the lower-case keyword and its value (ssh_config(5))."""
    stripped = text.strip()
    for index, character in enumerate(stripped):
        if character in "= \t":
            return stripped[:index].lower(), stripped[index + 1 :].strip(" \t=").strip('"')
    return stripped.lower(), ""


def join(words: tuple[str, ...] | list[str]) -> str:
    """Write words so that Ansible's ssh plugin splits them into the same words."""
    return " ".join(shlex.quote(word) for word in words)


def proxy_command(hops: list[str], options: list[str], executable: str = "ssh") -> str:
    """Return a ProxyCommand that goes through ``hops`` by quiet clients that share no connection.

    ssh's own ProxyJump starts clients that read the user's configuration and may ride a master to the jump host.

    Args:
        options: more arguments of each of these clients, such as ``-F FILE``.
    """
    *before, last = hops
    words = [executable, "-q", "-S", "none", "-o", "ControlMaster=no", "-o", "BatchMode=yes"]
    words += [word.replace("%", "%%") for word in options]
    if before:
        # The outer client expands %h and %p of its own command; those of the inner one have to survive that.
        words += ["-o", "ProxyCommand=" + proxy_command(before, options, executable).replace("%", "%%")]
    return (
        " ".join(shlex.quote(word) for word in words + hop_words(last))
        + " -W '[%h]:%p'"
        + " "
        + shlex.quote(hop_name(last))
    )


def hop_words(hop: str) -> list[str]:
    """Return the user and port of a ProxyJump element (``[user@]host[:port]`` or a ssh:// URI) as arguments."""
    user, unused, port = _hop_parts(hop)
    return (["-l", user] if user else []) + (["-p", port] if port else [])


def hop_name(hop: str) -> str:
    """Return the host of a ProxyJump element."""
    return _hop_parts(hop)[1]


def destination(words: list[str]) -> list[str]:
    """Return the user, port and host that an ssh command line names, as arguments; nothing where it names no host."""
    named: dict[str, str] = {}
    host = ""
    while words:
        try:
            found, words = getopt.getopt(words, _GETOPT)
        except getopt.GetoptError:
            return []
        for option, value in found:
            named.setdefault(option, value)
        # Options may follow the host; what follows the next word is a command.
        if host or not words:
            break
        host, words = words[0], words[1:]
    options = [word for option in ("-l", "-p") if option in named for word in (option, named[option])]
    return [*options, *hop_words(host), hop_name(host)] if host else []


def _hop_parts(hop: str) -> tuple[str, str, str]:
    bare = hop.removeprefix("ssh://").rstrip("/")
    user, at, rest = bare.rpartition("@")
    if rest.count(":") > 1 and not rest.startswith("["):
        return (user if at else "", rest, "")
    if rest.startswith("["):
        host, unused, port = rest[1:].partition("]")
        return (user if at else "", host, port.lstrip(":"))
    host, colon, port = rest.rpartition(":")
    return (user if at else "", host if colon else rest, port if colon else "")


__all__ = ["FRESH", "GONE", "KEY_ONLY", "UNSHARED", "Cleaned"]
__all__ += [
    "clean",
    "destination",
    "hop_name",
    "hop_words",
    "join",
    "master",
    "proxy_command",
    "split_option",
    "through",
]
