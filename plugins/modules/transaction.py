#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: transaction
short_description: Change one host in one task, with a way back whatever dies
version_added: 0.1.0
description:
  - Makes the changes of a plan. Keys are added and proven first; then the host is armed (M(latchkey.ssh.guard)), what
    takes a way in away is changed, and a brand-new login that finds nothing left to do confirms it.
  - What fails in between is taken back at once. Where the controller or the network dies, the host goes back by itself
    at its deadline; where it is restarted, at boot before sshd starts.
  - Runs on the controller and never fails by itself. What went wrong is in RV(refused).
author: Latchkey contributors (@latchkey)
options:
  identity:
    description: What M(latchkey.ssh.operator_key) returned.
    type: dict
    required: true
  plan:
    description: What M(latchkey.ssh.plan) returned.
    type: dict
    required: true
  desired:
    description: The desired state that was planned.
    type: dict
    required: true
  operators:
    description: Accounts whose way in must be proven, beside the one Ansible connects as.
    type: list
    elements: str
    default: []
  host_key:
    description: How the host is known; V(strict), V(accept_new), or a list of SHA256 fingerprints.
    type: raw
    default: strict
  timeout:
    description: Seconds until the host goes back by itself unless the change is confirmed; 5 to 3600.
    type: int
    default: 300
extends_documentation_fragment:
  - latchkey.ssh.attributes
"""

EXAMPLES = r"""
- name: Change the host
  latchkey.ssh.transaction:
    identity: "{{ key.identity }}"
    plan: "{{ plan }}"
    desired: "{{ desired }}"
  become: true
"""

RETURN = r"""
changes:
  description: What was changed.
  returned: always
  type: list
  elements: dict
proofs:
  description: The operators proven after the last change.
  returned: always
  type: list
  elements: dict
predicted:
  description: Operators whose key the controller does not hold.
  returned: always
  type: list
  elements: str
transaction:
  description: The transaction, with its state, and a note where it was taken back.
  returned: where the host was armed
  type: dict
  sample: {id: 20261124T113000-1f2e3d, state: COMMITTED, deadline: "11:35:01 UTC"}
rehearsal:
  description: Whether the candidate was tried by a real login before it was applied, and why not.
  returned: where the host was armed
  type: dict
  sample: {rehearsed: true}
taken_back:
  description: What had been changed and was taken back.
  returned: where that happened
  type: list
  elements: dict
conflicts:
  description: Lines of others that win, where they are only to be reported.
  returned: always
  type: list
  elements: str
refused:
  description: What went wrong.
  returned: always
  type: list
  elements: dict
"""
