# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public keys as values: reading, naming and judging them. Pure."""

import base64
import binascii
import hashlib
import re
from typing import NamedTuple, Optional, Tuple

from .._errors import Malformed
from .key_blob import CERTIFICATE_SUFFIX, KEY_TYPES, MIN_RSA_BITS, BlobFacts, KeyType, examine, inner_type
from .version import SshdVersion, label, release

# What b64_pton of the C library skips, which sshd inherits (a line's end, CR included, belongs to the base64 field).
_BASE64_SPACE = b" \t\n\v\f\r"
_TYPE_SHAPE = re.compile(r"[a-z0-9][a-z0-9@.+_-]*[a-z0-9]\Z")
_PRIVATE = re.compile(r"BEGIN [A-Z0-9 ]*PRIVATE KEY|PuTTY-User-Key-File-|(?:^|\s)b3BlbnNzaC1rZXktdjE")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_COMMENT_BAD = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FORMATS = (
    ("---- BEGIN SSH2 PUBLIC KEY", "an SSH2 (RFC 4716) public key", "ssh-keygen -i -f FILE"),
    ("-----BEGIN PUBLIC KEY", "a PEM (PKCS#8) public key", "ssh-keygen -i -m PKCS8 -f FILE"),
    ("-----BEGIN RSA PUBLIC KEY", "a PEM (PKCS#1) public key", "ssh-keygen -i -m PEM -f FILE"),
)
_GIVE_LINE = "Give the one line of the .pub file: 'type base64 [comment]'"


class PublicKey(NamedTuple):
    """A public key; ``type`` is the type inside the blob, ``comment`` the free text behind it."""

    type: str
    blob: bytes
    comment: str = ""

    @property
    def base64(self) -> str:
        """Return the key data as it stands in a .pub file."""
        return base64.b64encode(self.blob).decode("ascii")

    @property
    def text(self) -> str:
        """Return ``type base64[ comment]``, the line of a .pub file without its end."""
        return " ".join(part for part in (self.type, self.base64, self.comment) if part)

    @property
    def fingerprint(self) -> str:
        """Return ``SHA256:…`` as ``ssh-keygen -l`` prints it (of a certificate: that of the key in it)."""
        digest = hashlib.sha256(examine(self.blob).plain).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")

    @property
    def bits(self) -> int:
        """Return the size in bits as ``ssh-keygen -l`` prints it; 0 for a type that is not known here."""
        return examine(self.blob).bits

    @property
    def is_certificate(self) -> bool:
        """Tell a certificate from a plain key."""
        return self.type.endswith(CERTIFICATE_SUFFIX)

    @property
    def is_security_key(self) -> bool:
        """Tell whether the private half lives on a FIDO token."""
        return self.type.startswith("sk-")


def same_key(one: PublicKey, other: PublicKey) -> bool:
    """Compare two keys by what they are, whatever their comments say."""
    return one.blob == other.blob


def decode_base64(text: bytes) -> bytes:
    """Decode base64 exactly as sshd does; raises Malformed.

    Source: b64_pton (white space skipped, padding required, unused bits zero), used by sshbuf_b64tod.
    """
    packed = bytes(byte for byte in text if byte not in _BASE64_SPACE)
    try:
        blob = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("the key data is not base64") from None
    if base64.b64encode(blob) != packed:
        raise Malformed("the base64 of the key is not closed correctly")
    return blob


def known_type(name: str, version: SshdVersion) -> Optional[KeyType]:
    """Return the row of a key type if that sshd knows the name (exact, case counts), else None."""
    kind = KEY_TYPES.get(name)
    if kind is None or release(version) < kind.since or (kind.until is not None and release(version) >= kind.until):
        return None
    return kind


def _refuse_other_formats(text: str, where: str) -> None:
    if _PRIVATE.search(text):
        raise Malformed("this is a private key", "Give the .pub file, and replace this key: it has been shown", where)
    for mark, name, command in _FORMATS:
        if mark in text:
            raise Malformed("this is {0}".format(name), "Convert it: {0}".format(command), where)


def _one_line(text: str, where: str) -> str:
    stripped = text.lstrip("\ufeff").strip()
    if not stripped:
        raise Malformed("no public key was given", _GIVE_LINE, where)
    _refuse_other_formats(stripped, where)
    if _LINE_ENDS.search(stripped):
        raise Malformed("several lines were given where one public key belongs", "Give a list with one key each", where)
    return stripped


def _names_type(line: str) -> bool:
    words = line.replace("\t", " ").split(" ")
    return any(word in KEY_TYPES for word in words[1:])


