# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts: boot, stop, reset, restart. podman's own labels are the record of what exists."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from . import image, states
from .common import BUILD, ToolError, locked
from .generations import GENERATIONS
from .podman import BASE, HOST_OPTIONS, NETWORK, PREFIX, beside, ensure_network, exec_in, podman, query

Say = Callable[[str], None]
LABEL = "latchkey.host"
STOCK = {"alma8": 8, "alma9": 9, "alma10": 10}
BOOT_SECONDS = 120
PARALLEL = 6
KEEP = "tar -C /etc/ssh -cf - $(cd /etc/ssh && ls -d ssh_host_*)"


class Host(NamedTuple):
    """One test host: what podman says about it."""

    name: str
    generation: int
    state: str
    kind: str
    ip: str
    image: str
    running: bool

    @property
    def container(self) -> str:
        """Return the name of its container."""
        return PREFIX + self.name


def listed() -> list[Host]:
    """Return all test hosts, running or not, by name."""
    found = []
    for entry in query("ps", "-a", "--filter", f"label={LABEL}", "--format", "json"):
        labels = entry["Labels"]
        found.append(Host(labels[LABEL], int(labels["latchkey.generation"]), labels["latchkey.state"], labels["latchkey.kind"],
                          labels["latchkey.ip"], labels["latchkey.image"], entry["State"] == "running"))
    return sorted(found, key=lambda host: (host.generation, host.name))


def get(name: str) -> Host:
    """Return one host; raise ToolError naming those that exist."""
    hosts = {host.name: host for host in listed()}
    if name not in hosts:
        raise ToolError(f"no host {name!r}; there are: {' '.join(hosts) or 'none (hosts up --stock)'}")
    return hosts[name]


def parse(spec: str) -> tuple[str, int, str]:
    """Turn NAME[=GEN[:STATE]] into its parts; without GEN it is read from the end of the name, STATE is stock by default."""
    match = re.fullmatch(r"([a-z][a-z0-9-]{0,30}?)(?:=(\d+)(?::([a-z]+))?)?", spec)
    if match is None:
        raise ToolError(f"{spec!r}: write NAME, NAME=GEN or NAME=GEN:STATE, for example web1=9:match")
    name, number, state = match.groups()
    if number is None:
        ending = re.search(r"(8|9|10)$", name)
        number = ending.group(1) if ending else ""
    if number not in {str(key) for key in GENERATIONS}:
        raise ToolError(f"{spec!r}: the generation is 8, 9 or 10")
    return name, int(number), states.load(state or "stock").name


def addresses(names: Iterable[str]) -> dict[str, str]:
    """Reserve one address for each name, kept until the host is taken down, and return them."""
    path = BUILD / "addresses.json"
    with locked("addresses"):
        have: dict[str, str] = json.loads(path.read_text(encoding="ascii")) if path.exists() else {}
        have.update({host.name: host.ip for host in listed()})
        for name in names:
            if name not in have:
                free = (f"{BASE}.{last}" for last in ([STOCK[name]] if name in STOCK else range(20, 250)))
                have[name] = next(ip for ip in free if ip not in have.values())
        path.write_text(json.dumps(have, indent=1), encoding="ascii")
    return have


def release(names: Iterable[str]) -> None:
    """Give addresses back."""
    path = BUILD / "addresses.json"
    with locked("addresses"):
        if path.exists():
            have = json.loads(path.read_text(encoding="ascii"))
            path.write_text(json.dumps({k: v for k, v in have.items() if k not in set(names)}, indent=1), encoding="ascii")


def up(specs: Iterable[str], kind: str, say: Say) -> None:
    """Boot what is not up yet; a host that exists with another generation or state is refused, not replaced."""
    wanted = [parse(spec) for spec in specs]
    existing = {host.name: host for host in listed()}
    missing = []
    for name, number, state in wanted:
        host = existing.get(name)
        if host and (host.generation, host.state) != (number, state):
            raise ToolError(f"{name} is up as {host.generation}:{host.state}; take it down first: hosts down {name}")
        if host is None:
            missing.append((name, number, state))
    images = _images({number for _name, number, _state in wanted}, kind, say)
    ensure_network()
    ips = addresses(name for name, _number, _state in missing)
    for which in ("operator", "guide") if missing else ():
        with locked("keys"):
            states.public_key(which)
    new = [Host(name, number, state, images[number][1], ips[name], images[number][0], True) for name, number, state in missing]
    stopped = [existing[name] for name, _number, _state in wanted if name in existing and not existing[name].running]
    _together([lambda host=host: (_create(host), boot(host, say)) for host in new]
              + [lambda host=host: boot(host, say) for host in stopped])
    for name, _number, _state in wanted:
        if name in existing and existing[name].running:
            say(line(existing[name], "already up"))


def _images(numbers: set[int], kind: str, say: Say) -> dict[int, tuple[str, str]]:
    with locked("images"), ThreadPoolExecutor(3) as pool:
        return dict(zip(sorted(numbers), pool.map(lambda number: image.ensure(number, kind, say), sorted(numbers)), strict=True))


