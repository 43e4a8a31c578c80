# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Causes in keys and key files: missing, unreadable, refused by options, type or size. Pure. PRIVATE."""

from typing import Iterator, List, Optional, Sequence, Tuple

from .._openssh import authorized_keys
from .._openssh.authorized_keys import AuthorizedKeys
from .._openssh.key_options import expiry
from .._openssh.keys import PublicKey, usable
from .._openssh.source_list import match_list
from .model import REFUSE, WARN, Account, Answer, Client, Finding, KeyFile, Server, first, number

_RSA = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")
# FIPS 140 knows no Edwards curves in what AlmaLinux certifies.
_NOT_IN_FIPS = ("ssh-ed25519", "sk-ssh-ed25519@openssh.com")
_OTHER_KEY = "Ansible would log in with it: use another key (harden_key), or let this one stay as it is"


def key_type(server: Server, account: Account, client: Client) -> Iterator[Finding]:
    """Sshd, or the client itself, takes no signature of this type of key, or wants it longer."""
    key = _wanted(account, client)
    if key is None:
        return
    # Where both ends are known they have to have a signature in common.
    why = _unaccepted(account.after, key) or _unoffered(account.after, client, key)
    if why is None and not key.is_certificate:
        why = usable(key, server.version, number(account.after, "requiredrsasize", 0))
    if why is None and server.fips and key.type in _NOT_IN_FIPS:
        why = f"the host is in FIPS mode, where {key.type} keys are not taken"
    if why is None and key.type == "ssh-rsa" and key.bits < client.minimum_rsa_bits:
        why = f"the controller's own ssh takes RSA keys from {client.minimum_rsa_bits} bits on, and this has {key.bits}"
    if why is not None:
        yield Finding(REFUSE, _would_not_open(key, account, why), _OTHER_KEY, account.name)


def key(server: Server, account: Account, client: Client) -> Iterator[Finding]:
    """The key that Ansible uses does not open its account, by what stands in the key files.

    Certificates and keys that AuthorizedKeysCommand gives during a login are not judged.
    """
    wanted = _wanted(account, client)
    if wanted is None or account.key_files is None:
        return
    files = [file for file in account.key_files if not file.problem]
    why = _refusal([file.document for file in files], wanted, (server, account))
    if why is None or (_from_elsewhere(account) and not any(file.document.of_key(wanted) for file in files)):
        return
    if _closed(account, wanted, server) is None:
        yield Finding(REFUSE, _would_not_open(wanted, account, why), _OTHER_KEY, account.name)


def no_key(server: Server, account: Account, client: Client) -> Iterator[Finding]:
    """An operator whose key is elsewhere has none at all in the plan."""
    if account.key_files is None or _wanted(account, client) or _is_set(account.after, "trustedusercakeys"):
        return
    files = [file.document for file in account.key_files if not file.problem]
    if account.listed or any(_live(document, server) for document in files):
        return
    if _closed(account, None, server) is None:
        yield Finding(
            REFUSE,
            f"the operator {account.name} would have no key",
            "give it one (harden_accounts), or take it out of harden_operators",
            account.name,
        )


def strict_modes(server: Server, account: Account, client: Client) -> Iterator[Finding]:
    """StrictModes keeps sshd from opening the file that the key stands in."""
    wanted = _wanted(account, client)
    if account.key_files is None or _opens(server, account, wanted):
        return
    closed = _closed(account, wanted, server)
    if closed is not None:
        yield Finding(
            REFUSE,
            f"sshd does not open the keys of {account.name}: {closed.problem}",
            f"let only {account.name} and root write there: `chmod go-w`, `chown {account.name}`",
            closed.path,
        )


def label(_server: Server, account: Account, _client: Client) -> Iterator[Finding]:
    """A key file has another SELinux label than the policy gives it, and sshd may not be allowed to read it."""
    for file in account.key_files or ():
        if any(file.label):
            yield Finding(
                WARN,
                f"it is labelled {file.label[0]} instead of {file.label[1]}, so sshd may not be allowed to read it",
                f"run `restorecon -v {file.path}`",
                file.path,
            )


def _wanted(account: Account, client: Client) -> Optional[PublicKey]:
    return client.key if client.user == account.name else None


