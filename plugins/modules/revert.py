#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: revert
short_description: Go back to what a committed transaction found
version_added: 0.1.0
description:
  - Puts root's own files back as they were before a transaction that was committed. Files that somebody has changed
    since are refused.
  - Keys of accounts never come back; one of them may have been withdrawn on purpose.
  - This is a change like any other. The playbook C(latchkey.ssh.revert) makes it inside a transaction of its own, with
    a proof.
  - A transaction that is still under way is taken back by M(latchkey.ssh.guard) with
    O(latchkey.ssh.guard#module:state=reverted).
author: Latchkey contributors (@latchkey)
options:
  revert:
    description: The id of the transaction, as M(latchkey.ssh.guard_info) lists it.
    type: str
    required: true
  phase:
    description: Make only the changes that add a way in, or only those that take one away.
    type: str
    choices: [all, widen, narrow]
    default: all
extends_documentation_fragment:
  - latchkey.ssh.attributes
  - latchkey.ssh.transaction
"""

EXAMPLES = r"""
- name: Go back
  latchkey.ssh.revert:
    revert: 20261123T093000-7f2e3d
    transaction: "{{ guard.transaction.id }}"
  become: true
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: always
  type: list
  elements: dict
  sample: [{facet: revert, kind: absent, path: /etc/ssh/sshd_config.d/00-00-latchkey.conf}]
conflicts:
  description: Always empty for this module.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible_collections.latchkey.ssh.plugins.module_utils import _module
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import reverting


def main() -> None:
    """Run the facet revert."""
    _module.run_facet(_module.REVERT_SPEC, reverting)


if __name__ == "__main__":
    main()
