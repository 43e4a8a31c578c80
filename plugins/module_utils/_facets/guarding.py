# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions as plays ask for them: what they touch, who has to confirm. PRIVATE to the collection."""

import os
import pwd
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .._errors import HostError, LatchkeyError, Refused
from .._guard import arm, guardian, rehearsal, snapshot
from .._host import sshd
from .._host.host import Host
from .._openssh.sshd_tree import Tree
from . import keyrings, preflight, together
from .change import Change

_SHOWN = ("id", "state", "began", "by", "reason")
# What these change sshd has to read anyway, and what it would come to was planned.
_READ_ANEW = ("server", "revert")


def run(params: Mapping[str, Any], *, check_mode: bool) -> Dict[str, Any]:
    """Do what the module ``guard`` is asked for.

    Raises:
        Refused: it cannot be armed, extended or reverted, and why.
    """
    at = guardian.Site()
    if params["state"] == "armed":
        return _arm(params, at, check_mode=check_mode)
    state = _shown(at)["status"]
    over = state["state"] == guardian.REVERTED
    if check_mode:
        _check_end(params, state)
    elif params["state"] == "extended":
        _settle(guardian.extend(at, params["transaction"], params["timeout"]), "EXTENDED")
    else:
        _settle(guardian.cancel(at, params["transaction"], "the controller asked for it"), "REVERTED")
    return dict(changed=not over, **_shown(at))


def info() -> Dict[str, Any]:
    """Return what is known about the transaction of this host."""
    return dict(changed=False, **_shown(guardian.Site()))


def confirm(identifier: str, nonce: str) -> Dict[str, Any]:
    """Confirm a transaction by the login that this process belongs to."""
    try:
        return guardian.confirm(guardian.Site(), identifier, nonce, guardian.session())
    except (OSError, ValueError) as error:
        raise HostError(f"the transaction cannot be confirmed: {error}", "see `latchkey status` on the host") from error


def touches(changes: Sequence[Change], host: Host) -> List[snapshot.Touch]:
    """Return what changes write, each path with the account it belongs to."""
    kinds = ("file", "absent", "directory", "mode")
    return [
        snapshot.Touch(
            change.path, host.account(change.account) if change.account else None, forget=change.facet == "keys"
        )
        for change in changes
        if change.kind in kinds
    ]


def of_account(name: str, host: Host) -> List[snapshot.Touch]:
    """Return the key files of an account; other people's tasks may write them meanwhile."""
    account = host.account(name)
    found = []
    for path in keyrings.paths(host.effective(account).get("authorizedkeysfile", (".ssh/authorized_keys",)), account):
        inside = path.startswith(account.home.rstrip("/") + "/")
        found.append(snapshot.Touch(path, account if inside else None, merge=inside, forget=True))
    return found


def _arm(params: Mapping[str, Any], at: guardian.Site, *, check_mode: bool) -> Dict[str, Any]:
    with Host() as host:
        changes, tree = together.outcome(params["desired"] or {}, host)
        operators = tuple(params["operators"] or [_this_account()])
        wanted = touches(changes, host) + [_named(path) for path in params["touches"]]
        for name in list(operators) + list(params["accounts"]):
            wanted += of_account(name, host)
        wish = arm.Wish(params["timeout"], operators, tuple(wanted), params["by"] or "")
        for problem in preflight.of_packages(host):
            raise problem
        # What is not given is there as None.
        if not any((params["desired"] or {}).get(name) for name in _READ_ANEW):
            _refuse_unread(host)
        # What writes in check mode has no transaction: to them its id is empty.
        armed = arm.Armed("", "", wish.timeout, arm.check(host, wish, at)) if check_mode else arm.arm(host, wish, at)
        stage = _stage(armed.id, params["rehearse"], tree, host) if armed.id else None
    handle = dict(id=armed.id, nonce=armed.nonce, timeout=armed.seconds)
    told = dict(changed=True, transaction=handle, touches=list(armed.paths), operators=list(operators))
    return dict(told, stage=stage._asdict()) if stage else told


