# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read directives with a grammar of their own. Pure.

Source: process_server_config_line of servconf.c, OpenSSH 8.0, 8.7, 9.5 and 9.9, with Red Hat's patches.
"""

from typing import List, Optional, Tuple

from . import values
from .settings import Directive
from .tokens import lower, modern
from .version import release

MAX_PORTS = 256
PENALTY_TIMES = ("crash", "authfail", "noauth", "grace-exceeded", "refuseconnection", "max", "min")
PENALTY_NUMBERS = ("max-sources4", "max-sources6")
PENALTY_WORDS = ("overflow", "overflow6")


def read_port(directive: Directive) -> None:
    """Read Port."""
    if len(directive.settings.values("port")) >= MAX_PORTS:
        raise directive.refuse(f"stands more than {MAX_PORTS} times")
    text = directive.need()
    number = values.port(text)
    if not number:
        raise directive.refuse(f"does not take '{text}'", "Give a number from 1 to 65535")
    directive.settings.append("port", str(number), directive.source)


def read_listen_address(directive: Directive) -> None:
    """Read ListenAddress; the ports it has none of its own for come from Port, when all is read."""
    text = directive.need()
    host, port = _listen_parts(directive, text)
    if directive.args.next() is not None:
        raise directive.refuse("has more than an address", "Linux knows no routing domains: remove what follows it")
    directive.settings.append("listenaddress", f"{host} {port}", directive.source)


def _listen_parts(directive: Directive, text: str) -> Tuple[str, int]:
    if "[" not in text and text.count(":") >= 2:
        return text, 0
    cut = values.split_host_port(text)
    if cut is None:
        raise directive.refuse(f"does not take '{text}'", "Give an address, address:port or [address]:port")
    host, port_text = cut
    if port_text is None:
        return host, 0
    number = values.port(port_text)
    if not number:
        raise directive.refuse(f"names no port in '{text}'", "Give a number from 1 to 65535 after the colon")
    return host, number


def read_rekey_limit(directive: Directive) -> None:
    """Read RekeyLimit: a size, and a time that is kept on its own."""
    text = directive.need()
    size = 0 if text == "default" else values.scan_scaled(text)
    if size is None or (size != 0 and size < 16):
        raise directive.refuse(f"does not take '{text}'", "Give default, or a size of 16 bytes and more, such as 1G")
    directive.keep_first(str(size), ".size")
    following = directive.args.peek() if modern(directive.version) else directive.args.rest
    if following is None:
        return
    if following == "none":
        directive.args.next()
        return
    time = directive.need()
    seconds = values.convtime(time, directive.version)
    if seconds is None:
        raise directive.refuse(f"does not take '{time}'", "Give seconds, or a number with s, m, h, d or w")
    directive.keep_first(str(seconds), ".time")


def read_max_startups(directive: Directive) -> None:
    """Read MaxStartups: full, or start:rate:full. Up to 10.0 the last line wins, and ``full`` alone keeps the rate."""
    text = directive.need()
    numbers = values.scan_ints(text, 3)
    at = release(directive.version)
    wrong = len(numbers) not in (1, 3)
    if len(numbers) == 3:
        wrong = numbers[0] > numbers[2] or not 1 <= numbers[1] <= 100
    if wrong or (at >= (9, 2) and (numbers[0] <= 0 or numbers[-1] <= 0)):
        raise directive.refuse(f"does not take '{text}'", "Give start:rate:full, such as 10:30:100")
    first = directive.keyword.repeat == "first"
    if not directive.active or (first and directive.settings.has("maxstartups.full")):
        return
    parts = dict(zip(("start", "rate", "full"), numbers)) if len(numbers) == 3 else {"full": numbers[0]}
    if len(numbers) == 1 and not (10, 1) <= at < (10, 3):
        parts["start"] = numbers[0]
    for part, number in parts.items():
        directive.settings.replace(f"maxstartups.{part}", str(number), directive.source)


def read_per_source_max(directive: Directive) -> None:
    """Read PerSourceMaxStartups; up to 9.4 the last line wins."""
    text = directive.need()
    number = values.INT_MAX if text == "none" else values.strtonum(text, 0, values.INT_MAX)
    if number is None:
        raise directive.refuse(f"does not take '{text}'", "Give a number, or none")
    value = "none" if number == values.INT_MAX else str(number)
    if directive.active and directive.keyword.repeat == "last":
        directive.settings.replace(directive.keyword.key, value, directive.source)
    directive.keep_first(value)


def read_net_block(directive: Directive) -> None:
    """Read PerSourceNetBlockSize; with one number sshd prints memory it never set, 128 stands for that here."""
    text = directive.need()
    numbers = values.scan_ints(text, 2)
    if not numbers or not 0 <= numbers[0] <= 32 or (len(numbers) > 1 and not 0 <= numbers[1] <= 128):
        raise directive.refuse(f"does not take '{text}'", "Give two mask lengths, such as 32:128")
    value = f"{numbers[0]}:{numbers[1] if len(numbers) > 1 else 128}"
    if directive.active and directive.keyword.repeat == "last":
        directive.settings.replace(directive.keyword.key, value, directive.source)
    directive.keep_first(value)


def read_penalties(directive: Directive) -> None:
    """Read PerSourcePenalties: yes, no, or parts of which each is kept on its own."""
    words = directive.args.remaining()
    if not words:
        raise directive.refuse("has no value")
    for place, word in enumerate(words):
        if lower(word) in ("yes", "no"):
            if place + 1 < len(words):
                raise directive.refuse(f"takes {word} only alone")
            directive.keep_first(lower(word), ".enabled")
            continue
        part, value = _penalty(directive, word)
        if directive.active and not directive.settings.has(f"persourcepenalties.{part}"):
            directive.keep_first(value, "." + part)
            directive.settings.replace("persourcepenalties.enabled", "yes", directive.source)


def _penalty(directive: Directive, word: str) -> Tuple[str, str]:
    part, _colon, text = word.partition(":")
    number: Optional[int] = None
    if part in PENALTY_WORDS and text in ("deny-all", "permissive"):
        return part, text
    if part in PENALTY_NUMBERS:
        number = values.strtonum(text, 0, values.INT_MAX)
    elif part in PENALTY_TIMES or (part == "invaliduser" and release(directive.version) >= (10, 4)):
        number = values.convtime(text, directive.version)
    if number is None:
        raise directive.refuse(f"does not take '{word}'", "Give parts such as authfail:5s, max:10m, or yes, or no")
    return part, str(number)


def read_ipqos(directive: Directive) -> None:
    """Read IPQoS: one class for all, or one for interactive sessions and one for the others."""
    first = directive.need()
    second = directive.args.next()
    classes = [values.ipqos(word, directive.version) for word in (first, first if second is None else second)]
    if None in classes:
        wrong = first if classes[0] is None else second
        raise directive.refuse(f"does not take '{wrong}'", "Give a class such as af21, or a number up to 255")
    value = f"{classes[0]} {classes[1]}"
    if directive.active and directive.keyword.repeat == "last":
        directive.settings.replace(directive.keyword.key, value, directive.source)
    directive.keep_first(value)


def read_subsystem(directive: Directive) -> None:
    """Read Subsystem: a name and a command; the same name again is an error up to 9.4 and passed over later."""
    name = directive.need()
    key = f"subsystem.{name}"
    merges = release(directive.version) >= (9, 5)
    if not directive.active or (merges and directive.settings.has(key)):
        directive.args.consume()
        return
    if directive.settings.has(key):
        raise directive.refuse(f"{name} is defined a second time", "Remove one of the two lines")
    command = directive.need()
    words = [command] + directive.args.remaining()
    directive.settings.set_first(key, " ".join(_quote(words) if merges else words), directive.source)


def _quote(words: List[str]) -> List[str]:
    quoted = []
    for word in words:
        escaped = "".join("\\" + char if char in "\\'\"" else char for char in word)
        quoted.append(f'"{escaped}"' if " " in word or "\t" in word else escaped)
    return quoted


def read_nothing(directive: Directive) -> None:
    """Pass over what has no effect."""
    directive.args.consume()
