#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Return the Python that runs this module and the user it runs as."""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.latchkey.probe.plugins.module_utils.interpreter import interpreter

DOCUMENTATION = r'''
module: probe
short_description: Say which Python runs modules on this host
description: Returns executable, version and effective user id. Changes nothing.
author: Latchkey contributors
'''
EXAMPLES = r'''
- latchkey.probe.probe:
'''
RETURN = r'''
version:
  description: Version of the Python that runs the module.
  returned: always
  type: str
'''


def main():
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    found = interpreter()
    module.exit_json(changed=False, executable=found.executable, version=found.version, uid=os.geteuid())


if __name__ == '__main__':
    main()
