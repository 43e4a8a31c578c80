# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which settings of sshd make exactly the wanted authentication methods possible. Pure. PRIVATE to the collection."""

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._openssh.version import SshdVersion

METHODS = ("publickey", "gssapi-with-mic", "hostbased")
Answer = Mapping[str, Tuple[str, ...]]


class Rule(NamedTuple):
    """One keyword: the values it may have, and the value we set where it has another."""

    keyword: str
    allowed: Tuple[str, ...]
    value: str
    always: bool


def rules(methods: Sequence[str], version: SshdVersion) -> List[Rule]:
    """Return the rules that leave exactly ``methods``; a stricter value that is there already is allowed.

    Keyboard-interactive through PAM is a password by another name; up to 8.6 only ChallengeResponseAuthentication
    turns it off (sshd_config(5) of 8.0, and its sources: KbdInteractiveAuthentication alone changes nothing).
    """
    interactive = "ChallengeResponseAuthentication" if version < (8, 7) else "KbdInteractiveAuthentication"
    wanted = [
        Rule("PasswordAuthentication", ("no",), "no", True),
        Rule(interactive, ("no",), "no", True),
        Rule("PermitEmptyPasswords", ("no",), "no", True),
        # prohibit-password is printed under its old name up to 10.3.
        Rule(
            "PermitRootLogin",
            ("no", "forced-commands-only", "without-password", "prohibit-password"),
            "prohibit-password",
            False,
        ),
    ]
    if "gssapi-with-mic" not in methods:
        wanted.append(Rule("GSSAPIAuthentication", ("no",), "no", False))
    if "hostbased" not in methods:
        wanted.append(Rule("HostbasedAuthentication", ("no",), "no", False))
    return wanted


def way_in() -> Rule:
    """Return the rule without which no key opens anything."""
    return Rule("PubkeyAuthentication", ("yes",), "yes", False)


def printed(keyword: str) -> str:
    """Return a keyword as ``sshd -T`` prints it."""
    return keyword.lower()


def unmet(rule: Rule, answer: Answer) -> Optional[str]:
    """Return the value that breaks a rule, or None; a keyword that sshd does not print cannot be on."""
    values = answer.get(printed(rule.keyword))
    return None if not values or values[0].lower() in rule.allowed else values[0]


def offered(answer: Answer) -> List[str]:
    """Return the methods that sshd offers with these effective values, also those that a foreign line keeps on."""
    switches = {
        "publickey": "pubkeyauthentication",
        "gssapi-with-mic": "gssapiauthentication",
        "hostbased": "hostbasedauthentication",
        "password": "passwordauthentication",
        "keyboard-interactive": "kbdinteractiveauthentication",
    }
    return [name for name, switch in switches.items() if answer.get(switch, ("no",))[0] == "yes"]


def also_printed(version: SshdVersion) -> Dict[str, Tuple[str, ...]]:
    """Return the keywords that one of ours changes along with itself in what sshd prints."""
    return {"challengeresponseauthentication": ("kbdinteractiveauthentication",)} if version < (8, 7) else {}


__all__ = ["Answer", "METHODS", "Rule", "also_printed", "offered", "printed", "rules", "unmet", "way_in"]
