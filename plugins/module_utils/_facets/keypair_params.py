# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a key pair is to be: the parameters of openssh_keypair, checked. PRIVATE to the collection."""

import os
from typing import Any, Mapping, NamedTuple, Optional

from .._errors import Malformed, Refused
from .._openssh.keys import check_comment

TYPES = ("auto", "ed25519", "ecdsa", "rsa")
REGENERATE = ("never", "fail", "partial_idempotence", "full_idempotence", "always")
DEFAULT_SIZES = {"rsa": 4096, "ecdsa": 256, "ed25519": 256}
ECDSA_SIZES = (256, 384, 521)
RSA_SIZES = (2048, 16384)
# The most that a private key's mode may give, whatever is asked for.
PRIVATE_MODE = 0o600


class Desired(NamedTuple):
    """What is wanted; None stands for "as it is" (type auto, size 0 likewise). Secrets are not shown."""

    path: str
    type: str
    size: int
    comment: Optional[str]
    passphrase: Optional[str]
    current_passphrase: Optional[str]
    regenerate: str
    present: bool
    mode: int

    def __repr__(self) -> str:
        return "Desired(path={0!r}, type={1!r})".format(self.path, self.type)

    @staticmethod
    def from_params(params: Mapping[str, Any]) -> "Desired":
        """Read the module's parameters; raises Malformed naming the field, and Refused inside a transaction."""
        if params.get("transaction"):
            raise Refused(
                "a key pair takes no way in away, and a transaction does not take it back",
                "make it before, in a task without `transaction`",
                "transaction",
            )
        kind = params.get("type") or "auto"
        if kind not in TYPES:
            raise Malformed("'{0}' is no type of key".format(kind), "Use one of: {0}".format(", ".join(TYPES)), "type")
        regenerate = params.get("regenerate") or "partial_idempotence"
        if regenerate not in REGENERATE:
            raise Malformed(
                "'{0}' is not a choice".format(regenerate),
                "Use one of: {0}".format(", ".join(REGENERATE)),
                "regenerate",
            )
        comment = params.get("comment")
        return Desired(
            path=_path(params.get("path")),
            type=kind,
            size=_size(kind, params.get("size")),
            comment=None if comment is None else check_comment(comment, "comment"),
            passphrase=_secret(params.get("passphrase"), "passphrase"),
            current_passphrase=_secret(params.get("current_passphrase"), "current_passphrase"),
            regenerate="always" if params.get("force") else regenerate,
            present=params.get("state") != "absent",
            mode=_mode(params.get("mode")),
        )


def _path(given: Optional[str]) -> str:
    path = os.path.abspath(os.path.expanduser(given or ""))
    if not given or given.endswith("/"):
        raise Malformed("no file is named", "Name the file of the private key", "path")
    if path.endswith(".pub"):
        raise Malformed("this names a public key", "Name the private key: {0}".format(path[:-4]), "path")
    return path


def _size(kind: str, given: Optional[int]) -> int:
    size = int(given or 0)
    if kind == "ed25519" or not size:
        return 0
    if kind == "auto":
        raise Malformed("a size needs a type", "Give type rsa or ecdsa, or leave the size out", "size")
    if kind == "ecdsa" and size not in ECDSA_SIZES:
        raise Malformed("an ECDSA key has no {0} bits".format(size), "Use 256, 384 or 521", "size")
    if kind == "rsa" and not RSA_SIZES[0] <= size <= RSA_SIZES[1]:
        raise Malformed(
            "an RSA key of {0} bits is not made".format(size), "Use {0} to {1} bits".format(*RSA_SIZES), "size"
        )
    return size


def _secret(given: Optional[str], field: str) -> Optional[str]:
    if given is not None and any(ord(char) < 32 for char in given):
        raise Malformed("it contains a control character, which nobody can type", "Use another", field)
    return given


def _mode(given: Any) -> int:
    """Read the mode of the private key; what it gives to group and others is dropped, 0 stands for "as it is"."""
    if given is None or given == "":
        return 0
    try:
        mode = given if isinstance(given, int) else int(str(given), 8)
    except ValueError:
        raise Malformed("'{0}' is not an octal mode".format(given), "Use '0600'", "mode") from None
    if not mode & 0o400:
        raise Malformed("its owner could not read the key with mode {0:04o}".format(mode), "Use '0600'", "mode")
    return mode & PRIVATE_MODE
