# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's identity: which key pair of the controller opens the hosts, and how ssh is told to use it."""

from __future__ import annotations

import os
import tempfile
from typing import Any, NamedTuple

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError, Malformed, Refused
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import keys
from ansible_collections.latchkey.ssh.plugins.plugin_utils import programs

_AS_TEXT = "ansible_ssh_private_key"
DEFAULT_FILES = ("id_ed25519", "id_ecdsa", "id_rsa")
# RequiredRSASize of the DEFAULT crypto policy of EL9 and EL10.
MINIMUM_RSA_BITS = 2048


class Identity(NamedTuple):
    """One key pair. ``path`` is its private file, '' where only the agent or Ansible holds it.

    ``source`` is harden_key, private_key_file, private_key, agent, default or made; ``pending`` says that check mode
    did not make it; ``also`` are the fingerprints of other agent keys, any of which Ansible may use as well.
    """

    source: str
    path: str
    public_key: str
    fingerprint: str
    pending: bool = False
    also: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the client's arguments that make it offer this key and no other, where it has a file."""
        return ["-o", "IdentitiesOnly=yes"] if self.path else []

    def may_be(self, fingerprint: str) -> bool:
        """Say whether Ansible may use this key as well: any of the agent, where none was named."""
        return self.source == "agent" and fingerprint in self.also

    def data(self) -> dict[str, Any]:
        """Return the identity as a result of a task; nothing in it is secret."""
        return dict(self._asdict(), also=list(self.also))


def from_data(data: dict[str, Any]) -> Identity:
    """Read what ``data`` returned.

    Raises:
        Malformed: it is something else.
    """
    missing = [name for name in Identity._fields if name not in data] if isinstance(data, dict) else ["everything"]
    if missing:
        remedy = "give the `identity` that latchkey.ssh.operator_key returned"
        raise Malformed(f"{', '.join(missing)} missing", remedy, "identity")
    return Identity(
        str(data["source"]),
        str(data["path"]),
        str(data["public_key"]),
        str(data["fingerprint"]),
        bool(data["pending"]),
        tuple(str(one) for one in data["also"]),
    )


def agent_keys() -> list[keys.PublicKey]:
    """Return the keys of the agent that SSH_AUTH_SOCK names; none without an agent."""
    if not os.environ.get("SSH_AUTH_SOCK"):
        return []
    done = programs.run(["ssh-add", "-L"])
    found = []
    for line in done.stdout.splitlines() if done.returncode == 0 else []:
        try:
            found.append(keys.parse_public_key(line, "ssh-agent"))
        except LatchkeyError:
            continue
    return found


def usable_agent_keys() -> list[keys.PublicKey]:
    """Return the agent's keys that work without a touch and that AlmaLinux takes."""
    return [key for key in agent_keys() if not key.is_security_key and not key.is_certificate and strong_enough(key)]


def strong_enough(key: keys.PublicKey) -> bool:
    """Say whether every supported AlmaLinux takes the key under its default policy."""
    return key.type != "ssh-dss" and not (key.type == "ssh-rsa" and key.bits < MINIMUM_RSA_BITS)


def of_file(path: str, source: str) -> Identity:
    """Return the identity of a private key file (or of a .pub file whose private half the agent holds).

    Raises:
        Refused: it would ask for a passphrase, a touch, or be ignored by ssh; the remedy is named.
    """
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(path):
        raise Malformed(
            "there is no such key file", "correct the path, or let it be made: harden_key_create: true", path
        )
    if path.endswith(".pub"):
        return _of_public_file(path, source)
    if os.stat(path).st_mode & 0o077:
        raise Refused("others can read this private key, so ssh does not use it", f"run `chmod 600 {path}`", path)
    key, encrypted = _public_half(path)
    held = [one.fingerprint for one in agent_keys()]
    if encrypted and key.fingerprint not in held:
        raise Refused(
            "this key has a passphrase and is not in the agent; a run cannot ask for it",
            f'run `eval "$(ssh-agent)"; ssh-add {path}` in the shell that starts Ansible',
            path,
        )
    return _checked(key, Identity(source, path, key.text, key.fingerprint))


def file_is_strong(path: str) -> bool:
    """Say whether the key in a private key file has enough bits for every supported AlmaLinux."""
    return strong_enough(_public_half(path)[0])


def of_agent(key: keys.PublicKey, others: list[keys.PublicKey]) -> Identity:
    """Return the identity of a key that only the agent holds."""
    return Identity("agent", "", key.text, key.fingerprint, also=tuple(other.fingerprint for other in others))


def of_text(private_key: str) -> Identity:
    """Return the identity of a private key that the inventory holds as text (ansible_ssh_private_key, core 2.19)."""
    handle, path = tempfile.mkstemp(prefix="latchkey-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(private_key.rstrip("\n") + "\n")
        key = _public_half(path)[0]
    except HostError as error:
        raise Refused(
            "this key has a passphrase", "store it without one in the vault, or use the agent", _AS_TEXT
        ) from error
    except Malformed as error:
        raise Malformed("this is no private key that ssh can read", "give the whole key file", _AS_TEXT) from error
    finally:
        os.unlink(path)
    return _checked(key, Identity("private_key", "", key.text, key.fingerprint))


def _checked(key: keys.PublicKey, identity: Identity) -> Identity:
    if key.is_security_key:
        raise Refused(
            "this key wants a touch at every login",
            "use another key for runs without a person: harden_key",
            identity.path,
        )
    if not strong_enough(key):
        raise Refused(
            f"AlmaLinux does not take {key.type} keys of {key.bits} bits",
            "use another one, or let one be made: harden_key",
            identity.path,
        )
    return identity


def _of_public_file(path: str, source: str) -> Identity:
    with open(path, encoding="utf-8") as file:
        key = keys.parse_public_key(file.read().strip(), path)
    if key.fingerprint not in [one.fingerprint for one in agent_keys()]:
        raise Refused(
            "the agent does not hold the private half of this key", "run `ssh-add` with its private file", path
        )
    return _checked(key, Identity(source, path, key.text, key.fingerprint))


def _public_half(path: str) -> tuple[keys.PublicKey, bool]:
    """Return the public half of a private key file and whether it is encrypted; never what a stale .pub says."""
    plain = programs.run(["ssh-keygen", "-y", "-P", "", "-f", path])
    if plain.returncode == 0:
        return keys.parse_public_key(plain.stdout.strip(), path), False
    if "passphrase" not in plain.stderr:
        raise Malformed(
            f"this is no private key that ssh can read: {' '.join(plain.stderr.split())}",
            "name another file in harden_key",
            path,
        )
    return _encrypted_public_half(path), True


def _encrypted_public_half(path: str) -> keys.PublicKey:
    public = path + ".pub"
    if not os.path.exists(public):
        raise HostError(
            "this key has a passphrase and no .pub file beside it", f"run `ssh-keygen -y -f {path} > {public}`", path
        )
    with open(public, encoding="utf-8") as file:
        return keys.parse_public_key(file.read().strip(), public)


__all__ = [
    "DEFAULT_FILES",
    "Identity",
    "MINIMUM_RSA_BITS",
    "agent_keys",
    "file_is_strong",
    "from_data",
    "of_agent",
    "of_file",
    "of_text",
    "strong_enough",
    "usable_agent_keys",
]
