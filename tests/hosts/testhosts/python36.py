# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CPython 3.6 for the stand-in of generation 8, whose AlmaLinux has nothing else."""

import glob
import os
import re
import shutil
from pathlib import Path

from .common import CACHE, digest, run, text

PLACES = (
    # CI gives its tools a home of their own, and keeps PYENV_ROOT.
    os.environ.get("PYENV_ROOT", "~/.pyenv") + "/versions/3.6.*/bin/python3.6",
    "/usr/local/bin/python3.6",
    "/usr/bin/python3.6",
    "/opt/python*3.6*/bin/python3.6",
    "/opt/hostedtoolcache/Python/3.6.*/x64/bin/python3.6",
)
TARGET = "/opt/py36"
UNUSED = ("test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "site-packages", "__pycache__", "lib2to3")


def find() -> Path | None:
    """Return a Python 3.6 of this machine (LATCHKEY_PYTHON36, else the usual places), or None."""
    named = os.environ.get("LATCHKEY_PYTHON36")
    candidates = [named] if named else [shutil.which("python3.6") or ""]
    for place in PLACES:
        candidates += sorted(glob.glob(os.path.expanduser(place)))
    for name in filter(None, candidates):
        done = run([name, "-c", "import sys, ssl, ctypes; print(sys.version_info[:2] == (3, 6))"], check=False)
        if done.stdout.strip() == b"True":
            return Path(name).resolve()
    return None


def key(python: Path | None) -> bytes:
    """Return what identifies this Python in the cache."""
    if python is None:
        return b"none"
    return f"{python} {python.stat().st_mtime_ns}".encode() + Path(__file__).read_bytes()


def bundle(python: Path) -> Path:
    """Return a directory with this Python, the libraries it uses and their loader, made to run from TARGET.

    The machine's glibc may be newer than the stand-in's, so it needs the loader and the libraries it was linked with.
    """
    target = CACHE / f"py36-{digest(key(python))}"
    if target.exists():
        return target
    work = target.with_suffix(".new")
    shutil.rmtree(work, ignore_errors=True)
    (work / "bin").mkdir(parents=True)
    shutil.copy2(python, work / "bin" / "python3.6")
    stdlib = Path(text([str(python), "-c", "import os; print(os.path.dirname(os.__file__))"]))
    shutil.copytree(stdlib, work / "lib" / "python3.6", ignore=shutil.ignore_patterns(*UNUSED, "*.pyc", "*.a"))
    (work / "lib" / "python3.6" / "site-packages").mkdir()
    _copy_libraries(work)
    work.rename(target)
    return target


def _copy_libraries(work: Path) -> None:
    binaries = [work / "bin" / "python3.6", *(work / "lib" / "python3.6" / "lib-dynload").glob("*.so")]
    found: set[str] = set()
    for binary in binaries:
        found.update(
            re.findall(
                r"(/\S+)",
                "\n".join(
                    line.split("=>")[-1] for line in run(["ldd", str(binary)], check=False).stdout.decode().splitlines()
                ),
            )
        )
    # NSS modules are opened by name at run time, so ldd does not show them.
    libc = next(name for name in found if "/libc.so.6" in name)
    found.update(glob.glob(os.path.join(os.path.dirname(libc), "libnss_files.so.2")))
    loader = next(name for name in found if "ld-linux" in name)
    for name in found:
        shutil.copy2(os.path.realpath(name), work / "lib" / os.path.basename(name))
    run(["patchelf", "--set-interpreter", f"{TARGET}/lib/{os.path.basename(loader)}", str(binaries[0])])
    for path in [*binaries, *(work / "lib").glob("lib*.so*")]:
        if not path.name.startswith("libc.so"):
            # RPATH, not RUNPATH: only that one also holds for the libraries of a library.
            run(["patchelf", "--force-rpath", "--set-rpath", f"{TARGET}/lib", str(path)])
