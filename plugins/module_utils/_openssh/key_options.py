# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options before a key in authorized_keys: sshd's parser, as values. Pure.

Source: sshauthopt_parse of OpenSSH 8.0, 8.7 and 9.9 (auth-options.c), sshd(8) AUTHORIZED_KEYS FILE FORMAT.
"""

import calendar
import difflib
import re
from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Tuple

from .._errors import LatchkeyError, Malformed, Unsupported
from .source_list import list_problem
from .version import SshdVersion, release

ANY_TUNNEL = 0x7FFFFFFF
MAX_TUNNEL = ANY_TUNNEL - 2
MAX_PERMITS = 4096
MAX_ENVIRONMENT = 1024
MAX_HOST = 1025

# Option name, the field it sets, first OpenSSH that knows it. Order is sshd's: names are compared as prefixes.
FLAGS = (
    ("restrict", "restrict", (7, 2)),
    ("cert-authority", "cert_authority", (5, 4)),
    ("port-forwarding", "port_forwarding", (2, 0)),
    ("agent-forwarding", "agent_forwarding", (2, 0)),
    ("x11-forwarding", "x11_forwarding", (2, 0)),
    ("touch-required", "touch_required", (8, 2)),
    ("verify-required", "verify_required", (8, 4)),
    ("pty", "pty", (2, 0)),
    ("user-rc", "user_rc", (4, 9)),
)
NO_NEGATION = ("restrict", "cert-authority")
PERMISSIONS = ("port_forwarding", "agent_forwarding", "x11_forwarding", "pty", "user_rc")
VALUED = ("command", "principals", "from", "expiry-time", "environment", "permitopen", "permitlisten", "tunnel")
VALUED_SINCE = {"expiry-time": (7, 7), "permitlisten": (7, 8)}
# The services that people name instead of a port; sshd asks /etc/services, which this engine cannot read.
SERVICES = frozenset(
    "ssh http https smtp domain imap imaps ldap ldaps ftp telnet mysql postgresql ms-sql-s rsync git ntp pop3 pop3s "
    "submission socks webcache http-alt nfs kerberos x11".split()
)

_LOWER = {upper: upper + 32 for upper in range(65, 91)}
_QUOTED = re.compile(r'"((?:\\"|[^"\\]|\\(?!"))*)"', re.DOTALL)


class KeyOptions(NamedTuple):
    """What a line's options amount to. Flags hold their effect after all options were read in order.

    ``source`` is the list of from=; ``expires`` the times as written; ``environment`` NAME=VALUE, one per name.
    Two are equal where sshd makes no difference between them, whatever the order they were written in.
    """

    restrict: bool = False
    cert_authority: bool = False
    port_forwarding: bool = True
    agent_forwarding: bool = True
    x11_forwarding: bool = True
    touch_required: bool = True
    verify_required: bool = False
    pty: bool = True
    user_rc: bool = True
    command: Optional[str] = None
    principals: Optional[str] = None
    source: Optional[str] = None
    expires: Tuple[str, ...] = ()
    environment: Tuple[str, ...] = ()
    permitopen: Tuple[str, ...] = ()
    permitlisten: Tuple[str, ...] = ()
    tunnel: Optional[int] = None

    @property
    def text(self) -> str:
        """Return the canonical text: flags first, then valued options; '' for none."""
        return ",".join(_flag_words(self) + _value_words(self))

    def sense(self) -> Tuple[Any, ...]:
        """Return what equality compares: every field, lists without their order."""
        return (
            tuple(self[:10])
            + (_as_set(self.principals), _as_set(self.source and self.source.lower()), frozenset(self.expires))
            + (frozenset(self.environment), frozenset(self.permitopen), frozenset(self.permitlisten), self.tunnel)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyOptions) and self.sense() == other.sense()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.sense())


def _as_set(items: Optional[str]) -> Optional[FrozenSet[str]]:
    return None if items is None else frozenset(items.split(","))


def _flag_words(options: KeyOptions) -> List[str]:
    words = ["restrict"] if options.restrict else []
    for name, field, _since in FLAGS:
        value = getattr(options, field)
        if field in PERMISSIONS and value == options.restrict:
            words.append(name if value else "no-" + name)
    words += ["no-touch-required"] if not options.touch_required else []
    words += ["verify-required"] if options.verify_required else []
    words += ["cert-authority"] if options.cert_authority else []
    return words


def _value_words(options: KeyOptions) -> List[str]:
    pairs: List[Tuple[str, Optional[str]]] = [("from", options.source), ("command", options.command)]
    pairs += [("principals", options.principals)]
    pairs += [("expiry-time", item) for item in sorted(options.expires)]
    pairs += [("environment", item) for item in sorted(options.environment)]
    pairs += [("permitopen", item) for item in sorted(options.permitopen)]
    pairs += [("permitlisten", item) for item in sorted(options.permitlisten)]
    if options.tunnel is not None:
        pairs.append(("tunnel", "any" if options.tunnel == ANY_TUNNEL else str(options.tunnel)))
    return ['{0}="{1}"'.format(name, value.replace('"', '\\"')) for name, value in pairs if value is not None]


def knows_utc(version: SshdVersion) -> bool:
    """Tell whether expiry times may end in Z: OpenSSH 9.1, and Red Hat's 8.7p1 (from 8.7p1-33)."""
    return release(version) >= (9, 1) or (version.flavour == "redhat" and release(version) == (8, 7))


