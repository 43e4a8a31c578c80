#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: plan
short_description: Say what a host still lacks, and prove the operator's key by asking
version_added: 0.1.0
description:
  - Looks at a host once and returns every change that would bring it to O(desired), whom the plan would strand, and
    what it refuses.
    Changes nothing.
  - The action of this name asks over a brand-new key login. Where the operator's key works already, this very login
    is the proof.
    Where it does not, it asks the way Ansible is configured, and sends a password only to a host whose key is known.
  - Refusals and unreachable hosts are returned as data in RV(refused); the task does not fail because of them.
author: Latchkey contributors (@latchkey)
options:
  confirm:
    description: A transaction to confirm by this login, if nothing is left to do; set by the action.
    type: dict
    suboptions:
      id:
        description: Its id.
        type: str
        required: true
      nonce:
        description: What its confirmation has to say.
        type: str
        required: true
  identity:
    description: What M(latchkey.ssh.operator_key) returned; needed by the action.
    type: dict
  host_key:
    description:
      - How the host's own key is known; V(strict), V(accept_new), or a list of SHA256 fingerprints. Used by the
        action.
    type: raw
  timeout:
    description:
      - Seconds that a later M(latchkey.ssh.transaction) will have; one that it would refuse is refused now. Used by the
        action.
    type: int
  operators:
    description: Accounts whose way in must stay.
    type: list
    elements: str
    default: []
  identity_user:
    description: The account that O(identity_key) has to open once the plan is carried out; set by the action.
    type: str
  identity_key:
    description: The public key of the identity, as text; set by the action.
    type: str
  client:
    description: What the controller's ssh client does for this host; set by the action, judged before a change.
    type: dict
    suboptions:
      earlier:
        description: How many other keys it offers before O(identity_key).
        type: int
        default: 0
      alone:
        description: Whether the logins of this collection offer O(identity_key) and no other key.
        type: bool
        default: false
      forks:
        description: How many hosts the run works on at once.
        type: int
        default: 1
      kex:
        description: The key exchanges it takes; empty where that is not known.
        type: list
        elements: str
        default: []
      ciphers:
        description: The ciphers it takes; empty where that is not known.
        type: list
        elements: str
        default: []
      macs:
        description: The MACs it takes; empty where that is not known.
        type: list
        elements: str
        default: []
      host_key_algorithms:
        description: The signatures of hosts it takes; empty where that is not known.
        type: list
        elements: str
        default: []
      key_algorithms:
        description: The signatures it makes with keys; empty where that is not known.
        type: list
        elements: str
        default: []
      minimum_rsa_bits:
        description: The size from which on it uses RSA keys.
        type: int
        default: 0
      known:
        description: SHA256 fingerprints by which it knows the host; empty where it may know it otherwise.
        type: list
        elements: str
        default: []
      behind:
        description: The hosts of the inventory that are reached through this one.
        type: list
        elements: dict
        default: []
        suboptions:
          host:
            description: Its name in the inventory.
            type: str
            required: true
          user:
            description: The account of this host through which it is reached.
            type: str
            required: true
          target:
            description: The address that this host is asked to connect to.
            type: str
            required: true
          port:
            description: The port of that address.
            type: int
            required: true
  stranded:
    description: What to do about accounts that logged in lately by a method that goes away and have no key.
    type: str
    choices: [refuse, report]
    default: refuse
  stranded_ok:
    description: Accounts for which that is accepted.
    type: list
    elements: str
    default: []
  stranded_days:
    description: How many days back a login counts.
    type: int
    default: 90
  nonce:
    description: A word that comes back, so that the answer is known to belong to the question.
    type: str
    default: ""
extends_documentation_fragment:
  - latchkey.ssh.attributes
  - latchkey.ssh.desired
"""

EXAMPLES = r"""
- name: Find the operator's key
  latchkey.ssh.operator_key:
  register: key

- name: Would this host change
  latchkey.ssh.plan:
    identity: "{{ key.identity }}"
    desired:
      server:
        methods: [publickey]
  register: plan
  become: true
"""

RETURN = r"""
planned:
  description: Whether anything is to do.
  returned: always
  type: bool
changes:
  description: What is to do, as the facet modules return it.
  returned: always
  type: list
  elements: dict
conflicts:
  description: Lines of others that win, where they are only to be reported.
  returned: always
  type: list
  elements: str
stranded:
  description: Accounts that log in today by a method that goes away, or could, and have no key.
  returned: always
  type: list
  elements: dict
  sample: [{account: bob, use: real, method: password, last: "2026-01-31T10:11:12Z", from: 192.0.2.7}]
preflight:
  description: What might end a login after the change, and is only told; each with cause, where, reason and remedy.
  returned: always
  type: list
  elements: dict
  sample:
    - cause: fail2ban
      where: fail2ban
      reason: fail2ban watches logins here, and would ban 192.0.2.7 after a few that fail
      remedy: add 192.0.2.7 to its ignoreip
predicted:
  description: Operators whose key the controller does not hold.
  returned: by the action
  type: list
  elements: str
break_glass:
  description: Accounts that a break-glass key opens.
  returned: always
  type: list
  elements: str
inventory:
  description: Lines of the inventory to change afterwards.
  returned: by the action
  type: list
  elements: str
accepted_host_key:
  description: The key that was accepted on first contact.
  returned: by the action
  type: str
confirm:
  description: What became of the confirmation.
  returned: with O(confirm)
  type: dict
refused:
  description: Why nothing may be changed; each with kind, where, reason and remedy.
  returned: always
  type: list
  elements: dict
proofs:
  description: The operators proven by this login.
  returned: by the action
  type: list
  elements: dict
reached:
  description: V(key) where the operator's key worked, V(configured) where Ansible's own way was used.
  returned: by the action
  type: str
methods:
  description: The authentication methods that sshd offers the connecting account once the plan is carried out.
  returned: by the module
  type: list
  elements: str
  sample: [publickey]
login:
  description: The nonce and the user id of this login.
  returned: by the module
  type: dict
sshd_version:
  description: Version of the host's sshd.
  returned: always
  type: str
  sample: "9.9"
"""

from ansible_collections.latchkey.ssh.plugins.module_utils import _module


def main() -> None:
    """Run the plans of all facets."""
    _module.run_plan()


if __name__ == "__main__":
    main()
