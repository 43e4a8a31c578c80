#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: operator_key
short_description: Find the key pair that opens the hosts, or make it
version_added: 0.1.0
description:
  - Runs on the controller, in Ansible itself, and connects to no host.
  - Takes what Ansible already uses, in this order - O(key), C(ansible_ssh_private_key),
    C(ansible_ssh_private_key_file), a usable key of the
    agent, the first of C(id_ed25519), C(id_ecdsa), C(id_rsa) with enough bits. Where O(key) names a file that
    is not there, the pair is made there; without O(key) one is made only where none of the others exists. One process
    does it, however many forks run.
  - A key that would ask for a passphrase or a touch is refused, with what to do about it.
author: Latchkey contributors (@latchkey)
options:
  key:
    description: The private key file, or the C(.pub) file of a key that the agent holds.
    type: str
  create:
    description:
      - Whether a pair may be made. V(auto) refuses on a controller whose home dies with the job (C(CI) is set, a
        container, ansible-runner),
        because a key that is lost after a green run is a lock-out.
    type: str
    choices: [auto, "true", "false"]
    default: auto
  type:
    description: Type of a pair to be made; V(auto) is ed25519, or ecdsa on a controller in FIPS mode.
    type: str
    choices: [auto, ed25519, ecdsa, rsa]
    default: auto
  size:
    description: Bits of a pair to be made; V(0) is the usual number for its type.
    type: int
    default: 0
  comment:
    description: Comment of a pair to be made.
    type: str
  passphrase:
    description: Passphrase of a pair to be made; it goes into the running agent.
    type: str
extends_documentation_fragment:
  - latchkey.ssh.attributes
"""

EXAMPLES = r"""
- name: Find the key
  latchkey.ssh.operator_key:
    key: ~/.ssh/ansible_ed25519
  register: key
"""

RETURN = r"""
identity:
  description: The key pair; nothing in it is secret.
  returned: always
  type: dict
  sample: {source: default, path: /home/me/.ssh/id_ed25519, public_key: "ssh-ed25519 AAAA me"}
operator:
  description: The account that Ansible connects as.
  returned: always
  type: str
refused:
  description: Why there is no identity.
  returned: always
  type: list
  elements: dict
"""