def _strptime(text: str, spec: str, *, exact: bool) -> Optional[Tuple[int, ...]]:
    """Read fields as glibc's strptime does: blanks before a number skipped, two digits at most (four for years)."""
    limits = {"Y": (4, 0, 9999), "m": (2, 1, 12), "d": (2, 1, 31), "H": (2, 0, 23), "M": (2, 0, 59), "S": (2, 0, 61)}
    numbers = []
    for mark in re.findall(r"%.|.", spec):
        if not mark.startswith("%"):
            if not text.startswith(mark):
                return None
            text = text[1:]
            continue
        width, low, high = limits[mark[1]]
        found = re.match(r" *([0-9]{1,%d})" % width, text)
        if not found or not low <= int(found.group(1)) <= high:
            return None
        numbers.append(int(found.group(1)))
        text = text[found.end() :]
    return None if exact and text else tuple(numbers)


def parse_time(text: str, version: SshdVersion, utc_offset: int = 0) -> int:
    """Read an expiry time (YYYYMMDD[HHMM[SS]][Z]) into unix seconds; 0 = sshd calls it invalid.

    ``utc_offset`` is what the host's clock is ahead of UTC, in seconds. Source: parse_absolute_time, misc.c.
    """
    digits, utc = text, False
    if knows_utc(version):
        for suffix in ("Z", "UTC"):
            if len(text) > len(suffix) and text.upper().endswith(suffix):
                digits, utc = text[: -len(suffix)], True
                break
    spec = {8: "%Y-%m-%d", 12: "%Y-%m-%dT%H:%M", 14: "%Y-%m-%dT%H:%M:%S"}.get(len(digits))
    if spec is None:
        return 0
    pieces = [digits[:4]] + [digits[at : at + 2] for at in range(4, len(digits), 2)]
    spread = "-".join(pieces[:3]) + ("T" if len(pieces) > 3 else "") + ":".join(pieces[3:])
    fields = _strptime(spread, spec, exact=release(version) >= (9, 1))
    if fields is None or fields[0] < 1900:
        return 0
    year, month, day, hour, minute, second = (fields + (0, 0, 0))[:6]
    moment = calendar.timegm((year, month, 1, hour, minute, second)) + 86400 * (day - 1)
    return max(0, moment - (0 if utc else utc_offset))


def expiry(options: KeyOptions, version: SshdVersion, utc_offset: int) -> int:
    """Return when a line stops counting, in unix seconds; 0 = never (the earliest of several wins)."""
    times = [parse_time(text, version, utc_offset) for text in options.expires]
    return min(times) if times else 0


