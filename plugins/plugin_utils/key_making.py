# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the operator's key pair where none exists."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, Malformed, Refused
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import keypair
from ansible_collections.latchkey.ssh.plugins.module_utils._host import private_keys
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import keys
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.key_blob import examine
from ansible_collections.latchkey.ssh.plugins.plugin_utils.identity import Identity

_TYPES = ("auto", "ed25519", "ecdsa", "rsa")
_CREATE = ("auto", "true", "false")


class Wanted(NamedTuple):
    """What the operator's key shall be: the harden_key* variables."""

    key: str
    create: str
    type: str
    size: int
    comment: str
    passphrase: str

    @staticmethod
    def from_args(args: Mapping[str, Any]) -> Wanted:
        """Read the action's arguments; an error names the variable."""
        create = str(args.get("create", "auto")).lower()
        kind = str(args.get("type", "auto"))
        if create not in _CREATE:
            raise Malformed(f"`{create}` is none of {', '.join(_CREATE)}", where="harden_key_create")
        if kind not in _TYPES:
            raise Malformed(f"`{kind}` is none of {', '.join(_TYPES)}", where="harden_key_type")
        try:
            size = int(args.get("size") or 0)
        except (TypeError, ValueError) as error:
            raise Malformed(
                f"`{args['size']}` is no number of bits", "give a number, or 0", "harden_key_size"
            ) from error
        return Wanted(
            str(args.get("key") or ""),
            create,
            kind,
            size,
            str(args.get("comment") or ""),
            str(args.get("passphrase") or ""),
        )


def default_path(wanted: str) -> str:
    """Return where ssh itself looks for a key of this type."""
    return f"~/.ssh/id_{keypair.default_type() if wanted == 'auto' else wanted}"


def make(wanted: Wanted, path: str) -> bool:
    """Make the pair unless another fork just did; say whether it was made here.

    One with a passphrase goes into the agent at once, or is not made at all.
    """
    if wanted.passphrase and not os.environ.get("SSH_AUTH_SOCK"):
        raise Refused(
            "a key with a passphrase needs an agent, and none runs",
            'run `eval "$(ssh-agent)"` in the shell that starts Ansible, or leave harden_key_passphrase unset',
            "harden_key_passphrase",
        )
    done = keypair.ensure(_params(wanted, path), check_mode=False)
    if wanted.passphrase:
        _add_to_agent(wanted, path)
    return bool(done["changed"])


def pending(wanted: Wanted, path: str) -> Identity:
    """Return a stand-in for the key that check mode does not make; its text will be another one."""
    foretold = keypair.ensure(_params(wanted, path), check_mode=True)
    container = private_keys.generate(foretold["type"], foretold["size"], foretold["comment"])
    key = keys.PublicKey(examine(container.public).type, container.public, foretold["comment"])
    return Identity("made", path, key.text, key.fingerprint, pending=True)


def _params(wanted: Wanted, path: str) -> dict[str, Any]:
    return {
        "path": path,
        "type": wanted.type,
        "size": wanted.size or None,
        "comment": wanted.comment or None,
        "passphrase": wanted.passphrase or None,
        "regenerate": "never",
        "state": "present",
    }


def _add_to_agent(wanted: Wanted, path: str) -> None:
    with open(path, "rb") as file:
        text = private_keys.rewrite(file.read(), wanted.passphrase, "", wanted.comment)
    done = subprocess.run(["ssh-add", "-q", "-"], input=text, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise HostError(f"the agent did not take the new key: {said}", f"run `ssh-add {path}`", path)


__all__ = ["Wanted", "default_path", "make", "pending"]
