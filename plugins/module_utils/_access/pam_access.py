# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pam_access makes of its rules, as far as they can be judged beforehand. Pure. PRIVATE to the collection.

Source: access.conf(5), and login_access, list_match, user_match, from_match of pam_access.c 1.3 to 1.6.
"""

from typing import Callable, List, Optional, Sequence, Tuple

from .._openssh.source_list import contains, parse_address, parse_network

_Match = Callable[[str], Optional[bool]]


def refusing_line(lines: Sequence[str], user: str, groups: Sequence[str], origin: str) -> str:
    """Return the rule that refuses ``user`` from ``origin``; '' where it is let in, or it cannot be known.

    The first rule that matches decides; rules with netgroups or host names are asked of servers, so they end this.
    """
    for line in lines:
        fields = _fields(line)
        if fields is None:
            continue
        permission, users, origins = fields
        matched = _listed(users, lambda token: _user(token, user, groups, origin))
        if matched:
            matched = _listed(origins, lambda token: _origin(token, origin))
        if matched is None:
            return ""
        if matched:
            return line.strip() if permission == "-" else ""
    return ""


def _fields(line: str) -> Optional[Tuple[str, List[str], List[str]]]:
    text = line.strip()
    parts = [part.strip() for part in text.split(":", 2)]
    if not text or text.startswith("#") or len(parts) != 3 or parts[0] not in ("+", "-"):
        return None
    return parts[0], _tokens(parts[1]), _tokens(parts[2])


def _tokens(text: str) -> List[str]:
    return text.replace(",", " ").split()


def _listed(tokens: Sequence[str], match: _Match) -> Optional[bool]:
    """Match a list: its first part, unless what follows EXCEPT matches."""
    upper = [token.upper() for token in tokens]
    end = upper.index("EXCEPT") if "EXCEPT" in upper else len(tokens)
    found = _any(tokens[:end], match)
    if not found or end == len(tokens):
        return found
    excepted = _listed(tokens[end + 1 :], match)
    return None if excepted is None else not excepted


def _any(tokens: Sequence[str], match: _Match) -> Optional[bool]:
    said = [match(token) for token in tokens]
    if any(said):
        # What stands before it and cannot be judged could only match as well.
        return True
    return None if None in said else False


def _user(token: str, user: str, groups: Sequence[str], origin: str) -> Optional[bool]:
    if token.upper() == "ALL":
        return True
    if token.startswith("@"):
        return None
    if token.startswith("(") and token.endswith(")"):
        return token[1:-1] in groups
    name, at, host = token.partition("@")
    if at:
        return _origin(host, origin) if name == user else False
    return token.lower() == user.lower() or token in groups


def _origin(token: str, origin: str) -> Optional[bool]:
    if token.upper() == "ALL":
        return True
    if token.startswith("@"):
        return None
    if token.upper() == "LOCAL":
        return "." not in origin and ":" not in origin
    if token.lower() == origin.lower():
        return True
    if token.startswith("."):
        return origin.lower().endswith(token.lower())
    address = parse_address(origin)
    if token.endswith(".") and token[:-1].replace(".", "").isdigit():
        return origin.startswith(token)
    try:
        network = parse_network(token)
    except ValueError:
        # pam_access takes host bits beside a mask, sshd does not: the mask is what counts.
        base, unused, length = token.partition("/")
        network = parse_address(base)
        network = network._replace(mask=min(int(length), network.mask)) if network else None
    if network is not None and address is not None:
        return contains(network, address)
    # A terminal, a host name: only the first is known not to be where sshd's clients come from.
    return False if token.startswith(("tty", "cron", "pts/", ":")) or address is None else None


__all__ = ["refusing_line"]
