# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read directives with one value. Pure.

Source: process_server_config_line of servconf.c, OpenSSH 8.0, 8.7 and 9.9, with Red Hat's patches.
"""

from . import algorithms, values
from .settings import Directive
from .source_list import INVALID, match_address
from .tokens import BLANK, lower, modern
from .version import release


def read_word(directive: Directive) -> None:
    """Read one of a fixed set of words."""
    kind = directive.keyword.kind
    if kind in ("facility", "loglevel"):
        text = directive.args.next() or ""
    else:
        text = directive.need()
    value = values.word(kind, text, directive.version)
    if value is None:
        choices = ", ".join(values.WORDS.get(kind, ("yes", "no")))
        raise directive.refuse(f"does not take '{text}'", f"Use one of {choices}")
    if kind == "fingerprinthash" and directive.active:
        directive.settings.replace(directive.keyword.key, value, directive.source)
    directive.keep_first(value)


def read_int(directive: Directive) -> None:
    """Read a number from 0 to 2147483647."""
    text = directive.args.next() or ""
    number = values.strtonum(text, 0, values.INT_MAX)
    if number is None:
        raise directive.refuse(f"does not take '{text}'", "Give a number that is not negative")
    directive.keep_first(str(number))


def read_time(directive: Directive) -> None:
    """Read a time."""
    directive.keep_first(str(_time(directive)))


def _time(directive: Directive) -> int:
    text = directive.need()
    seconds = values.convtime(text, directive.version)
    if seconds is None:
        raise directive.refuse(f"does not take '{text}'", "Give seconds, or a number with s, m, h, d or w")
    return seconds


def read_idle_time(directive: Directive) -> None:
    """Read a time or ``none``, which beats what stands before it."""
    if lower(directive.args.peek() or "") == "none":
        directive.args.next()
        if directive.active:
            directive.settings.replace(directive.keyword.key, "none", directive.source)
        return
    seconds = _time(directive)
    directive.keep_first(str(seconds) if seconds else "none")


def read_filename(directive: Directive) -> None:
    """Read a path, made absolute."""
    directive.keep_first(values.filename(directive.need()))


def read_hostfile(directive: Directive) -> None:
    """Read a path of a list of paths."""
    directive.add(values.filename(directive.need()))


def read_tilde_file(directive: Directive) -> None:
    """Read a path that may be relative to a home."""
    directive.keep_first(values.tilde(directive.need()))


def read_plain(directive: Directive) -> None:
    """Read one word as it stands."""
    directive.keep_first(directive.need())


def read_agent(directive: Directive) -> None:
    """Read the socket of HostKeyAgent."""
    text = directive.need()
    directive.keep_first(text if text == "SSH_AUTH_SOCK" else values.filename(text))


def read_provider(directive: Directive) -> None:
    """Read SecurityKeyProvider."""
    text = directive.need()
    directive.keep_first(text if lower(text) == "internal" else values.filename(text))


def read_rawline(directive: Directive) -> None:
    """Read the rest of the line as it stands (ForceCommand)."""
    raw = directive.args.raw
    if not raw:
        raise directive.refuse("has no value")
    directive.args.consume()
    directive.keep_first(raw.lstrip(BLANK))


def read_command(directive: Directive) -> None:
    """Read the rest of the line, which must be an absolute path or ``none``."""
    raw = directive.args.raw
    if raw is None:
        raise directive.refuse("has no value")
    directive.args.consume()
    command = raw.lstrip(BLANK)
    key = directive.keyword.key
    at = release(directive.version)
    if not modern(directive.version) and (not directive.active or directive.settings.has(key)):
        return
    if not command.startswith("/") and lower(command) != "none":
        raise directive.refuse(f"is not an absolute path: '{command}'", "Give the path from / on, or none")
    if at >= (9, 4) or not modern(directive.version):
        directive.keep_first(command)
    elif directive.active and not directive.settings.has("authorizedkeyscommand"):
        # 8.7 to 9.3 look at AuthorizedKeysCommand for both keywords.
        directive.settings.replace(key, command, directive.source)


def read_addendum(directive: Directive) -> None:
    """Read the rest of the line (VersionAddendum)."""
    raw = directive.args.raw
    if not raw:
        raise directive.refuse("has no value")
    directive.args.consume()
    text = raw.lstrip(BLANK)
    skipped = not modern(directive.version) and (
        not directive.active or directive.settings.has(directive.keyword.key) or lower(text) == "none"
    )
    if "\r" in text and not skipped:
        raise directive.refuse("contains a carriage return")
    directive.keep_first("none" if lower(text) == "none" else text)


def read_tunnel(directive: Directive) -> None:
    """Read PermitTunnel, whose words are in lower case only."""
    text = directive.need()
    if text not in ("no", "point-to-point", "ethernet", "yes"):
        raise directive.refuse(f"does not take '{text}'", "Use one of no, yes, point-to-point, ethernet")
    directive.keep_first(text)


def read_user_environment(directive: Directive) -> None:
    """Read PermitUserEnvironment: yes and no in lower case only, anything else is a pattern list."""
    directive.keep_first(directive.need())


def read_bindmask(directive: Directive) -> None:
    """Read StreamLocalBindMask."""
    text = directive.need()
    mask = values.bindmask(text)
    if mask is None:
        raise directive.refuse(f"does not take '{text}'", "Give an octal mask from 0 to 0777")
    if directive.keyword.repeat == "first":
        directive.keep_first(mask)
    elif directive.active:
        directive.settings.replace(directive.keyword.key, mask, directive.source)


def read_rdomain(directive: Directive) -> None:
    """Refuse RDomain, which no sshd on Linux supports; Red Hat's 8.0 passes over it."""
    if directive.version.flavour == "redhat" and release(directive.version) < (8, 3):
        directive.args.consume()
        return
    raise directive.refuse("is not supported on Linux", "Remove it")