def _would_not_open(wanted: PublicKey, account: Account, why: str) -> str:
    return f"after this plan the key {wanted.fingerprint} would not open {account.name}: {why}"


def _signatures(wanted: PublicKey) -> Sequence[str]:
    return _RSA if wanted.type == "ssh-rsa" else (wanted.type,)


def _accepted(answer: Answer) -> str:
    """Return the list of signatures that sshd takes; 8.4 and older call it differently."""
    return first(answer, "pubkeyacceptedalgorithms", first(answer, "pubkeyacceptedkeytypes", ""))


def _unaccepted(answer: Answer, wanted: PublicKey) -> Optional[str]:
    accepted = _accepted(answer)
    if not accepted or any(match_list(name, accepted) == 1 for name in _signatures(wanted)):
        return None
    keyword = "PubkeyAcceptedAlgorithms" if "pubkeyacceptedalgorithms" in answer else "PubkeyAcceptedKeyTypes"
    return f"{keyword} leaves out {wanted.type}"


def _unoffered(answer: Answer, client: Client, wanted: PublicKey) -> Optional[str]:
    accepted = _accepted(answer) or "*"
    if not client.key_algorithms or wanted.is_certificate:
        return None
    if any(name in client.key_algorithms and match_list(name, accepted) == 1 for name in _signatures(wanted)):
        return None
    return f"the controller's ssh and sshd have no signature for {wanted.type} keys in common"


def verdicts(
    documents: Sequence[AuthorizedKeys], wanted: PublicKey, at: Tuple[Server, Account]
) -> List[authorized_keys.Verdict]:
    """Return what sshd would say to a key by each of these documents, in order."""
    server, account = at
    request = authorized_keys.LoginRequest(
        server.version, account.name, server.client, account.client_name, server.now, False, server.utc_offset
    )
    return [authorized_keys.authorises(document, wanted, request) for document in documents]


def _refusal(documents: Sequence[AuthorizedKeys], wanted: PublicKey, at: Tuple[Server, Account]) -> Optional[str]:
    """Return why no file lets the key in, or None; a command that is forced already may be what logins need."""
    said = verdicts(documents, wanted, at)
    passed = next((verdict for verdict in said if verdict.ok), None)
    if passed is None:
        return "; ".join(reason for verdict in said for reason in verdict.why) or "no key file has it"
    forced = "command" in passed.options.split()
    if forced and passed.options not in [verdict.options for verdict in verdicts(at[1].today, wanted, at)]:
        return f"line {passed.line}: its options force a command, so nothing else can be run"
    return None


def _opens(server: Server, account: Account, wanted: Optional[PublicKey]) -> bool:
    """Say whether a file that sshd opens has the key (or, for None, any)."""
    documents = [file.document for file in account.key_files or () if not file.problem]
    if wanted is not None:
        return _from_elsewhere(account) or any(document.grants(wanted) for document in documents)
    elsewhere = bool(account.listed) or _is_set(account.after, "trustedusercakeys")
    return elsewhere or any(_live(document, server) for document in documents)


def _closed(account: Account, wanted: Optional[PublicKey], server: Server) -> Optional[KeyFile]:
    """Return the file that has the key (or, for None, any) and that sshd does not open."""
    for file in account.key_files or ():
        has = file.document.grants(wanted) if wanted is not None else _live(file.document, server)
        if file.problem and has:
            return file
    return None


def _live(document: AuthorizedKeys, server: Server) -> bool:
    """Say whether a file has a key that sshd takes today, from wherever its owner is."""
    for entry in document.entries:
        if entry.key is None or entry.options is None or not document.grants(entry.key):
            continue
        end = expiry(entry.options, server.version, server.utc_offset)
        if not end or end >= server.now:
            return True
    return False


def _from_elsewhere(account: Account) -> bool:
    return _is_set(account.after, "authorizedkeyscommand") or _is_set(account.after, "trustedusercakeys")


def _is_set(answer: Answer, keyword: str) -> bool:
    return first(answer, keyword, "none").lower() not in ("none", "")


__all__ = ["key", "key_type", "label", "no_key", "strict_modes", "verdicts"]
