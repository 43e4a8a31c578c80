# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read single sshd_config values as sshd reads them: numbers, times, ports, sizes, paths. Pure.

Every reader returns None for what sshd refuses. Source: misc.c and servconf.c of OpenSSH 8.0, 8.7 and 9.9.
"""

import re
from typing import Mapping, Optional, Tuple

from .source_list import parse_address
from .tokens import lower
from .version import SshdVersion, release

INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1

WORDS: Mapping[str, Mapping[str, str]] = {
    "flag": {"yes": "yes", "no": "no"},
    "addressfamily": {"inet": "inet", "inet6": "inet6", "any": "any"},
    "permitrootlogin": {
        "without-password": "without-password",
        "prohibit-password": "without-password",
        "forced-commands-only": "forced-commands-only",
        "yes": "yes",
        "no": "no",
    },
    "compression": {"yes": "yes", "delayed": "yes", "no": "no"},
    "gatewayports": {"clientspecified": "clientspecified", "yes": "yes", "no": "no"},
    "forwarding": {"yes": "yes", "all": "yes", "no": "no", "remote": "remote", "local": "local"},
    "fingerprinthash": {name: name.upper() for name in ("md5", "sha1", "sha256", "sha384", "sha512")},
    "facility": {name: name.upper() for name in ("daemon", "user", "auth", "authpriv")},
    "loglevel": {name: name.upper() for name in ("quiet", "fatal", "error", "info", "verbose", "debug2", "debug3")},
}

_DSCP = (
    ("af11", 0x28), ("af12", 0x30), ("af13", 0x38), ("af21", 0x48), ("af22", 0x50), ("af23", 0x58),
    ("af31", 0x68), ("af32", 0x70), ("af33", 0x78), ("af41", 0x88), ("af42", 0x90), ("af43", 0x98),
    ("cs0", 0x00), ("cs1", 0x20), ("cs2", 0x40), ("cs3", 0x60), ("cs4", 0x80), ("cs5", 0xA0), ("cs6", 0xC0),
    ("cs7", 0xE0), ("ef", 0xB8), ("le", 0x04), ("lowdelay", 0x10), ("throughput", 0x08), ("reliability", 0x04),
)

# What /etc/services of every distribution has; sshd asks getservbyname where a port is not a number.
_SERVICES = {"ssh": 22, "telnet": 23, "domain": 53, "http": 80, "https": 443, "imaps": 993, "socks": 1080}

_TIME_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE_UNITS = {unit: 1024**power for power, unit in enumerate(" kmgtpe") if unit != " "}


def word(kind: str, text: str, version: SshdVersion) -> Optional[str]:
    """Read one of a fixed set of words, in any case of letters, as ``sshd -T`` prints it."""
    name = lower(text)
    if kind == "ignorerhosts":
        extra = ("shosts-only",) if release(version) >= (8, 2) else ()
        return name if name in ("yes", "no") + extra else None
    if kind == "loglevel" and name in ("debug", "debug1"):
        return "DEBUG"
    if kind == "loglevel" and name in ("quiet", "silent") and version.flavour == "debian":
        return "SILENT"
    if kind == "facility" and re.match(r"local[0-7]\Z", name):
        return name.upper()
    value = WORDS[kind].get(name)
    return "prohibit-password" if value == "without-password" and release(version) >= (10, 4) else value


def strtonum(text: str, low: int, high: int) -> Optional[int]:
    """Read a decimal number with optional sign and leading blanks (strtonum)."""
    if not re.match(r"[ \t\n\v\f\r]*[+-]?[0-9]+\Z", text):
        return None
    number = int(text)
    return number if low <= number <= high else None


def scan_ints(text: str, most: int) -> Tuple[int, ...]:
    """Read up to ``most`` colon-separated numbers, stopping where it fits no more (sscanf)."""
    numbers: Tuple[int, ...] = ()
    at = 0
    while len(numbers) < most:
        colon = ":" if numbers else ""
        found = re.match(colon + r"[ \t\n\v\f\r]*([+-]?[0-9]+)", text[at:])
        if not found:
            break
        numbers += (int(found.group(1)),)
        at += found.end()
    return numbers


def port(text: str) -> Optional[int]:
    """Read a port from 0 to 65535, or a service's name (a2port)."""
    number = strtonum(text, 0, 65535)
    return _SERVICES.get(text) if number is None else number


