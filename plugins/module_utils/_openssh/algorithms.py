# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The algorithm names each release of sshd knows, and how ``+``, ``-`` and ``^`` build a list. Pure.

Source: cipher.c, mac.c, kex.c, sshkey.c and kex_assemble_names of OpenSSH 8.0, 8.7 and 9.9.
"""

from typing import List, Optional, Tuple

from .source_list import match_list
from .version import SshdVersion, release

_CIPHERS = (
    "3des-cbc aes128-cbc aes192-cbc aes256-cbc rijndael-cbc@lysator.liu.se aes128-ctr aes192-ctr aes256-ctr "
    "aes128-gcm@openssh.com aes256-gcm@openssh.com chacha20-poly1305@openssh.com"
).split()
_MAC_NAMES = "hmac-sha1 hmac-sha1-96 hmac-sha2-256 hmac-sha2-512 hmac-md5 hmac-md5-96 umac-64 umac-128".split()
_KEX = (
    "diffie-hellman-group1-sha1 diffie-hellman-group14-sha1 diffie-hellman-group14-sha256 "
    "diffie-hellman-group16-sha512 diffie-hellman-group18-sha512 diffie-hellman-group-exchange-sha1 "
    "diffie-hellman-group-exchange-sha256 ecdh-sha2-nistp256 ecdh-sha2-nistp384 ecdh-sha2-nistp521 "
    "curve25519-sha256 curve25519-sha256@libssh.org"
).split()
_GSS_KEX = (
    "gss-gex-sha1- gss-group1-sha1- gss-group14-sha1- gss-group14-sha256- gss-group16-sha512- gss-nistp256-sha256- "
    "gss-curve25519-sha256-"
).split()
_CERT = "-cert-v01@openssh.com"
# Up to 9.1 in this order; 9.2 and later list all ECDSA before RSA, each with its certificate.
_PLAIN_KEYS = (
    "ssh-ed25519 ssh-rsa rsa-sha2-256 rsa-sha2-512 ssh-dss ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521"
).split()
_SK_KEYS = ("sk-ssh-ed25519", "sk-ecdsa-sha2-nistp256")
_WEBAUTHN = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"
# Short names sshkey_type_from_name takes as well.
_SHORT_NAMES = "ed25519 rsa dsa ecdsa ed25519-cert rsa-cert dsa-cert ecdsa-cert".split()


def ciphers(version: SshdVersion) -> List[str]:
    """Return the ciphers sshd knows, in its order."""
    return [name for name in _CIPHERS if not name.startswith("rijndael") or release(version) < (8, 5)]


def macs(version: SshdVersion) -> List[str]:
    """Return the MACs sshd knows, in its order."""
    plain = [name if name.startswith("hmac") else name + "@openssh.com" for name in _MAC_NAMES]
    return plain + [name + "-etm@openssh.com" for name in _MAC_NAMES]


def kex(version: SshdVersion) -> List[str]:
    """Return the key exchange methods sshd knows, in its order."""
    at = release(version)
    names = list(_KEX)
    if at < (8, 5):
        names.append("sntrup4591761x25519-sha512@tinyssh.org")
    if at >= (9, 9) or (at >= (9, 2) and version.flavour == "debian"):
        names.append("sntrup761x25519-sha512")
    if at >= (8, 5):
        names.append("sntrup761x25519-sha512@openssh.com")
    if at >= (9, 9):
        names.append("mlkem768x25519-sha256")
    return names


def gss_kex(version: SshdVersion) -> List[str]:
    """Return the GSSAPI key exchange methods Red Hat's and Debian's sshd know."""
    return list(_GSS_KEX)


def keys(version: SshdVersion) -> List[str]:
    """Return the key and signature algorithms sshd knows, certificates included."""
    at = release(version)
    plain = [name for name in _PLAIN_KEYS if name != "ssh-dss" or at < (9, 8)]
    names = plain + [name + _CERT for name in plain]
    if at >= (8, 2):
        names += [name + "@openssh.com" for name in _SK_KEYS] + [name + _CERT for name in _SK_KEYS]
    if at >= (8, 4):
        names.append(_WEBAUTHN)
    if at >= (10, 3):
        names.append("webauthn-sk-ecdsa-sha2-nistp256" + _CERT)
    return names


def unknown_name(names: str, known: List[str]) -> Optional[str]:
    """Return the first name of a list that is not known, or None; an empty item ends the list for sshd."""
    for name in names.split(","):
        if not name:
            break
        if name not in known:
            return name
    return None if names else names


def unknown_key_name(names: str, version: SshdVersion) -> Optional[str]:
    """Return the first name or pattern that fits no key algorithm, or None (sshkey_names_valid2)."""
    known = keys(version)
    for name in names.split(","):
        if not name:
            break
        if name not in known and name not in _SHORT_NAMES and not any(match_list(one, name) for one in known):
            return name
    return None if names else names


def is_certificate(name: str) -> bool:
    """Tell whether a key algorithm is one of certificates."""
    return name.endswith(_CERT)


def assemble(spec: str, default: str, known: List[str]) -> Optional[str]:
    """Build the effective list from what stands in the file and the compiled default (kex_assemble_names).

    Returns None where sshd refuses: nothing is left, or a negated pattern.
    """
    if not spec:
        return default
    if spec[0] == "-":
        return ",".join(name for name in default.split(",") if match_list(name, spec[1:]) != 1)
    listed = spec
    if spec[0] == "+":
        listed = _concatenate(default, spec[1:])
    elif spec[0] == "^":
        listed = _concatenate(spec[1:], default)
    result = ""
    for pattern in listed.split(","):
        if pattern.startswith("!"):
            return None
        result = _concatenate(result, ",".join(name for name in known if match_list(name, pattern) == 1))
    return result or None


def _concatenate(first: str, second: str) -> str:
    if not first or not second:
        return first or second
    names = first.split(",")
    for name in second.split(","):
        if not name:
            break
        if name not in names:
            names.append(name)
    return ",".join(names)


LISTS: Tuple[Tuple[str, str], ...] = (
    ("ciphers", "ciphers"),
    ("macs", "macs"),
    ("kexalgorithms", "kex"),
    ("hostkeyalgorithms", "keys"),
    ("hostbasedacceptedalgorithms", "keys"),
    ("hostbasedacceptedkeytypes", "keys"),
    ("pubkeyacceptedalgorithms", "keys"),
    ("pubkeyacceptedkeytypes", "keys"),
    ("casignaturealgorithms", "signatures"),
)


def known(what: str, version: SshdVersion) -> List[str]:
    """Return the names of one of the families in :data:`LISTS`."""
    if what == "signatures":
        return [name for name in keys(version) if not is_certificate(name)]
    return {"ciphers": ciphers, "macs": macs, "kex": kex, "keys": keys}[what](version)
