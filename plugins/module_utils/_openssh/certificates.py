# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenSSH user certificates: what one claims, and what a cert-authority line makes of it. Pure.

The signature is not verified here: whoever presents a certificate is judged by what sshd would do with a sound one.
Source: PROTOCOL.certkeys; cert_parse, sshauthopt_from_cert, sshauthopt_merge and sshkey_cert_check_authority of
OpenSSH 8.0, 8.7 and 9.9.
"""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .._errors import Malformed
from .key_blob import KEY_TYPES, examine, inner_type, public_fields, read_number, read_string, read_strings
from .key_options import PERMISSIONS, KeyOptions
from .source_list import contains, parse_address, parse_network
from .version import SshdVersion, release

USER = 1
MAX_PRINCIPALS = 256
FOREVER = 2**64 - 1
# sshd compares at most this many entries of principals="…" (match.c MAX_PROP).
MAX_LISTED = 40

_EXTENSIONS = {
    "permit-X11-forwarding": "x11_forwarding",
    "permit-agent-forwarding": "agent_forwarding",
    "permit-port-forwarding": "port_forwarding",
    "permit-pty": "pty",
    "permit-user-rc": "user_rc",
}


class Certificate(NamedTuple):
    """The claims of one certificate; times are unix seconds, options (name, data) in their order."""

    kind: int
    key_id: str
    principals: Tuple[str, ...]
    valid_after: int
    valid_before: int
    critical: Tuple[Tuple[str, bytes], ...]
    extensions: Tuple[Tuple[str, bytes], ...]
    signature_key: bytes


class Grant(NamedTuple):
    """What a certificate allows by itself: flags and command in ``options``, its source-address list."""

    options: KeyOptions
    source_address: Optional[str]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _pairs(data: bytes) -> Tuple[Tuple[str, bytes], ...]:
    items = read_strings(data)
    if len(items) % 2:
        raise Malformed("the certificate's options end early")
    return tuple((_text(name), value) for name, value in zip(items[::2], items[1::2]))


def parse_certificate(blob: bytes) -> Certificate:
    """Read the claims of a certificate blob; raises Malformed where it is none or is damaged."""
    kind = KEY_TYPES.get(inner_type(blob))
    if kind is None or not kind.certificate:
        raise Malformed("this is not a certificate")
    if examine(blob).problem:
        raise Malformed(examine(blob).problem)
    _fields, at = public_fields(blob, kind)
    _serial, at = read_number(blob, at, 8)
    subject, at = read_number(blob, at, 4)
    key_id, at = read_string(blob, at)
    principals, at = read_string(blob, at)
    after, at = read_number(blob, at, 8)
    before, at = read_number(blob, at, 8)
    critical, at = read_string(blob, at)
    extensions, at = read_string(blob, at)
    _reserved, at = read_string(blob, at)
    authority, at = read_string(blob, at)
    names = tuple(_text(name) for name in read_strings(principals))
    if len(names) > MAX_PRINCIPALS:
        raise Malformed("the certificate names too many principals")
    return Certificate(subject, _text(key_id), names, after, before, _pairs(critical), _pairs(extensions), authority)


def _only_string(name: str, data: bytes) -> str:
    value, end = read_string(data, 0)
    if end != len(data):
        raise Malformed('Certificate option "{0}" corrupt (extra data)'.format(name))
    return _text(value)


def _cidr_networks(patterns: str) -> List[str]:
    items = patterns.split(",")
    for item in items:
        if not item or len(item) > 49 or not re.match(r"[0-9a-fA-F.:/]+\Z", item):
            raise Malformed("Certificate source-address contents invalid")
        try:
            if parse_network(item) is None:
                raise Malformed("Certificate source-address contents invalid")
        except ValueError:
            raise Malformed("Certificate source-address contents invalid") from None
    return items


def _critical(options: Tuple[Tuple[str, bytes], ...], version: SshdVersion) -> Dict[str, object]:
    found: Dict[str, object] = {}
    for name, data in options:
        if name == "verify-required" and release(version) >= (8, 4):
            found["verify_required"] = True
            if data:
                raise Malformed('Certificate option "{0}" corrupt (extra data)'.format(name))
        elif name in ("force-command", "source-address"):
            if name in found:
                raise Malformed("Certificate has multiple {0} options".format(name))
            found[name] = _only_string(name, data)
        else:
            raise Malformed('Certificate critical option "{0}" is not supported'.format(name))
    return found


def grant_of(certificate: Certificate, version: SshdVersion) -> Grant:
    """Return what the certificate allows; raises Malformed where sshd refuses it ("Invalid certificate options")."""
    if certificate.kind != USER:
        raise Malformed("Invalid certificate options")
    critical = _critical(certificate.critical, version)
    flags: Dict[str, Any] = {field: False for field in PERMISSIONS}
    for name, data in certificate.extensions:
        field = _EXTENSIONS.get(name)
        touch = name == "no-touch-required" and release(version) >= (8, 2)
        if data and (field or touch):
            raise Malformed('Certificate option "{0}" corrupt (extra data)'.format(name))
        if field:
            flags[field] = True
        elif touch:
            flags["touch_required"] = False
    command = critical.get("force-command")
    source = critical.get("source-address")
    if isinstance(source, str):
        _cidr_networks(source)
    options = KeyOptions(verify_required="verify_required" in critical, **flags)
    return Grant(
        options._replace(command=command if isinstance(command, str) else None),
        source if isinstance(source, str) else None,
    )


def address_permitted(grant: Grant, addr: str) -> bool:
    """Tell whether the certificate's source-address list permits the address."""
    if grant.source_address is None:
        return True
    address = parse_address(addr)
    networks = [parse_network(item) for item in _cidr_networks(grant.source_address)]
    return address is not None and any(net is not None and contains(net, address) for net in networks)


def merge(line: KeyOptions, certificate: KeyOptions) -> KeyOptions:
    """Return the options of a login by certificate: both must permit, either may restrict.

    Raises Malformed where both force a command and the commands differ.
    """
    if line.command is not None and certificate.command is not None and line.command != certificate.command:
        raise Malformed("forced command options do not match")
    flags = {field: getattr(line, field) and getattr(certificate, field) for field in PERMISSIONS}
    return line._replace(
        cert_authority=False,
        principals=None,
        touch_required=line.touch_required or certificate.touch_required,
        verify_required=line.verify_required or certificate.verify_required,
        command=line.command if line.command is not None else certificate.command,
        **flags,
    )


def _listed(patterns: str) -> List[str]:
    items: List[str] = []
    for item in patterns.split(",")[:MAX_LISTED]:
        if not item:
            break
        items.append(item)
    return items


def authority_problem(certificate: Certificate, line: KeyOptions, user: str, now: int) -> str:
    """Return why the certificate does not let this user in by this line ('' = it does), in sshd's words."""
    if line.principals is not None:
        listed = _listed(line.principals)
        # A certificate's principal is itself taken for a list (match_list), up to its first empty item.
        if not any(part in listed for name in certificate.principals for part in _listed(name)):
            return "Certificate does not contain an authorized principal"
    if now < certificate.valid_after:
        return "Certificate invalid: not yet valid"
    if now >= certificate.valid_before:
        return "Certificate invalid: expired"
    if line.principals is None and certificate.principals and user not in certificate.principals:
        return "Certificate invalid: name is not a listed principal"
    return ""