def _starts(text: str, name: str) -> bool:
    return text[: len(name)].translate(_LOWER) == name


def _dequote(text: str) -> Tuple[str, str]:
    """Read a quoted value; return it and what follows (opt_dequote, misc.c: a backslash escapes only a quote)."""
    if not text.startswith('"'):
        raise Malformed("missing start quote")
    found = _QUOTED.match(text)
    if not found:
        raise Malformed("missing end quote")
    return found.group(1).replace('\\"', '"'), text[found.end() :]


def _is_port(text: str) -> bool:
    if re.match(r"[ \t\n\v\f\r]*[+-]?[0-9]+\Z", text):
        return 0 < int(text) <= 65535
    return text in SERVICES


def _check_permit(value: str, *, bare_port: bool) -> str:
    """Check permitopen/permitlisten as handle_permit does; return what sshd records."""
    spec = "*:" + value if bare_port and ":" not in value else value
    found = re.match(r"(\[[^\]]*\]|[^:/\[][^:/]*|)(?:([:/])(.*))?\Z", spec, re.DOTALL)
    if not found or len(found.group(1)) >= MAX_HOST:
        raise Malformed("invalid permission hostname")
    port = found.group(3)
    if port is None or not (port == "*" or _is_port(port)):
        raise Malformed("invalid permission port")
    return spec


def _add_environment(state: Dict[str, Any], value: str, version: SshdVersion) -> None:
    name, equals, _unused = value.partition("=")
    if not equals or not re.match(r"[A-Za-z0-9_]+\Z", name):
        raise Malformed("invalid environment string")
    known = state.setdefault("environment", ())
    if len(known) > MAX_ENVIRONMENT:
        raise Malformed("too many environment strings")
    same = [item for item in known if item.startswith(name + "=")]
    # Until 8.6 every setting was stored and the last one took effect; since 8.7 the first is kept.
    if not same:
        state["environment"] = known + (value,)
    elif release(version) < (8, 7):
        state["environment"] = tuple(item for item in known if item not in same) + (value,)


def _add_time(state: Dict[str, Any], value: str, version: SshdVersion) -> None:
    if not parse_time(value, version):
        raise Malformed("invalid expires time")
    state["expires"] = state.get("expires", ()) + (value,)


def _add_permit(state: Dict[str, Any], name: str, value: str) -> None:
    known = state.get(name, ())
    if len(known) > MAX_PERMITS:
        raise Malformed("too many permission directives")
    state[name] = known + (_check_permit(value, bare_port=name == "permitlisten"),)


def _set_tunnel(state: Dict[str, Any], value: str) -> None:
    if value.translate(_LOWER) == "any":
        state["tunnel"] = ANY_TUNNEL
        return
    if not re.match(r"[ \t\n\v\f\r]*[+-]?[0-9]+\Z", value) or not 0 <= int(value) <= MAX_TUNNEL:
        raise Malformed("invalid tun device")
    state["tunnel"] = int(value)


def _set_value(state: Dict[str, Any], name: str, rest: str, version: SshdVersion) -> str:
    field = {"from": "source"}.get(name, name)
    if field in ("command", "principals", "source") and field in state:
        raise Malformed('multiple "{0}" clauses'.format(name))
    value, rest = _dequote(rest)
    if field in ("command", "principals", "source"):
        state[field] = value
    elif name == "expiry-time":
        _add_time(state, value, version)
    elif name == "environment":
        _add_environment(state, value, version)
    elif name == "tunnel":
        _set_tunnel(state, value)
    else:
        _add_permit(state, name, value)
    return rest


def _set_flag(state: Dict[str, Any], field: str, *, value: bool) -> None:
    state[field] = value
    if field == "restrict":
        state.update((name, False) for name in PERMISSIONS)


