# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state that is planned, and what sshd says in it for the accounts whose way in must stay. PRIVATE."""

from typing import Dict, NamedTuple, Optional, Sequence

from .._errors import Malformed
from .._host import accounts
from .._host.host import Host
from .._host.sshd import Answer
from .._openssh.sshd_tree import Tree
from .change import Change


class Way(NamedTuple):
    """The way Ansible gets in: the account, and the public key (text) that has to open it."""

    user: str
    key: str


class Planned(NamedTuple):
    """What the host would be: what changes, and the configuration of sshd (None where that stays).

    ``complete`` is False where a facet was refused: then it is not known which keys there would be.
    """

    changes: Sequence[Change]
    tree: Optional[Tree]
    complete: bool = True


class Said(NamedTuple):
    """What the planned sshd says: in general, and for each account that exists."""

    general: Answer
    of: Dict[str, Answer]


def answers(names: Sequence[str], planned: Planned, host: Host) -> Said:
    """Ask the planned sshd about these accounts."""
    found = {name: account for name, account in ((name, accounts.find(name)) for name in names) if account}
    if planned.tree is None:
        return Said(host.present.ask(None), {name: host.effective(account) for name, account in found.items()})
    asked = [host.connection(account)._replace(groups=accounts.groups_of(account)) for account in found.values()]
    problem, said = host.judge(planned.tree, [None, *asked])
    if problem:
        raise Malformed(f"sshd would not accept the new configuration: {problem}", "nothing was changed")
    return Said(said[0], dict(zip(found, said[1:])))


__all__ = ["Planned", "Said", "Way", "answers"]
