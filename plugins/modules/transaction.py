#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: transaction
short_description: Change one host in one task, proven before and after
version_added: 0.1.0
description:
  - Makes the changes of a plan. What adds a way in comes first, then a proof, then what takes a way away, then a
    proof that nothing is left to do.
  - Takes nothing away without a proof. This version is not guarded yet; it has no automatic way back.
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
refused:
  description: What went wrong.
  returned: always
  type: list
  elements: dict
"""
