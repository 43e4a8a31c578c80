# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start states: what a host looks like before anything of ours has touched it. One file each in states/.

A state is a shell file with up to two functions and some lines for the tool:
    # about: one line for people
    # inventory: NAME=VALUE         a variable of the host (empty: without that variable; BUILD: build/hosts)
    # login: USER PASSWORD          a real login by password, before after_boot
    # login-later: USER PASSWORD    a real sftp login by password from another address, after after_boot
    before_boot() { ... }           runs in the host's root directory before it boots (chroot; nothing is running)
    after_boot() { ... }            runs as root on the booted host, sshd up with what before_boot left
Both functions see GEN, TESTER (the address that logins come from), OPERATOR, the public key lines OPERATOR_KEY,
GUIDE_KEY and IPA_KEY, and DATA_name for each file data/name.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from .accounts import OPERATOR
from .common import BUILD, HOME, ToolError, locked, run
from .podman import GATEWAY

FOLDER = HOME / "states"
KEYS = BUILD / "keys"
GUIDE_PASSPHRASE = "guide passphrase"
KEY_OPTIONS = {
    "operator": ("-t", "ed25519", "-N", ""),
    "guide": ("-t", "rsa", "-b", "4096", "-N", GUIDE_PASSPHRASE),
    "ipa": ("-t", "ed25519", "-N", ""),
}


class State(NamedTuple):
    """One start state as read from its file."""

    name: str
    script: str

    def has(self, function: str) -> bool:
        """Return whether the state's file defines this function."""
        return re.search(rf"^{function}\(\)", self.script, re.MULTILINE) is not None

    def lines(self, word: str) -> list[str]:
        """Return what follows `# WORD: `, for each such line."""
        return re.findall(rf"^# {word}: (.*)$", self.script, re.MULTILINE)

    @property
    def about(self) -> str:
        """Return the line for people."""
        return " ".join(self.lines("about"))

    @property
    def variables(self) -> dict[str, str]:
        """Return the inventory variables that the state sets; an empty value takes one away."""
        pairs = (line.split("=", 1) for line in self.lines("inventory"))
        return {key: value.replace("BUILD", str(BUILD)) for key, value in pairs}


def names() -> list[str]:
    """Return the names of all start states."""
    return sorted(path.stem for path in FOLDER.glob("*.sh") if not path.stem.startswith("_"))


def load(name: str) -> State:
    """Read a start state; raise ToolError naming the known ones."""
    if name not in names():
        raise ToolError(f"no start state {name!r}; there are: {' '.join(names())}")
    return State(name, (FOLDER / f"{name}.sh").read_text(encoding="utf-8"))


def program(state: State, generation: int, calls: str) -> bytes:
    """Return the shell text that makes `calls` with the state's functions and variables."""
    values = {"GEN": str(generation), "TESTER": GATEWAY, "OPERATOR": OPERATOR}
    values.update({f"{which.upper()}_KEY": public_key(which) for which in KEY_OPTIONS})
    for path in sorted((FOLDER / "data").iterdir()):
        values["DATA_" + re.sub(r"\W", "_", path.name)] = path.read_text(encoding="utf-8").rstrip("\n")
    lines = [
        "set -eu",
        *(f"{key}={shlex.quote(value)}" for key, value in values.items()),
        (FOLDER / "_common.sh").read_text(encoding="utf-8"),
        state.script,
        calls,
    ]
    return "\n".join(lines).encode() + b"\n"


def public_key(which: str) -> str:
    """Return the public half of a key of the tester, made now if it is not there yet (build/hosts/keys)."""
    path = KEYS / which
    if not path.exists():
        KEYS.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked("keys"):
            if not path.exists():
                fresh = KEYS / f"{which}.new"
                run(["ssh-keygen", "-q", *KEY_OPTIONS[which], "-C", f"{which}@tester", "-f", str(fresh)])
                fresh.with_name(f"{which}.new.pub").rename(f"{path}.pub")
                fresh.rename(path)
    return Path(f"{path}.pub").read_text(encoding="ascii").strip()
