# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facet keys: which public keys open which accounts. PRIVATE to the collection."""

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from .._errors import Malformed, Refused, Unsupported
from .._host import accounts, files, home_files, key_command
from .._host.host import Host
from .._openssh import authorized_keys, key_options, keys
from .._openssh.version import SshdVersion
from . import keyrings
from .change import NARROW, WIDEN, Change, Outcome

# Other characters that str.splitlines() splits at may stand in a comment.
_LINE_END = re.compile(r"\r\n|\r|\n")
_WRITABLE_BY_OTHERS = 0o022


class Wish(NamedTuple):
    """What one account should accept: these keys present (with these options, None for as they are) or absent."""

    user: str
    keys: Tuple[keys.PublicKey, ...]
    options: str
    present: bool


class Desired(NamedTuple):
    """The desired state of the facet, in the order given; ``break_glass`` are fingerprints that are never removed."""

    wishes: Tuple[Wish, ...]
    break_glass: Tuple[str, ...] = ()

    @staticmethod
    def from_params(params: Mapping[str, Any]) -> "Desired":
        """Read the module's parameters.

        Raises:
            Malformed: a key is not a public key, or an account is named without one; the field is named.
        """
        wishes = []
        for index, item in enumerate(params.get("accounts") or []):
            wishes.append(_wish(item, f"accounts[{index}]" + (f" ({item['user']})" if item.get("user") else "")))
        if params.get("user"):
            wishes.append(_wish(params, ""))
        if not wishes:
            raise Malformed("no account is named", "give `accounts`, or `user` and `key`")
        _no_contradiction(wishes)
        kept = break_glass(params)
        for key in (key for wish in wishes if not wish.present for key in wish.keys):
            if key.fingerprint in kept:
                raise Refused(
                    f"the break-glass key {key.fingerprint} shall be withdrawn",
                    "take it out of `break_glass_keys` (harden_break_glass_keys) first, if that is what you want",
                    "accounts",
                )
        return Desired(tuple(wishes), kept)


def break_glass(params: Mapping[str, Any]) -> Tuple[str, ...]:
    """Return the fingerprints of the break-glass keys, which are given as such or as public keys."""
    found = []
    for index, text in enumerate(params.get("break_glass_keys") or []):
        plain = text.strip()
        named = plain.startswith("SHA256:")
        found.append(plain if named else keys.parse_public_key(plain, f"break_glass_keys[{index}]").fingerprint)
    return tuple(found)


class Current(NamedTuple):
    """What the facet sees of the host."""

    version: SshdVersion
    keyrings: Dict[str, keyrings.Keyring]


def observe(host: Host, desired: Desired) -> Current:
    """Look at the key files of every account named."""
    users = dict.fromkeys(wish.user for wish in desired.wishes)
    return Current(host.sshd.version, {user: keyrings.look(host, host.account(user)) for user in users})


def outcome(params: Mapping[str, Any], host: Host) -> Outcome:
    """Return what is to be done on this host for these parameters."""
    desired = Desired.from_params(params)
    return Outcome(plan(desired, observe(host, desired)), still_granted(desired, host))


def still_granted(desired: Desired, host: Host) -> List[str]:
    """Name the keys that shall be absent and that AuthorizedKeysCommand grants all the same."""
    found = []
    for wish in desired.wishes:
        if wish.present:
            continue
        account = host.account(wish.user)
        answer = host.effective(account)
        listed = [key.blob for key in key_command.keys(key_command.output(answer, account), host.sshd.version)]
        command = answer.get("authorizedkeyscommand", ("",))[0]
        found += [
            f"the key {key.fingerprint} of {wish.user} is still granted by AuthorizedKeysCommand {command}"
            for key in wish.keys
            if key.blob in listed
        ]
    return found


def plan(desired: Desired, current: Current) -> List[Change]:
    """Return the changes that give every account its keys; additions widen, removals narrow."""
    changes: List[Change] = []
    for user in dict.fromkeys(wish.user for wish in desired.wishes):
        ring = current.keyrings[user]
        wishes = [wish for wish in desired.wishes if wish.user == user]
        changes += _plan_account(ring, wishes, current.version)
    return changes


def apply(changes: Sequence[Change], phase: str, host: Host, done: List[Change]) -> None:
    """Make the changes of one phase, as the owner of each home; each that was made is added to ``done``."""
    for change in changes:
        if change.phase == phase:
            _apply_one(change, host)
            done.append(change)


