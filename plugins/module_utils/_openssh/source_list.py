# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lists of ``from=``: addresses, CIDR blocks, host patterns, negations, matched as sshd matches them. Pure.

Source: match.c, addrmatch.c and addr.c of OpenSSH 8.0, 8.7 and 9.9.
"""

import ipaddress
import re
from typing import NamedTuple, Optional

MAX_PATTERN = 1023
INVALID = -2


class Network(NamedTuple):
    """An address with a mask; ``version`` is 4 or 6."""

    version: int
    address: int
    mask: int


def match_pattern(text: str, pattern: str) -> bool:
    """Match with ``*`` and ``?`` as sshd does (match.c match_pattern); case counts."""
    at = star = resume = 0
    starred = False
    place = 0
    while at < len(text):
        if place < len(pattern) and pattern[place] == "*":
            starred, star, resume = True, place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", text[at]):
            at, place = at + 1, place + 1
        elif starred:
            resume += 1
            at, place = resume, star + 1
        else:
            return False
    return pattern[place:].strip("*") == ""


def match_list(text: str, patterns: str) -> int:
    """Match against comma-separated patterns: 1 matched, 0 not, -1 matched a negated one (match.c)."""
    found = 0
    for item in patterns.split(","):
        negated = item.startswith("!")
        pattern = item[1:] if negated else item
        if len(pattern) >= MAX_PATTERN:
            return 0
        # A list's empty tail is no pattern; an empty item inside it matches an empty text only.
        if match_pattern(text, pattern):
            if negated:
                return -1
            found = 1
    return found


def _number(text: str) -> Optional[int]:
    if re.match(r"0[xX][0-9a-fA-F]+\Z", text):
        return int(text, 16)
    if re.match(r"0[0-7]*\Z", text):
        return int(text, 8)
    return int(text) if re.match(r"[1-9][0-9]*\Z", text) else None


def _parse_v4(text: str) -> Optional[int]:
    parts = [_number(part) for part in text.split(".")]
    if len(parts) > 4 or any(part is None for part in parts):
        return None
    numbers = [part for part in parts if part is not None]
    last_limit = 256 ** (5 - len(numbers))
    if any(part > 255 for part in numbers[:-1]) or numbers[-1] >= last_limit:
        return None
    value = numbers[-1]
    for place, part in enumerate(numbers[:-1]):
        value += part << (24 - 8 * place)
    return value


def parse_address(text: str) -> Optional[Network]:
    """Read a numeric address as getaddrinfo(AI_NUMERICHOST) does, short and hexadecimal IPv4 forms included."""
    value = _parse_v4(text)
    if value is not None:
        return Network(4, value, 32)
    try:
        return Network(6, int(ipaddress.IPv6Address(text.split("%")[0])), 128)
    except ValueError:
        return None


def parse_network(text: str) -> Optional[Network]:
    """Read an address or CIDR block; None where it is neither.

    Raises ValueError where the mask does not fit the address, which sshd treats as an error of the whole list.
    """
    if len(text) > 63:
        return None
    base, slash, length = text.partition("/")
    if slash and not re.match(r"[ \t]*\+?[0-9]+\Z", length):
        return None
    address = parse_address(base)
    if address is None:
        return None
    mask = int(length) if slash else address.mask
    if mask > address.mask or address.address & ((1 << (address.mask - mask)) - 1):
        raise ValueError(text)
    return address._replace(mask=mask)


def contains(network: Network, address: Network) -> bool:
    """Tell whether the address lies in the network."""
    shift = (32 if network.version == 4 else 128) - network.mask
    return network.version == address.version and network.address >> shift == address.address >> shift


def match_address(addr: str, patterns: str) -> int:
    """Match an address: 1 matched, 0 not, -1 matched a negated item, -2 the list is invalid (addr_match_list)."""
    address = parse_address(addr) if addr else None
    if addr and address is None:
        return 0
    found = 0
    for item in patterns.split(","):
        negated = item.startswith("!")
        pattern = item[1:] if negated else item
        if not pattern:
            return INVALID
        try:
            network = parse_network(pattern)
        except ValueError:
            return INVALID
        hit = contains(network, address) if network and address else network is None and match_pattern(addr, pattern)
        if address is not None and hit:
            if negated:
                return -1
            found = 1
    return found


def match_source(host: str, addr: str, patterns: str) -> int:
    """Judge ``from=``: 1 permitted, 0 not, -1 the list is invalid (match_host_and_ip)."""
    by_address = match_address(addr, patterns)
    if by_address == INVALID:
        return -1
    if by_address == -1:
        return 0
    by_name = match_list(host.lower(), patterns.lower())
    return 1 if by_name == 1 or (by_name == 0 and by_address == 1) else 0


def list_problem(patterns: str) -> str:
    """Return which item makes sshd refuse the whole list ('' = none)."""
    for item in patterns.split(","):
        pattern = item[1:] if item.startswith("!") else item
        if not pattern:
            return "it has an empty item"
        try:
            parse_network(pattern)
        except ValueError:
            return "'{0}' is not a network: its mask and its address do not agree".format(pattern)
    return ""
