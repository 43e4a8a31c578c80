# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts: boot, stop, reset, restart. podman's own labels are the record of what exists."""

import contextlib
import functools
import io
import json
import re
import tarfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from . import image, states
from .common import BUILD, ToolError, locked, run
from .generations import GENERATIONS
from .podman import BASE, HOST_OPTIONS, NETWORK, PREFIX, beside, ensure_network, exec_in, podman, query

Say = Callable[[str], None]
LABEL = "latchkey.host"
STOCK = {"alma8": 8, "alma9": 9, "alma10": 10}
BOOT_SECONDS = 120
BOOTED = "/var/lib/first-boot-done"  # in the host, outside of what tree-hash looks at
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
        found.append(
            Host(
                labels[LABEL],
                int(labels["latchkey.generation"]),
                labels["latchkey.state"],
                labels["latchkey.kind"],
                labels["latchkey.ip"],
                labels["latchkey.image"],
                entry["State"] == "running",
            )
        )
    return sorted(found, key=lambda host: (host.generation, host.name))


def get(name: str) -> Host:
    """Return one host; raise ToolError naming those that exist."""
    hosts = {host.name: host for host in listed()}
    if name not in hosts:
        raise ToolError(f"no host {name!r}; there are: {' '.join(hosts) or 'none (hosts up --stock)'}")
    return hosts[name]


def parse(spec: str) -> tuple[str, int, str]:
    """Turn NAME[=GEN[:STATE]] into its parts; GEN is read from the end of the name by default, STATE is stock."""
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
            path.write_text(
                json.dumps({k: v for k, v in have.items() if k not in set(names)}, indent=1), encoding="ascii"
            )


def up(specs: Iterable[str], kind: str, say: Say) -> None:
    """Boot what is not up yet; a host that exists with another generation or state is refused, not replaced."""
    wanted = {name: (number, state) for name, number, state in map(parse, specs)}
    existing = {host.name: host for host in listed() if host.name in wanted}
    for host in existing.values():
        if (host.generation, host.state) != wanted[host.name]:
            is_now = f"{host.name} is there as {host.generation}:{host.state}"
            raise ToolError(f"{is_now}; take it down first: hosts down {host.name}")
    missing = {name: what for name, what in wanted.items() if name not in existing}
    new = _planned(missing, kind, say)
    stopped = [host for host in existing.values() if not host.running]
    together(
        [functools.partial(_create_and_boot, host, say) for host in new]
        + [functools.partial(boot, host, say) for host in stopped]
    )
    for host in existing.values():
        if host.running:
            say(line(host, "already up"))


def _planned(missing: dict[str, tuple[int, str]], kind: str, say: Say) -> list[Host]:
    """Return the hosts to make, with image, network and address ready for each."""
    images = _images({number for number, _state in missing.values()}, kind, say)
    with locked("network"):
        ensure_network()
    ips = addresses(missing)
    return [
        Host(name, number, state, images[number][1], ips[name], images[number][0], True)
        for name, (number, state) in missing.items()
    ]


def _create_and_boot(host: Host, say: Say) -> None:
    _create(host)
    boot(host, say)


def _images(numbers: set[int], kind: str, say: Say) -> dict[int, tuple[str, str]]:
    with locked("images"), ThreadPoolExecutor(3) as pool:
        return dict(
            zip(sorted(numbers), pool.map(lambda number: image.ensure(number, kind, say), sorted(numbers)), strict=True)
        )


def together(jobs: Sequence[Callable[[], object]]) -> None:
    """Do jobs in parallel; all are finished when this returns, and the first error is raised then."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        for future in [pool.submit(job) for job in jobs]:
            future.result()


def line(host: Host, word: str) -> str:
    """Return the one aligned line that tells of a host."""
    return f"{host.name:<14} {host.generation:>2}  {host.state:<10} {host.kind:<10} {host.ip:<15} {word}"


def _create(host: Host) -> None:
    """Create the container, give it its former host keys back, apply what its state has for before the boot."""
    labels = {
        LABEL: host.name,
        "latchkey.generation": str(host.generation),
        "latchkey.state": host.state,
        "latchkey.kind": host.kind,
        "latchkey.ip": host.ip,
        "latchkey.image": host.image,
    }
    podman(
        "create",
        "--name",
        host.container,
        "--hostname",
        host.name,
        "--network",
        NETWORK,
        "--ip",
        host.ip,
        "--mac-address",
        mac(host.ip),
        *HOST_OPTIONS,
        *(f"--label={key}={value}" for key, value in labels.items()),
        host.image,
        "/sbin/init",
    )
    root = podman("mount", host.container).stdout.decode().strip()
    try:
        kept = BUILD / "kept" / host.name / "host_keys.tar"
        if kept.exists():
            beside("tar", "-xpf", str(kept), "-C", f"{root}/etc/ssh")
        script = states.program(states.load(host.state), host.generation, "exempt_tester; before_boot")
        beside("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "chroot", root, "/bin/sh", "-s", stdin=script)
    finally:
        podman("umount", host.container)


def mac(ip: str) -> str:
    """Return the hardware address for an address: a host reset to a new one would be deaf until ARP caches forget."""
    return "52:54:" + ":".join(f"{int(part):02x}" for part in ip.split("."))


def boot(host: Host, say: Say) -> None:
    """Start a host, await its sshd, keep its host keys, apply what its state has for after the first boot."""
    started = time.monotonic()
    podman("start", host.container)
    await_sshd(host)
    keep_keys(host)
    if exec_in(host.name, "test", "-e", BOOTED, check=False).returncode != 0:
        _after_first_boot(host)
        exec_in(host.name, "touch", BOOTED)
    say(line(host, f"up in {time.monotonic() - started:.1f} s"))


def _after_first_boot(host: Host) -> None:
    """Do the logins and run the script that a host's state has for after the first boot."""
    state = states.load(host.state)
    for entry in state.lines("login"):
        log_in(host, entry.split(), "true")
    if state.has("after_boot"):
        exec_in(host.name, "/bin/sh", "-s", stdin=states.program(state, host.generation, "after_boot"))
    for entry in state.lines("login-later"):
        log_in(host, entry.split(), "-s", "sftp", source=other_address())


