# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong between the controller and root on the host, in one line with a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible.release import __version__ as core_version
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError, Refused
from ansible_collections.latchkey.ssh.plugins.plugin_utils import interpreter, ssh_arguments, transcript
from ansible_collections.latchkey.ssh.plugins.plugin_utils.connections import Reached
from ansible_collections.latchkey.ssh.plugins.plugin_utils.host_key import HostKeyPolicy

# What sudo says (sudo(8)), and what Ansible's ssh plugin makes of it.
_SUDO = (
    (
        ("Incorrect sudo password", "Sorry, try again", "incorrect password attempt"),
        "the sudo password is wrong",
        "correct ansible_become_password (or -K)",
    ),
    (
        ("Missing sudo password", "a password is required", "a terminal is required"),
        "sudo wants a password and none is set",
        "set ansible_become_password (or give -K)",
    ),
    (
        ("is not in the sudoers file", "not allowed to execute", "may not run sudo"),
        "this account may not use sudo",
        "give it a rule in /etc/sudoers.d, or connect as another account",
    ),
    (
        ("waiting for privilege escalation prompt",),
        "sudo did not answer",
        "run `sudo -l` on the host as this account: is there a rule for it, and what does sudo log?",
    ),
    (
        ("you must have a tty",),
        "sudo wants a terminal (requiretty)",
        "put `Defaults:NAME !requiretty` into /etc/sudoers.d",
    ),
    (
        ("sudo: not found", "sudo: command not found", "sudo: No such file"),
        "sudo is not installed",
        "run `dnf install sudo` as root",
    ),
)
_STRICT = HostKeyPolicy("strict")
UNREACHABLE = "cannot be reached"
_OLD_PYTHON = ("Ansible requires Python", "future feature annotations", "SyntaxError")
_NO_PYTHON = ("No such file or directory", "not found")


def of_login(reached: Reached, user: str, policy: HostKeyPolicy = _STRICT) -> LatchkeyError:
    """Say why a login failed before any command ran."""
    said = reached.transcript
    sudo = of_sudo(reached.error)
    if sudo is not None:
        return sudo
    if transcript.host_key_failed(said):
        return _host_key(said, policy)
    if "SSH_AGENT disabled" in reached.error:
        return Refused(
            "Ansible uses this key through an agent only, and its agent is switched off",
            "set ANSIBLE_SSH_AGENT=auto, or ssh_agent = auto below [connection] in ansible.cfg",
            "ansible_ssh_private_key",
        )
    if "sshpass" in reached.error and "install" in reached.error:
        return HostError(
            "logging in by password needs sshpass with this ansible-core", "install the package sshpass", "controller"
        )
    if "Too many authentication failures" in said.words:
        return Refused(
            "the agent offered too many keys before the right one",
            "name the key: harden_key (or ansible_ssh_private_key_file)",
            user,
        )
    if "Not allowed at this time" in said.words:
        return Refused(
            "the host does not talk to this address for now (PerSourcePenalties)",
            "wait a minute; look for failing logins from here",
        )
    if said.refused is not None:
        return _not_let_in(user, said.refused, password=reached.password)
    return _unreached(reached)


def _not_let_in(user: str, offers: Sequence[str], *, password: bool) -> Refused:
    offered = f"it offers {', '.join(offers)}"
    if password:
        reason = f"the host let {user} in neither by key nor by password ({offered})"
        return Refused(reason, _WRONG_PASSWORD, user)
    remedy = "check ansible_user and its key (harden_key), and the keys of this account on the host"
    if {"password", "keyboard-interactive"} & set(offers):
        remedy += "; to come in by password set ansible_password, or use -k"
    return Refused(f"the host let {user} in by no key ({offered}), and no password was tried", remedy, user)


def _unreached(reached: Reached) -> LatchkeyError:
    words = reached.transcript.words
    if ssh_arguments.GONE in words:
        return HostError(ssh_arguments.GONE, "check the network and sshd", UNREACHABLE)
    if "UNKNOWN port" in words:
        remedy = "log in to the jump host by hand: is its key known, and does it take yours without asking?"
        return HostError(f"the way through the jump host ended: {words}", remedy, UNREACHABLE)
    return HostError(reached.error or words, "check its address, the network and sshd", UNREACHABLE)


def _host_key(said: transcript.Transcript, policy: HostKeyPolicy) -> LatchkeyError:
    shown = said.host_key or "a key that ssh did not show"
    if policy.mode == "pinned":
        reason = f"the host shows {shown}, and {', '.join(policy.fingerprints)} is pinned: no password was sent"
        remedy = "somebody else may be answering: compare it on the host's console (ssh prefers ed25519: pin that)"
    elif "has changed" in said.words:
        reason = f"the host shows {shown}, and known_hosts has another key: no password was sent"
        remedy = (
            "compare it on the host's console; if it is right, run `ssh-keygen -R` for this host and put the new key in"
        )
    else:
        reason = f"the host's key is not known here ({shown}): no password was sent"
        remedy = "compare it on the host's console, then add it to known_hosts, or harden_host_key: [that fingerprint]"
    return Refused(reason, remedy, "host key")


_WRONG_PASSWORD = "check ansible_user and ansible_password (or -k)"


def of_module(result: dict[str, Any], reached: Reached) -> LatchkeyError | None:
    """Say why a module gave no result of its own, or None when it did."""
    if not result:
        return None
    # Only what the host said: Ansible's own words may quote the command that looks for a Python.
    heard = " ".join(str(result.get(part) or "") for part in ("module_stderr", "module_stdout"))
    said = heard.strip() or str(result.get("msg") or "")
    if interpreter.NONE_FITS in heard:
        return _no_python(heard)
    if "rc" not in result or "error" in result:
        return None
    sudo = of_sudo(said)
    if sudo is not None:
        return sudo
    if any(words in said for words in _OLD_PYTHON):
        return _mismatch(said)
    if result.get("rc") == 127 or any(words in said for words in _NO_PYTHON):
        return HostError(
            "the host has no Python at the path that is set",
            "correct ansible_python_interpreter, or leave it unset",
            "python",
        )
    return HostError(f"the module did not run: {_short(said)}", "run again with -vvv")


def of_sudo(said: str) -> LatchkeyError | None:
    """Recognise what sudo has to say."""
    for words, reason, remedy in _SUDO:
        if any(word in said for word in words):
            return Refused(reason, remedy, "become")
    return None


def _no_python(said: str) -> LatchkeyError:
    there = said.partition(interpreter.NONE_FITS)[2].split("\n")[0].split()
    if not there:
        return HostError("the host has no Python", "run `dnf install python3` on it", "python")
    return _mismatch(f"the host has {', '.join(there)}")


def _mismatch(said: str) -> LatchkeyError:
    needs = interpreter.minimum()
    return HostError(
        f"ansible-core {core_version} needs Python 3.{needs} on the host ({_short(said)})",
        "run with ansible-core 2.16 (`make harden CORE=2.16`), or `dnf install python3.12` on the host",
        "python",
    )


def _short(text: str) -> str:
    return " ".join(text.split())[-300:]


__all__ = ["UNREACHABLE", "of_login", "of_module", "of_sudo"]
