# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""authorized_keys as a lossless document, and what sshd makes of it. Pure.

Source: auth2-pubkeyfile.c (auth2-pubkey.c before 9.0) and sshkey_read of OpenSSH 8.0, 8.7 and 9.9.
"""

import re
from typing import List, NamedTuple, Optional, Sequence, Tuple

from .._errors import LatchkeyError, Malformed
from .certificates import address_permitted, authority_problem, grant_of, merge, parse_certificate
from .key_blob import KEY_TYPES
from .key_options import KeyOptions, dead_reason, expiry, parse_options, scan_options
from .keys import PublicKey, parse_public_key, read_key, same_key
from .source_list import match_source
from .version import SshdVersion, release

_BLANK = b" \t"
_FIELD = re.compile(rb"([^ \t]*)([ \t]*)([^ \t]*)[ \t]*(.*)", re.DOTALL)
# sshkey_advance_past_options: an escaped quote counts nowhere, any other quote opens or closes.
_OPTIONS = re.compile(rb'(?:\\"|"(?:\\"|[^"\\]|\\(?!"))*"|[^ \t"\\]|\\(?!"))*', re.DOTALL)


class Entry(NamedTuple):
    """One line that is neither blank nor a comment; ``problem`` says why sshd passes it over (None = it does not).

    ``number`` counts from 1; ``options`` is None where they cannot be read; ``key`` None where there is none.
    """

    number: int
    raw: bytes
    options: Optional[KeyOptions]
    options_text: str
    key: Optional[PublicKey]
    problem: Optional[str]


class LoginRequest(NamedTuple):
    """One attempt to log in; ``now`` is unix time, ``utc_offset`` what the host's clock is ahead of UTC, in seconds.

    ``host`` is the client's name as sshd knows it: with UseDNS no (the default) its address.
    """

    version: SshdVersion
    user: str
    addr: str
    host: str
    now: int
    permit_user_environment: bool = False
    utc_offset: int = 0


class Verdict(NamedTuple):
    """What sshd would answer: ``line`` and ``options`` (its debug log's words) of the line that authorised.

    ``why`` tells which lines of the key were passed over. ``certificate_options`` is what a certificate brought along,
    before the line's options were laid over it.
    """

    ok: bool
    line: int
    options: str
    why: Tuple[str, ...]
    certificate_options: str = ""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def split_lines(data: bytes) -> Tuple[bytes, ...]:
    """Split at line feeds only, as getline does; every byte stays (joined they are the data again)."""
    parts = data.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    return tuple(lines + [parts[-1]] if parts[-1] else lines)


def _read_key_at(text: bytes, version: SshdVersion) -> Tuple[PublicKey, bytes]:
    found = _FIELD.match(text)
    if not found or not found.group(2):
        raise Malformed("no key")
    key = read_key(found.group(1), found.group(3), version)
    comment = found.group(4).strip().decode("utf-8", "backslashreplace")
    return key._replace(comment=comment), found.group(4)


def _no_key_problem(text: bytes, first: LatchkeyError, second: LatchkeyError) -> str:
    if text.startswith(b"\xef\xbb\xbf"):
        return "a byte order mark stands before the key"
    for error in (first, second):
        if error.reason not in ("no key", "unknown key type"):
            return error.reason
    return "no key where sshd looks for one"


def _options_problem(options: KeyOptions, key: PublicKey) -> Optional[str]:
    if key.is_certificate:
        return "a certificate is not accepted here: a cert-authority line trusts its CA"
    return dead_reason(options) or None


def _parse_after_options(text: bytes, first: LatchkeyError, version: SshdVersion) -> Tuple[object, ...]:
    """Read ``options key comment``; return (options, options text, key, problem)."""
    found = _OPTIONS.match(text)
    end = found.end() if found else 0
    written = _text(text[:end].rstrip(b"\r\n"))
    if text[end : end + 1] == b'"':
        return None, _text(text.rstrip(b"\r\n")), None, "invalid key option string: a quote is not closed"
    try:
        key, _comment = _read_key_at(text[end:].lstrip(_BLANK), version)
    except LatchkeyError as error:
        return None, written, None, _no_key_problem(text, first, error)
    try:
        options = scan_options(_text(text), version)[0]
    except LatchkeyError as error:
        return None, written, key, "bad key options: {0}".format(error.reason)
    return options, written, key, _options_problem(options, key)


def parse_entry(number: int, raw: bytes, version: SshdVersion) -> Optional[Entry]:
    """Read one line; None for blank lines and comments."""
    text = raw.split(b"\0")[0].lstrip(_BLANK)
    if not text.strip() or text.startswith(b"#"):
        cut = b"\0" in raw and not text.strip() and raw.strip(b" \t\r\n\0")
        return Entry(number, raw, None, "", None, "a NUL byte ends the line before the key") if cut else None
    try:
        key, _comment = _read_key_at(text, version)
    except LatchkeyError as error:
        return Entry(number, raw, *_parse_after_options(text, error, version))  # type: ignore[arg-type]
    return Entry(number, raw, KeyOptions(), "", key, _options_problem(KeyOptions(), key))


def _is_authority(entry: Entry) -> bool:
    if entry.options is not None:
        return entry.options.cert_authority
    return "cert-authority" in entry.options_text.lower()


class AuthorizedKeys(NamedTuple):
    """A file as lines of bytes; editing returns a new value, an edit with nothing to do returns the same one."""

    version: SshdVersion
    lines: Tuple[bytes, ...]
    entries: Tuple[Entry, ...]

    @classmethod
    def parse(cls, data: bytes, version: SshdVersion) -> "AuthorizedKeys":
        """Read any bytes at all; what cannot be read is kept and told in ``Entry.problem``."""
        return cls.of_lines(split_lines(data), version)

    @classmethod
    def of_lines(cls, lines: Sequence[bytes], version: SshdVersion) -> "AuthorizedKeys":
        """Build the document from lines that carry their own ends."""
        entries = (parse_entry(number, raw, version) for number, raw in enumerate(lines, 1))
        return cls(version, tuple(lines), tuple(entry for entry in entries if entry is not None))

    def render(self) -> bytes:
        """Return the file's bytes: those that were parsed, but for what was edited."""
        return b"".join(self.lines)

    def of_key(self, key: PublicKey) -> Tuple[Entry, ...]:
        """Return the lines of one key, good and bad, cert-authority lines left out."""
        return tuple(e for e in self.entries if e.key and same_key(e.key, key) and not _is_authority(e))

    def grants(self, key: PublicKey) -> Tuple[Entry, ...]:
        """Return the lines of one key that sshd takes into account."""
        return tuple(entry for entry in self.of_key(key) if entry.problem is None)

    def with_key(self, key: PublicKey, options: Optional[KeyOptions]) -> "AuthorizedKeys":
        """Grant a key: with exactly these options, or (None) with whatever a good line of it already says.

        A good line of the same key with other options is replaced in place (the first, if there are several; its
        comment stays unless the key brings one); else a line is appended.
        """
        granted = self.grants(key)
        if any(options is None or entry.options == options for entry in granted):
            return self
        if granted and options is not None:
            return self._replaced(granted[0], _line(key, options, granted[0]))
        return self._appended(_line(key, options, None))

    def with_only(self, key: PublicKey, wanted: Sequence[KeyOptions]) -> "AuthorizedKeys":
        """Grant a key with these option sets and no others.

        A further line of the key would let in whom the options keep out (first line that authorises wins, a refused
        one falls through), so such lines are removed. Bad lines of the key stay as they are.
        """
        missing = [options for options in wanted if all(e.options != options for e in self.grants(key))]
        spare = [entry for entry in self.grants(key) if entry.options not in wanted]
        document = self
        for old, options in zip(spare, missing):
            document = document._replaced(old, _line(key, options, old))
        for options in missing[len(spare) :]:
            document = document._appended(_line(key, options, None))
        return document._without([entry.number for entry in spare[len(missing) :]])

    def without_key(self, key: PublicKey) -> "AuthorizedKeys":
        """Remove every line of that key, good or bad, that is not a cert-authority line."""
        return self._without([entry.number for entry in self.of_key(key)])

    def newline(self) -> bytes:
        """Return the line end of the file: CR LF where all its lines have that, else LF."""
        ended = [line for line in self.lines if line.endswith(b"\n")]
        return b"\r\n" if ended and all(line.endswith(b"\r\n") for line in ended) else b"\n"

    def _appended(self, line: bytes) -> "AuthorizedKeys":
        lines = list(self.lines)
        if lines and not lines[-1].endswith(b"\n"):
            lines[-1] += self.newline()
        lines.append(line + self.newline())
        old = [entry for entry in self.entries if entry.number < len(self.lines)]
        added = (parse_entry(at, lines[at - 1], self.version) for at in (len(self.lines), len(lines)) if at)
        return self._replace(lines=tuple(lines), entries=tuple(old + [entry for entry in added if entry]))

    def _replaced(self, old: Entry, line: bytes) -> "AuthorizedKeys":
        raw = line + old.raw[len(old.raw.rstrip(b"\r\n")) :]
        new = parse_entry(old.number, raw, self.version)
        lines = self.lines[: old.number - 1] + (raw,) + self.lines[old.number :]
        entries: List[Entry] = [new if e.number == old.number and new else e for e in self.entries]
        return self._replace(lines=lines, entries=tuple(entries))

    def _without(self, numbers: Sequence[int]) -> "AuthorizedKeys":
        if not numbers:
            return self
        gone = frozenset(numbers)
        kept = [line for number, line in enumerate(self.lines, 1) if number not in gone]
        return AuthorizedKeys.of_lines(kept, self.version)


def _line(key: PublicKey, options: Optional[KeyOptions], old: Optional[Entry]) -> bytes:
    comment = key.comment or (old.key.comment if old and old.key else "")
    parts = (options.text if options else "", key.type, key.base64, comment)
    return " ".join(part for part in parts if part).encode("utf-8", "surrogateescape")


def parse_line(text: str, version: SshdVersion, where: str) -> Tuple[Optional[KeyOptions], PublicKey]:
    """Read a line that somebody wants to have, ``[options] type base64 [comment]``; raises Malformed, Unsupported.

    Returns None for the options where the line has none. ``where`` names the field in errors.
    """
    stripped = text.strip()
    data = stripped.encode("utf-8", "surrogateescape")
    found = _OPTIONS.match(data)
    end = found.end() if found else 0
    try:
        key = parse_public_key(stripped, where)
    except Malformed as plain:
        rest = _text(data[end:].strip())
        if not rest or "PRIVATE KEY" in stripped or "\n" in stripped:
            raise
        try:
            key = parse_public_key(rest, where)
        except Malformed as second:
            raise (second if rest.split()[0] in KEY_TYPES else plain) from None
        return parse_options(_text(data[:end]), version, where), key
    return None, key


def log_words(options: KeyOptions, request: LoginRequest) -> str:
    """Return the options as sshd's debug log names them (auth_log_authopts, its missing blank included)."""
    new = release(request.version) >= (8, 2)
    words = (
        (" agent-forwarding", options.agent_forwarding),
        (" command", options.command is not None),
        (" environment", bool(options.environment) and request.permit_user_environment),
        ("expires", bool(options.expires)),
        (" no-touch-required", new and not options.touch_required),
        (" permitopen", bool(options.permitopen)),
        (" permitlisten", bool(options.permitlisten)),
        (" port-forwarding", options.port_forwarding),
        (" principals", options.principals is not None),
        (" pty", options.pty),
        (" uv", options.verify_required),
        (" tun={0}".format(options.tunnel), options.tunnel is not None),
        (" user-rc", options.user_rc),
        (" x11-forwarding", options.x11_forwarding),
    )
    return "".join(word for word, shown in words if shown).strip()


def _refusal(options: KeyOptions, request: LoginRequest) -> str:
    """Return why a line's options refuse the login ('' = they do not): auth_authorise_keyopts."""
    expires = expiry(options, request.version, request.utc_offset)
    if expires and expires < request.now:
        return "entry expired"
    if options.principals is not None and not options.cert_authority:
        return "principals on non-CA key"
    if options.source is None:
        return ""
    matched = match_source(request.host, request.addr, options.source)
    if matched == 1:
        return ""
    return "{0}not from a permitted host (host={1}, ip={2}, required={3})".format(
        "invalid from criteria, " if matched == -1 else "", request.host, request.addr, options.source
    )


def _judge_plain(entry: Entry, options: KeyOptions, request: LoginRequest) -> Verdict:
    reason = _refusal(options, request)
    if reason:
        return Verdict(False, 0, "", (reason,))
    return Verdict(True, entry.number, log_words(options, request), ())


def _judge_certificate(entry: Entry, key: PublicKey, options: KeyOptions, request: LoginRequest) -> Verdict:
    try:
        certificate = parse_certificate(key.blob)
        reason = _refusal(options, request)
        grant = grant_of(certificate, request.version)
        if not reason and not address_permitted(grant, request.addr):
            reason = "the certificate's source-address does not permit {0}".format(request.addr)
        merged = merge(options, grant.options)
        reason = reason or authority_problem(certificate, options, request.user, request.now)
    except LatchkeyError as error:
        return Verdict(False, 0, "", (error.reason,))
    if reason:
        return Verdict(False, 0, "", (reason,))
    brought = log_words(grant.options, request)
    return Verdict(True, entry.number, log_words(merged, request), (), brought)


def authorises(document: AuthorizedKeys, key: PublicKey, request: LoginRequest) -> Verdict:
    """Answer as sshd does whether the file lets this key (or certificate) in: the first line that authorises wins.

    Only the file's content is judged; that sshd opens it (strict_modes) and takes the key at all (keys.usable) are
    questions of their own.
    """
    wanted = key.blob
    if key.is_certificate:
        try:
            wanted = parse_certificate(key.blob).signature_key
        except Malformed as error:
            return Verdict(False, 0, "", (error.reason,))
    why: List[str] = []
    for entry in document.entries:
        if entry.key is None or entry.key.blob != wanted:
            continue
        if entry.options is None:
            why.append("line {0}: {1}".format(entry.number, entry.problem))
            continue
        if entry.options.cert_authority != key.is_certificate:
            continue
        if key.is_certificate:
            verdict = _judge_certificate(entry, key, entry.options, request)
        else:
            verdict = _judge_plain(entry, entry.options, request)
        if verdict.ok:
            return verdict._replace(why=tuple(why))
        why += ["line {0}: {1}".format(entry.number, reason) for reason in verdict.why]
    return Verdict(False, 0, "", tuple(why))