def _shape_error(line: str, first: str, where: str) -> Malformed:
    if re.match(r"(?:https?|file)://|[/~.]", line):
        return Malformed("this is an address or a file name, not a public key", _GIVE_LINE, where)
    if re.match(r"\d+ \d+ \d+", line):
        return Malformed("this is an SSH protocol 1 key", "Make a new key: no OpenSSH since 7.6 takes it", where)
    if _names_type(line):
        return Malformed(
            "'{0}' stands before the key type".format(first[:40]), "Give key options in their own field", where
        )
    return Malformed("'{0}' is not a key type".format(first[:40]), _GIVE_LINE, where)


def _split(line: str, where: str) -> Tuple[str, str, str]:
    parts = line.replace("\t", " ").split(" ", 1)
    name = parts[0]
    if name not in KEY_TYPES and (not _TYPE_SHAPE.match(name) or "-" not in name or _names_type(line)):
        raise _shape_error(line, name, where)
    rest = parts[1].lstrip(" ") if len(parts) > 1 else ""
    if not rest:
        raise Malformed("'{0}' has no key data behind it".format(name), _GIVE_LINE, where)
    data, _unused, comment = rest.partition(" ")
    return name, data, comment.strip(" ")


def _check_blob(name: str, blob: bytes) -> BlobFacts:
    facts = examine(blob)
    if facts.type != name:
        raise Malformed("the line says '{0}', the key data '{1}'".format(name, facts.type))
    if facts.problem:
        raise Malformed("the key data is damaged: {0}".format(facts.problem))
    return facts


def check_comment(comment: str, where: str) -> str:
    """Return the comment; raises Malformed where it could become a line of its own or cannot be shown.

    Control characters, line and paragraph separators and lone surrogates are refused.
    """
    found = _COMMENT_BAD.search(comment)
    if found:
        raise Malformed(
            "the comment contains the control character U+{0:04X}".format(ord(found.group())),
            "Use a comment of one line without control characters",
            where,
        )
    return comment


def parse_public_key(text: str, where: str) -> PublicKey:
    """Read one line ``type base64 [comment]`` without options; ``where`` names the field in errors.

    Raises Malformed: empty, several lines, other formats, private keys (never echoed), damaged data. A type that is
    well formed but not known here is taken (``usable`` judges it). Source: sshd(8), AUTHORIZED_KEYS FILE FORMAT.
    """
    line = _one_line(text, where)
    tail = line.split(None, 2)
    if len(tail) > 2:
        check_comment(tail[2], where)
    name, data, comment = _split(line, where)
    try:
        blob = decode_base64(data.encode("utf-8", "surrogatepass"))
        _check_blob(name, blob)
    except Malformed as error:
        raise Malformed(error.reason, "Copy the whole line of the .pub file again", where) from None
    return PublicKey(name, blob, check_comment(comment, where))


def read_key(name: bytes, data: bytes, version: SshdVersion) -> PublicKey:
    """Read the type and base64 fields of a line as that sshd does; raises Malformed with sshd's reason.

    Source: sshkey_read of OpenSSH 8.0, 8.7 and 9.9: signature algorithm names stand for their key type.
    """
    kind = known_type(name.decode("latin-1"), version)
    if kind is None:
        raise Malformed("unknown key type")
    blob = decode_base64(data)
    if inner_type(blob) != kind.inner:
        raise Malformed("the line says '{0}', the key data '{1}'".format(kind.inner, inner_type(blob)))
    facts = _check_blob(kind.inner, blob)
    if facts.family == "rsa" and facts.bits < MIN_RSA_BITS:
        raise Malformed("an RSA key of {0} bits is too short, sshd wants {1}".format(facts.bits, MIN_RSA_BITS))
    return PublicKey(kind.inner, blob)


def usable(key: PublicKey, version: SshdVersion, min_rsa_bits: int) -> Optional[str]:
    """Return why that sshd would never take this key from authorized_keys, or None.

    ``min_rsa_bits`` is the larger of RequiredRSASize and what the crypto policy asks (0 = only sshd's own floor).
    Source: sshkey.c and the default PubkeyAcceptedAlgorithms of OpenSSH 8.0, 8.7, 9.9.
    """
    if key.is_certificate:
        return "a certificate is not accepted in authorized_keys: trust its CA instead"
    kind = KEY_TYPES.get(key.type)
    if kind is None:
        return "{0} keys are not known to {1}".format(key.type, label(version))
    if kind.family == "dsa":
        return "ssh-dss keys are refused by every OpenSSH since 7.0"
    if known_type(key.type, version) is None:
        return "{0} keys need OpenSSH {1}.{2}, this host has {3}".format(key.type, *(kind.since + (label(version),)))
    floor = max(MIN_RSA_BITS, min_rsa_bits)
    if kind.family == "rsa" and key.bits < floor:
        return "an RSA key of {0} bits is too short: this host wants at least {1}".format(key.bits, floor)
    return None
