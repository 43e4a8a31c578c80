#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: guard_info
short_description: Tell what is known about the transaction of a host
version_added: 0.1.0
description:
  - Returns the state of the transaction that is under way, or of the last one.
author: Latchkey contributors (@latchkey)
options: {}
extends_documentation_fragment:
  - latchkey.ssh.attributes
"""

EXAMPLES = r"""
- name: Ask
  latchkey.ssh.guard_info:
  register: guard
  become: true

- name: Stop while somebody changes this host
  ansible.builtin.assert:
    that: guard.status.state in ['NONE', 'COMMITTED', 'REVERTED']
"""

RETURN = r"""
status:
  description: The transaction; its C(state) is NONE where there never was one.
  returned: success
  type: dict
  sample:
    state: ARMED
    id: 20261124T113000-1f2e3d
    by: ops@controller
    began: "2026-11-24T11:30:00Z"
    timeout: 300
    seconds_left: 287.4
    operators: [admin]
    confirmed: []
    paths: [/etc/ssh/sshd_config.d/00-00-latchkey.conf]
    reason: ""
    problems: []
    notes: []
history:
  description: The transactions that are over, the oldest first; at most ten.
  returned: success
  type: list
  elements: dict
  sample: [{id: 20261123T093000-7f2e3d, state: COMMITTED, began: "2026-11-23T09:30:00Z", by: ops@ci, reason: confirmed}]
"""

from ansible_collections.latchkey.ssh.plugins.module_utils import _module


def main() -> None:
    """Tell what is known."""
    _module.run_guard_info()


if __name__ == "__main__":
    main()
