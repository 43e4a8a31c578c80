# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the images of test hosts: AlmaLinux where it can be pulled, stand-ins otherwise. Cached by content."""

import os
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from . import python36
from .accounts import PASSWORDS
from .common import CACHE, HOME, digest, run, tree_bytes
from .generations import ALMALINUX_PACKAGES, GENERATIONS, PACKAGES, Generation
from .podman import HOST_OPTIONS, beside, podman

Say = Callable[[str], None]
PULL_SECONDS = 20
# bullseye as mmdebstrap makes it has a /lib of its own; AlmaLinux has not.
MERGED_USR = ('for name in bin sbin lib lib64; do mkdir -p "$1/usr/$name"; ln -s "usr/$name" "$1/$name"; done',)
NO_DOCS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def kind_wanted(kind: str, generation: Generation) -> str:
    """Turn `auto` into almalinux or standin: try to pull once, quickly, and remember the answer in build/."""
    if kind != "auto":
        return kind
    answer = CACHE / f"kind-{generation.number}"
    if not answer.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        answer.write_text("almalinux" if _pull(generation) else "standin", encoding="ascii")
    return answer.read_text(encoding="ascii")


def _pull(generation: Generation) -> bool:
    if podman("image", "exists", generation.image, check=False).returncode == 0:
        return True
    there = beside(
        "timeout", str(PULL_SECONDS), "podman", "manifest", "inspect", f"docker://{generation.image}", check=False
    )
    return there.returncode == 0 and podman("pull", "-q", generation.image, check=False).returncode == 0


def ensure(number: int, kind: str, say: Say) -> tuple[str, str]:
    """Return the image name and the kind of one generation, built now if this recipe has not been built before."""
    generation = GENERATIONS[number]
    kind = kind_wanted(kind, generation)
    python = python36.find() if (number, kind) == (8, "standin") else None
    recipe = digest(
        (HOME / "inside" / "prepare.sh").read_bytes(),
        tree_bytes(HOME / "rootfs" / "all"),
        tree_bytes(HOME / "rootfs" / str(number)),
        repr(sorted(PASSWORDS.items())).encode(),
        repr((generation, PACKAGES, NO_DOCS, MERGED_USR)).encode(),
        kind.encode(),
        python36.key(python),
    )
    name = f"localhost/latchkey-host-{number}:{recipe}"
    if kind == "standin" and number == 8 and python is None:
        say(
            "8   WARNING: no Python 3.6 on this machine (set LATCHKEY_PYTHON36): the host runs Debian's 3.9, "
            "so nothing here is tested on AlmaLinux 8's Python"
        )
    if podman("image", "exists", name, check=False).returncode != 0:
        say(f"{number:<3} building {kind} image ({generation.suite if kind == 'standin' else generation.image})")
        base = _base(generation) if kind == "standin" else _almalinux_base(generation)
        _customise(base, name, generation, (kind, python))
        _forget_older(name)
    return name, kind


def _forget_older(name: str) -> None:
    """Remove the images of earlier recipes; podman keeps those that a host still uses."""
    repository = name.rsplit(":", 1)[0]
    for line in podman("images", "--format", "{{.Repository}}:{{.Tag}}", repository).stdout.decode().split():
        if line != name:
            podman("rmi", line, check=False)


def _base(generation: Generation) -> str:
    """Return the image of the plain Debian user land, from the archive that this machine's apt is configured with."""
    name = f"localhost/latchkey-base-{generation.number}:{digest(repr((generation.suite, PACKAGES, NO_DOCS)).encode())}"
    if podman("image", "exists", name, check=False).returncode == 0:
        return name
    CACHE.mkdir(parents=True, exist_ok=True)
    tar = CACHE / f"base-{generation.number}.tar"
    hooks = [f"--setup-hook={text}" for text in MERGED_USR if generation.number == 8]
    docs = [f"--dpkgopt=path-exclude={pattern}" for pattern in NO_DOCS]
    try:
        run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                "--include=" + ",".join(PACKAGES),
                *docs,
                *hooks,
                generation.suite,
                str(tar),
                *_mirror(),
            ]
        )
        podman("import", "-q", str(tar), name)
    finally:
        tar.unlink(missing_ok=True)
    return name


def _mirror() -> list[str]:
    """Return the Debian archive that this machine's apt is configured with; empty means mmdebstrap's own default."""
    done = run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"], check=False
    )
    for line in done.stdout.decode().splitlines():
        if line.startswith("Debian Debian "):
            return [line.split()[2]]
    return []


def _almalinux_base(generation: Generation) -> str:
    """Return AlmaLinux's init image with the packages that a minimal installation has and the image lacks."""
    name = f"localhost/latchkey-alma-{generation.number}:{digest(generation.image.encode())}"
    if podman("image", "exists", name, check=False).returncode == 0:
        return name
    work = f"latchkey-build-alma-{generation.number}"
    podman("rm", "-f", "-t", "0", work, check=False)
    podman(
        "run",
        "--name",
        work,
        *HOST_OPTIONS[1:],
        "--entrypoint",
        "/bin/sh",
        generation.image,
        "-c",
        f"dnf -y -q install {' '.join(ALMALINUX_PACKAGES)} && dnf clean all",
    )
    podman("commit", "-q", "--change", 'CMD ["/sbin/init"]', work, name)
    podman("rm", "-f", work)
    return name


def _customise(base: str, name: str, generation: Generation, made_of: tuple[str, Path | None]) -> None:
    kind, python = made_of
    work = f"latchkey-build-{generation.number}-{os.getpid()}"
    podman("create", "--name", work, base, "/sbin/init")
    try:
        root = Path(podman("mount", work).stdout.decode().strip())
        if kind == "standin":
            beside("tar", "-xf", "-", "-C", str(root), stdin=_overlay(generation))
        if python is not None:
            beside("mkdir", "-p", f"{root}/opt")
            beside("cp", "-a", str(python36.bundle(python)), f"{root}{python36.TARGET}")
        environment = [f"{user.upper()}_PASSWORD={password}" for user, password in PASSWORDS.items()]
        beside(
            "env",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            *environment,
            "chroot",
            str(root),
            "/bin/sh",
            "-s",
            str(generation.number),
            kind,
            stdin=(HOME / "inside" / "prepare.sh").read_bytes(),
        )
        podman("umount", work)
        podman("commit", "-q", "--change", 'CMD ["/sbin/init"]', work, name)
    finally:
        podman("rm", "-f", "-t", "0", work, check=False)


def _overlay(generation: Generation) -> bytes:
    """Return rootfs/all and rootfs/GENERATION as one tar: owned by root, modes by the executable bit alone."""
    files: dict[str, Path] = {}
    for tree in ("all", str(generation.number)):
        root = HOME / "rootfs" / tree
        files.update({str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()})
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for arcname, path in sorted(files.items()):
            info = tar.gettarinfo(str(path), arcname)
            info.uid = info.gid = 0
            info.uname = info.gname = "root"
            info.mode = 0o755 if info.mode & 0o100 else 0o644
            info.mtime = 1_700_000_000
            tar.addfile(info, BytesIO(path.read_bytes()))
    return out.getvalue()