def log_in(host: Host, who: Sequence[str], *command: str, source: str = "") -> None:
    """Really log in by password as (user, password), from another address of the bridge where `source` names one."""
    user, password = who
    known = BUILD / "kept" / host.name / "known_hosts"
    known.write_text(
        "".join(f"{host.ip} {path.read_text(encoding='ascii')}" for path in known.parent.glob("*.pub")),
        encoding="ascii",
    )
    run(
        [
            "env",
            f"SSHPASS={password}",
            "sshpass",
            "-e",
            "ssh",
            "-F",
            "none",
            "-o",
            f'UserKnownHostsFile="{known}"',
            "-o",
            "PreferredAuthentications=password",
            "-o",
            "LogLevel=ERROR",
            *(["-b", source] if source else []),
            f"{user}@{host.ip}",
            *command,
        ]
    )


def other_address() -> str:
    """Return a second address of the tester on the bridge, given to it now."""
    address = f"{BASE}.3"
    bridge = query("network", "inspect", NETWORK)[0]["network_interface"]
    run(["ip", "address", "replace", f"{address}/32", "dev", bridge])
    return address


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
        raise ToolError(
            f"{host.name}: sshd is {active or 'not there'} after {BOOT_SECONDS} s; its log: hosts log {host.name}"
        )


def keep_keys(host: Host) -> None:
    """Copy the host keys to build/hosts/kept, past sshd: for known_hosts, and so that a reset host is the same host."""
    folder = BUILD / "kept" / host.name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    packed = exec_in(host.name, "sh", "-c", KEEP).stdout
    kept = folder / "host_keys.tar"
    kept.touch(mode=0o600)
    kept.write_bytes(packed)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        public = {member.name: tar.extractfile(member) for member in tar.getmembers() if member.name.endswith(".pub")}
        for name, handle in public.items():
            if handle is not None:
                (folder / name).write_bytes(handle.read())
    for path in folder.glob("*.pub"):
        if path.name not in public:
            path.unlink()


def adopt(host: Host) -> None:
    """Fetch the host keys of a host that another clone of the project has booted; not yet if it is still on its way."""
    if (BUILD / "kept" / host.name / "host_keys.tar").exists():
        return
    with contextlib.suppress(ToolError):  # it may be gone by now: then it is not in the inventory either
        if exec_in(host.name, "systemctl", "is-active", "sshd", check=False).stdout.strip() == b"active":
            keep_keys(host)


def down(names: Iterable[str], say: Say) -> None:
    """Remove hosts, running or not, with what is kept of them; without names all of them."""
    chosen = list(names)
    hosts = [get(name) for name in chosen] if chosen else listed()
    together([functools.partial(_forget, host, say) for host in hosts])
    release(host.name for host in hosts)


def _forget(host: Host, say: Say) -> None:
    podman("rm", "-f", "-t", "0", host.container)
    for path in (BUILD / "kept" / host.name).glob("*"):
        path.unlink()
    with contextlib.suppress(FileNotFoundError):
        (BUILD / "kept" / host.name).rmdir()
    say(line(host, "gone"))


def reset(name: str, say: Say) -> None:
    """Bring a host back to its start state: a new container of the same image, with the same address and host keys."""
    host = get(name)
    podman("rm", "-f", "-t", "0", host.container)
    _create_and_boot(host, say)


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


def running(name: str) -> Host:
    """Return one host that is switched on; raise ToolError otherwise."""
    host = get(name)
    if not host.running:
        raise ToolError(f"{name} is off; switch it on: hosts start {name}")
    return host
