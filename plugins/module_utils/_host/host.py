# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine, looked at once: its sshd, its configuration tree, its accounts. PRIVATE to the collection."""

from typing import Dict, List, Optional, Sequence, Tuple

from .._errors import Refused, Unsupported
from .._openssh import effective, sshd_tree
from .._openssh.effective import Connection
from . import accounts, fences, sessions, sshd
from .sshd import Answer, Candidate, Sshd


class Host:
    """What the facets look at. Everything is read when first asked for, and only once; use it in a ``with`` block."""

    def __init__(self, fence: Optional[fences.Fence] = None) -> None:
        self.fence = fence or fences.Fence()
        self._sshd: Optional[Sshd] = None
        self._tree: Optional[sshd_tree.Tree] = None
        self._present: Optional[Candidate] = None
        self._blocks: Optional[List[effective.MatchBlock]] = None
        self._groups: Dict[str, Tuple[str, ...]] = {}
        self._everyone: Optional[List[accounts.Account]] = None
        self._classes: Dict[Tuple[bool, ...], Connection] = {}

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, *_unused: object) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget what was read: after a change of configuration it has to be read again."""
        if self._present is not None:
            self._present.__exit__()
        self._present, self._tree, self._blocks, self._sshd = None, None, None, None
        self._classes.clear()

    @property
    def sshd(self) -> Sshd:
        """The installed sshd and how it is started."""
        if self._sshd is None:
            self._sshd = sshd.locate()
        return self._sshd

    @property
    def tree(self) -> sshd_tree.Tree:
        """The configuration files on disk."""
        if self._tree is None:
            self._tree = sshd.read_tree(self.sshd)
        return self._tree

    @property
    def present(self) -> Candidate:
        """The configuration on disk, to be asked about."""
        if self._present is None:
            self._present = Candidate(self.sshd, self.tree)
        return self._present

    @property
    def blocks(self) -> List[effective.MatchBlock]:
        """The Match blocks of the tree.

        Raises:
            Unsupported: sshd takes a line that is not understood here, so that blocks behind it would be missed.
        """
        if self._blocks is None:
            wrong = effective.check(self.tree)
            if wrong and self.present.check() is None:
                raise Unsupported(
                    f"this line is not understood, so what follows it would not be seen: {wrong[0].message}",
                    "take the line out, or report it together with the version of sshd",
                    f"{wrong[0].path}:{wrong[0].line}",
                )
            self._blocks = effective.match_blocks(self.tree)
        return self._blocks

    @property
    def client(self) -> str:
        """The address that this run's connection comes from."""
        return sessions.client_address()

    def account(self, name: str) -> accounts.Account:
        """Return an account by its name.

        Raises:
            Refused: NSS does not know it; accounts are never created here.
        """
        found = accounts.find(name)
        if found is None:
            raise Refused(
                f"the account `{name}` does not exist on this host", "create it first, or correct its name", name
            )
        return found

    def everyone(self) -> List[accounts.Account]:
        """Return the accounts NSS enumerates that could start a session."""
        if self._everyone is None:
            self._everyone = [account for account in accounts.everyone() if accounts.can_have_a_shell(account)]
        return self._everyone

    def groups(self, account: accounts.Account) -> Tuple[str, ...]:
        """Return the account's groups, looked up only where a Match block asks for groups."""
        if not any(name == "group" for block in self.blocks for name, unused in block.criteria):
            return ()
        if account.name not in self._groups:
            self._groups[account.name] = accounts.groups_of(account)
        return self._groups[account.name]

    def connection(self, account: accounts.Account) -> Connection:
        """Return a connection of this account from where this run comes from."""
        client, unused, server, port = sessions.connection()
        # sshd judges a link-local address without its scope.
        client, server = client.split("%")[0], server.split("%")[0]
        return Connection(account.name, self.groups(account), client, client, server, int(port))

    def client_name(self, answer: Answer) -> str:
        """Return what sshd takes for the client's name: its address, or with UseDNS yes what a resolver says."""
        return sessions.client_name(self.client) if answer.get("usedns", ("no",))[0] == "yes" else self.client

    def effective(self, account: accounts.Account) -> Answer:
        """Return what sshd does for this account; accounts that the same Match blocks concern share one question."""
        if not self.blocks:
            return self.present.ask(None)
        asked = self.connection(account)
        satisfied = tuple(effective.satisfies(block, asked, self.sshd.version) for block in self.blocks)
        return self.present.ask(self._classes.setdefault(satisfied, asked))

    def judge(
        self, tree: sshd_tree.Tree, connections: Sequence[Optional[Connection]]
    ) -> Tuple[Optional[str], List[Answer]]:
        """Ask sshd about another tree: what ``sshd -t`` has against it, and the effective values per connection."""
        with Candidate(self.sshd, tree) as candidate:
            problem = candidate.check()
            return problem, [] if problem else [candidate.ask(connection) for connection in connections]


__all__ = ["Host"]
