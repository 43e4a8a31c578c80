# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facet keypair: one SSH key pair on the machine that runs this (a host, or the controller). PRIVATE to the collection.

An existing good private key is never replaced because of its .pub file, of a comment or of a passphrase that was added.
"""

import getpass
import os
import socket
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from .._errors import HostError, LatchkeyError, Malformed, Refused
from .._host import keypair, private_keys
from .._openssh.key_blob import examine
from .._openssh.keys import PublicKey, parse_public_key, same_key
from .._openssh.private_key import recognise, render_container
from . import change as changes
from .change import NARROW, WIDEN, Change
from .keypair_params import DEFAULT_SIZES, Desired

FACET = "keypair"
ATTEMPTS = 5


class Current(NamedTuple):
    """What is there. ``key`` is the public half as the private file tells it, with the comment stored in it.

    ``problem`` says why the private file cannot be used ('' = it can, or is missing); ``opened_by`` is the passphrase
    that opens it ('' = none is needed, None = nobody knows).
    """

    pair: keypair.Pair
    format: str
    key: Optional[PublicKey]
    public: Optional[PublicKey]
    opened_by: Optional[str]
    problem: str

    def __repr__(self) -> str:
        return "Current({0!r})".format(self.pair)


def observe(desired: Desired) -> Current:
    """Read the pair and open its private half with what was given; no side effects."""
    pair = keypair.read(desired.path)
    public = _read_public(pair)
    empty = Current(pair, "", None, public, None, "")
    if pair.private.kind == "missing":
        return empty
    try:
        facts = recognise(pair.private.data)
    except Malformed as error:
        return empty._replace(problem=error.reason)
    found = empty._replace(format=facts.format, key=facts.public)
    if not desired.present:
        return found
    secrets = [text for text in (desired.passphrase, desired.current_passphrase) if text] if facts.encrypted else [""]
    if not secrets:
        return found if facts.public else found._replace(problem="it has a passphrase, and none was given")
    return _opened(found, secrets)


def _opened(found: Current, secrets: List[str]) -> Current:
    problem = ""
    for secret in secrets:
        try:
            return found._replace(key=private_keys.open_key(found.pair.private.data, secret), opened_by=secret)
        except Malformed as error:
            problem = error.reason
    return found._replace(problem=problem)


def _read_public(pair: keypair.Pair) -> Optional[PublicKey]:
    if pair.public.kind == "missing":
        return None
    try:
        return parse_public_key(pair.public.data.decode("utf-8", "surrogateescape"), pair.public.path)
    except Malformed:
        return None


def _differs(desired: Desired, key: PublicKey) -> str:
    """Return how an existing key is not what was asked for ('' = it is); no size asked means any."""
    facts = examine(key.blob)
    if desired.type != "auto" and facts.family != desired.type:
        return "it is of type {0}, not {1}".format(facts.family or key.type, desired.type)
    if desired.size and facts.bits != desired.size:
        return "it has {0} bits, not {1}".format(facts.bits, desired.size)
    return ""


def _must_be_made(desired: Desired, current: Current) -> bool:
    """Decide by ``regenerate`` whether a key is to be made; raises Refused where that forbids to go on."""
    if current.pair.private.kind == "missing" or desired.regenerate == "always":
        return True
    path = current.pair.private.path
    if current.problem or current.key is None:
        if desired.regenerate == "full_idempotence":
            return True
        reason = "the private key cannot be used: {0}".format(current.problem)
        raise Refused(reason, "Give its passphrase, or move the file away; no key was made", path)
    reason = _differs(desired, current.key)
    if reason and desired.regenerate == "fail":
        raise Refused("there is another key: {0}".format(reason), "Ask for what is there, or move it away", path)
    if reason and desired.regenerate == "partial_idempotence" and current.opened_by is None:
        raise Refused(
            "there is another key, protected by a passphrase that is not known here: {0}".format(reason),
            "Give its passphrase as current_passphrase, ask for what is there, or move it away",
            path,
        )
    return bool(reason) and desired.regenerate != "never"


def default_type() -> str:
    """Return the type that auto makes: ed25519, or ecdsa where FIPS mode forbids that."""
    return "ecdsa" if private_keys.fips() else "ed25519"


def default_comment() -> str:
    """Return user@machine, as ssh-keygen does."""
    return "{0}@{1}".format(getpass.getuser(), socket.gethostname())


def _wanted_comment(desired: Desired, current: Current) -> str:
    if desired.comment is not None:
        return desired.comment
    if current.public and current.key and same_key(current.public, current.key):
        return current.public.comment
    return current.key.comment if current.key else ""


def _private(path: str, kind: str, what: str, mode: int = 0) -> Change:
    return Change(FACET, WIDEN, kind, path, what, mode=mode or keypair.PRIVATE_MODE)


def plan(desired: Desired, current: Current) -> List[Change]:
    """Return the changes that bring the pair to what is desired; [] when it is that already. Pure but for FIPS mode.

    Raises Refused where ``regenerate`` forbids what would be needed. Private keys stand in no change.
    """
    pair = current.pair
    if not desired.present:
        there = [found for found in (pair.private, pair.public) if found.kind == "file"]
        return [Change(FACET, NARROW, "absent", found.path, "remove {0}".format(found.path)) for found in there]
    if _must_be_made(desired, current):
        return _plan_new(desired, pair)
    return _plan_private(desired, current) + _plan_public(desired, current)


def _plan_new(desired: Desired, pair: keypair.Pair) -> List[Change]:
    planned = []
    if pair.directory == "missing":
        parent = os.path.dirname(desired.path)
        planned.append(_private(parent, "directory", "create {0}".format(parent), keypair.DIRECTORY_MODE))
    made = _made_type(desired)
    verb = "make" if pair.private.kind == "missing" else "replace the key by"
    what = "{0} a new {1} key of {2} bits".format(verb, made, desired.size or DEFAULT_SIZES[made])
    planned.append(_private(desired.path, "private_key", what, desired.mode))
    public = Change(FACET, WIDEN, "public_key", pair.public.path, "write its public half", mode=keypair.PUBLIC_MODE)
    return planned + [public]


def _made_type(desired: Desired) -> str:
    return default_type() if desired.type == "auto" else desired.type


def _new_passphrase(desired: Desired, current: Current) -> Optional[str]:
    """Return the passphrase that the private file has to get, None where it has the right one."""
    if desired.passphrase is None or desired.passphrase == current.opened_by:
        return None
    if current.opened_by is None:
        raise Refused(
            "the private key has a passphrase that is not known here, so it cannot be changed",
            "Give it as current_passphrase",
            current.pair.private.path,
        )
    if desired.regenerate in ("never", "fail"):
        reason = "the private key {0}".format("has another passphrase" if current.opened_by else "has no passphrase")
        raise Refused(reason, "Allow it with regenerate: partial_idempotence", current.pair.private.path)
    return desired.passphrase


def _plan_private(desired: Desired, current: Current) -> List[Change]:
    found = current.pair.private
    secret = _new_passphrase(desired, current)
    stored = current.key.comment if current.key else ""
    recomment = desired.comment is not None and desired.comment != stored and current.opened_by is not None
    if secret is not None and current.format != "openssh":
        raise Refused(
            "the passphrase of a key in PEM format is not changed here",
            "Convert it: ssh-keygen -p -f {0}".format(found.path),
            found.path,
        )
    mode = desired.mode or found.mode & keypair.PRIVATE_MODE
    if secret is not None or (recomment and current.format == "openssh"):
        what = {None: "change its comment", "": "take its passphrase off"}.get(secret, "change its passphrase")
        return [_private(found.path, "rewrite", what + "; the key stays the same", mode)]
    if found.mode != mode:
        what = "take mode {0:04o} back to {1:04o}".format(found.mode, mode)
        return [_private(found.path, "mode", what, mode)]
    return []


def _plan_public(desired: Desired, current: Current) -> List[Change]:
    if current.key is None:
        return []
    found = current.pair.public
    wanted = current.key._replace(comment=_wanted_comment(desired, current))
    if current.public == wanted:
        if not found.mode & 0o022:
            return []
        return [Change(FACET, WIDEN, "mode", found.path, "let only the owner write", mode=found.mode & ~0o022)]
    what = "restore the public half from the private key"
    if current.public and same_key(current.public, current.key):
        what = "change the comment"
    after = (wanted.text + "\n").encode("utf-8")
    there = found.kind == "file"
    return [Change(FACET, WIDEN, "file", found.path, what, found.data, there, after, keypair.PUBLIC_MODE)]


def apply(desired: Desired, planned: List[Change]) -> Tuple[List[Change], Current]:
    """Make what was planned; return the changes that were made here and the pair as it is then.

    The pair is read and planned again under a lock: of two processes one makes the key and the other finds it.
    """
    for step in planned:
        if step.kind == "directory":
            keypair.make_directory(step.path)
    if not planned:
        return [], observe(desired)
    with keypair.locked(desired.path):
        return _apply_locked(desired, [step for step in planned if step.kind == "directory"])


def _apply_locked(desired: Desired, done: List[Change]) -> Tuple[List[Change], Current]:
    for _attempt in range(ATTEMPTS):
        current = observe(desired)
        steps = plan(desired, current)
        if not steps:
            return done, current
        made = [step for step in steps if _make(step, desired, current)]
        done = done + made
        if len(made) == len(steps):
            return done, observe(desired)
    raise HostError("the key is changed by somebody else all the time", "See who writes there", desired.path)


def _make(step: Change, desired: Desired, current: Current) -> bool:
    """Make one change; False where somebody else was faster, so that all has to be looked at again."""
    path = step.path
    if step.kind == "absent":
        keypair.remove(path)
    elif step.kind == "mode":
        keypair.set_mode(path, step.mode)
    elif step.kind == "file":
        keypair.replace_public(path, step.after)
    elif step.kind == "private_key":
        return _make_key(desired, current)
    elif step.kind == "public_key":
        return _write_public(desired)
    elif step.kind == "rewrite":
        _rewrite(desired, current, step)
    return True


def _make_key(desired: Desired, current: Current) -> bool:
    made = _made_type(desired)
    comment = default_comment() if desired.comment is None else desired.comment
    private_keys.require(passphrase=bool(desired.passphrase))
    container = private_keys.generate(made, desired.size or DEFAULT_SIZES[made], comment)
    data = render_container(container)
    if desired.passphrase:
        data = private_keys.rewrite(data, "", desired.passphrase, comment)
    mode = desired.mode or keypair.PRIVATE_MODE
    if current.pair.private.kind == "missing":
        return keypair.create_private(desired.path, data, mode)
    keypair.replace_private(desired.path, data, mode)
    return True


def _write_public(desired: Desired) -> bool:
    """Write the public half of the private key that is there now, whoever made it."""
    fresh = observe(desired._replace(regenerate="never"))
    if fresh.key is None:
        return False
    comment = fresh.key.comment if desired.comment is None else desired.comment
    keypair.replace_public(fresh.pair.public.path, (fresh.key._replace(comment=comment).text + "\n").encode("utf-8"))
    return True


def _rewrite(desired: Desired, current: Current, step: Change) -> None:
    secret = current.opened_by if desired.passphrase is None else desired.passphrase
    stored = current.key.comment if current.key else ""
    comment = stored if desired.comment is None else desired.comment
    data = private_keys.rewrite(current.pair.private.data, current.opened_by or "", secret or "", comment)
    keypair.replace_private(step.path, data, step.mode)


def ensure(params: Mapping[str, Any], *, check_mode: bool) -> Dict[str, Any]:
    """Bring a pair to what the parameters say (or only tell what would change); return the module's result.

    For modules and action plugins alike. The private key is in no result. What cannot be known before (the text of a
    key that is not made yet) is ''.
    """
    desired = Desired.from_params(params)
    try:
        current = observe(desired)
        planned = plan(desired, current)
        if not check_mode:
            planned, current = apply(desired, planned)
    except LatchkeyError as error:
        if error.where:
            raise
        raise type(error)(error.reason, error.remedy, desired.path) from error
    return dict(
        _describe(desired, current, unknown=check_mode and any(step.kind == "private_key" for step in planned)),
        changed=bool(planned),
        changes=[changes.report(step) for step in planned],
        diff=changes.diffs(planned),
    )


def _describe(desired: Desired, current: Current, *, unknown: bool) -> Dict[str, Any]:
    key = current.key
    if not desired.present or key is None or unknown:
        made_type = _made_type(desired)
        size = desired.size or DEFAULT_SIZES[made_type]
        comment = desired.comment if desired.comment is not None or not desired.present else default_comment()
        shown = {"type": made_type, "size": size, "fingerprint": "", "public_key": "", "comment": comment or ""}
        return dict(shown, filename=desired.path)
    key = key._replace(comment=_wanted_comment(desired, current))
    facts = examine(key.blob)
    return {
        "type": facts.family or key.type,
        "size": facts.bits,
        "filename": desired.path,
        "fingerprint": key.fingerprint,
        "public_key": key.text,
        "comment": key.comment,
    }


__all__ = ["Current", "Desired", "apply", "ensure", "observe", "plan"]
