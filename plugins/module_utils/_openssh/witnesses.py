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
_PARTS = ("account", "addr", "host", "laddr", "lport", "rdomain")

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
    return [pattern.replace("*", filler).replace("?", "1") for filler in ("1", "")]


def _in_network(item: str) -> List[str]:
    try:
        network = parse_network(item)
    except ValueError:
        return []
    if network is None:
        return [text for text in _fill(item) if _is_address(text)]
    first = network.address + (1 if network.mask < (32 if network.version == 4 else 128) else 0)
    return [_format(network.version, first), _format(network.version, network.address)]


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


def _criteria_of(blocks: Sequence[MatchBlock], dimension: str) -> List[Tuple[str, str]]:
    return sorted({one for block in blocks for one in block.criteria if _DIMENSION.get(one[0]) == dimension})


def _distinct(candidates: Sequence[Connection], criteria: Criteria, version: SshdVersion) -> List[Connection]:
    """Keep the first candidate of each class that no criterion tells apart; root is a class of its own."""
    kept: Dict[Tuple[bool, ...], Connection] = {}
    for candidate in candidates:
        verdicts = tuple(satisfies(MatchBlock("", 0, (one,)), candidate, version) for one in criteria)
        kept.setdefault(verdicts + (candidate.user == "root",), candidate)
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
) -> List[List[Connection]]:
    """Return what may vary about a connection: for each of its parts the values criteria tell apart."""
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
    return [_distinct(found, tuple(_criteria_of(blocks, name)), version) for name, found in candidates.items()]


def _merge(parts: Sequence[Connection]) -> Connection:
    account, addr, host, laddr, lport, rdomain = parts
    return account._replace(
        addr=addr.addr, host=host.host, laddr=laddr.laddr, lport=lport.lport, rdomain=rdomain.rdomain
    )


def _all_combinations(dimensions: Sequence[Sequence[Connection]]) -> Iterator[Connection]:
    return (_merge(parts) for parts in itertools.product(*dimensions))


def _some_combinations(
    dimensions: Sequence[Sequence[Connection]], blocks: Sequence[MatchBlock], version: SshdVersion
) -> Iterator[Connection]:
    """Yield every account from elsewhere, and who satisfies each block, and each two blocks together."""
    for account in dimensions[0]:
        yield _merge([account] + [parts[0] for parts in dimensions[1:]])
    for pair in itertools.combinations_with_replacement(blocks, 2):
        fitting = []
        for name, parts in zip(_PARTS, dimensions):
            wanted = MatchBlock("", 0, tuple(_criteria_of(pair, name)))
            found = [part for part in parts if satisfies(wanted, part, version)]
            fitting.append(found if name == "account" else found[:1])
        if all(fitting):
            for parts in itertools.product(*fitting):
                yield _merge(parts)


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
    found = _all_combinations(dimensions) if size <= _LIMIT else _some_combinations(dimensions, blocks, version)
    kept: Dict[Tuple[str, Tuple[bool, ...]], Connection] = {}
    for connection in found:
        reached = tuple(satisfies(block, connection, version) for block in blocks)
        kept.setdefault((connection.user, reached), connection)
    return list(kept.values())
