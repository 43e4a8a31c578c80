# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Causes in the host as a whole: where sshd listens, its keys, its limits, who else bans or changes. Pure. PRIVATE."""

from typing import Dict, Iterator, List

from .._openssh.source_list import match_address, parse_address
from .model import REFUSE, WARN, Client, Endpoint, Finding, Server, first, number

_WILDCARDS = ("0.0.0.0", "::")
_SHORTEST_GRACE = 5
_SHORT_GRACE = 20


def listen(server: Server, _client: Client) -> Iterator[Finding]:
    """Sshd would listen, but not where this login came in. sshd -t does not say so: it does not bind."""
    wanted = _endpoints(server)
    if server.session is None or not wanted or any(_covers(one, server.session) for one in wanted):
        return
    yield Finding(
        REFUSE,
        f"once it reads its configuration sshd does not listen on {_shown(server.session)} any more, where this login "
        f"came in, but on {', '.join(map(_shown, wanted))}",
        "take back Port, ListenAddress and AddressFamily: they change along with firewall and inventory",
        "sshd_config",
    )


def new_port(server: Server, _client: Client) -> Iterator[Finding]:
    """Sshd would begin to listen on a port that nobody has tried."""
    if server.listening is None:
        return
    open_ports = {port for unused, port in server.listening}
    for port in sorted({port for unused, port in _endpoints(server)} - open_ports):
        yield Finding(
            WARN,
            f"once it reads its configuration sshd listens on port {port} as well, which it does not yet",
            f"see that firewall and SELinux allow it: `semanage port -a -t ssh_port_t -p tcp {port}`",
            "sshd_config",
        )


def foreign_address(server: Server, _client: Client) -> Iterator[Finding]:
    """ListenAddress names an address that the host does not have."""
    if server.addresses is None:
        return
    own = {parse_address(address) for address in server.addresses}
    for address in sorted({address for address, unused in _endpoints(server)} - set(_WILDCARDS)):
        if parse_address(address) not in own:
            yield Finding(
                WARN,
                f"sshd is to listen on {address}, which is no address of this host",
                "correct ListenAddress, or leave it out",
                "sshd_config",
            )


def socket(server: Server, _client: Client) -> Iterator[Finding]:
    """A socket unit starts sshd, now or from the next boot on, and then no Port or ListenAddress counts."""
    if server.socket:
        yield Finding(
            REFUSE,
            f"{server.socket} starts sshd at the next boot, and then its Port and ListenAddress do not count",
            f"run `systemctl disable --now {server.socket}; systemctl enable --now sshd.service`",
            server.socket,
        )


def host_keys(server: Server, client: Client) -> Iterator[Finding]:
    """The keys by which the controller knows the host would be gone."""
    listed = server.host_keys or ()
    loaded = [one.key.fingerprint for one in listed if one.key and not one.problem]
    # A key whose public half cannot be told could be the one.
    unknown = server.host_keys is None or any(one.key is None and not one.problem for one in listed)
    if unknown or not client.known or set(loaded) & set(client.known):
        return
    yield Finding(
        REFUSE,
        "once it reads its configuration sshd shows none of the host keys by which the controller knows this host",
        "leave the HostKey that is known in place, or add the new one to known_hosts first",
        "HostKey",
    )


def host_key_files(server: Server, _client: Client) -> Iterator[Finding]:
    """A host key is there and sshd would not load it."""
    for one in server.host_keys or ():
        if one.problem:
            yield Finding(WARN, f"sshd does not load this host key: {one.problem}", "correct its mode", one.path)


def startups(server: Server, client: Client) -> Iterator[Finding]:
    """Fewer logins may be under way at once than come: those through a jump host come as forks do."""
    needed = max(1, min(client.forks, len(client.behind)))
    begin, unused, rest = first(server.planned, "maxstartups", "10:30:100").partition(":")
    rate, unused, full = rest.partition(":")
    if rate == "100" or not full:
        # All of them are dropped from the first number on.
        full = begin
    per_source = number(server.planned, "persourcemaxstartups", needed)
    limits = [("MaxStartups", int(full) if full.isdigit() else needed), ("PerSourceMaxStartups", per_source)]
    for keyword, limit in limits:
        if limit < needed:
            yield Finding(
                REFUSE,
                f"{keyword} takes {limit} of the up to {needed} logins that this run makes at once",
                f"set {keyword} higher, or run with fewer forks",
                keyword,
            )
    if begin.isdigit() and int(begin) < needed <= limits[0][1]:
        yield Finding(
            WARN,
            f"MaxStartups drops logins at random from {begin} on that are under way, and this run makes up to {needed}",
            "set MaxStartups higher, or run with fewer forks",
            "MaxStartups",
        )


