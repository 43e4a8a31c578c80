# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find a small set of connections that reaches every combination of Match blocks. Pure."""

import itertools
from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from .._errors import Malformed
from . import values
from .match import Connection, Criteria, holds
from .source_list import parse_network
from .version import SshdVersion

# Documentation addresses (RFC 5737, RFC 3849): nobody names them in a Match line by accident.
_ELSEWHERE = ("203.0.113.77", "2001:db8:77::77")
_HOSTS = ("client.invalid",)
_LOCAL = ("192.0.2.1",)
_PORTS = (22, 60022)
# Combinations that are all tried; more take too long on a small host.
_LIMIT = 20000

_DIMENSION = {
    "user": "account",
    "group": "account",
    "invalid-user": "account",
    "host": "host",
    "address": "addr",
    "localaddress": "laddr",
    "localport": "lport",
    "rdomain": "rdomain",
}

Accounts = Sequence[Tuple[str, Sequence[str]]]


class MatchBlock(NamedTuple):
    """A Match block; ``criteria`` are pairs such as ``('user', 'alice,bob')`` or ``('all', '')``."""

    path: str
    line: int
    criteria: Criteria


def satisfies(block: MatchBlock, connection: Connection, version: SshdVersion) -> bool:
    """Tell whether a connection satisfies a block; criteria sshd refuses satisfy nobody."""
    try:
        return holds(block.criteria, connection, version)
    except Malformed:
        return False


def _positive(argument: str) -> List[str]:
    items = [item[1:] if item.startswith("!") else item for item in argument.split(",")]
    return [item for item in items if item]


def _fill(pattern: str) -> List[str]:
    # Two of each, so that one is left where a negated pattern takes the other.
    return [pattern.replace("*", filler).replace("?", filler or "1") for filler in ("1", "7", "")]


def _fill_address(pattern: str) -> List[str]:
    fillers = ("1", "7", "1.7", "7.1", "1.1.7", "192.0.2.7", "")
    filled = [pattern.replace("*", filler).replace("?", "1") for filler in fillers]
    return [text for text in filled if (text.count(".") == 3 or ":" in text) and _is_address(text)]


def _in_network(item: str) -> List[str]:
    try:
        network = parse_network(item)
    except ValueError:
        return []
    if network is None:
        return _fill_address(item)
    size = 1 << ((32 if network.version == 4 else 128) - network.mask)
    return [_format(network.version, network.address + offset % size) for offset in (1, 2, size - 1, 0)]


def _is_address(text: str) -> bool:
    try:
        return parse_network(text) is not None
    except ValueError:
        return False


def _format(family: int, number: int) -> str:
    if family == 4:
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    return ":".join(f"{number >> shift & 0xFFFF:x}" for shift in range(112, -16, -16))


def _arguments(blocks: Sequence[MatchBlock], name: str) -> List[str]:
    return sorted({argument for block in blocks for one, argument in block.criteria if one == name})


class _Part(NamedTuple):
    """One thing that may vary about a connection; bit n of ``fits``: it does not keep block n from holding."""

    connection: Connection
    fits: int


def _distinct(
    name: str, candidates: Sequence[Connection], blocks: Sequence[MatchBlock], version: SshdVersion
) -> List[_Part]:
    """Keep the first candidate of each class that no block tells apart; root is a class of its own."""
    relevant = [
        block._replace(criteria=tuple(one for one in block.criteria if _DIMENSION.get(one[0], "account") == name))
        for block in blocks
    ]
    kept: Dict[Tuple[int, bool], _Part] = {}
    for candidate in candidates:
        fits = sum(satisfies(block, candidate, version) << place for place, block in enumerate(relevant))
        kept.setdefault((fits, candidate.user == "root"), _Part(candidate, fits))
    return list(kept.values())


_BLANK = Connection("", (), "", "")