def _one_option(text: str, state: Dict[str, Any], version: SshdVersion) -> str:
    """Read one option into ``state``; return what follows it (the text itself where no option begins)."""
    for name, field, since in FLAGS:
        if release(version) < since:
            continue
        negated = name not in NO_NEGATION and _starts(text, "no-" + name)
        if negated or _starts(text, name):
            _set_flag(state, field, value=not negated)
            return text[len(name) + (3 if negated else 0) :]
    for name in VALUED:
        if release(version) >= VALUED_SINCE.get(name, (2, 0)) and _starts(text, name + "="):
            return _set_value(state, name, text[len(name) + 1 :], version)
    return text


def scan_options(text: str, version: SshdVersion) -> Tuple[KeyOptions, str]:
    """Read options up to the first blank outside quotes; return them and the rest of the text.

    Raises Malformed with sshd's own reason. What sshd forgives (``,restrict``, ``restrict,,pty``) is forgiven.
    """
    state: Dict[str, Any] = {}
    while text and text[0] not in " \t":
        text = _one_option(text, state, version)
        if not text or text[0] in " \t":
            break
        if text[0] != ",":
            raise Malformed("unknown key option")
        text = text[1:]
        if not text:
            raise Malformed("unexpected end-of-options")
    return KeyOptions(**state), text


def dead_reason(options: KeyOptions) -> str:
    """Return why no login can ever be granted by a line with these options ('' = one can)."""
    if options.principals is not None and not options.cert_authority:
        return "principals on non-CA key"
    if options.source is not None:
        problem = list_problem(options.source)
        return "invalid from criteria: {0}".format(problem) if problem else ""
    return ""


def _split_names(text: str) -> List[str]:
    bare = _QUOTED.sub("", text)
    return [item.partition("=")[0].strip() for item in bare.split(",") if item.strip()]


def _explain(text: str, error: LatchkeyError, version: SshdVersion, where: str) -> LatchkeyError:
    """Turn sshd's short reason into one that names the option and what to do."""
    names = [name for name, _field, _since in FLAGS] + list(VALUED)
    newer = {name: since for name, _field, since in FLAGS if since > release(version)}
    for written in _split_names(text):
        name = written.translate(_LOWER)
        stem = name[3:] if name.startswith("no-") else name
        if stem in newer:
            reason = "the option {0} needs OpenSSH {1}.{2}, this host has {3}.{4}".format(
                written, *(newer[stem] + release(version))
            )
            return Unsupported(reason, "Leave it out for this host", where)
        if name in VALUED or (stem in names and not (stem != name and stem in NO_NEGATION) and stem not in VALUED):
            continue
        near = difflib.get_close_matches(name, names + ["no-" + item for item in names[2:9]], 1, 0.6)
        remedy = "Did you mean {0}?".format(near[0]) if near else "See sshd(8), AUTHORIZED_KEYS FILE FORMAT"
        return Malformed("unknown key option '{0}'".format(written[:60]), remedy, where)
    remedy = 'Separate options by commas without spaces; write values as name="value"'
    return Malformed("{0} in '{1}'".format(error.reason, text[:80]), remedy, where)


def parse_options(text: str, version: SshdVersion, where: str) -> KeyOptions:
    """Read options that somebody wants to set; ``where`` names the field in errors.

    Raises Malformed or Unsupported for what that sshd refuses, and for options with which no login can ever work.
    """
    stripped = text.strip(" \t")
    if any(ord(char) < 32 or ord(char) == 127 for char in stripped):
        raise Malformed("the options contain a control character", "Give them in one line", where)
    try:
        options, rest = scan_options(stripped, version)
    except Malformed as error:
        raise _explain(stripped, error, version, where) from None
    if rest:
        raise Malformed(
            "a space outside quotes ends the options at '{0}'".format(rest.strip()[:60]),
            'Separate options by commas without spaces; quote values: command="a b"',
            where,
        )
    dead = dead_reason(options)
    if dead:
        remedy = "Add cert-authority, or leave principals out" if "principals" in dead else "Correct the list of from="
        raise Malformed(dead, remedy, where)
    return options
