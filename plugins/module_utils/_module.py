# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boundary to Ansible: argument specs, errors, results, check mode. PRIVATE to the collection."""

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from ._errors import HostError, LatchkeyError, Refused
from ._facets import change as changes
from ._facets import guarding, together
from ._facets.change import NARROW, WIDEN, Change
from ._guard import fence, guardian
from ._host.host import Host

ACCOUNT_SPEC: Dict[str, Any] = dict(
    user=dict(type="str", required=True),
    key=dict(type="list", elements="str", required=True, no_log=False),
    key_options=dict(type="str", no_log=False),
    state=dict(type="str", choices=["present", "absent"], default="present"),
)
AUTHORIZED_KEYS_SPEC: Dict[str, Any] = dict(
    accounts=dict(type="list", elements="dict", options=ACCOUNT_SPEC),
    user=dict(type="str"),
    key=dict(type="list", elements="str", no_log=False),
    key_options=dict(type="str", no_log=False),
    state=dict(type="str", choices=["present", "absent"], default="present"),
    break_glass_keys=dict(type="list", elements="str", default=[], no_log=False),
)
PHASE_SPEC: Dict[str, Any] = dict(phase=dict(type="str", choices=["all", "widen", "narrow"], default="all"))
TRANSACTION_SPEC: Dict[str, Any] = dict(transaction=dict(type="str"))
MATCH_SPEC: Dict[str, Any] = dict(
    criteria=dict(type="str", required=True),
    settings=dict(type="dict", required=True),
)
SSHD_CONFIG_SPEC: Dict[str, Any] = dict(
    methods=dict(type="list", elements="str"),
    settings=dict(type="dict"),
    match=dict(type="list", elements="dict", options=MATCH_SPEC),
    foreign=dict(type="str", choices=["refuse", "report"], default="refuse"),
)
REVERT_SPEC: Dict[str, Any] = dict(revert=dict(type="str", required=True))
DESIRED_OPTIONS: Dict[str, Any] = dict(
    keys=dict(type="dict", options=AUTHORIZED_KEYS_SPEC, no_log=False),
    server=dict(type="dict", options=SSHD_CONFIG_SPEC),
    revert=dict(type="dict", options=REVERT_SPEC),
)
CONFIRM_SPEC: Dict[str, Any] = dict(
    type="dict",
    options=dict(id=dict(type="str", required=True), nonce=dict(type="str", required=True, no_log=True)),
)
BEHIND_SPEC: Dict[str, Any] = dict(
    host=dict(type="str", required=True),
    user=dict(type="str", required=True),
    target=dict(type="str", required=True),
    port=dict(type="int", required=True),
)
CLIENT_SPEC: Dict[str, Any] = dict(
    earlier=dict(type="int", default=0),
    alone=dict(type="bool", default=False),
    forks=dict(type="int", default=1),
    kex=dict(type="list", elements="str", default=[]),
    ciphers=dict(type="list", elements="str", default=[]),
    macs=dict(type="list", elements="str", default=[]),
    host_key_algorithms=dict(type="list", elements="str", default=[], no_log=False),
    key_algorithms=dict(type="list", elements="str", default=[], no_log=False),
    minimum_rsa_bits=dict(type="int", default=0),
    known=dict(type="list", elements="str", default=[]),
    behind=dict(type="list", elements="dict", default=[], options=BEHIND_SPEC),
)
GUARD_SPEC: Dict[str, Any] = dict(
    state=dict(type="str", choices=["armed", "extended", "reverted"], default="armed"),
    transaction=dict(type="str"),
    timeout=dict(type="int", default=300),
    operators=dict(type="list", elements="str"),
    touches=dict(type="list", elements="path", default=[]),
    accounts=dict(type="list", elements="str", default=[]),
    desired=dict(type="dict", default={}, options=DESIRED_OPTIONS),
    by=dict(type="str"),
    rehearse=dict(type="str"),
)
PLAN_SPEC: Dict[str, Any] = dict(
    desired=dict(type="dict", default={}, options=DESIRED_OPTIONS),
    confirm=CONFIRM_SPEC,
    # These three are read by the action of the same name, on the controller.
    identity=dict(type="dict"),
    host_key=dict(type="raw", no_log=False),
    timeout=dict(type="int"),
    operators=dict(type="list", elements="str", default=[]),
    identity_user=dict(type="str"),
    identity_key=dict(type="str", no_log=False),
    client=dict(type="dict", options=CLIENT_SPEC),
    stranded=dict(type="str", choices=["refuse", "report"], default="refuse"),
    stranded_ok=dict(type="list", elements="str", default=[]),
    stranded_days=dict(type="int", default=90),
    nonce=dict(type="str", default="", no_log=False),
)


def run(module: AnsibleModule, work: Callable[[AnsibleModule], Dict[str, Any]]) -> None:
    """Call ``work`` and end the module: its result, or one line that says what is wrong, where, and what to do."""
    try:
        module.exit_json(**work(module))
    except (LatchkeyError, OSError) as failure:
        error = _named(failure)
        module.fail_json(msg=str(error), error=describe(error))


def _named(error: Exception) -> LatchkeyError:
    """Return an error of the operating system as one of ours: a full or read-only disk is no traceback."""
    if isinstance(error, LatchkeyError):
        return error
    where = str(getattr(error, "filename", None) or "the host")
    return HostError(getattr(error, "strerror", None) or str(error), "make room there, or have it writable", where)