def _apply_one(change: Change, host: Host) -> None:
    account = host.account(change.account) if change.account else None
    with host.fence.writing(change.path, change.after if change.kind == "file" else None, account):
        if account is None:
            files.replace(change.path, change.after, change.mode)
        elif change.kind == "mode":
            home_files.set_mode(account, change.path, change.mode)
        elif change.kind == "file":
            home_files.replace(account, change.path, change.after, change.mode)


def _wish(item: Mapping[str, Any], where: str) -> Wish:
    prefix = f"{where}." if where else ""
    given = item.get("key") or []
    lines = [line for text in ([given] if isinstance(given, str) else given) for line in _LINE_END.split(text)]
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise Malformed(f"no key is given for {item['user']}", "give the text of the .pub file", f"{prefix}key")
    parsed = tuple(keys.parse_public_key(text, f"{prefix}key[{index}]") for index, text in enumerate(texts))
    return Wish(item["user"], parsed, item.get("key_options") or "", item.get("state") != "absent")


def _no_contradiction(wishes: Sequence[Wish]) -> None:
    present = {(wish.user, key.blob) for wish in wishes if wish.present for key in wish.keys}
    for user, key in [(wish.user, key) for wish in wishes if not wish.present for key in wish.keys]:
        if (user, key.blob) in present:
            raise Malformed(
                f"the key {key.fingerprint} of {user} is wanted present and absent",
                "leave one of the two out",
                "accounts",
            )


def _plan_account(ring: keyrings.Keyring, wishes: Sequence[Wish], version: SshdVersion) -> List[Change]:
    if not ring.files:
        raise Refused(
            f"sshd reads no key file for {ring.account.name} (AuthorizedKeysFile none)",
            "set AuthorizedKeysFile for this account",
            ring.account.name,
        )
    if not any(wish.present for wish in wishes):
        # To take keys away it does not matter whether sshd reads the file today.
        ring = ring._replace(strict=False)
    changes: List[Change] = []
    for index, (entry, document) in enumerate(zip(ring.files, _documents(ring, version))):
        added = _with_additions(document, wishes, ring, version) if index == 0 else document
        left = _with_limits(added, wishes, version)
        changes += _entry_changes(ring, entry, [document.render(), added.render(), left.render()])
    return changes


def _entry_changes(ring: keyrings.Keyring, entry: home_files.HomeFile, steps: Sequence[bytes]) -> List[Change]:
    """Return the changes of one key file: additions widen and come first, removals narrow."""
    before, added, left = steps
    changes = _mode_changes(ring, entry, rewritten=left != before) if entry is ring.files[0] else []
    if left != before and entry.state.kind == "file" and entry.state.uid != ring.account.uid and not entry.outside:
        raise Refused(
            f"this key file of {ring.account.name} belongs to uid {entry.state.uid}, so it is not ours to replace",
            f"edit it yourself, or run `chown {ring.account.name} {entry.state.path}`",
            entry.state.path,
        )
    if left != before or added != before:
        _writable(ring.account, entry)
    if added != before:
        changes += _parent_changes(ring, entry) + [_file_change(ring, entry, WIDEN, added)]
        entry = entry._replace(state=entry.state._replace(kind="file", data=added))
    if left != added:
        changes.append(_file_change(ring, entry, NARROW, left))
    return changes


def _writable(account: accounts.Account, entry: home_files.HomeFile) -> None:
    """Refuse what could not be written: as the account below its home, as root elsewhere."""
    parent = entry.state.path.rpartition("/")[0]
    last = entry.directories[-1] if entry.directories else files.FileState(parent, "dir", uid=account.uid, mode=0o700)
    owner = 0 if entry.outside else account.uid
    if entry.outside and entry.directories and last.path != parent:
        raise Refused("the directory of key files does not exist", f"create it: `install -d -m 755 {parent}`", parent)
    if last.uid != owner or (owner and not last.mode & 0o200):
        whose = account.name if owner else "root"
        raise Refused(
            f"the keys of {account.name} would be written here, and it is not {whose}'s to write (uid {last.uid}, "
            f"mode {last.mode:04o})",
            f"run `chown {whose} {last.path}; chmod u+w {last.path}`, or have sshd read another file",
            last.path,
        )