def penalties(server: Server, _client: Client) -> Iterator[Finding]:
    """One failed login, or one look at the port, would ban the controller.

    Source: srclimit_penalise, srclimit.c of OpenSSH 9.8 to 10.0.
    """
    words: Dict[str, str] = {}
    for word in first(server.planned, "persourcepenalties", "no").split():
        name, unused, value = word.partition(":")
        words[name] = value
    exempt = first(server.planned, "persourcepenaltyexemptlist", "none")
    if match_address(server.client, exempt) == 1:
        return
    least = _seconds(words, "min", 15)
    for name, what in (("authfail", "failed login"), ("noauth", "connection without a login (a check of the port)")):
        seconds = _seconds(words, name, 0)
        if seconds > least:
            yield Finding(
                WARN,
                f"one {what} bans {server.client} for {seconds} s, and everybody who shares its address",
                f"set PerSourcePenaltyExemptList {server.client}, or a smaller {name}",
                "PerSourcePenalties",
            )


def fail2ban(server: Server, _client: Client) -> Iterator[Finding]:
    """fail2ban watches, and does not leave the controller alone."""
    if server.ignored is None or any(match_address(server.client, network) == 1 for network in server.ignored):
        return
    yield Finding(
        WARN,
        f"fail2ban watches logins here, and would ban {server.client} after a few that fail",
        f"add {server.client} to its ignoreip",
        "fail2ban",
    )


def grace(server: Server, _client: Client) -> Iterator[Finding]:
    """There is hardly time to log in."""
    seconds = number(server.planned, "logingracetime", 120)
    if 0 < seconds < _SHORT_GRACE:
        yield Finding(
            REFUSE if seconds < _SHORTEST_GRACE else WARN,
            f"LoginGraceTime {seconds} ends a login that takes longer, as slow networks and directories make it",
            f"set LoginGraceTime to {_SHORT_GRACE} or more",
            "LoginGraceTime",
        )


def updating(server: Server, _client: Client) -> Iterator[Finding]:
    """Packages are changed meanwhile: sshd's own programs may be half old, half new."""
    if server.updating:
        yield Finding(
            REFUSE,
            f"packages are being changed right now ({server.updating})",
            "wait until that is done, then run again",
            "packages",
        )


def newer(server: Server, _client: Client) -> Iterator[Finding]:
    """The change starts a program that has not served a login yet, and no revert brings back the old one."""
    if server.newer:
        yield Finding(
            REFUSE,
            f"{server.newer} is newer than the running listener: with this change it would start to serve, "
            "and going back would not bring back the old one",
            "run `systemctl restart sshd`, log in once beside this session, then run again",
            server.newer,
        )


def authselect(server: Server, _client: Client) -> Iterator[Finding]:
    """Somebody edited PAM files that authselect makes: its next run changes who gets in."""
    if server.authselect:
        yield Finding(
            WARN,
            f"authselect did not make the PAM files as they are: {server.authselect}",
            "run `authselect check`, and put the edits into a profile of your own",
            "authselect",
        )


def _seconds(words: Dict[str, str], name: str, default: int) -> int:
    value = words.get(name, "")
    return int(value) if value.isdigit() else default


def _endpoints(server: Server) -> List[Endpoint]:
    found = []
    for value in server.planned.get("listenaddress", ()):
        # A word behind it names a routing domain.
        address, unused, port = value.split(" ")[0].rpartition(":")
        if port.isdigit():
            found.append((address.strip("[]"), int(port)))
    return found


def _covers(endpoint: Endpoint, session: Endpoint) -> bool:
    one, other = parse_address(endpoint[0]), parse_address(session[0])
    if endpoint[1] != session[1] or one is None or other is None or one.version != other.version:
        return False
    return endpoint[0] in _WILDCARDS or one == other


def _shown(endpoint: Endpoint) -> str:
    return f"[{endpoint[0]}]:{endpoint[1]}" if ":" in endpoint[0] else f"{endpoint[0]}:{endpoint[1]}"


__all__ = [
    "authselect",
    "fail2ban",
    "foreign_address",
    "grace",
    "host_key_files",
    "host_keys",
    "listen",
    "new_port",
    "newer",
    "penalties",
    "socket",
    "startups",
    "updating",
]