def describe(error: LatchkeyError) -> Dict[str, str]:
    """Return an engine error as data."""
    return {"kind": type(error).__name__.lower(), "where": error.where, "reason": error.reason, "remedy": error.remedy}


def run_facet(spec: Mapping[str, Any], facet: Any) -> None:
    """Run the module of one facet: plan, and apply unless in check mode."""
    arguments = dict(spec, **dict(PHASE_SPEC, **TRANSACTION_SPEC))
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    run(module, lambda module: _facet_result(module, facet))


def run_plan() -> None:
    """Run the module ``plan``: every facet's plan and, with a nonce, what a proof needs to know about this login."""
    module = AnsibleModule(argument_spec=dict(PLAN_SPEC), supports_check_mode=True)
    run(module, _plan_result)


def _facet_result(module: AnsibleModule, facet: Any) -> Dict[str, Any]:
    guard = fence.Fence(module.params["transaction"] or "", guardian.Site())
    with Host(guard) as host:
        outcome = facet.outcome(module.params, host)
        phases = (WIDEN, NARROW) if module.params["phase"] == "all" else (module.params["phase"],)
        if module.check_mode:
            guard.check([change.path for change in outcome.changes if change.phase in phases])
        else:
            _apply(module, facet, (outcome, phases), host)
    for conflict in outcome.conflicts:
        module.warn(f"a line of others wins: {conflict}")
    return _result([change for change in outcome.changes if change.phase in phases], outcome.conflicts)


def _apply(module: AnsibleModule, facet: Any, work: Tuple[changes.Outcome, Sequence[str]], host: Host) -> None:
    """Apply; where that ends half way, what was changed is still reported as changed."""
    outcome, phases = work
    done: List[Change] = []
    try:
        for phase in phases:
            facet.apply(outcome.changes, phase, host, done)
    except (LatchkeyError, OSError) as failure:
        error = _named(failure)
        module.fail_json(msg=str(error), error=describe(error), **_result(done, outcome.conflicts))


def _result(planned: Sequence[Change], conflicts: Sequence[str]) -> Dict[str, Any]:
    return dict(
        changed=bool(planned),
        changes=[changes.report(change) for change in planned],
        diff=changes.diffs(list(planned)),
        conflicts=list(conflicts),
    )


def _plan_result(module: AnsibleModule) -> Dict[str, Any]:
    params = module.params
    login = dict(nonce=params["nonce"], euid=together.effective_user())
    if login["euid"] != 0:
        not_root = Refused("this login did not become root", "set ansible_become: true and allow sudo", "become")
        return dict(changed=False, planned=False, refused=[describe(not_root)], login=login)
    desired = {name: value for name, value in params["desired"].items() if value}
    policy = together.Policy(params["stranded"], tuple(params["stranded_ok"]), params["stranded_days"])
    key = params.get("identity_key")
    way = together.Way(params["identity_user"], key) if params.get("identity_user") and key else None
    with Host() as host:
        found = together.plan(desired, policy, params["operators"], host, way=way, client=params.get("client"))
        narrow = any(change.phase == NARROW for change in found.changes)
        if way is not None and params.get("client") is not None and narrow and not found.refused:
            # Whoever says what its client does is going to arm.
            names = list(dict.fromkeys([way.user, *params["operators"]]))
            found = found._replace(refused=found.refused + guarding.check(found.changes, names, host))
    confirmed = _confirm(params.get("confirm"), found)
    return dict(
        _result(found.changes, found.conflicts),
        changed=False,
        planned=bool(found.changes),
        refused=[describe(error) for error in found.refused],
        stranded=found.stranded,
        preflight=list(found.findings),
        login=login,
        sshd_version=found.sshd_version,
        methods=list(found.methods),
        break_glass=list(found.break_glass),
        **confirmed,
    )


def _confirm(asked: Optional[Mapping[str, str]], found: together.Everything) -> Dict[str, Any]:
    """Confirm a transaction by this very login, if nothing is left to do."""
    if not asked:
        return {}
    if found.changes or found.refused:
        return dict(confirm=dict(answer="NOT_ASKED", reason="something is still to do"))
    return dict(confirm=guarding.confirm(asked["id"], asked["nonce"]))


def run_guard() -> None:
    """Run the module ``guard``: arm, extend or revert a transaction."""
    required = [("state", "extended", ["transaction"]), ("state", "reverted", ["transaction"])]
    module = AnsibleModule(argument_spec=dict(GUARD_SPEC), supports_check_mode=True, required_if=required)
    run(module, lambda module: guarding.run(module.params, check_mode=module.check_mode))


def run_guard_info() -> None:
    """Run the module ``guard_info``: what is known about the transaction of this host."""
    run(AnsibleModule(argument_spec={}, supports_check_mode=True), lambda module: guarding.info())


__all__ = [
    "ACCOUNT_SPEC",
    "AUTHORIZED_KEYS_SPEC",
    "PLAN_SPEC",
    "REVERT_SPEC",
    "SSHD_CONFIG_SPEC",
    "describe",
    "run",
    "run_facet",
    "run_guard",
    "run_guard_info",
    "run_plan",
]
