# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge Match lines. Pure.

Source: match_cfg_line of servconf.c, OpenSSH 8.0 with Red Hat's patches, 8.7, 9.9 and 10.0.
"""

from typing import List, NamedTuple, Optional, Tuple

from .._errors import Malformed
from . import values
from .source_list import INVALID, match_address, match_list
from .tokens import Args, lower, strdelim
from .version import SshdVersion, release

Criteria = Tuple[Tuple[str, str], ...]

_NAMES = ("user", "group", "host", "address", "localaddress", "localport", "rdomain")
_NO_ARGUMENT = ("all", "invalid-user")


class Connection(NamedTuple):
    """Who connects, from where to where; what is empty (or 0) is not known and satisfies no criterion.

    ``groups`` are the names of all groups of the account, the primary one included; empty for an account that does
    not exist. ``invalid_user``: the server decided that the account may not log in or does not exist.
    """

    user: str
    groups: Tuple[str, ...]
    host: str
    addr: str
    laddr: str = ""
    lport: int = 0
    rdomain: str = ""
    invalid_user: bool = False


# What `sshd -T` without -C asks with.
NOBODY = Connection("", (), "", "")


def read_criteria(rest: Optional[str], args: Args, version: SshdVersion) -> Tuple[Criteria, bool]:
    """Read what follows ``Match``: the criteria with lower-case names, and whether words are left over.

    Raises Malformed for what sshd refuses whoever connects.
    """
    words = _Words(rest, args, version)
    found: List[Tuple[str, str]] = []
    name = words.next()
    while name is not None and not name.startswith("#") and (name or words.argv):
        criterion = _criterion(lower(name), words, version)
        if criterion[0] == "all":
            if found:
                raise Malformed("all cannot be combined with other criteria", "Remove all, or the others")
            return (criterion,), words.left()
        found.append(criterion)
        name = words.next()
    if name is not None and name.startswith("#"):
        words.drop()
    if not found:
        raise Malformed("Match has no criterion", "Give one, such as Match User alice")
    return tuple(found), words.left()


class _Words:
    """The words of a Match line: from 9.9 on cut as those of other lines, before with ``=`` as a separator."""

    def __init__(self, rest: Optional[str], args: Args, version: SshdVersion) -> None:
        self._rest, self._args, self._version = rest, args, version
        self.argv = release(version) >= (9, 9)

    def next(self) -> Optional[str]:
        if self.argv:
            return self._args.next()
        word, self._rest = strdelim(self._rest)
        return word

    def drop(self) -> None:
        self._rest = None
        self._args.consume()

    def left(self) -> bool:
        if self.argv:
            return self._args.more
        if release(self._version) < (8, 7):
            return bool(strdelim(self._rest)[0])
        return bool(self._rest) and self._args.more


def _criterion(name: str, words: _Words, version: SshdVersion) -> Tuple[str, str]:
    if name == "all":
        argument = words.next()
        if argument and not argument.startswith("#"):
            raise Malformed("all cannot be combined with other criteria", "Remove all, or the others")
        if argument:
            words.drop()
        return name, ""
    if name == "invalid-user" and release(version) >= (9, 9):
        return name, ""
    argument = words.next()
    if not argument or argument.startswith("#"):
        raise Malformed(f"Match {name} has no argument", "Give a pattern after it")
    if name not in _NAMES and not (name == "version" and release(version) >= (10, 0)):
        raise Malformed(f"Match does not know the criterion '{name}'", f"Use one of {', '.join(_NAMES)}, all")
    if name == "localport" and values.port(argument) is None:
        raise Malformed(f"Match LocalPort does not take '{argument}'", "Give a number from 0 to 65535")
    return name, argument


def holds(criteria: Criteria, connection: Optional[Connection], version: SshdVersion) -> bool:
    """Tell whether all criteria hold; ``connection`` None: only the syntax is checked, as sshd does when it starts.

    Even then ``all`` and ``invalid-user`` alone hold, which makes sshd take such a block for global.
    Raises Malformed for address lists sshd refuses.
    """
    result = True
    for name, argument in criteria:
        result = _holds(name, argument, connection, version) and result
    return result


def _holds(name: str, argument: str, connection: Optional[Connection], version: SshdVersion) -> bool:
    if name == "all":
        return True
    if name == "version":
        return match_list(f"OpenSSH_{version.major}.{version.minor}p{version.patch}", argument) == 1
    if name == "invalid-user":
        return connection is None or connection.invalid_user
    if name in ("address", "localaddress"):
        return _address_holds(name, argument, connection, version)
    if connection is None:
        return False
    if name == "localport":
        if connection == NOBODY:
            raise Malformed("Match LocalPort cannot be judged without a connection", "Ask with a connection")
        return values.port(argument) == connection.lport and connection.lport != 0
    if name == "group":
        return _group_holds(connection, argument)
    text = {"user": connection.user, "host": connection.host, "rdomain": connection.rdomain}[name]
    if not text:
        return False
    if name == "host":
        return match_list(lower(text), lower(argument)) == 1
    return match_list(text, argument) == 1


def _group_holds(connection: Connection, patterns: str) -> bool:
    # One group that matches a negated pattern decides, whatever the others match.
    verdicts = [match_list(group, patterns) for group in connection.groups]
    return bool(connection.user) and 1 in verdicts and -1 not in verdicts


def _address_holds(name: str, argument: str, connection: Optional[Connection], version: SshdVersion) -> bool:
    address = ""
    if connection is not None:
        address = connection.addr if name == "address" else connection.laddr
    if not address and release(version) < (8, 4):
        return False
    verdict = match_address(address, argument)
    if verdict == INVALID:
        raise Malformed(
            f"Match {name} does not take '{argument}'", "Give addresses, or networks whose host part is zero"
        )
    return verdict == 1 and bool(address)
