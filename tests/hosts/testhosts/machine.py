# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepare this machine: packages, the cgroup tree that podman needs, a kernel limit."""

import os
import shutil
from pathlib import Path

from .common import ToolError, run, text

# program that shows that the package is there -> its name for apt, for dnf ("" = not needed or not packaged there)
PACKAGES = {
    "podman": ("podman", "podman"),
    "crun": ("crun", "crun"),
    "/usr/lib/podman/netavark": ("netavark", "netavark"),
    "/usr/lib/podman/aardvark-dns": ("aardvark-dns", "aardvark-dns"),
    "iptables": ("iptables", "iptables-nft"),
    "mmdebstrap": ("mmdebstrap", "mmdebstrap"),
    "/usr/share/keyrings/debian-archive-keyring.gpg": ("debian-archive-keyring", "debian-keyring"),
    "sshpass": ("sshpass", "sshpass"),
    "patchelf": ("patchelf", "patchelf"),
    "ssh": ("openssh-client", "openssh-clients"),
    "nsenter": ("util-linux", "util-linux"),
}
ELSEWHERE = {
    "/usr/lib/podman/netavark": "/usr/libexec/podman/netavark",
    "/usr/lib/podman/aardvark-dns": "/usr/libexec/podman/aardvark-dns",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "/usr/share/keyrings/debian-keyring.gpg",
}
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_WANTED = 8192
CGROUP = Path("/sys/fs/cgroup")
NAMESPACE = Path("/run/latchkey-hosts")


def need_root() -> None:
    """Refuse to go on without root: systemd in containers with their own network needs it."""
    if os.geteuid() != 0:
        raise ToolError(
            "test hosts need root on this machine (systemd in containers, a bridge of their own).\n"
            "  Run it as root, for example: sudo tests/hosts/hosts up --stock"
        )


def missing() -> list[str]:
    """Return the probes of PACKAGES that are not there."""
    return [
        probe
        for probe in PACKAGES
        if not any(shutil.which(name) or os.path.exists(name) for name in (probe, ELSEWHERE.get(probe, probe)))
    ]


def install() -> list[str]:
    """Install what is missing by apt or dnf and return the packages installed; without root say which to install."""
    absent = missing()
    if not absent:
        return []
    manager = next((name for name in ("apt-get", "dnf") if shutil.which(name)), None)
    if manager is None:
        raise ToolError("neither apt-get nor dnf here; install by hand: " + " ".join(PACKAGES[p][0] for p in absent))
    names = [PACKAGES[probe][0 if manager == "apt-get" else 1] for probe in absent]
    if os.geteuid() != 0:
        raise ToolError(
            f"these packages are missing and only root can install them:\n  {manager} install " + " ".join(names)
        )
    if manager == "apt-get":
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        run(["apt-get", "update", "-qq"], check=False)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names])
    else:
        run(["dnf", "install", "-y", "-q", *names])
    return names


def raise_inotify() -> str:
    """Raise fs.inotify.max_user_instances where it is low (of 128 systemd dies beyond 18 hosts); say what was done."""
    have = int(INOTIFY.read_text(encoding="ascii"))
    if have >= INOTIFY_WANTED:
        return ""
    try:
        INOTIFY.write_text(f"{INOTIFY_WANTED}\n", encoding="ascii")
    except OSError as error:
        return f"fs.inotify.max_user_instances stays {have} ({error.strerror}): more than about 18 hosts will not boot"
    return f"fs.inotify.max_user_instances raised from {have} to {INOTIFY_WANTED} (until the next boot of this machine)"


def plain_cgroup2() -> bool:
    """Return whether /sys/fs/cgroup is a cgroup2 tree, the only kind that crun takes."""
    return text(["stat", "-f", "-c", "%T", str(CGROUP)]) == "cgroup2fs"


def prefix() -> list[str]:
    """Return what to put before every podman call: nothing, or an nsenter into one mount namespace with cgroup2.

    It must be one and the same namespace for all calls: a new one per call breaks podman's network namespaces and
    leaves stale port-forwarding rules behind.
    """
    if plain_cgroup2():
        return []
    handle = NAMESPACE / "mount"
    if not _alive(handle):
        _make_namespace(handle)
    return ["nsenter", f"--mount={handle}"]


def _alive(handle: Path) -> bool:
    return (
        handle.exists()
        and run(["nsenter", f"--mount={handle}", "stat", "-f", "-c", "%T", str(CGROUP)], check=False).stdout.strip()
        == b"cgroup2fs"
    )


def _make_namespace(handle: Path) -> None:
    """Pin a mount namespace to a file; its directory must be a private mount, else the kernel refuses the bind."""
    NAMESPACE.mkdir(mode=0o700, exist_ok=True)
    if not os.path.ismount(NAMESPACE):
        run(["mount", "--bind", str(NAMESPACE), str(NAMESPACE)])
        run(["mount", "--make-private", str(NAMESPACE)])
    handle.touch()
    run(
        [
            "unshare",
            f"--mount={handle}",
            "--propagation",
            "private",
            "sh",
            "-c",
            f"umount -R {CGROUP}; mount -t cgroup2 cgroup2 {CGROUP}",
        ]
    )
