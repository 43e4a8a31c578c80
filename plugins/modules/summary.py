#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: summary
short_description: Print one summary of a run and return the record of each host
version_added: 0.1.0
description:
  - The first host of the play prints the summary of all. Every host returns its record, and fails where it was refused.
author: Latchkey contributors (@latchkey)
options:
  key:
    description: What M(latchkey.ssh.operator_key) returned.
    type: dict
  plan:
    description: What M(latchkey.ssh.plan) returned.
    type: dict
  transaction:
    description: What M(latchkey.ssh.transaction) returned.
    type: dict
  guard:
    description: What M(latchkey.ssh.guard) or M(latchkey.ssh.guard_info) returned, where hosts are taken back.
    type: dict
  break_glass:
    description: How many break-glass keys are named; with none the summary warns.
    type: int
extends_documentation_fragment:
  - latchkey.ssh.attributes
"""

EXAMPLES = r"""
- name: Summarise
  latchkey.ssh.summary:
    key: "{{ key }}"
    plan: "{{ plan }}"
    transaction: "{{ done }}"
"""

RETURN = r"""
record:
  description: What happened to this host.
  returned: always
  type: dict
"""
