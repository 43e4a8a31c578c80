# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private key files: their format, whether they are encrypted, the public half, the stored comment. Pure.

Source: PROTOCOL.key and sshkey.c (sshkey_private_to_blob2, sshkey_private_serialize_opt) of OpenSSH; RFC 7468, 1421.
"""

import base64
import binascii
import re
import struct
from typing import Dict, List, NamedTuple, Optional, Tuple

from .._errors import Malformed
from .key_blob import KEY_TYPES, examine, inner_type, public_fields, read_number, read_string, write_string
from .keys import PublicKey

MAGIC = b"openssh-key-v1\0"
BEGIN = b"-----BEGIN OPENSSH PRIVATE KEY-----"
END = b"-----END OPENSSH PRIVATE KEY-----"
LINE = 70
# How many strings follow the type in the private section, by family; None marks the flags byte of a security key.
SECTION_FIELDS: Dict[str, Tuple[Optional[int], ...]] = {
    "rsa": (6,),
    "dsa": (5,),
    "ecdsa": (3,),
    "ed25519": (2,),
    "ecdsa-sk": (3, None, 2),
    "ed25519-sk": (2, None, 2),
}
# Which of those strings are the public numbers, in the order in which the public blob has them.
PUBLIC_FIELDS = {
    "rsa": (1, 0),
    "dsa": (0, 1, 2, 3),
    "ecdsa": (0, 1),
    "ed25519": (0,),
    "ecdsa-sk": (0, 1, 2),
    "ed25519-sk": (0, 1),
}
_PEM = re.compile(rb"-----BEGIN ((?:RSA |EC |DSA |ENCRYPTED )?)PRIVATE KEY-----")


class Container(NamedTuple):
    """An openssh-key-v1 file: ``section`` is the private section, encrypted unless ``cipher`` is none."""

    cipher: str
    kdf: str
    salt: bytes
    rounds: int
    public: bytes
    section: bytes

    def __repr__(self) -> str:
        return "Container(cipher={0!r}, kdf={1!r})".format(self.cipher, self.kdf)


class PrivateKeyFacts(NamedTuple):
    """What can be said of a private key file without its passphrase; ``format`` is openssh, pkcs1, pkcs8 or putty.

    ``public`` is None where only the passphrase (or a library) would tell; its comment is '' where it is encrypted.
    """

    format: str
    encrypted: bool
    public: Optional[PublicKey]


class Section(NamedTuple):
    """The decrypted private section: ``body`` is the type and all numbers, as they stand in the file."""

    body: bytes
    comment: str

    def __repr__(self) -> str:
        return "Section(comment={0!r})".format(self.comment)


def parse_container(data: bytes) -> Container:
    """Read the file of a key in OpenSSH's own format; raises Malformed where it is damaged."""
    found = re.search(re.escape(BEGIN) + rb"([A-Za-z0-9+/=\s]*)" + re.escape(END), data)
    try:
        raw = base64.b64decode(re.sub(rb"\s", b"", found.group(1)), validate=True) if found else b""
    except (binascii.Error, ValueError):
        raw = b""
    if not raw.startswith(MAGIC):
        raise Malformed("the private key is damaged: it is no complete openssh-key-v1 file")
    cipher, at = read_string(raw, len(MAGIC))
    kdf, at = read_string(raw, at)
    kdf_options, at = read_string(raw, at)
    count, at = read_number(raw, at, 4)
    public, at = read_string(raw, at)
    section, at = read_string(raw, at)
    if count != 1:
        raise Malformed("the private key file holds {0} keys instead of one".format(count))
    salt, rounds = b"", 0
    if kdf_options:
        salt, end = read_string(kdf_options, 0)
        rounds = read_number(kdf_options, end, 4)[0]
    # Some ciphers leave an authentication tag behind the section.
    return Container(cipher.decode("latin-1"), kdf.decode("latin-1"), salt, rounds, public, section + raw[at:])


def render_container(container: Container) -> bytes:
    """Return the file of a container, as ssh-keygen writes it."""
    options = write_string(container.salt) + struct.pack(">I", container.rounds) if container.salt else b""
    raw = MAGIC + write_string(container.cipher.encode("ascii")) + write_string(container.kdf.encode("ascii"))
    raw += (
        write_string(options) + struct.pack(">I", 1) + write_string(container.public) + write_string(container.section)
    )
    text = base64.b64encode(raw)
    lines = [text[at : at + LINE] for at in range(0, len(text), LINE)]
    return b"\n".join([BEGIN] + lines + [END, b""])


def _section_strings(section: bytes, family: str) -> Tuple[List[bytes], int]:
    strings: List[bytes] = []
    at = read_string(section, 8)[1]
    for count in SECTION_FIELDS[family]:
        if count is None:
            at = read_number(section, at, 1)[1]
            continue
        for _unused in range(count):
            item, at = read_string(section, at)
            strings.append(item)
    return strings, at


def parse_section(section: bytes, public: bytes) -> Section:
    """Read a decrypted private section and hold it against the public half.

    Raises Malformed where the passphrase was wrong (the check numbers differ), or the halves do not belong together.
    """
    if len(section) < 8 or section[:4] != section[4:8]:
        raise Malformed("the passphrase does not open the private key")
    kind = KEY_TYPES.get(inner_type(public))
    if kind is None or kind.certificate or read_string(section, 8)[0].decode("latin-1") != kind.inner:
        raise Malformed("the private key is damaged: its two halves are of different types")
    strings, end = _section_strings(section, kind.family)
    if [strings[place] for place in PUBLIC_FIELDS[kind.family]] != public_fields(public, kind)[0]:
        raise Malformed("the private key is damaged: its two halves are different keys")
    comment, at = read_string(section, end)
    padding = section[at:]
    if padding != bytes(bytearray(range(1, len(padding) + 1))):
        raise Malformed("the private key is damaged: its padding is wrong")
    return Section(section[8:end], comment.decode("utf-8", "backslashreplace"))


def render_section(section: Section, check: bytes, block: int) -> bytes:
    """Return the bytes of a section, padded to ``block``; ``check`` is four random bytes."""
    text = check + check + section.body + write_string(section.comment.encode("utf-8"))
    return text + bytes(bytearray(range(1, -len(text) % block + 1)))


def _openssh_facts(data: bytes) -> PrivateKeyFacts:
    container = parse_container(data)
    facts = examine(container.public)
    if facts.problem:
        raise Malformed("the private key is damaged: {0}".format(facts.problem))
    encrypted = container.cipher != "none"
    comment = "" if encrypted else parse_section(container.section, container.public).comment
    return PrivateKeyFacts("openssh", encrypted, PublicKey(facts.type, container.public, comment))


def recognise(data: bytes) -> PrivateKeyFacts:
    """Say what kind of private key file this is; raises Malformed where it is none, is public, or is damaged."""
    if BEGIN in data:
        return _openssh_facts(data)
    found = _PEM.search(data)
    if found:
        name = found.group(1).strip().decode("ascii")
        if name in ("", "ENCRYPTED"):
            return PrivateKeyFacts("pkcs8", name == "ENCRYPTED", None)
        return PrivateKeyFacts("pkcs1", b"Proc-Type: 4,ENCRYPTED" in data, None)
    if data.startswith(b"PuTTY-User-Key-File-"):
        return PrivateKeyFacts("putty", b"\nEncryption: none" not in data.replace(b"\r", b""), None)
    if any(data.lstrip().startswith(name.encode("ascii") + b" ") for name in KEY_TYPES):
        raise Malformed("this is a public key, not a private one")
    raise Malformed("this is not a private key")
