# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands inside the base64 of an OpenSSH public key: structure, sizes, curves. Pure.

Source: RFC 4253 6.6, RFC 5656 3.1, RFC 8709, PROTOCOL.certkeys and PROTOCOL.u2f of OpenSSH; what is refused follows
``sshkey_from_blob`` of OpenSSH 8.0 to 9.9.
"""

import struct
from typing import Dict, List, NamedTuple, Optional, Tuple

from .._errors import Malformed

MIN_RSA_BITS = 1024
MAX_MPINT_BYTES = 16384 // 8
CERTIFICATE_SUFFIX = "-cert-v01@openssh.com"


class KeyType(NamedTuple):
    """One name that may stand before the base64 of a key line.

    ``family`` is rsa, dsa, ecdsa, ed25519, ecdsa-sk or ed25519-sk; ``inner`` the name inside the blob (signature
    algorithms such as rsa-sha2-256 are read as the key type they belong to); ``since`` and ``until`` the first OpenSSH
    that knows it and the first that no longer does.
    """

    name: str
    inner: str
    family: str
    certificate: bool
    since: Tuple[int, int]
    until: Optional[Tuple[int, int]] = None


class Curve(NamedTuple):
    """A NIST curve y² = x³ - 3x + b over the field of ``prime``."""

    bits: int
    prime: int
    b: int


class BlobFacts(NamedTuple):
    """What a blob says of itself; ``problem`` is '' where sshd can read it."""

    type: str
    family: str
    bits: int
    plain: bytes
    problem: str


def _types() -> Dict[str, KeyType]:
    rows: List[Tuple[str, str, str, Tuple[int, int], Optional[Tuple[int, int]]]] = [
        ("ssh-rsa", "ssh-rsa", "rsa", (2, 0), None),
        ("rsa-sha2-256", "ssh-rsa", "rsa", (7, 2), None),
        ("rsa-sha2-512", "ssh-rsa", "rsa", (7, 2), None),
        ("ssh-dss", "ssh-dss", "dsa", (2, 0), (10, 0)),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", "ecdsa", (5, 7), None),
        ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", "ecdsa", (5, 7), None),
        ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", "ecdsa", (5, 7), None),
        ("ssh-ed25519", "ssh-ed25519", "ed25519", (6, 5), None),
    ]
    table = {}
    for name, inner, family, since, until in rows:
        table[name] = KeyType(name, inner, family, False, since, until)
        table[name + CERTIFICATE_SUFFIX] = KeyType(
            name + CERTIFICATE_SUFFIX, inner + CERTIFICATE_SUFFIX, family, True, max(since, (6, 5)), until
        )
    for stem, family in (("sk-ssh-ed25519", "ed25519-sk"), ("sk-ecdsa-sha2-nistp256", "ecdsa-sk")):
        plain, cert = stem + "@openssh.com", stem + CERTIFICATE_SUFFIX
        table[plain] = KeyType(plain, plain, family, False, (8, 2))
        table[cert] = KeyType(cert, cert, family, True, (8, 2))
    webauthn = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"
    table[webauthn] = KeyType(webauthn, "sk-ecdsa-sha2-nistp256@openssh.com", "ecdsa-sk", False, (8, 4))
    return table


KEY_TYPES = _types()

CURVES = {
    "nistp256": Curve(
        256,
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    "nistp384": Curve(
        384,
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    "nistp521": Curve(
        521,
        2**521 - 1,
        int(
            "0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e1"
            "56193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
            16,
        ),
    ),
}

FIELDS = {"rsa": 2, "dsa": 4, "ecdsa": 2, "ed25519": 1, "ecdsa-sk": 3, "ed25519-sk": 2}


def read_string(data: bytes, at: int) -> Tuple[bytes, int]:
    """Read one length-prefixed string (RFC 4251 5) at offset ``at``; return it and the offset behind it.

    Raises Malformed when the data ends early.
    """
    if at + 4 > len(data):
        raise Malformed("the key data ends early")
    end = at + 4 + int(struct.unpack(">I", data[at : at + 4])[0])
    if end > len(data):
        raise Malformed("the key data ends early")
    return data[at + 4 : end], end


def read_number(data: bytes, at: int, size: int) -> Tuple[int, int]:
    """Read one big-endian unsigned number of ``size`` bytes; raises Malformed when the data ends early."""
    if at + size > len(data):
        raise Malformed("the key data ends early")
    return int.from_bytes(data[at : at + size], "big"), at + size


def read_strings(data: bytes) -> List[bytes]:
    """Split data that is nothing but length-prefixed strings; raises Malformed when it is not."""
    found, at = [], 0
    while at < len(data):
        item, at = read_string(data, at)
        found.append(item)
    return found


def write_string(data: bytes) -> bytes:
    """Prefix data with its length (RFC 4251 5)."""
    return struct.pack(">I", len(data)) + data


def inner_type(blob: bytes) -> str:
    """Return the type name inside a key blob; raises Malformed where none can be."""
    name = read_string(blob, 0)[0]
    if not name or len(name) > 64 or not all(33 <= byte <= 126 for byte in name):
        raise Malformed("the key data does not begin with a key type")
    return name.decode("ascii")


def _mpint_problem(number: bytes) -> str:
    if number[:1] >= b"\x80":
        return "a number in the key is negative"
    if len(number.lstrip(b"\0")) > MAX_MPINT_BYTES:
        return "a number in the key is longer than 16384 bits"
    return ""


def _bits(number: bytes) -> int:
    return int.from_bytes(number, "big").bit_length()


def _point_problem(curve_name: bytes, point: bytes, expected: str) -> str:
    if curve_name.decode("latin-1") != expected:
        return "the curve is not the one that the key type names"
    curve = CURVES[expected]
    size = (curve.bits + 7) // 8
    if point[:1] != b"\x04" or len(point) != 1 + 2 * size:
        return "the point is not an uncompressed point of its curve"
    x = int.from_bytes(point[1 : 1 + size], "big")
    y = int.from_bytes(point[1 + size :], "big")
    if x >= curve.prime or y >= curve.prime or (y * y - x * x * x + 3 * x - curve.b) % curve.prime:
        return "the point does not lie on its curve"
    return ""


def _judge_family(kind: KeyType, fields: List[bytes]) -> Tuple[int, str]:
    """Return the size in bits and what is wrong with the public numbers ('' = nothing)."""
    if kind.family in ("rsa", "dsa"):
        problem = next((text for text in map(_mpint_problem, fields) if text), "")
        return _bits(fields[1] if kind.family == "rsa" else fields[0]), problem
    if kind.family in ("ed25519", "ed25519-sk"):
        return 256, "" if len(fields[0]) == 32 else "an Ed25519 key has 32 bytes, this one {0}".format(len(fields[0]))
    expected = "nistp256" if kind.family == "ecdsa-sk" else kind.inner.replace(CERTIFICATE_SUFFIX, "")[-8:]
    return CURVES[expected].bits, _point_problem(fields[0], fields[1], expected)


def _plain_type(kind: KeyType) -> str:
    if not kind.certificate:
        return kind.inner
    return kind.inner.replace(CERTIFICATE_SUFFIX, "@openssh.com" if kind.family.endswith("-sk") else "")


def public_fields(blob: bytes, kind: KeyType) -> Tuple[List[bytes], int]:
    """Return the public numbers of a key or certificate and the offset behind them; raises Malformed."""
    at = read_string(blob, 0)[1]
    if kind.certificate:
        at = read_string(blob, at)[1]
    fields = []
    for _unused in range(FIELDS[kind.family]):
        item, at = read_string(blob, at)
        fields.append(item)
    return fields, at


def examine(blob: bytes) -> BlobFacts:
    """Say what a blob is, how large its key is and whether sshd can read it.

    A type that is not in the table (newer than it) is passed with 0 bits and no problem: policy decides, not this
    table. ``plain`` is the blob without certificate, over which fingerprints are made. Raises Malformed where not even
    a type can be read.
    """
    name = inner_type(blob)
    kind = KEY_TYPES.get(name)
    if kind is None or kind.inner != name:
        return BlobFacts(name, "", 0, blob, "")
    try:
        fields, end = public_fields(blob, kind)
    except Malformed as error:
        return BlobFacts(name, kind.family, 0, blob, error.reason)
    bits, problem = _judge_family(kind, fields)
    if not problem and not kind.certificate and end != len(blob):
        problem = "there is data behind the end of the key"
    plain = b"".join(write_string(item) for item in [_plain_type(kind).encode("ascii")] + fields)
    return BlobFacts(name, kind.family, bits, plain if kind.certificate else blob, problem)
