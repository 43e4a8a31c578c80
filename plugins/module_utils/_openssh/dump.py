# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put settings into the words of ``sshd -T``. Pure.

Source: fill_default_server_options, copy_set_server_options and dump_config of servconf.c, OpenSSH 8.0, 8.7 and 9.9.
"""

from typing import Dict, List, Mapping, Optional, Tuple

from .._errors import Malformed
from . import algorithms, values
from .defaults import MAX_STARTUPS, PENALTIES, algorithm_list
from .keywords import lookup
from .settings import COMPILED, Settings, Source
from .source_list import parse_address
from .tokens import lower, modern
from .version import SshdVersion, release

_ONE_LINE = "authorizedkeysfile authenticationmethods logverbose channeltimeout permitopen permitlisten".split()
_EMPTY_BY_DEFAULT = (
    "hostcertificate acceptenv setenv allowusers denyusers allowgroups denygroups logverbose channeltimeout "
    "sshdsessionpath sshdauthpath"
).split()
# Other names are left to the host's resolver, which sshd asks.
_NEVER_IN_NAMES = " \t'\"\\,*"
_FAMILIES = {"any": (6, 4), "inet": (4,), "inet6": (6,)}


class Problem(Malformed):
    """Say why sshd refuses values that are right one by one; never leaves this package."""

    def __init__(self, reason: str, source: Source, status: int = 255) -> None:
        super().__init__(reason, "", f"{source.path}:{source.line}")
        self.source = source
        self.status = status


Values = Dict[str, Tuple[str, ...]]
Sources = Dict[str, Tuple[Source, ...]]


def settle(settings: Settings, version: SshdVersion) -> None:
    """Do to the first reading what sshd does to it before it reads the blocks."""
    for key in ("forcecommand", "chrootdirectory", "authorizedprincipalsfile"):
        _clear(settings, key)
    if release(version) < (9, 3) and settings.values("channeltimeout") == ("none",):
        settings.drop("channeltimeout")
    if modern(version):
        return
    # Up to 8.6 challenge-response switches keyboard-interactive on, whatever KbdInteractiveAuthentication says.
    source = (settings.sources("challengeresponseauthentication") or (COMPILED,))[0]
    challenge = settings.get("challengeresponseauthentication") or "yes"
    if challenge == "yes":
        settings.replace("kbdinteractiveauthentication", "yes", source)
    settings.set_first("kbdinteractiveauthentication", challenge, source)


def _clear(settings: Settings, key: str) -> None:
    if lower(settings.get(key) or "") == "none":
        settings.replace(key, "none", settings.sources(key)[0])


def overlay(settings: Settings, blocks: Settings, version: SshdVersion) -> None:
    """Put what the blocks set over what is set. Raises Problem where sshd does not survive that."""
    subsystems = [key for key in blocks.keys() if key.startswith("subsystem.")]
    if subsystems:
        if not any(key.startswith("subsystem.") for key in settings.keys()) and release(version) < (10, 4):
            # 9.5 to 10.3 copy the names into a list that does not exist; the process dies of SIGSEGV.
            source = blocks.sources(subsystems[0])[0]
            raise Problem("sshd crashes on Subsystem in a Match block where none is set globally", source, -11)
        settings.drop("subsystem.")
    for key in blocks.keys():
        known = lookup(key.partition(".")[0], version)
        if known is None or not known.in_match or (key == "setenv" and release(version) < (8, 5)):
            continue
        settings.take(key, blocks)
    for key in ("forcecommand", "chrootdirectory"):
        _clear(settings, key)


def dump(settings: Settings, version: SshdVersion, compiled: Values) -> Tuple[Values, Sources]:
    """Return all values and where they stand; ``compiled`` are the defaults.

    Raises Problem where sshd refuses what came together.
    """
    found = _Dump(settings, version, compiled)
    for key, value in found.defaults.items():
        found.plain(key, value)
    for key in _EMPTY_BY_DEFAULT:
        if settings.has(key) and key not in found.defaults:
            found.plain(key, ())
    for key, family in algorithms.LISTS:
        if key in found.defaults:
            found.algorithms(key, family)
    found.listen()
    found.rekey()
    found.max_startups()
    found.penalties()
    found.subsystems()
    return found.values, found.sources


class _Dump:
    def __init__(self, settings: Settings, version: SshdVersion, compiled: Values) -> None:
        self.settings = settings
        self.version = version
        self.defaults = compiled
        self.values: Values = {}
        self.sources: Sources = {}

    def _put(self, key: str, value: Tuple[str, ...], sources: Tuple[Source, ...]) -> None:
        self.values[key] = value
        self.sources[key] = sources

    def plain(self, key: str, default: Tuple[str, ...]) -> None:
        value = self.settings.values(key)
        sources = self.settings.sources(key)
        if not value:
            self._put(key, default, tuple(COMPILED for _one in default))
        elif key in _ONE_LINE:
            self._put(key, (" ".join(value),), sources[:1])
        else:
            self._put(key, value, sources)

    def algorithms(self, key: str, family: str) -> None:
        spec = self.settings.get(key)
        if spec is None:
            return
        known = algorithms.known(family, self.version)
        if not algorithms.complete(self.version):
            known = known + [name for name in spec.lstrip("+^").split(",") if name not in known]
        value = algorithms.assemble(spec, algorithm_list(key, self.version), known)
        source = self.settings.sources(key)[0]
        if value is None:
            raise Problem(f"{key} leaves no algorithm", source)
        self._put(key, (value,), (source,))

    def _parts(self, key: str, parts: Mapping[str, str]) -> Tuple[Dict[str, str], Tuple[Source, ...]]:
        sources: List[Source] = []
        texts = {}
        for part, default in parts.items():
            texts[part] = self.settings.get(f"{key}.{part}") or default
            sources.extend(one for one in self.settings.sources(f"{key}.{part}") if one not in sources)
        return texts, tuple(sources) or (COMPILED,)

    def rekey(self) -> None:
        texts, sources = self._parts("rekeylimit", {"size": "0", "time": "0"})
        self._put("rekeylimit", (f"{texts['size']} {texts['time']}",), sources)

    def max_startups(self) -> None:
        texts, sources = self._parts("maxstartups", MAX_STARTUPS)
        self._put("maxstartups", (f"{texts['start']}:{texts['rate']}:{texts['full']}",), sources)

    def penalties(self) -> None:
        known = lookup("PerSourcePenalties", self.version)
        if known is None:
            return
        texts, sources = self._parts("persourcepenalties", dict(PENALTIES, enabled="yes"))
        six = self.settings.get("persourcepenalties.overflow6") or texts["overflow"]
        line = " ".join(f"{part}:{texts[part]}" for part in PENALTIES) + f" overflow6:{six}"
        self._put("persourcepenalties", (line if texts["enabled"] == "yes" else "no",), sources)

    def subsystems(self) -> None:
        names = [key.partition(".")[2] for key in self.settings.keys() if key.startswith("subsystem.")]
        if names:
            lines = tuple(f"{name} {self.settings.get('subsystem.' + name)}" for name in names)
            sources = tuple(self.settings.sources("subsystem." + name)[0] for name in names)
            self._put("subsystem", lines, sources)

    def listen(self) -> None:
        ports = [int(port) for port in self.settings.values("port")] or [22]
        family = self.settings.get("addressfamily") or "any"
        lines: List[str] = []
        sources: List[Source] = []
        for value, source in zip(self.settings.values("listenaddress"), self.settings.sources("listenaddress")):
            host, _space, own = value.rpartition(" ")
            for port in [int(own)] if own != "0" else ports:
                lines.append(self._listen_line(host, port, family, source))
                sources.append(source)
        if not lines:
            hosts = [{6: "::", 4: "0.0.0.0"}[one] for one in _FAMILIES[family]]
            lines = [values.format_listen(host, port) for port in ports for host in hosts]
            sources = [source for source in self.settings.sources("port") or (COMPILED,) for _host in hosts]
        self._put("listenaddress", tuple(lines), tuple(sources))

    def _listen_line(self, host: str, port: int, family: str, source: Source) -> str:
        address = parse_address(host)
        if address is None and (not host or any(char in _NEVER_IN_NAMES for char in host)):
            raise Problem(f"ListenAddress '{host}' is neither an address nor a host name", source)
        if address is not None and address.version not in _FAMILIES[family]:
            raise Problem(f"ListenAddress {host} is not of AddressFamily {family}", source)
        return values.format_listen(host, port)


def enabled_defaults(settings: Settings, compiled: Values) -> Settings:
    """Return single values with the compiled ones filled in, to judge AuthenticationMethods by."""
    filled = Settings()
    for key, default in compiled.items():
        filled.replace(key, settings.get(key) or default[0], COMPILED)
    return filled


def missing_user(settings: Settings) -> Optional[Tuple[str, Source]]:
    """Return the command keyword that lacks the user to run it as, or None."""
    for key in ("authorizedkeyscommand", "authorizedprincipalscommand"):
        command = settings.get(key)
        if command is not None and lower(command) != "none" and not settings.has(key + "user"):
            return key, settings.sources(key)[0]
    return None
