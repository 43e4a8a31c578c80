# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the table of causes about the planned state: who of the operators would not get in, or not become root. PRIVATE.

Always asked is what sshd's configuration and the key files say. What costs programs and further files is looked at only
where a plan takes a way in away (``closely``): a host with nothing to do stays cheap.
"""

import stat
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._access import causes, model
from .._errors import LatchkeyError, Refused
from .._host import accounts, key_command, listeners, login_model, pam, sessions, sshd
from .._host.host import Host
from .._openssh import keys as public_keys
from .._openssh.authorized_keys import AuthorizedKeys
from . import keyrings
from .operators import Planned, Said, Way

Shadows = Mapping[str, Tuple[str, int, int, int]]


class Verdict(NamedTuple):
    """What is refused, and what is only told."""

    refused: List[LatchkeyError]
    told: List[model.Finding]


class State(NamedTuple):
    """The planned state of a host, and what its sshd says in it."""

    planned: Planned
    said: Said
    host: Host


class _Facts(NamedTuple):
    """What is looked at closely for all accounts at once."""

    shadows: Shadows
    auth_of_sudo: Sequence[pam.Line]


def client_of(way: Optional[Way], view: Optional[Mapping[str, Any]]) -> model.Client:
    """Return the client as the controller describes it (argument ``client`` of the module plan)."""
    found = {name: value for name, value in (view or {}).items() if value is not None}
    behind = tuple(
        model.Behind(one["host"], one["user"], one["target"], one["port"]) for one in found.get("behind", ())
    )
    lists = {name: tuple(value) for name, value in found.items() if isinstance(value, (list, tuple))}
    key = public_keys.parse_public_key(way.key, "identity_key") if way else None
    return model.Client(way.user if way else "", key)._replace(**dict(found, **dict(lists, behind=behind)))


def judge(names: Sequence[str], client: model.Client, state: State, *, closely: bool) -> Verdict:
    """Say whom of the operators, and of the way Ansible gets in, the planned state keeps out."""
    everyone = people(names, client)
    refused: List[LatchkeyError] = []
    found: List[model.Account] = []
    facts = _facts(everyone, state.host) if closely else None
    for name in everyone:
        try:
            found.append(_operator(name, client, state, facts))
        except LatchkeyError as error:
            refused.append(error)
    if not closely:
        plain = model.Client(client.user, client.key)
        return _verdict(refused, causes.of_accounts(_server(state), found, plain), told=False)
    found += [_jumped(name, state, facts) for name in jumped(client, state.said) if name not in everyone]
    return _verdict(refused, causes.judge(_closely(state), found, client), told=True)


def of_packages(host: Host) -> List[LatchkeyError]:
    """Return what packages that are changed speak against a change; what a plan saw of them may be minutes old."""
    nothing_planned = model.Server(host.sshd.version, {}, host.client, int(time.time()))
    return _verdict([], causes.judge(_with_packages(nothing_planned, host), [], model.Client()), told=False).refused


def _with_packages(server: model.Server, host: Host) -> model.Server:
    newer = sshd.newer_program(host.sshd, host.present.ask(None))
    return server._replace(updating=login_model.package_writer(), newer=newer)


def people(names: Sequence[str], client: model.Client) -> List[str]:
    """Return the accounts whose way in must stay: the operators, and the one that Ansible connects as."""
    return list(dict.fromkeys(list(names) + ([client.user] if client.user else [])))


def jumped(client: model.Client, said: Said) -> List[str]:
    """Return the accounts through which other hosts are reached, as far as they exist here."""
    return sorted({one.user for one in client.behind} & set(said.of))


def report(finding: model.Finding) -> Dict[str, str]:
    """Return a finding that is only told as results show it."""
    return {"cause": finding.cause, "where": finding.where, "reason": finding.reason, "remedy": finding.remedy}


def _verdict(refused: List[LatchkeyError], found: Sequence[model.Finding], *, told: bool) -> Verdict:
    wrong = [one for one in found if one.severity == model.REFUSE]
    errors = refused + [Refused(one.reason, one.remedy, one.where) for one in wrong]
    return Verdict(errors, [one for one in found if one.severity == model.WARN] if told else [])


def _facts(names: Sequence[str], host: Host) -> _Facts:
    return _Facts(login_model.shadow(list(dict.fromkeys(list(names) + ["root"]))), pam.stack("sudo", "auth"))


def _operator(name: str, client: model.Client, state: State, facts: Optional[_Facts]) -> model.Account:
    account, host = accounts.find(name), state.host
    if account is None or name not in state.said.of:
        raise Refused(f"the operator `{name}` does not exist on this host", "correct its name", name)
    # A fresh login of its own has passed what PAM asks of an account.
    found = _bare(account, state)._replace(came_in=facts is not None and name == client.user)
    if state.planned.complete:
        found = found._replace(**_keys(found, account, state, closely=facts is not None))
    if client.key is None or name != client.user:
        found = found._replace(listed=_listed(found, account, host))
    if facts is None:
        return found
    # The login that asks has become root already.
    sudo = None if name == client.user or account.uid == 0 else _sudo(account, facts)
    failures = pam.failures(name, facts.auth_of_sudo) if sudo and sudo.whose else None
    return found._replace(
        shadow=_shadow(name, facts.shadows), sudo=sudo, failures=model.Failures(*failures) if failures else None
    )


def _jumped(name: str, state: State, facts: Optional[_Facts]) -> model.Account:
    account = accounts.find(name)
    if account is None:
        raise Refused(f"the account `{name}` has gone meanwhile", "run again", name)
    return _bare(account, state)._replace(operator=False, shadow=_shadow(name, facts.shadows if facts else {}))


def _bare(account: accounts.Account, state: State) -> model.Account:
    before, after = state.host.effective(account), state.said.of[account.name]
    return model.Account(
        account.name,
        account.uid,
        accounts.groups_of(account),
        before,
        after,
        state.host.client_name(after),
        account.shell,
        accounts.shell_problem(account),
    )


def _keys(found: model.Account, account: accounts.Account, state: State, *, closely: bool) -> Dict[str, Any]:
    version = state.host.sshd.version
    mine = [change for change in state.planned.changes if change.facet == "keys"]
    today = keyrings.look(state.host, account)
    ring = keyrings.after(today, mine)._replace(strict=model.first(found.after, "strictmodes", "yes") != "no")
    written = {change.path for change in mine if change.kind == "file"}
    files = []
    for entry in ring.files:
        if entry.state.kind == "file":
            path = entry.state.path
            label = login_model.labels(path, stat.S_IFREG) if closely and path not in written else ("", "")
            document = AuthorizedKeys.parse(entry.state.data, version)
            files.append(model.KeyFile(path, document, keyrings.strict_problem(ring, entry) or "", label))
    return {"key_files": tuple(files), "today": tuple(keyrings.readable(today, version))}


def _listed(found: model.Account, account: accounts.Account, host: Host) -> Tuple[public_keys.PublicKey, ...]:
    """Return the keys that AuthorizedKeysCommand gives, which is only asked where the files have none."""
    version = host.sshd.version
    opened = [file.document for file in found.key_files or () if not file.problem]
    if found.key_files is None or any(entry.key and not entry.problem for one in opened for entry in one.entries):
        return ()
    return tuple(key_command.keys(key_command.output(found.after, account), version))


def _shadow(name: str, shadows: Shadows) -> Optional[model.Shadow]:
    return model.Shadow(*shadows[name]) if name in shadows else None


def _sudo(account: accounts.Account, facts: _Facts) -> Optional[model.Sudo]:
    rules = login_model.sudo(account.name)
    if rules is None:
        return None
    return model.Sudo(rules.allowed, rules.whose, _shadow(rules.whose, facts.shadows))


def _server(state: State) -> model.Server:
    host = state.host
    # tm_gmtoff is what the clock shows ahead of UTC (struct tm).
    ahead = time.localtime().tm_gmtoff
    return model.Server(host.sshd.version, state.said.general, host.client, int(time.time()), ahead)


def _closely(state: State) -> model.Server:
    host, planned = state.host, state.said.general
    unused, client_port, address, port = sessions.connection()
    stack = pam.stack("sshd", "account")
    # With an agent the files hold public halves only.
    agent = model.first(planned, "hostkeyagent", "none") != "none"
    loaded = login_model.host_keys(planned.get("hostkey", ()), host.sshd.version) if not agent else None
    return _with_packages(_server(state), host)._replace(
        # Without a session nothing is known of one.
        session=(address.split("%")[0], int(port)) if client_port != "0" else None,
        listening=tuple(listeners.of_process(host.sshd.unit.pid)) or None,
        addresses=login_model.addresses() or None,
        host_keys=tuple(model.HostKey(*one) for one in loaded) if loaded is not None else None,
        account_stack=tuple(model.PamLine(*line) for line in stack) or None,
        access_rules=pam.access_rules(stack),
        ignored=login_model.fail2ban_ignores(),
        socket=login_model.socket_unit(),
        nologin=login_model.nologin(),
        authselect=pam.authselect_problem(),
        fips=login_model.fips(),
    )


__all__ = ["State", "Verdict", "client_of", "judge", "jumped", "of_packages", "people", "report"]