def _together(jobs: list[Callable[[], object]]) -> None:
    with ThreadPoolExecutor(PARALLEL) as pool:
        for future in [pool.submit(job) for job in jobs]:
            future.result()


def line(host: Host, word: str) -> str:
    """Return the one aligned line that tells of a host."""
    return f"{host.name:<14} {host.generation:>2}  {host.state:<10} {host.kind:<10} {host.ip:<15} {word}"


def _create(host: Host) -> None:
    """Create the container, give it back its host keys if it had some, and apply what its state has for before the boot."""
    labels = {LABEL: host.name, "latchkey.generation": str(host.generation), "latchkey.state": host.state,
              "latchkey.kind": host.kind, "latchkey.ip": host.ip, "latchkey.image": host.image}
    podman("create", "--name", host.container, "--hostname", host.name, "--network", NETWORK, "--ip", host.ip,
           *HOST_OPTIONS, *(f"--label={key}={value}" for key, value in labels.items()), host.image, "/sbin/init")
    root = podman("mount", host.container).stdout.decode().strip()
    try:
        kept = BUILD / "keys" / host.name / "host_keys.tar"
        if kept.exists():
            beside("tar", "-xpf", str(kept), "-C", f"{root}/etc/ssh")
        state = states.load(host.state)
        if state.has("before_boot"):
            beside("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "chroot", root, "/bin/sh", "-s",
                   stdin=states.program(state, "before_boot", host.generation))
    finally:
        podman("umount", host.container)


def boot(host: Host, say: Say) -> None:
    """Start a created or stopped host, await its sshd, apply what its state has for after the first boot, keep its host keys."""
    started = time.monotonic()
    podman("start", host.container)
    await_sshd(host)
    first = not (BUILD / "keys" / host.name / "booted").exists()
    state = states.load(host.state)
    if first and state.has("after_boot"):
        exec_in(host.name, "/bin/sh", "-s", stdin=states.program(state, "after_boot", host.generation))
    keep_keys(host)
    say(line(host, f"up in {time.monotonic() - started:.1f} s"))


def await_sshd(host: Host) -> None:
    """Wait until systemd says that start-up is complete and sshd is active.

    Asked inside the host: a connection from outside would stand in sshd's log, and count against the tester's address.
    """
    give_up = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < give_up:
        answer = exec_in(host.name, "systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        if answer in (b"running", b"degraded"):
            break
        time.sleep(0.1)
    active = exec_in(host.name, "systemctl", "is-active", "sshd", check=False).stdout.strip().decode()
    if active != "active":
        raise ToolError(f"{host.name}: sshd is {active or 'not there'} after {BOOT_SECONDS} s at most; its log: hosts log {host.name}")


def keep_keys(host: Host) -> None:
    """Copy the host keys to build/hosts/keys over podman exec, for known_hosts and so that a reset host is the same host."""
    folder = BUILD / "keys" / host.name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    packed = exec_in(host.name, "sh", "-c", KEEP).stdout
    kept = folder / "host_keys.tar"
    kept.touch(mode=0o600)
    kept.write_bytes(packed)
    beside("tar", "-xf", str(kept), "-C", str(folder), "--wildcards", "--no-same-owner", "*.pub")
    (folder / "booted").touch()


def down(names: Iterable[str], say: Say) -> None:
    """Remove hosts, running or not, with what is kept of them; without names all of them."""
    chosen = list(names)
    hosts = [get(name) for name in chosen] if chosen else listed()
    _together([lambda host=host: (_remove(host), say(line(host, "gone"))) for host in hosts])
    release(host.name for host in hosts)


def _remove(host: Host, *, forget: bool = True) -> None:
    podman("rm", "-f", "-t", "0", host.container)
    folder = BUILD / "keys" / host.name
    with contextlib.suppress(FileNotFoundError):
        (folder / "booted").unlink()
    if forget and folder.is_dir():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def reset(name: str, say: Say) -> None:
    """Bring a host back to its start state: a new container of the same image, with the same address and host keys."""
    host = get(name)
    _remove(host, forget=False)
    _create(host)
    boot(host, say)


def restart(name: str, say: Say) -> None:
    """Reboot. The boot id does not change: it is the machine's."""
    host = get(name)
    started = time.monotonic()
    podman("restart", "-t", "20", host.container)
    await_sshd(host)
    keep_keys(host)
    say(line(host, f"restarted in {time.monotonic() - started:.1f} s"))


def kill(name: str, say: Say) -> None:
    """Cut the power: every process dies at once."""
    host = get(name)
    podman("kill", "-s", "KILL", host.container)
    podman("wait", host.container, check=False)
    say(line(host._replace(running=False), "power is off"))


def root_of(name: str) -> Path:
    """Return where the host's root directory is mounted for podman (in podman's mount namespace)."""
    return Path(podman("mount", get(name).container).stdout.decode().strip())
