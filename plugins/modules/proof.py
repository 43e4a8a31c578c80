#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: proof
short_description: Prove by a brand-new login that a key opens a host and becomes root
version_added: 0.1.0
description:
  - Makes one new connection that shares nothing with an old one and can use nothing but a key, sends a nonce, and
    has it back from root.
  - Runs on the controller. Fails where the login fails, was made otherwise, or used another key.
author: Latchkey contributors (@latchkey)
options:
  identity:
    description: What M(latchkey.ssh.operator_key) returned.
    type: dict
    required: true
  host_key:
    description: How the host is known; V(strict), V(accept_new), or a list of SHA256 fingerprints.
    type: raw
    default: strict
  user:
    description: The account to log in as; the one Ansible connects as where it is not given.
    type: str
  methods:
    description: The authentication methods that the host must offer, no more and no fewer.
    type: list
    elements: str
  confirm:
    description:
      - A transaction (what M(latchkey.ssh.guard) returned as C(transaction)) that this login confirms. Where the proof
        fails, the host is taken back at once and the task fails.
    type: dict
  desired:
    description:
      - With O(confirm), the desired state that must be effective by now; something left to do is a failure.
      - It counts for the account that Ansible connects as; another O(user) confirms without it.
    type: dict
extends_documentation_fragment:
  - latchkey.ssh.attributes
"""

EXAMPLES = r"""
- name: Find the key
  latchkey.ssh.operator_key:
  register: key

- name: Prove it
  latchkey.ssh.proof:
    identity: "{{ key.identity }}"
    methods: [publickey]
  become: true
"""

RETURN = r"""
answer:
  description: COMMITTED, or WAITING_FOR where other operators have to confirm, too.
  returned: with O(confirm)
  type: str
  sample: COMMITTED
waiting_for:
  description: The operators that have not confirmed yet.
  returned: with O(confirm)
  type: list
  elements: str
  sample: []
proof:
  description: The operator, the fingerprint of the key that was taken, the methods the host offered.
  returned: success
  type: dict
  sample: {operator: admin, proven: true, fingerprint: "SHA256:x", offered: [publickey]}
"""