def read_address_list(directive: Directive) -> None:
    """Read a list of addresses (PerSourcePenaltyExemptList)."""
    text = directive.need()
    if match_address("", text) == INVALID:
        raise directive.refuse(f"does not take '{text}'", "Give addresses or networks whose host part is zero")
    directive.keep_first(text)


def read_algorithms(directive: Directive) -> None:
    """Read a list of ciphers, MACs or key exchange methods, or a change to the compiled one."""
    text = directive.need()
    kind = directive.keyword.kind
    if kind == "gsskex":
        unknown = algorithms.unknown_name(text, algorithms.gss_kex(directive.version))
    else:
        known = algorithms.known({"kexalgorithms": "kex"}.get(kind, kind), directive.version)
        unknown = None if text.startswith("-") else algorithms.unknown_name(_names(text, directive), known)
    if unknown is not None and algorithms.complete(directive.version):
        raise directive.refuse(f"names '{unknown}', which this sshd does not know", "Remove the name from the list")
    directive.keep_first(text)


def read_key_algorithms(directive: Directive) -> None:
    """Read a list of key or signature algorithms, or a change to the compiled one."""
    text = directive.need()
    names = _names(text, directive)
    unknown = None if text.startswith("-") else algorithms.unknown_key_name(names, directive.version)
    plain_only = directive.keyword.key == "casignaturealgorithms" and release(directive.version) >= (9, 4)
    if plain_only and unknown is None and not text.startswith("-"):
        unknown = next((name for name in names.split(",") if algorithms.is_certificate(name)), None)
    if unknown is not None and algorithms.complete(directive.version):
        raise directive.refuse(f"names '{unknown}', which this sshd does not know", "Remove the name from the list")
    directive.keep_first(text)


def _names(text: str, directive: Directive) -> str:
    signs = "+^" if release(directive.version) >= (8, 1) else "+"
    return text[1:] if text[0] in signs else text
