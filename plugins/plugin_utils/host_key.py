# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the host's own key is known before anything secret is sent to it."""

from __future__ import annotations

import re
import shlex
from typing import Any, NamedTuple

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Malformed, Unsupported
from ansible_collections.latchkey.ssh.plugins.plugin_utils import programs

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
# KnownHostsCommand came with OpenSSH 8.5.
_PINNING_SINCE = (8, 5)


class HostKeyPolicy(NamedTuple):
    """``mode`` is strict, accept_new or pinned; ``scratch`` replaces the user's known_hosts in check mode."""

    mode: str
    fingerprints: tuple[str, ...] = ()
    scratch: str = ""

    def arguments(self, known_hosts: str = "") -> list[str]:
        """Return the client's arguments; they stand before the user's own, and the first value wins (ssh_config(5)).

        Args:
            known_hosts: the files the client reads anyway; in check mode new keys are written before them.
        """
        if self.mode == "accept_new":
            extra = ["-o", f"UserKnownHostsFile={self.scratch} {known_hosts}".rstrip()] if self.scratch else []
            return ["-o", "StrictHostKeyChecking=accept-new", *extra]
        if self.mode == "pinned":
            return [
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                f"KnownHostsCommand={self._command()}",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "GlobalKnownHostsFile=/dev/null",
            ]
        return ["-o", "StrictHostKeyChecking=yes"]

    def _command(self) -> str:
        accepted = " ".join(self.fingerprints)
        script = f'case " {accepted} " in *" $1 "*) printf "%%s %%s %%s\\n" "$2" "$3" "$4";; esac'
        return f"/bin/sh -c {shlex.quote(script)} sh %f %H %t %K"


def policy(wanted: Any, scratch: str = "") -> HostKeyPolicy:
    """Read ``harden_host_key``: strict, accept_new, or one or several SHA256 fingerprints.

    Raises:
        Malformed: it is none of these.
        Unsupported: fingerprints are given, and the controller's client cannot hold a host to them.
    """
    if wanted in ("strict", "accept_new"):
        return HostKeyPolicy(wanted, scratch=scratch)
    listed = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted] if wanted else []
    for fingerprint in listed:
        if not _FINGERPRINT.fullmatch(str(fingerprint)):
            raise Malformed(
                f"`{fingerprint}` is neither strict, accept_new nor a fingerprint",
                "give it as `ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub` prints it on the host: SHA256:…",
                "harden_host_key",
            )
    if not listed:
        raise Malformed("it is empty", "give strict, accept_new, or the host's fingerprints", "harden_host_key")
    if client_version() < _PINNING_SINCE:
        raise Unsupported(
            "the controller's ssh is older than 8.5 and cannot hold a host to a fingerprint",
            "put the host's key into known_hosts and use harden_host_key: strict",
            "harden_host_key",
        )
    return HostKeyPolicy("pinned", tuple(listed))


def client_version() -> tuple[int, int]:
    """Return the version of the controller's ssh."""
    said = programs.run(["ssh", "-V"]).stderr
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


__all__ = ["HostKeyPolicy", "client_version", "policy"]