def convtime(text: str, version: SshdVersion) -> Optional[int]:
    """Read a time in seconds, such as ``90``, ``5m`` or ``1h30m`` (convtime).

    Up to 8.3 the unit is not reset: there ``1m30s`` is 1860 seconds, from 8.4 on 90.
    """
    parts = re.findall(r"[ \t\n\v\f\r]*([+-]?[0-9]+)([sSmMhHdDwW]?)", text)
    if not re.match(r"(?:[ \t\n\v\f\r]*[+-]?[0-9]+[sSmMhHdDwW])*(?:[ \t\n\v\f\r]*[+-]?[0-9]+)?\Z", text) or not parts:
        return None
    total, unit = 0, 1
    for digits, suffix in parts:
        sticky = release(version) < (8, 4) and lower(suffix) in ("", "s")
        unit = unit if sticky else _TIME_UNITS[lower(suffix)]
        if int(digits) < 0:
            return None
        total += int(digits) * unit
    return total if total <= (LONG_MAX if release(version) < (8, 5) else INT_MAX) else None


def scan_scaled(text: str) -> Optional[int]:
    """Read a size with an optional unit B, K, M, G, T, P or E (scan_scaled)."""
    found = re.match(r"[ \t\n\v\f\r]*([+-]?)([0-9]*)(?:\.([0-9]*))?(.?)", text, re.DOTALL)
    if not found:
        return None
    sign, whole, fraction, unit = found.groups()
    after = text[found.end() : found.end() + 1]
    scale = 1 if lower(unit) in ("", "b") else _SIZE_UNITS.get(lower(unit))
    if scale is None or (unit and re.match(r"[0-9A-Za-z]", after)):
        return None
    value = int(whole or 0) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
    value = -value if sign == "-" else value
    return value if abs(value) <= LONG_MAX else None


def split_host_port(text: str) -> Optional[Tuple[str, Optional[str]]]:
    """Cut ``host:port`` or ``[address]:port``; the port is None where there is none (hpdelim)."""
    if text.startswith("["):
        end = text.find("]") + 1
        if end == 0:
            return None
    else:
        end = next((at for at, char in enumerate(text) if char in ":/"), len(text))
    host, separator, rest = text[:end], text[end : end + 1], text[end + 1 :]
    if separator not in ("", ":"):
        return None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, rest if separator else None


def permit_port(text: Optional[str]) -> Optional[int]:
    """Read the port of PermitOpen and PermitListen; ``*`` is 0 (permitopen_port)."""
    if text is None:
        return None
    if text == "*":
        return 0
    return port(text) or None


def ipqos(text: str, version: SshdVersion) -> Optional[str]:
    """Read a DSCP name or number, as ``sshd -T`` prints it."""
    names = [item for item in _DSCP if item[0] != "le" or release(version) >= (8, 2)]
    by_name = dict(names)
    if lower(text) == "none":
        return "none"
    value = by_name.get(lower(text))
    if value is None:
        value = _strtol(text)
    if value is None or not 0 <= value <= 255:
        return None
    return next((name for name, number in names if number == value), f"0x{value:02x}")


def _strtol(text: str) -> Optional[int]:
    found = re.match(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))\Z", text)
    if not found:
        return None
    sign, hexadecimal, octal, decimal = found.groups()
    digits, base = (hexadecimal, 16) if hexadecimal else (octal, 8) if octal else (decimal, 10)
    return int(digits, base) * (-1 if sign == "-" else 1)


def bindmask(text: str) -> Optional[str]:
    """Read an octal mask; what follows the number is not looked at (strtol)."""
    found = re.match(r"[ \t\n\v\f\r]*([+-]?[0-7]+)", text)
    number = int(found.group(1), 8) if found else -1
    return f"0{number:o}" if 0 <= number <= 0o777 else None


def filename(text: str) -> str:
    """Make a path absolute; ``none`` stands for itself (derelativise_path).

    ``~`` is root's home and relative paths start at ``/``, as for an sshd that systemd started; it prints ``//path``.
    """
    if lower(text) == "none":
        return "none"
    path = tilde(text)
    return path if path.startswith("/") else "//" + path


def tilde(text: str) -> str:
    """Expand ``~/`` for root; ``~user`` needs the host's accounts and is left as it is (tilde_expand_filename)."""
    if text == "~" or text.startswith("~/"):
        return "/root/" + text[2:]
    return text


def format_listen(host: str, port_number: int) -> str:
    """Print an address and port as ``sshd -T`` prints listenaddress; names are not resolved."""
    address = parse_address(host)
    if address is not None and address.version == 6:
        return f"[{host}]:{port_number}"
    return f"{host}:{port_number}"
