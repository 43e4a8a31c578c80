#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: sshd_config
short_description: Set what sshd really does, not what a file says
version_added: 0.1.0
description:
  - Writes one drop-in of its own that is read before everything else,
    C(/etc/ssh/sshd_config.d/00-00-latchkey.conf), and leads
    the main file to it where the distribution does not. Lines of others are not touched.
  - The whole candidate configuration is checked by the host's own sshd, and its effective values are compared for
    every Match
    block and account, in check mode too. A line of others that wins is named with its file and line.
  - sshd is reloaded, and the module waits until the listener has read the new configuration. A listener that is
    older than its
    configuration is a change too.
author: Latchkey contributors (@latchkey)
options:
  methods:
    description:
      - The authentication methods that stay. Everything else that lets anybody in is switched off.
      - Stricter values that are there stay, such as C(PermitRootLogin no).
      - Some of V(publickey), V(gssapi-with-mic), V(hostbased); V(publickey) must be among them.
    type: list
    elements: str
  settings:
    description: Further keywords and their values. A list becomes one line with blanks between its parts.
    type: dict
  match:
    description: Settings for some connections only.
    type: list
    elements: dict
    suboptions:
      criteria:
        description: What stands behind C(Match), for example C(User alice).
        type: str
        required: true
      settings:
        description: Keywords and their values.
        type: dict
        required: true
  foreign:
    description: What to do where a line of others wins over O(methods).
    type: str
    choices: [refuse, report]
    default: refuse
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
- name: Keys only
  latchkey.ssh.sshd_config:
    methods: [publickey]
  become: true

- name: Keys only, and fewer tries
  latchkey.ssh.sshd_config:
    methods: [publickey]
    settings:
      MaxAuthTries: 4
  become: true
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: always
  type: list
  elements: dict
  sample:
    - facet: server
      phase: narrow
      kind: reload
      path: sshd.service
      what: make sshd read its configuration
      touches: [sshd.service]
conflicts:
  description: Lines of others that win over what was asked, with O(foreign=report).
  returned: always
  type: list
  elements: str
  sample:
    - >-
      /etc/ssh/sshd_config:9: `PasswordAuthentication yes` under `Match User x` keeps PasswordAuthentication at yes for
      connections like user x from 192.0.2.7
"""

from ansible_collections.latchkey.ssh.plugins.module_utils import _module
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import server


def main() -> None:
    """Run the facet server."""
    _module.run_facet(_module.SSHD_CONFIG_SPEC, server)


if __name__ == "__main__":
    main()