def _refuse_unread(host: Host) -> None:
    """Refuse where sshd has not read its files: going back has it read them, and nobody knows what that does."""
    options = sshd.options_problem(host.sshd)
    if options:
        raise Refused(options, "run `systemctl restart sshd`, log in once beside this session, then run again", "sshd")
    path = arm.unread(host)
    if path:
        raise Refused(
            f"the running sshd has not read {path} as it is, and going back would have it read that",
            "run `systemctl reload sshd`, log in once beside this session, then run again",
            path,
        )


def check(changes: Sequence[Change], names: Sequence[str], host: Host) -> List[LatchkeyError]:
    """Return what arming would refuse, for a plan whose changes take something away."""
    try:
        wanted = touches(changes, host)
        for name in names:
            wanted += of_account(name, host)
        arm.check(host, arm.Wish(arm.SHORTEST, tuple(names), tuple(wanted)), guardian.Site())
    except LatchkeyError as error:
        return [error]
    except OSError as error:
        return [HostError(f"cannot be looked at: {error.strerror}", "look at it", str(error.filename or "snapshot"))]
    return []


def _stage(identifier: str, name: Optional[str], tree: Optional[Tree], host: Host) -> Optional[rehearsal.Stage]:
    """Make the stage for a rehearsal; where sshd's configuration stays there is nothing to rehearse."""
    if not name or tree is None:
        return None
    try:
        return rehearsal.start(host, tree, host.account(name))
    except LatchkeyError:
        # Nobody gets to know its nonce any more.
        guardian.cancel(guardian.Site(), identifier, "its rehearsal could not be prepared")
        raise


def _named(path: str) -> snapshot.Touch:
    if not os.path.isabs(path):
        raise Refused("is no absolute path", "write it from / on", path)
    return snapshot.Touch(os.path.normpath(path))


def _this_account() -> str:
    session = guardian.session()
    if session is None:
        raise Refused("nobody is named who has to confirm", "give `operators`", "operators")
    return pwd.getpwuid(session.uid).pw_name


def _check_end(params: Mapping[str, Any], status: Mapping[str, Any]) -> None:
    """Refuse in check mode what would be refused without it."""
    wanted = params["state"].upper()
    if status.get("id") != params["transaction"]:
        reason = f"the transaction on this host is not {params['transaction']}"
        _settle(dict(answer="REFUSED", reason=reason), wanted)
    if status["state"] in guardian.OVER and status["state"] != wanted:
        _settle(dict(answer="TOO_LATE", state=status["state"]), wanted)


def _settle(answer: Mapping[str, Any], wanted: str) -> None:
    if answer["answer"] != wanted:
        reason = answer.get("reason") or f"it is {answer.get('state', answer['answer'])}"
        problems = "; ".join(answer.get("problems") or [])
        if answer["answer"] == guardian.REVERT_FAILED:
            said = f"the way back is not complete, and the host tries it again and again: {problems}"
            raise HostError(said, "correct that on the host", guardian.REVERT_FAILED)
        if answer.get("state") in (guardian.COMMITTING, guardian.COMMITTED):
            raise Refused(f"the transaction is committed, not {wanted.lower()}", "see the playbook revert", "COMMITTED")
        raise Refused(f"the transaction is not {wanted.lower()}: {problems or reason}", "see guard_info", "transaction")


def _shown(at: guardian.Site) -> Dict[str, Any]:
    try:
        past = [{name: one[name] for name in _SHOWN} for one in guardian.history(at.places)]
        return dict(status=guardian.status(at), history=past)
    except (OSError, ValueError) as error:
        raise HostError(f"cannot be read: {error}", "run as root, and look at it", at.places.state) from error


__all__ = ["check", "confirm", "info", "of_account", "run", "touches"]
