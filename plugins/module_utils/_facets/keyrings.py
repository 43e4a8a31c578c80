# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key files that sshd reads for an account, as they are and as changes leave them. PRIVATE to the collection."""

import re
from typing import List, NamedTuple, Optional, Sequence, Tuple

from .._errors import Refused
from .._host import accounts, home_files, outside_files
from .._host.host import Host
from .._openssh import authorized_keys, keys, percent, strict_modes
from .._openssh.version import SshdVersion
from .change import Change


class Keyring(NamedTuple):
    """One account as it is: its key files in sshd's order, and how strictly sshd looks at modes and RSA keys."""

    account: accounts.Account
    files: Tuple[home_files.HomeFile, ...]
    strict: bool
    minimum_rsa_bits: int


def look(host: Host, account: accounts.Account) -> Keyring:
    """Look at the key files that sshd reads for one account."""
    answer = host.effective(account)
    named = answer.get("authorizedkeysfile", (".ssh/authorized_keys",))
    _own_files(named, account)
    found = tuple(_look(account, path) for path in paths(named, account))
    strict = answer.get("strictmodes", ("yes",))[0] != "no"
    return Keyring(account, found, strict, int(answer.get("requiredrsasize", ("0",))[0]))


def paths(values: Sequence[str], account: accounts.Account) -> List[str]:
    """Expand AuthorizedKeysFile for an account (sshd_config(5): %%, %h, %u, %U; relative to the home)."""
    tokens = percent.of_account(account.name, account.home, account.uid)
    found = []
    for word in " ".join(values).split():
        if word.lower() == "none":
            continue
        path = percent.expand(word, tokens)
        found.append(path if path.startswith("/") else f"{account.home.rstrip('/')}/{path}")
    return found


def accepted(ring: Keyring, version: SshdVersion) -> List[keys.PublicKey]:
    """Return the keys of an account that sshd would take from its files today, options apart."""
    found = []
    for document in readable(ring, version):
        found += [key for key in (line.key for line in document.entries) if key and document.grants(key)]
    return found


def after(ring: Keyring, changes: Sequence[Change]) -> Keyring:
    """Return the key files of an account as they will be once the changes are made."""
    return ring._replace(files=tuple(_after(entry, changes) for entry in ring.files))


def _after(entry: home_files.HomeFile, changes: Sequence[Change]) -> home_files.HomeFile:
    modes = {change.path: change.mode for change in changes if change.kind in ("file", "mode")}
    written = {change.path: change.after for change in changes if change.kind == "file"}
    state = entry.state._replace(mode=modes.get(entry.state.path, entry.state.mode))
    if state.path in written:
        state = state._replace(kind="file", data=written[state.path])
    above = [one._replace(mode=modes.get(one.path, one.mode)) for one in entry.directories]
    return entry._replace(state=state, directories=tuple(above))


def readable(ring: Keyring, version: SshdVersion) -> List[authorized_keys.AuthorizedKeys]:
    """Return the key files that sshd would open, in its order."""
    return [
        authorized_keys.AuthorizedKeys.parse(entry.state.data, version)
        for entry in ring.files
        if entry.state.kind == "file" and strict_problem(ring, entry) is None
    ]


def _look(account: accounts.Account, path: str) -> home_files.HomeFile:
    inside = path.startswith(account.home.rstrip("/") + "/")
    return home_files.read(account, path) if inside else outside_files.read(account, path)


def _own_files(values: Sequence[str], account: accounts.Account) -> None:
    for word in " ".join(values).split():
        if word.startswith("/") and not {"u", "U", "h"} & set(re.findall("%(.)", word)):
            raise Refused(
                f"AuthorizedKeysFile {word} is one file for all accounts: each key in it opens every account",
                "let it name one file per account, such as /etc/ssh/keys/%u",
                account.name,
            )


def strict_problem(ring: Keyring, entry: home_files.HomeFile) -> Optional[str]:
    """Say why StrictModes keeps sshd from opening one of the files, or None."""
    if not ring.strict:
        return None
    states = [entry.state] + list(reversed(entry.directories))
    components = [
        strict_modes.PathStat(state.path, state.kind, state.mode, state.uid, state.gid)
        for state in states
        if state.kind != "missing"
    ]
    return strict_modes.strict_modes_problem(components, ring.account.uid, ring.account.home) if components else None


__all__ = ["Keyring", "accepted", "after", "look", "paths", "readable", "strict_problem"]
