#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: authorized_keys
short_description: Merge public keys into the authorized keys of many accounts
version_added: 0.1.0
description:
  - Adds or removes public keys in the files that sshd really reads for an account, many accounts in one call.
  - Every byte that is not one of the named keys stays as it is.
  - Acts as the owner of each home directory and follows no link there. Accounts and homes are never created.
  - Modes that would make sshd ignore the file (C(StrictModes)) are repaired, or refused where they are not the
    account's own.
author: Latchkey contributors (@latchkey)
options:
  accounts:
    description: The accounts and their keys.
    type: list
    elements: dict
    suboptions:
      user:
        description: Name of the account, as NSS knows it.
        type: str
        required: true
      key:
        description: Public keys, as text of C(.pub) files; one text may hold several lines.
        type: list
        elements: str
        required: true
      key_options:
        description:
          - Options before the key, as in C(authorized_keys). Without it the options of a key that is there stay.
        type: str
      state:
        description: Whether the keys shall open the account.
        type: str
        choices: [present, absent]
        default: present
  user:
    description: Name of a single account, instead of or beside O(accounts).
    type: str
  key:
    description: Public keys for O(user).
    type: list
    elements: str
  key_options:
    description: Options before the key for O(user).
    type: str
  state:
    description: Whether the keys shall open O(user).
    type: str
    choices: [present, absent]
    default: present
  break_glass_keys:
    description:
      - Public keys, or their SHA256 fingerprints, that are kept for the worst day. To withdraw one of them is refused.
    type: list
    elements: str
    default: []
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
- name: Let two people in
  latchkey.ssh.authorized_keys:
    accounts:
      - user: alice
        key: "{{ lookup('ansible.builtin.file', 'keys/alice.pub') }}"
      - user: deploy
        key: "{{ lookup('ansible.builtin.file', 'keys/ci.pub') }}"
        key_options: from="192.0.2.0/24",restrict
  become: true

- name: Withdraw a key
  latchkey.ssh.authorized_keys:
    user: alice
    key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF12zMF6tQrTaNA1r6e4tPAOP+/ncrHaROzuCQvxFhLQ
    state: absent
  become: true
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: always
  type: list
  elements: dict
  sample:
    - facet: keys
      phase: widen
      kind: file
      path: /home/alice/.ssh/authorized_keys
      what: keys of alice
      touches: [/home/alice/.ssh/authorized_keys]
      mode: "0600"
      owner: alice
      sha256_before: ""
      sha256_after: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
conflicts:
  description: Always empty for this module.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible_collections.latchkey.ssh.plugins.module_utils import _module
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import keys


def main() -> None:
    """Run the facet keys."""
    _module.run_facet(_module.AUTHORIZED_KEYS_SPEC, keys)


if __name__ == "__main__":
    main()
