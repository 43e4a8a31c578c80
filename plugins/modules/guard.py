#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: guard
short_description: Give a host a way back before its SSH access is changed
version_added: 0.1.0
description:
  - Copies what may change, and has the host go back to it by itself at a deadline unless every operator confirms by
    a brand-new login (M(latchkey.ssh.proof) with O(latchkey.ssh.proof#module:confirm)).
  - The host also goes back when it is restarted before that.
  - The way back is rehearsed first, by the very unit that would go it; where it would not work nothing is armed.
  - One transaction a host. A second one is refused and names the first.
  - M(latchkey.ssh.transaction) does all of this by itself; this module is for tasks of other plays.
author: Latchkey contributors (@latchkey)
options:
  state:
    description:
      - V(armed) begins a transaction, V(extended) moves its deadline away by O(timeout), to at most
        an hour after it began, V(reverted) goes back now.
    type: str
    choices: [armed, extended, reverted]
    default: armed
  transaction:
    description: The transaction to extend or to revert.
    type: str
  timeout:
    description:
      - Seconds until the host goes back; 5 to 3600.
      - Where the hosts of a batch wait for each other (the strategy linear), it is multiplied by batch size / forks,
        rounded up. Over 3600 it is refused, and the batch size that fits is named.
    type: int
    default: 300
  operators:
    description: Accounts that must confirm; the one that Ansible connects as where it is not given.
    type: list
    elements: str
  touches:
    description:
      - Files and directories that other tasks change meanwhile and that come back. The configuration of sshd and the
        key files of the operators are always among them.
    type: list
    elements: path
    default: []
  accounts:
    description: Further accounts whose key files other tasks change meanwhile.
    type: list
    elements: str
    default: []
  by:
    description: Who asks, for people on the host; by default the user and the name of the controller.
    type: str
  rehearse:
    description:
      - An account that O(desired) is tried with by a real login before it is applied; set by
        M(latchkey.ssh.transaction).
    type: str
extends_documentation_fragment:
  - latchkey.ssh.attributes
  - latchkey.ssh.desired
attributes:
  diff_mode:
    support: none
  idempotent:
    support: none
    details: A second transaction is refused while one is under way.
"""

EXAMPLES = r"""
- name: Find the key that has to open the host afterwards
  latchkey.ssh.operator_key:
  register: key

- name: Have a way back
  latchkey.ssh.guard:
    touches: [/etc/ssh, /etc/security/access.conf]
  register: guard
  become: true

- name: Change what you like, with your own modules or ours
  latchkey.ssh.sshd_config:
    settings: {MaxAuthTries: 4}
    transaction: "{{ guard.transaction.id }}"
  become: true

- name: Run handlers now, not after the proof
  ansible.builtin.meta: flush_handlers

- name: Prove it by a brand-new login, and keep it
  latchkey.ssh.proof:
    identity: "{{ key.identity }}"
    confirm: "{{ guard.transaction }}"
  become: true
"""

RETURN = r"""
transaction:
  description:
    - What a proof needs to confirm; its C(id) goes to the modules that write.
    - C(goes_back) is in seconds since the epoch.
  returned: O(state=armed)
  type: dict
  sample: {id: 20261124T113000-1f2e3d, nonce: 5f0c..., timeout: 300, goes_back: 1795519801.0}
operators:
  description: Who has to confirm.
  returned: O(state=armed)
  type: list
  elements: str
  sample: [admin]
touches:
  description: What comes back when nobody confirms.
  returned: O(state=armed)
  type: list
  elements: str
  sample: [/etc/ssh/sshd_config]
stage:
  description: Where that login can be made; a C(why) says that it cannot be.
  returned: with O(rehearse)
  type: dict
  sample: {socket: /run/latchkey-rehearsal.sock, seconds: 120, why: ""}
status:
  description: The transaction afterwards, as M(latchkey.ssh.guard_info) tells it.
  returned: O(state=extended) and O(state=reverted)
  type: dict
  sample: {state: REVERTED}
"""

from ansible_collections.latchkey.ssh.plugins.module_utils import _module


def main() -> None:
    """Arm, extend or revert."""
    _module.run_guard()


if __name__ == "__main__":
    main()
