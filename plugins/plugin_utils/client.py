# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller's own ssh does for a host: algorithms, keys in order, known host keys, who jumps through."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import keys, private_key
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.source_list import match_list
from ansible_collections.latchkey.ssh.plugins.plugin_utils import connections, identity, jumps, proofs
from ansible_collections.latchkey.ssh.plugins.plugin_utils.host_key import HostKeyPolicy

View = Mapping[str, Sequence[str]]


def view(caller: proofs.Caller) -> dict[str, Any]:
    """Return the argument ``client`` of the module plan."""
    who, connection = caller.who, caller.action._connection
    more = ["-o", f"Port={connection.get_option('port')}"] if connection.get_option("port") else []
    path = who.path or connection.get_option("private_key_file") or ""
    more += ["-o", f"IdentityFile={path}"] if path else []
    seen = connections.configured_view(caller.action, more)
    return {
        "earlier": earlier(who, seen),
        "alone": bool(who.path),
        "forks": int(caller.task_vars.get("ansible_forks") or 1),
        "kex": _names(seen, "kexalgorithms"),
        "ciphers": _names(seen, "ciphers"),
        "macs": _names(seen, "macs"),
        "host_key_algorithms": _names(seen, "hostkeyalgorithms"),
        # Up to 8.4 it is called differently.
        "key_algorithms": _names(seen, "pubkeyacceptedalgorithms") or _names(seen, "pubkeyacceptedkeytypes"),
        "minimum_rsa_bits": int(_first(seen, "requiredrsasize") or 0),
        "known": known(seen, caller.policy),
        "behind": jumps.behind(caller.action, caller.task_vars, _first(seen, "hostname")),
    }


def earlier(who: identity.Identity, seen: View) -> int:
    """Return how many keys the client offers before the identity's (pubkey_prepare, sshconnect2.c).

    Keys of the agent that a file names come first, then its others, then files whose key it does not hold.
    """
    if _first(seen, "identityagent") not in ("", "SSH_AUTH_SOCK", os.environ.get("SSH_AUTH_SOCK")):
        return 0
    named = [print_ for print_ in map(_fingerprint, seen.get("identityfile", [])) if print_]
    held = [key.fingerprint for key in identity.agent_keys()]
    others = [] if _first(seen, "identitiesonly") == "yes" else [one for one in held if one not in named]
    order = [one for one in held if one in named] + others + [one for one in named if one not in held]
    return order.index(who.fingerprint) if who.fingerprint in order else 0


def known(seen: View, policy: HostKeyPolicy) -> list[str]:
    """Return the fingerprints by which the client knows the host; none where it may know it by something else."""
    if policy.mode == "pinned":
        return list(policy.fingerprints)
    elsewhere = _first(seen, "knownhostscommand") not in ("", "none")
    if elsewhere or _first(seen, "verifyhostkeydns") not in ("", "no", "false"):
        return []
    name = _first(seen, "hostkeyalias") or _first(seen, "hostname")
    port = _first(seen, "port") or "22"
    wanted = name if port == "22" or _first(seen, "hostkeyalias") else f"[{name}]:{port}"
    found: list[str] = []
    for path in (_first(seen, "userknownhostsfile") + " " + _first(seen, "globalknownhostsfile")).split():
        for words in _lines(os.path.expanduser(path)):
            if words[0].startswith("@"):
                if words[0] == "@cert-authority" and len(words) > 3 and _names_host(words[1], wanted.lower()):
                    return []
            elif len(words) > 2 and _names_host(words[0], wanted.lower()):
                found += _prints(words[1:3])
    return found


def _names_host(field: str, host: str) -> bool:
    """Say whether the first field of a line of known_hosts is about a host (sshd(8) SSH_KNOWN_HOSTS FILE FORMAT)."""
    if not field.startswith("|1|"):
        return match_list(host, field.lower()) == 1
    try:
        salt, digest = (base64.b64decode(part) for part in field.split("|")[2:4])
    except ValueError:
        return False
    return hmac.compare_digest(hmac.new(salt, host.encode(), hashlib.sha1).digest(), digest)


def _prints(words: Sequence[str]) -> list[str]:
    try:
        return [keys.parse_public_key(" ".join(words), "known_hosts").fingerprint]
    except LatchkeyError:
        return []


def _lines(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            return [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    except OSError:
        return []


def _fingerprint(path: str) -> str:
    """Return the fingerprint of a key file of the client, '' where there is none that can be read without a word."""
    path = os.path.expanduser(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
        public = keys.parse_public_key(data.decode(), path) if path.endswith(".pub") else None
        public = public or private_key.recognise(data).public
        if public is None:
            with open(path + ".pub", encoding="utf-8") as file:
                public = keys.parse_public_key(file.read().strip(), path)
    except (OSError, UnicodeDecodeError, LatchkeyError):
        return ""
    return public.fingerprint


def _names(seen: View, keyword: str) -> list[str]:
    return [name for name in _first(seen, keyword).split(",") if name]


def _first(seen: View, keyword: str) -> str:
    return (seen.get(keyword) or [""])[0]


__all__ = ["earlier", "known", "view"]
