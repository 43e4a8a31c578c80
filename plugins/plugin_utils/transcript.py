# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ssh client said with ``-v``: how far it came, which methods were offered, which key was taken.

Only lines about the target count: jump hosts are reached by quiet clients of their own (see ``ssh_arguments.py``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

# "Authenticated to host ([addr]:port) using "publickey"." since 5.4; before 8.5 the debug line below is all -v gives.
_AUTHENTICATED = re.compile(
    r'^(?:debug1: )?Authenticat(?:ed to .* using "([\w@.-]+)"|ion succeeded \(([\w@.-]+)\))', re.M
)
_OFFERED = re.compile(r"^debug1: Authentications that can continue: (\S+)", re.M)
_ACCEPTED = re.compile(r"^debug1: Server accepts key: (?P<name>.*?) (?P<type>\S+) (?P<fingerprint>SHA256:\S+)", re.M)
_ACCEPTED_OLD = re.compile(r"^debug1: Server accepts key: .*?(SHA256:\S+)", re.M)
_REFUSED = re.compile(r"^(?!debug)\S*: Permission denied \(([^)]*)\)\.?\s*$", re.M)
# sshpass ends the client when it asks for the password again: its last word is not heard then.
_TRY_AGAIN = re.compile(r"^Permission denied, please try again", re.M)
_SERVER_KEY = re.compile(r"^debug1: Server host key: (\S+) (SHA256:\S+)", re.M)
_MULTIPLEXED = re.compile(r"^debug1: (?:auto-mux: Trying existing master|mux_client_request_session)", re.M)
_CONTROL_NOISE = re.compile(
    r"^(?:debug\d: |OpenSSH_|Authenticated to |Transferred: |Bytes per second: "
    r"|Learned new hostkey: |Adding new key for |Deprecating obsolete hostkey: |\s*$)"
)
# A server that does not want to talk says why before its version, and the client tells that to a debug log only.
_BEFORE_VERSION = re.compile(r"^debug1: kex_exchange_identification: banner line \d+: (.*)$", re.M)

_HOST_KEY_WORDS = ("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED", "host key is known for")


class Transcript(NamedTuple):
    """One attempt of the ssh client to log in. ``offered`` are the methods the server named first."""

    authenticated: str
    offered: tuple[str, ...]
    fingerprint: str
    refused: tuple[str, ...] | None
    host_key: str
    multiplexed: bool
    words: str
    key_added: bool = False


def read(stderr: str) -> Transcript:
    """Read the standard error of ``ssh -v``."""
    authenticated = _AUTHENTICATED.search(stderr)
    offered = _OFFERED.search(stderr)
    accepted = _ACCEPTED.findall(stderr)
    fallback = _ACCEPTED_OLD.findall(stderr)
    refused = _REFUSED.search(stderr)
    if refused is None and authenticated is None and _TRY_AGAIN.search(stderr):
        refused = offered
    host_key = _SERVER_KEY.search(stderr)
    return Transcript(
        authenticated=(authenticated.group(1) or authenticated.group(2)) if authenticated else "",
        offered=tuple(offered.group(1).split(",")) if offered else (),
        fingerprint=accepted[-1][2] if accepted else fallback[-1] if fallback else "",
        refused=tuple(refused.group(1).split(",")) if refused else None,
        host_key=f"{host_key.group(1)} {host_key.group(2)}" if host_key else "",
        multiplexed=bool(_MULTIPLEXED.search(stderr)),
        words=" ".join([*_BEFORE_VERSION.findall(stderr), plain(stderr)]).strip(),
        key_added="Warning: Permanently added" in stderr,
    )


def plain(stderr: str) -> str:
    """Return what the client said to a person: its debug lines and statistics left out, on one line."""
    kept = [line.strip() for line in stderr.splitlines() if not _CONTROL_NOISE.match(line)]
    return " ".join(kept)[-600:]


def host_key_failed(transcript: Transcript) -> bool:
    """Say whether the client stopped because of the host's key, so before any authentication."""
    return any(word in transcript.words for word in _HOST_KEY_WORDS)


__all__ = ["Transcript", "host_key_failed", "plain", "read"]
