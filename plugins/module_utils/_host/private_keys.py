# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, open and encrypt private keys, with the Python library cryptography. PRIVATE to the collection.

The library is asked for only when a key is made or opened: hosts do without it. The container is written here, because
the library cannot store a comment in it.
"""

import os
from typing import Any, Dict

from .._errors import Malformed, Unsupported
from .._openssh.key_blob import inner_type
from .._openssh.keys import PublicKey, decode_base64
from .._openssh.private_key import (
    Container,
    Section,
    parse_container,
    parse_section,
    recognise,
    render_container,
    render_section,
)

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False

try:
    import bcrypt

    HAS_BCRYPT = True
except ImportError:
    HAS_BCRYPT = False

CRYPTOGRAPHY, BCRYPT = "cryptography", "bcrypt"
FIPS_FLAG = "/proc/sys/crypto/fips_enabled"
ROUNDS = 24
SALT_BYTES = 16
BLOCK = 16
PLAIN_BLOCK = 8
CIPHERS = ("aes256-ctr", "aes256-cbc")


def require(*, passphrase: bool) -> None:
    """Raise Unsupported, ``where`` naming the library, where one is missing that making or encrypting a key needs."""
    if not HAS_CRYPTOGRAPHY:
        raise Unsupported(
            "this Python library is missing, without which no key can be made or opened",
            "Install python3-cryptography, or pip install cryptography",
            CRYPTOGRAPHY,
        )
    if passphrase and not HAS_BCRYPT:
        raise Unsupported(
            "this Python library is missing, without which no passphrase can be used",
            "Install python3-bcrypt, or pip install bcrypt",
            BCRYPT,
        )


def generate(kind: str, size: int, comment: str) -> Container:
    """Make a key: ``kind`` rsa, ecdsa or ed25519, ``size`` in bits; the container is not encrypted.

    Raises Unsupported where this machine cannot make such a key.
    """
    require(passphrase=False)
    try:
        text = _generate(kind, size).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    except UnsupportedAlgorithm as error:
        raise Unsupported(
            "this machine's cryptography library makes no {0} keys".format(kind), "Choose another type: ecdsa or rsa"
        ) from error
    container = parse_container(text)
    return seal(container.public, parse_section(container.section, container.public)._replace(comment=comment), "")


def _generate(kind: str, size: int) -> Any:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=size)
    if kind == "ecdsa":
        curves: Dict[int, Any] = {256: ec.SECP256R1, 384: ec.SECP384R1, 521: ec.SECP521R1}
        return ec.generate_private_key(curves[size]())
    return ed25519.Ed25519PrivateKey.generate()


def fips() -> bool:
    """Tell whether this machine runs in FIPS mode, where Ed25519 is not allowed."""
    try:
        with open(FIPS_FLAG, "rb") as flag:
            return flag.read().strip() == b"1"
    except OSError:
        return False


def seal(public: bytes, section: Section, passphrase: str) -> Container:
    """Put a private section into a container, encrypted unless the passphrase is ''."""
    if not passphrase:
        return Container("none", "none", b"", 0, public, render_section(section, os.urandom(4), PLAIN_BLOCK))
    require(passphrase=True)
    salt = os.urandom(SALT_BYTES)
    plain = render_section(section, os.urandom(4), BLOCK)
    encryptor = _cipher("aes256-ctr", salt, ROUNDS, passphrase).encryptor()
    return Container("aes256-ctr", "bcrypt", salt, ROUNDS, public, encryptor.update(plain) + encryptor.finalize())


def unseal(container: Container, passphrase: str) -> Section:
    """Open a container; raises Malformed where the passphrase is wrong, Unsupported for other ciphers."""
    if container.cipher == "none":
        return parse_section(container.section, container.public)
    if not passphrase:
        raise Malformed("the private key has a passphrase, and none was given")
    if container.cipher not in CIPHERS or container.kdf != "bcrypt":
        raise Unsupported("the private key is encrypted by {0}, which is not known here".format(container.cipher))
    require(passphrase=True)
    decryptor = _cipher(container.cipher, container.salt, container.rounds, passphrase).decryptor()
    if len(container.section) % BLOCK:
        raise Malformed("the private key is damaged: its length is wrong")
    return parse_section(decryptor.update(container.section) + decryptor.finalize(), container.public)


def _cipher(name: str, salt: bytes, rounds: int, passphrase: str) -> Any:
    secret = bcrypt.kdf(passphrase.encode("utf-8"), salt, 48, rounds, ignore_few_rounds=True)
    mode = modes.CTR(secret[32:]) if name.endswith("-ctr") else modes.CBC(secret[32:])
    return Cipher(algorithms.AES(secret[:32]), mode)


def open_key(data: bytes, passphrase: str) -> PublicKey:
    """Open a private key file of any format and return its public half with the stored comment.

    Raises Malformed where the file is damaged or the passphrase does not open it, Unsupported for unknown formats.
    """
    facts = recognise(data)
    if facts.format == "openssh":
        container = parse_container(data)
        return PublicKey(inner_type(container.public), container.public, unseal(container, passphrase).comment)
    if facts.format == "putty":
        raise Unsupported("this is a PuTTY key", "Convert it: puttygen FILE -O private-openssh -o NEW")
    require(passphrase=False)
    if facts.encrypted and not passphrase:
        raise Malformed("the private key has a passphrase, and none was given")
    return _open_pem(data, passphrase if facts.encrypted else "")


def _open_pem(data: bytes, passphrase: str) -> PublicKey:
    try:
        key = serialization.load_pem_private_key(data, passphrase.encode("utf-8") if passphrase else None)
        line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    except (ValueError, TypeError, AttributeError) as error:
        reason = "the passphrase does not open the private key" if passphrase else "the private key is damaged"
        raise Malformed(reason) from error
    except UnsupportedAlgorithm as error:
        raise Unsupported("the private key is of a kind that the library cryptography does not know") from error
    name, blob = line.split()[:2]
    return PublicKey(name.decode("ascii"), decode_base64(blob))


def rewrite(data: bytes, current: str, wanted: str, comment: str) -> bytes:
    """Return the file with another passphrase and comment; the key in it stays the same."""
    container = parse_container(data)
    section = unseal(container, current)._replace(comment=comment)
    return render_container(seal(container.public, section, wanted))
