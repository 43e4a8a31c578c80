# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read directives with several values. Pure.

Source: process_server_config_line of servconf.c, OpenSSH 8.0, 8.7, 9.7 and 9.9, with Red Hat's patches.
"""

from typing import List, Mapping

from . import values
from .settings import Directive, Settings
from .source_list import INVALID, match_address
from .tokens import lower, modern
from .version import SshdVersion, release

# The keyword that switches each method on; none is a constant of sshd.
_METHODS: Mapping[str, str] = {
    "none": "",
    "publickey": "pubkeyauthentication",
    "gssapi-with-mic": "gssapiauthentication",
    "password": "passwordauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "hostbased": "hostbasedauthentication",
}


def _refuse_empty_list(directive: Directive, words: List[str]) -> None:
    # From 9.7 on a list without a value (such as "AcceptEnv # later") is an error.
    if not words and release(directive.version) >= (9, 7):
        raise directive.refuse("has no value")


def read_users(directive: Directive) -> None:
    """Read AllowUsers and DenyUsers: patterns, or pattern@source."""
    words = directive.args.remaining()
    for word in words:
        source = word.partition("@")[2]
        if not word or ("@" in word and match_address("", source) == INVALID):
            raise directive.refuse(f"does not take '{word}'", "Give user patterns, or user@addresses with a valid mask")
        directive.add(word)
    _refuse_empty_list(directive, words)


def read_groups(directive: Directive) -> None:
    """Read AllowGroups and DenyGroups."""
    words = directive.args.remaining()
    for word in words:
        if not word:
            raise directive.refuse("has an empty pattern")
        directive.add(word)
    _refuse_empty_list(directive, words)


def read_accept_env(directive: Directive) -> None:
    """Read AcceptEnv."""
    words = directive.args.remaining()
    for word in words:
        if not word or "=" in word:
            raise directive.refuse(f"does not take '{word}'", "Give names of environment variables, not values")
        directive.add(word)
    _refuse_empty_list(directive, words)


def read_set_env(directive: Directive) -> None:
    """Read SetEnv: the first line only, and from 9.1 on the first value of a name only."""
    words = directive.args.remaining(equals=False)
    kept: List[str] = []
    for word in words:
        name, equals, _value = word.partition("=")
        if not equals:
            raise directive.refuse(f"does not take '{word}'", "Give NAME=value")
        again = any(other.partition("=")[0] == name for other in kept)
        if not (again and release(directive.version) >= (9, 1)):
            kept.append(word)
    _refuse_empty_list(directive, words)
    directive.keep_line(kept)


def read_key_files(directive: Directive) -> None:
    """Read AuthorizedKeysFile."""
    if not modern(directive.version) and (not directive.active or directive.settings.has(directive.keyword.key)):
        directive.args.consume()
        return
    words = directive.args.remaining()
    if "" in words:
        raise directive.bad("has an empty value")
    _refuse_empty_list(directive, words)
    directive.args.consume()
    directive.keep_line([values.tilde(word) for word in words])


def read_log_verbose(directive: Directive) -> None:
    """Read LogVerbose."""
    words = directive.args.remaining()
    if "" in words:
        raise directive.bad("has an empty value")
    if len(words) > 1 and any(lower(word) == "none" for word in words):
        raise directive.bad("takes none only alone")
    _refuse_empty_list(directive, words)
    directive.keep_line(words)


def read_channel_timeout(directive: Directive) -> None:
    """Read ChannelTimeout: type=time."""
    words = directive.args.remaining()
    for place, word in enumerate(words):
        kind, equals, time = word.partition("=")
        if lower(word) == "none":
            # 9.2 to 9.6 count the words before it wrongly: there only words after it are too many.
            before = place if release(directive.version) >= (9, 7) else 0
            if before or place + 1 < len(words):
                raise directive.bad("takes none only alone")
        elif not kind or not equals or values.convtime(time, directive.version) is None:
            raise directive.refuse(f"does not take '{word}'", "Give type=time, such as session:*=5m")
    _refuse_empty_list(directive, words)
    directive.keep_line(["none"] if [lower(word) for word in words] == ["none"] else words)


def read_pubkey_options(directive: Directive) -> None:
    """Read PubkeyAuthOptions."""
    words = [lower(word) for word in directive.args.remaining()]
    for word in words:
        if word not in ("none", "touch-required", "verify-required"):
            raise directive.bad(f"does not take '{word}'")
    kept = [word for word in ("touch-required", "verify-required") if word in words]
    directive.keep_first(" ".join(kept) or "none")


def methods_problem(text: str, version: SshdVersion) -> str:
    """Return what is wrong with one list of authentication methods ('' = nothing)."""
    known = set(_METHODS) | ({"gssapi-keyex"} if version.flavour != "upstream" else set())
    for method in text.split(","):
        if method.partition(":")[0] not in known:
            return f"unknown authentication method '{method}'"
    return ""


def methods_enabled(text: str, settings: Settings) -> bool:
    """Tell whether all methods of one list are switched on; ``settings`` must hold the defaults too."""
    for method in text.split(","):
        key = _METHODS.get(method.partition(":")[0], "gssapiauthentication")
        if key and settings.get(key) != "yes":
            return False
    return True


def read_methods(directive: Directive) -> None:
    """Read AuthenticationMethods."""
    key, at = directive.keyword.key, release(directive.version)
    if not modern(directive.version) and directive.settings.has(key):
        directive.args.consume()
        return
    words = directive.args.remaining()
    directive.args.consume()
    counts = directive.active and not directive.settings.has(key)
    earlier = len(directive.settings.values(key)) if at < (9, 7) else 0
    for place, word in enumerate(words):
        # Up to 9.6 sshd counts what earlier lines set, and what this line set if it counts.
        before = place if counts or at >= (9, 7) else 0
        if word == "any" and earlier + before > 0 or "any" in words[:place]:
            raise directive.refuse("takes any only alone", "Remove any, or the other lists")
        problem = "" if word == "any" else methods_problem(word, directive.version)
        if problem:
            raise directive.refuse(f"is not valid: {problem}", "sshd_config(5), AuthenticationMethods, has the names")
    if not words:
        raise directive.refuse("has no value")
    directive.keep_line(words)


def _permit_entry(directive: Directive, word: str) -> str:
    if directive.keyword.kind == "permitlisten" and ":" not in word:
        entry, port = f"*:{word}", values.permit_port(word)
    else:
        cut = values.split_host_port(word)
        if cut is None:
            raise directive.refuse(f"names no host in '{word}'", "Give host:port")
        entry, port = word, values.permit_port(cut[1])
    if port is None:
        raise directive.refuse(f"names no port in '{word}'", "Give host:port, or * for any port")
    return entry


def read_permits(directive: Directive) -> None:
    """Read PermitOpen and PermitListen."""
    first = directive.need() if release(directive.version) < (9, 7) else directive.args.next()
    if first in ("any", "none") and release(directive.version) < (9, 7):
        directive.keep_line([first])
        return
    words: List[str] = []
    word = first
    while word is not None and (word or release(directive.version) >= (9, 7)):
        if word in ("any", "none"):
            if words and release(directive.version) >= (9, 7):
                raise directive.refuse(f"takes {word} only alone")
            entry = word if release(directive.version) >= (9, 7) else _permit_entry(directive, word)
        else:
            entry = _permit_entry(directive, word)
        words.append(entry)
        word = directive.args.next()
    if not words:
        raise directive.refuse("has no value")
    directive.keep_line(words)