def _parent_changes(ring: keyrings.Keyring, entry: home_files.HomeFile) -> List[Change]:
    parent = entry.state.path.rpartition("/")[0]
    if entry.outside or parent in [directory.path for directory in entry.directories]:
        return []
    name = ring.account.name
    return [Change("keys", WIDEN, "directory", parent, f"create {parent}", mode=0o700, owner=name, account=name)]


def _file_change(ring: keyrings.Keyring, entry: home_files.HomeFile, phase: str, after: bytes) -> Change:
    state, name = entry.state, ring.account.name
    outside = entry.outside
    new_mode = 0o644 if outside else 0o600
    return Change(
        "keys",
        phase,
        "file",
        state.path,
        f"keys of {name}",
        before=state.data,
        existed=state.kind == "file",
        after=after,
        mode=state.mode & ~_WRITABLE_BY_OTHERS or new_mode,
        owner="root" if outside else name,
        account="" if outside else name,
    )


def _documents(ring: keyrings.Keyring, version: SshdVersion) -> List[authorized_keys.AuthorizedKeys]:
    return [authorized_keys.AuthorizedKeys.parse(entry.state.data, version) for entry in ring.files]


def _with_additions(
    document: authorized_keys.AuthorizedKeys, wishes: Sequence[Wish], ring: keyrings.Keyring, version: SshdVersion
) -> authorized_keys.AuthorizedKeys:
    present = [wish for wish in wishes if wish.present]
    for key in [key for wish in present for key in wish.keys]:
        problem = keys.usable(key, version, ring.minimum_rsa_bits)
        if problem:
            where = ring.account.name
            raise Refused(f"the key {key.fingerprint} would not be taken: {problem}", "give another key", where)
        options = _options(key, present, version)
        if options and not document.grants(key):
            document = document.with_only(key, options)
        elif not options and not _granted_elsewhere(key, ring, version):
            document = document.with_key(key, None)
    return document


def _with_limits(
    document: authorized_keys.AuthorizedKeys, wishes: Sequence[Wish], version: SshdVersion
) -> authorized_keys.AuthorizedKeys:
    """Take away keys that shall be absent, and lines of a key that say less than its options.

    sshd would fall through to such a line where the options refuse.
    """
    present = [wish for wish in wishes if wish.present]
    for key in [key for wish in present for key in wish.keys]:
        options = _options(key, present, version)
        if options and document.grants(key):
            document = document.with_only(key, options)
    for key in (key for wish in wishes if not wish.present for key in wish.keys):
        document = document.without_key(key)
    return document


def _options(key: keys.PublicKey, wishes: Sequence[Wish], version: SshdVersion) -> List[key_options.KeyOptions]:
    texts = [wish.options for wish in wishes if wish.options and key.blob in [one.blob for one in wish.keys]]
    parsed = [key_options.parse_options(text, version, "key_options") for text in dict.fromkeys(texts)]
    if any(options.cert_authority for options in parsed):
        raise Unsupported("certificate authorities are not managed here", "leave cert-authority out", "key_options")
    return parsed


def _granted_elsewhere(key: keys.PublicKey, ring: keyrings.Keyring, version: SshdVersion) -> bool:
    for entry, document in list(zip(ring.files, _documents(ring, version)))[1:]:
        if entry.state.kind == "file" and keyrings.strict_problem(ring, entry) is None:
            if document.with_key(key, None).render() == document.render():
                return True
    return False


def _mode_changes(ring: keyrings.Keyring, target: home_files.HomeFile, *, rewritten: bool) -> List[Change]:
    if not ring.strict:
        return []
    account = ring.account
    if not rewritten and keyrings.strict_problem(ring, target) is None:
        return []
    changes = []
    for state in target.directories + ((target.state,) if not rewritten else ()):
        if state.kind == "missing" or not state.mode & _WRITABLE_BY_OTHERS:
            continue
        if state.path == account.home or state.uid != account.uid or target.outside:
            raise Refused(
                f"others can write here (mode {state.mode:04o}), so sshd takes no key of {account.name} (StrictModes)",
                f"run `chmod go-w {state.path}`",
                state.path,
            )
        what = "take write access from group and others, as StrictModes wants"
        changes.append(
            Change(
                "keys",
                WIDEN,
                "mode",
                state.path,
                what,
                mode=state.mode & ~_WRITABLE_BY_OTHERS,
                owner=account.name,
                account=account.name,
            )
        )
    return changes


__all__ = ["Current", "Desired", "Wish", "apply", "observe", "outcome", "plan", "still_granted"]
