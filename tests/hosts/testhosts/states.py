# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start states: what a host looks like before anything of ours has touched it. One file each in states/.

A state is a shell file with up to two functions and inventory lines:
    # about: one line for people
    # inventory: ansible_become_password=...     (a variable of the host; empty value removes the variable)
    before_boot() { ... }    runs in the host's root directory before it boots (chroot; nothing is running)
    after_boot() { ... }     runs as root on the booted host, sshd already up with what before_boot left
Both see GEN, TESTER (the address that logins come from), OPERATOR, OPERATOR_KEY and GUIDE_KEY (public key lines), and DATA_name for
each file states/data/name.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from .common import BUILD, HOME, ToolError, run
from .accounts import OPERATOR
from .podman import GATEWAY

FOLDER = HOME / "states"
KEYS = BUILD / "keys"
GUIDE_PASSPHRASE = "guide passphrase"


class State(NamedTuple):
    """One start state as read from its file."""

    name: str
    about: str
    variables: dict[str, str]
    script: str

    def has(self, function: str) -> bool:
        """Return whether the state's file defines this function."""
        return re.search(rf"^{function}\(\)", self.script, re.MULTILINE) is not None


def names() -> list[str]:
    """Return the names of all start states."""
    return sorted(path.stem for path in FOLDER.glob("*.sh") if not path.stem.startswith("_"))


def load(name: str) -> State:
    """Read a start state; raise ToolError naming the known ones."""
    path = FOLDER / f"{name}.sh"
    if name not in names():
        raise ToolError(f"no start state {name!r}; there are: {' '.join(names())}")
    script = path.read_text(encoding="utf-8")
    about = re.search(r"^# about: (.*)$", script, re.MULTILINE)
    variables = dict(line.split("=", 1) for line in re.findall(r"^# inventory: (\w+=.*)$", script, re.MULTILINE))
    variables = {key: value.replace("BUILD", str(BUILD)) for key, value in variables.items()}
    return State(name, about.group(1) if about else "", variables, script)


def program(state: State, function: str, generation: int) -> bytes:
    """Return the shell text that runs one function of a state, with what it needs in variables."""
    values = {"GEN": str(generation), "TESTER": GATEWAY, "OPERATOR": OPERATOR,
              "OPERATOR_KEY": public_key("operator"), "GUIDE_KEY": public_key("guide")}
    for path in sorted((FOLDER / "data").iterdir()):
        values["DATA_" + re.sub(r"\W", "_", path.name)] = path.read_text(encoding="utf-8")
    lines = ["set -eu", *(f"{key}={shlex.quote(value)}" for key, value in values.items()),
             (FOLDER / "_common.sh").read_text(encoding="utf-8"), state.script, function]
    return "\n".join(lines).encode() + b"\n"


def public_key(which: str) -> str:
    """Return the public half of a key of the tester, made now if it is not there yet.

    operator: ed25519, no passphrase. guide: what a hand-written guide says, RSA 4096 with a passphrase.
    """
    path = KEYS / which
    if not path.exists():
        KEYS.mkdir(parents=True, exist_ok=True)
        KEYS.chmod(0o700)
        kind = ["-t", "rsa", "-b", "4096", "-N", GUIDE_PASSPHRASE] if which == "guide" else ["-t", "ed25519", "-N", ""]
        run(["ssh-keygen", "-q", *kind, "-C", f"{which}@tester", "-f", str(path)])
    return Path(f"{path}.pub").read_text(encoding="ascii").strip()
