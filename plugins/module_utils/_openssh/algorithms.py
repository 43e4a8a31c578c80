# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The algorithm names each release of sshd knows, and how ``+``, ``-`` and ``^`` build a list. Pure.

Source: cipher.c, mac.c, kex.c, sshkey.c and kex_assemble_names of OpenSSH 8.0, 8.7 and 9.9.
"""

from typing import List, Optional, Sequence, Tuple

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
_SK_ED25519 = "sk-ssh-ed25519"
_SK_ECDSA = "sk-ecdsa-sha2-nistp256"
_CURVES = ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
_RSA = ("ssh-rsa", "rsa-sha2-256", "rsa-sha2-512")
_DSA = "ssh-dss"
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
    """Return the key and signature algorithms sshd knows, certificates included, in its order."""
    at = release(version)
    if at >= (9, 2):
        dsa = (_DSA,) if at < (9, 8) else ()
        webauthn = _sk("webauthn-" + _SK_ECDSA)[: 2 if at >= (10, 3) else 1]
        names = _pairs(("ssh-ed25519",)) + _sk(_SK_ED25519) + _pairs(_CURVES) + _sk(_SK_ECDSA) + webauthn
        return names + _pairs(dsa + _RSA)
    sk_keys = at >= (8, 2)
    names = _pairs(("ssh-ed25519",)) + (_sk(_SK_ED25519) if sk_keys else []) + list(_RSA) + [_DSA] + list(_CURVES)
    names += [_SK_ECDSA + "@openssh.com"] if sk_keys else []
    names += ["webauthn-" + _SK_ECDSA + "@openssh.com"] if at >= (8, 4) else []
    names += [name + _CERT for name in _RSA + (_DSA,) + _CURVES]
    return names + ([_SK_ECDSA + _CERT] if sk_keys else [])


def _pairs(names: Sequence[str]) -> List[str]:
    return [text for name in names for text in (name, name + _CERT)]


def _sk(name: str) -> List[str]:
    return [name + "@openssh.com", name + _CERT]


def complete(version: SshdVersion) -> bool:
    """Tell whether these tables are known to hold every name; Red Hat adds some of its own from 9.9 on."""
    return version.flavour != "redhat" or release(version) < (9, 0)


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