def _accounts(blocks: Sequence[MatchBlock], accounts: Accounts) -> List[Connection]:
    found = [_BLANK._replace(user=name, groups=tuple(groups)) for name, groups in accounts]
    names = {name for name, _groups in accounts}
    for argument in _arguments(blocks, "user"):
        made = [name for item in _positive(argument) for name in _fill(item) if name and name not in names]
        found.extend(_BLANK._replace(user=name) for name in made)
    if _arguments(blocks, "invalid-user"):
        found.append(_BLANK._replace(user="no-such-account", invalid_user=True))
    return found


def _made_up(blocks: Sequence[MatchBlock], name: str, make: Callable[[str], List[str]]) -> List[str]:
    items = [item for argument in _arguments(blocks, name) for item in _positive(argument)]
    return [text for item in items for text in make(item) if text]


def _dimensions(
    blocks: Sequence[MatchBlock], accounts: Accounts, addresses: Sequence[str], version: SshdVersion
) -> List[List[_Part]]:
    """Return what may vary about a connection: for each of its parts the values blocks tell apart."""
    remote = list(addresses) + list(_ELSEWHERE) + _made_up(blocks, "address", _in_network)
    local = list(_LOCAL) + _made_up(blocks, "localaddress", _in_network)
    ports = list(_PORTS) + [values.port(argument) or 0 for argument in _arguments(blocks, "localport")]
    candidates = {
        "account": _accounts(blocks, accounts),
        "addr": [_BLANK._replace(addr=one) for one in remote],
        "host": [_BLANK._replace(host=one) for one in list(_HOSTS) + _made_up(blocks, "host", _fill)],
        "laddr": [_BLANK._replace(laddr=one) for one in local],
        "lport": [_BLANK._replace(lport=one) for one in ports if one],
        "rdomain": [_BLANK._replace(rdomain=one) for one in [""] + _made_up(blocks, "rdomain", _fill)],
    }
    return [_distinct(name, found, blocks, version) for name, found in candidates.items()]


def _merge(parts: Sequence[_Part]) -> _Part:
    account, addr, host, laddr, lport, rdomain = [part.connection for part in parts]
    fits = parts[0].fits
    for part in parts[1:]:
        fits &= part.fits
    merged = account._replace(
        addr=addr.addr, host=host.host, laddr=laddr.laddr, lport=lport.lport, rdomain=rdomain.rdomain
    )
    return _Part(merged, fits)


def _some_combinations(dimensions: Sequence[Sequence[_Part]], count: int) -> Iterator[_Part]:
    """Yield every account from elsewhere, and who satisfies each of ``count`` blocks, and each two of them together."""
    for account in dimensions[0]:
        yield _merge([account] + [parts[0] for parts in dimensions[1:]])
    for first, second in itertools.combinations_with_replacement(range(count), 2):
        wanted = 1 << first | 1 << second
        fitting = [[part for part in parts if part.fits & wanted == wanted] for parts in dimensions]
        if all(fitting):
            for account in fitting[0]:
                yield _merge([account] + [parts[0] for parts in fitting[1:]])


def witnesses_of(
    blocks: Sequence[MatchBlock], accounts: Accounts, addresses: Sequence[str], version: SshdVersion
) -> List[Connection]:
    """Return one connection for each class of accounts and each set of blocks it can satisfy together.

    Accounts no User or Group criterion tells apart share a representative, root excepted. User patterns no account
    fits get a made-up account without groups. Deterministic. Where there are too many criteria to try all combinations,
    each block and each two blocks together are still reached, by all classes of accounts that can.
    """
    dimensions = _dimensions(blocks, accounts, addresses, version)
    size = 1
    for parts in dimensions:
        size *= len(parts)
    found = _some_combinations(dimensions, len(blocks))
    if size <= _LIMIT:
        found = (_merge(parts) for parts in itertools.product(*dimensions))
    kept: Dict[Tuple[str, int], Connection] = {}
    for part in found:
        kept.setdefault((part.connection.user, part.fits), part.connection)
    return list(kept.values())
