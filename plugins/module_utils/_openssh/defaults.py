# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sshd is compiled to do where no line says otherwise, by keyword as ``sshd -T`` prints it. Pure data.

Source: ``sshd -T`` of an empty file, asked of 8.0p1 and 8.7p1 with Red Hat's patches and of plain 9.9p1. Other releases
are given the values of the nearest of these. Paths chosen when a package is built (XAuthLocation) are those of these
builds; SshdSessionPath is one too, and is left out unless it is set.
"""

from typing import Dict, Mapping, Tuple

from . import algorithms
from .keywords import lookup
from .version import SshdVersion, release

_VALUES: Mapping[str, str] = {
    "addressfamily": "any",
    "allowagentforwarding": "yes",
    "allowstreamlocalforwarding": "yes",
    "allowtcpforwarding": "yes",
    "authenticationmethods": "any",
    "authorizedkeyscommand": "none",
    "authorizedkeyscommanduser": "none",
    "authorizedkeysfile": ".ssh/authorized_keys .ssh/authorized_keys2",
    "authorizedprincipalscommand": "none",
    "authorizedprincipalscommanduser": "none",
    "authorizedprincipalsfile": "none",
    "banner": "none",
    "challengeresponseauthentication": "yes",
    "channeltimeout": "none",
    "chrootdirectory": "none",
    "clientalivecountmax": "3",
    "clientaliveinterval": "0",
    "compression": "yes",
    "disableforwarding": "no",
    "exposeauthinfo": "no",
    "fingerprinthash": "SHA256",
    "forcecommand": "none",
    "gatewayports": "no",
    "gssapiauthentication": "no",
    "gssapicleanupcredentials": "yes",
    "gssapienablek5users": "no",
    "gssapikexalgorithms": (
        "gss-group14-sha256-,gss-group16-sha512-,gss-nistp256-sha256-,"
        "gss-curve25519-sha256-,gss-group14-sha1-,gss-gex-sha1-"
    ),
    "gssapikeyexchange": "no",
    "gssapistorecredentialsonrekey": "no",
    "gssapistrictacceptorcheck": "yes",
    "hostbasedauthentication": "no",
    "hostbasedusesnamefrompacketonly": "no",
    "hostkeyagent": "none",
    "ignorerhosts": "yes",
    "ignoreuserknownhosts": "no",
    "ipqos": "af21 cs1",
    "kbdinteractiveauthentication": "yes",
    "kerberosauthentication": "no",
    "kerberosorlocalpasswd": "yes",
    "kerberosticketcleanup": "yes",
    "kerberosuniqueccache": "no",
    "kerberosusekuserok": "yes",
    "logingracetime": "120",
    "loglevel": "INFO",
    "maxauthtries": "6",
    "maxsessions": "10",
    "modulifile": "/etc/ssh/moduli",
    "pamservicename": "sshd",
    "passwordauthentication": "yes",
    "permitemptypasswords": "no",
    "permitlisten": "any",
    "permitopen": "any",
    "permitrootlogin": "without-password",
    "permittty": "yes",
    "permittunnel": "no",
    "permituserenvironment": "no",
    "permituserrc": "yes",
    "persourcemaxstartups": "none",
    "persourcenetblocksize": "32:128",
    "persourcepenaltyexemptlist": "none",
    "pidfile": "/var/run/sshd.pid",
    "port": "22",
    "printlastlog": "yes",
    "printmotd": "yes",
    "pubkeyauthentication": "yes",
    "pubkeyauthoptions": "none",
    "refuseconnection": "no",
    "requiredrsasize": "1024",
    "revokedkeys": "none",
    "securitykeyprovider": "internal",
    "streamlocalbindmask": "0177",
    "streamlocalbindunlink": "no",
    "strictmodes": "yes",
    "syslogfacility": "AUTH",
    "tcpkeepalive": "yes",
    "trustedusercakeys": "none",
    "unusedconnectiontimeout": "none",
    "usedns": "no",
    "usepam": "no",
    "versionaddendum": "none",
    "x11displayoffset": "10",
    "x11forwarding": "no",
    "x11maxdisplays": "1000",
    "x11uselocalhost": "yes",
    "xauthlocation": "/usr/X11R6/bin/xauth",
}
_DEBIAN: Mapping[str, str] = {"ipqos": "lowdelay throughput"}
# Not printed by plain upstream, although it knows the keyword.
_PATCHED_ONLY = ("gssapistrictacceptorcheck",)

_CIPHERS = (
    "chacha20-poly1305@openssh.com aes128-ctr aes192-ctr aes256-ctr aes128-gcm@openssh.com aes256-gcm@openssh.com"
)
_MACS = (
    "umac-64-etm@openssh.com umac-128-etm@openssh.com hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com "
    "hmac-sha1-etm@openssh.com umac-64@openssh.com umac-128@openssh.com hmac-sha2-256 hmac-sha2-512 hmac-sha1"
)
_UP_TO_8_4: Mapping[str, str] = {
    "kexalgorithms": (
        "curve25519-sha256 curve25519-sha256@libssh.org ecdh-sha2-nistp256 ecdh-sha2-nistp384 ecdh-sha2-nistp521 "
        "diffie-hellman-group-exchange-sha256 diffie-hellman-group16-sha512 diffie-hellman-group18-sha512 "
        "diffie-hellman-group14-sha256 diffie-hellman-group14-sha1"
    ),
    "casignaturealgorithms": (
        "ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521 "
        "ssh-ed25519 rsa-sha2-512 rsa-sha2-256 ssh-rsa"
    ),
    "keys": (
        "ecdsa-sha2-nistp256-cert-v01@openssh.com ecdsa-sha2-nistp384-cert-v01@openssh.com "
        "ecdsa-sha2-nistp521-cert-v01@openssh.com ssh-ed25519-cert-v01@openssh.com rsa-sha2-512-cert-v01@openssh.com "
        "rsa-sha2-256-cert-v01@openssh.com ssh-rsa-cert-v01@openssh.com ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 "
        "ecdsa-sha2-nistp521 ssh-ed25519 rsa-sha2-512 rsa-sha2-256 ssh-rsa"
    ),
}
_UP_TO_8_7: Mapping[str, str] = {
    "kexalgorithms": (
        "curve25519-sha256 curve25519-sha256@libssh.org ecdh-sha2-nistp256 ecdh-sha2-nistp384 ecdh-sha2-nistp521 "
        "diffie-hellman-group-exchange-sha256 diffie-hellman-group16-sha512 diffie-hellman-group18-sha512 "
        "diffie-hellman-group14-sha256"
    ),
    "casignaturealgorithms": (
        "ssh-ed25519 ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521 sk-ssh-ed25519@openssh.com "
        "sk-ecdsa-sha2-nistp256@openssh.com rsa-sha2-512 rsa-sha2-256"
    ),
    "keys": (
        "ssh-ed25519-cert-v01@openssh.com ecdsa-sha2-nistp256-cert-v01@openssh.com "
        "ecdsa-sha2-nistp384-cert-v01@openssh.com ecdsa-sha2-nistp521-cert-v01@openssh.com "
        "sk-ssh-ed25519-cert-v01@openssh.com sk-ecdsa-sha2-nistp256-cert-v01@openssh.com "
        "rsa-sha2-512-cert-v01@openssh.com rsa-sha2-256-cert-v01@openssh.com ssh-rsa-cert-v01@openssh.com "
        "ssh-ed25519 ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521 sk-ssh-ed25519@openssh.com "
        "sk-ecdsa-sha2-nistp256@openssh.com rsa-sha2-512 rsa-sha2-256 ssh-rsa"
    ),
}
_FROM_8_8: Mapping[str, str] = {
    "kexalgorithms": (
        "sntrup761x25519-sha512 sntrup761x25519-sha512@openssh.com mlkem768x25519-sha256 curve25519-sha256 "
        "curve25519-sha256@libssh.org ecdh-sha2-nistp256 ecdh-sha2-nistp384 ecdh-sha2-nistp521 "
        "diffie-hellman-group-exchange-sha256 diffie-hellman-group16-sha512 diffie-hellman-group18-sha512 "
        "diffie-hellman-group14-sha256"
    ),
    "casignaturealgorithms": (
        "ssh-ed25519 ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521 sk-ssh-ed25519@openssh.com "
        "sk-ecdsa-sha2-nistp256@openssh.com rsa-sha2-512 rsa-sha2-256"
    ),
    "keys": (
        "ssh-ed25519-cert-v01@openssh.com ecdsa-sha2-nistp256-cert-v01@openssh.com "
        "ecdsa-sha2-nistp384-cert-v01@openssh.com ecdsa-sha2-nistp521-cert-v01@openssh.com "
        "sk-ssh-ed25519-cert-v01@openssh.com sk-ecdsa-sha2-nistp256-cert-v01@openssh.com "
        "rsa-sha2-512-cert-v01@openssh.com rsa-sha2-256-cert-v01@openssh.com ssh-ed25519 ecdsa-sha2-nistp256 "
        "ecdsa-sha2-nistp384 ecdsa-sha2-nistp521 sk-ssh-ed25519@openssh.com sk-ecdsa-sha2-nistp256@openssh.com "
        "rsa-sha2-512 rsa-sha2-256"
    ),
}
_HOST_KEYS = tuple(f"/etc/ssh/ssh_host_{kind}_key" for kind in ("rsa", "ecdsa", "ed25519"))

MAX_STARTUPS: Mapping[str, str] = {"start": "10", "rate": "30", "full": "100"}
PENALTIES: Mapping[str, str] = {
    "crash": "90",
    "authfail": "5",
    "noauth": "1",
    "grace-exceeded": "10",
    "refuseconnection": "10",
    "max": "600",
    "min": "15",
    "max-sources4": "65536",
    "max-sources6": "65536",
    "overflow": "permissive",
}


def _algorithms(version: SshdVersion) -> Mapping[str, str]:
    at = release(version)
    if at >= (8, 8):
        return _FROM_8_8
    return _UP_TO_8_7 if at >= (8, 5) else _UP_TO_8_4


def algorithm_list(key: str, version: SshdVersion) -> str:
    """Return the compiled list of one algorithm keyword, comma-separated."""
    if key in ("ciphers", "macs"):
        return (_CIPHERS if key == "ciphers" else _MACS).replace(" ", ",")
    names = _algorithms(version).get(key, _algorithms(version)["keys"]).split(" ")
    if key == "kexalgorithms":
        names = [name for name in names if name in algorithms.kex(version)]
        if release(version) >= (10, 0):
            # Post-quantum first, and finite-field groups no longer offered.
            names = [name for name in names if not name.startswith("diffie-hellman")]
            names.sort(key=lambda name: not name.startswith("mlkem"))
    return ",".join(names)


def defaults(version: SshdVersion) -> Dict[str, Tuple[str, ...]]:
    """Return the compiled values of all keywords this release prints, except the lists that start empty.

    listenaddress is not among them: it follows from port and addressfamily.
    """
    found: Dict[str, Tuple[str, ...]] = {}
    for key, value in _VALUES.items():
        known = lookup(key, version)
        if known is not None and known.key == key and known.effective:
            found[key] = (value,)
    if version.flavour == "debian":
        found.update({key: (value,) for key, value in _DEBIAN.items()})
    if release(version) >= (10, 4):
        found["permitrootlogin"] = ("prohibit-password",)
    if release(version) < (9, 3):
        found.pop("channeltimeout", None)
    if version.flavour == "upstream":
        for key in _PATCHED_ONLY:
            found.pop(key, None)
    for key, _family in algorithms.LISTS:
        known = lookup(key, version)
        if known is not None and known.key == key:
            found[key] = (algorithm_list(key, version),)
    found["hostkey"] = _HOST_KEYS
    found["port"] = ("22",)
    return found
