# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the image: the stand-in of generation 10 with a kernel and SELinux, labelled. Cached by content."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from testhosts.accounts import PASSWORDS
from testhosts.common import ToolError, digest, locked, run, tree_bytes
from testhosts.generations import GENERATIONS
from testhosts.generations import PACKAGES as HOST_PACKAGES
from testhosts.image import NO_DOCS, _mirror

from .common import BUILD, CACHE, HOME, HOSTS, KEY

Say = Callable[[str], None]
GENERATION = GENERATIONS[10]
PACKAGES = (
    *HOST_PACKAGES,
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "udev",
    "kmod",
    "selinux-basics",
    "selinux-policy-default",
    "auditd",
    "policycoreutils-python-utils",
    "setools",
    "acl",
    "attr",
)
PLACES = {
    "test-exec.py": "usr/local/libexec",
    "test-exec.service": "usr/lib/systemd/system",
    "level.cil": "tmp",
}
SIZES = {"root": "3000M", "var": "800M"}


def key() -> str:
    """Return the tester's public key, made now if there is none."""
    if not KEY.exists():
        KEY.parent.mkdir(parents=True, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tester", "-f", str(KEY)])
    return KEY.with_suffix(".pub").read_text(encoding="ascii").strip()


def ensure(say: Say) -> Path:
    """Return the directory of the image (root.img, var.img, vmlinuz, initrd, known_host), built now if need be."""
    if os.geteuid() != 0:
        raise ToolError("building the image needs root (chroot, owners, labels). Run it as root, for example with sudo")
    with locked("vm-image"):
        recipe = digest(
            tree_bytes(HOME / "inside"),
            (HOME / "testvm" / "image.py").read_bytes(),
            (HOSTS / "inside" / "prepare.sh").read_bytes(),
            *(tree_bytes(HOSTS / "rootfs" / tree) for tree in ("all", str(GENERATION.number))),
            repr(sorted(PASSWORDS.items())).encode(),
            repr((GENERATION, PACKAGES)).encode(),
            key().encode(),
        )
        image = CACHE / f"image-{recipe}"
        if not image.exists():
            say(f"building the image ({GENERATION.suite}, SELinux)")
            _build(image)
        return image


def _build(image: Path) -> None:
    work = CACHE / "work"
    root, out = work / "root", work / "image"
    shutil.rmtree(work, ignore_errors=True)
    for directory in (root, out):
        directory.mkdir(parents=True)
    run(["tar", "-xpf", str(_base()), "--xattrs", "--xattrs-include=*", "-C", str(root)])
    for tree in ("all", str(GENERATION.number)):
        _lay_over(HOSTS / "rootfs" / tree, root)
    _prepare(root)
    _label(root)
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(next((root / "boot").glob(f"{name}-*")), out / name)
    public = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="ascii").split()[:2]
    (out / "known_host").write_text(" ".join(public), encoding="ascii")
    _disks(root, out)
    forget_unused()
    out.rename(image)
    shutil.rmtree(work)


def forget_unused() -> None:
    """Remove the images, and what was saved of their first boot, that no machine is made of."""
    used = {Path(path.read_text(encoding="ascii")) for path in BUILD.glob("*/image")}
    for image in CACHE.glob("image-*"):
        if not any(image.name.startswith(base.name) for base in used):
            shutil.rmtree(image)


def _base() -> Path:
    """Return the tar of the plain Debian user land, from the archive that this machine's apt is configured with."""
    tar = CACHE / f"base-{digest(repr((GENERATION.suite, PACKAGES, NO_DOCS)).encode())}.tar"
    if not tar.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        docs = [f"--dpkgopt=path-exclude={pattern}" for pattern in NO_DOCS]
        partial = CACHE / "partial.tar"
        include = "--include=" + ",".join(PACKAGES)
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", include, *docs, GENERATION.suite, str(partial)]
        run([*argv, *_mirror()])
        for older in CACHE.glob("base-*.tar"):
            older.unlink()
        partial.rename(tar)
    return tar


def _lay_over(tree: Path, root: Path) -> None:
    """Copy a tree of files: owned by root, modes by the executable bit alone, directories that exist as they are."""
    packed = run(["tar", "-c", "--owner=root:0", "--group=root:0", "--mode=u=rwX,go=rX", "-C", str(tree), "."]).stdout
    run(["tar", "-xp", "--no-overwrite-dir", "-C", str(root)], stdin=packed)


def _prepare(root: Path) -> None:
    for name, place in PLACES.items():
        (root / place).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HOME / "inside" / name, root / place / name)
    environment = [f"{user.upper()}_PASSWORD={password}" for user, password in PASSWORDS.items()]
    environment += [f"ROOT_KEY={key()}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    for script in (HOSTS / "inside" / "prepare.sh", HOME / "inside" / "prepare.sh"):
        shell = ["/bin/sh", "-s", str(GENERATION.number), "standin"]
        run(["env", "-i", *environment, "chroot", str(root), *shell], stdin=script.read_bytes())


def _label(root: Path) -> None:
    """Label the tree from outside: a first boot under enforcing with unlabelled files does not come up."""
    contexts = "/etc/selinux/default/contexts/files/file_contexts"
    run(["chroot", str(root), "setfiles", "-m", "-F", contexts, "/"])


def _disks(root: Path, out: Path) -> None:
    """Make a file system of /var, which is a mount of its own, then one of the rest."""
    for name, source in (("var", root / "var"), ("root", root)):
        disk = str(out / f"{name}.img")
        run(["mke2fs", "-q", "-t", "ext4", "-L", name, "-d", str(source), disk, SIZES[name]])
        if name == "var":
            label = os.getxattr(source, "security.selinux")
            shutil.rmtree(source)
            source.mkdir()
            os.setxattr(source, "security.selinux", label)
