# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether sshd would let an operator in by a key, as far as its configuration goes. Pure. PRIVATE to the collection."""

from typing import Mapping, NamedTuple, Optional, Sequence, Tuple

from .._errors import Refused
from .._openssh.source_list import match_list, match_pattern, match_source

Answer = Mapping[str, Tuple[str, ...]]
_RSA = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")


class Operator(NamedTuple):
    """One account whose way in must stay, and where it comes from: ``host`` is the client's name as sshd knows it."""

    name: str
    uid: int
    groups: Tuple[str, ...]
    host: str
    addr: str


def problem(answer: Answer, operator: Operator) -> Optional[Refused]:
    """Say which setting of ``answer`` (``sshd -T -C`` for this operator) keeps every key of it out, or None.

    Source: allowed_user (auth.c), auth_root_allowed and sshd_config(5) of OpenSSH 8.0 to 9.9.
    """
    keyword = _listed(answer, operator) or _root(answer, operator)
    if keyword:
        return Refused(
            f"{keyword} keeps {operator.name} out (from {operator.addr})",
            "let that setting take this operator in, or exempt it by a Match block",
            operator.name,
        )
    if _first(answer, "pubkeyauthentication", "yes") != "yes":
        return Refused(
            f"PubkeyAuthentication no takes no key of {operator.name}", "set it to yes for this operator", operator.name
        )
    methods = _first(answer, "authenticationmethods", "any")
    # One line of alternatives (sshd_config(5)): any one of them is enough.
    if not set(methods.split()) & {"any", "publickey"}:
        return Refused(
            f"AuthenticationMethods {methods} asks {operator.name} for more than a key",
            "exempt this operator by a Match block",
            operator.name,
        )
    return None


def key_type_problem(answer: Answer, key_type: str) -> Optional[str]:
    """Return why no signature of this type of key is taken, or None (sshd_config(5) PubkeyAcceptedAlgorithms)."""
    name = "PubkeyAcceptedAlgorithms" if "pubkeyacceptedalgorithms" in answer else "PubkeyAcceptedKeyTypes"
    accepted = _first(answer, name.lower(), "")
    algorithms = _RSA if key_type == "ssh-rsa" else (key_type,)
    if not accepted or any(match_list(algorithm, accepted) == 1 for algorithm in algorithms):
        return None
    return f"{name} leaves out {key_type}"


def _first(answer: Answer, keyword: str, default: str) -> str:
    return (answer.get(keyword) or (default,))[0]


def _listed(answer: Answer, operator: Operator) -> str:
    """Return the list that keeps the operator out, in the order sshd asks them; '' where none does."""
    # A list that sshd cannot read ends the login in both.
    if any(_matches_user(operator, pattern) != 0 for pattern in answer.get("denyusers", ())):
        return "DenyUsers"
    allowed = answer.get("allowusers", ())
    if allowed and not any(_matches_user(operator, pattern) == 1 for pattern in allowed):
        return f"AllowUsers {' '.join(allowed)}"
    if _in_groups(operator, answer.get("denygroups", ())):
        return "DenyGroups"
    groups = answer.get("allowgroups", ())
    return f"AllowGroups {' '.join(groups)}" if groups and not _in_groups(operator, groups) else ""


def _matches_user(operator: Operator, pattern: str) -> int:
    user, at, host = pattern.rpartition("@")
    if not match_pattern(operator.name, user if at else pattern):
        return 0
    return match_source(operator.host, operator.addr, host) if at else 1


def _in_groups(operator: Operator, patterns: Sequence[str]) -> bool:
    return any(match_pattern(group, pattern) for group in operator.groups for pattern in patterns)


def _root(answer: Answer, operator: Operator) -> str:
    value = _first(answer, "permitrootlogin", "prohibit-password")
    return f"PermitRootLogin {value}" if operator.uid == 0 and value in ("no", "forced-commands-only") else ""


__all__ = ["Operator", "key_type_problem", "problem"]
