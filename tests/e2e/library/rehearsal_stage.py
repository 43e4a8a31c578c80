#!/usr/bin/python
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make or end a rehearsal's stage on a host; for tests."""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import rehearsal
from ansible_collections.latchkey.ssh.plugins.module_utils._host.host import Host
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import sshd_tree


def main():
    """Put ``first`` before everything that is in the main file, for ``account`` to try."""
    module = AnsibleModule(
        argument_spec=dict(
            account=dict(type="str"),
            first=dict(type="str", default=""),
            seconds=dict(type="int", default=rehearsal.SECONDS),
        )
    )
    if not module.params["account"]:
        rehearsal.stop()
        module.exit_json(changed=True)
    with Host() as host:
        text = module.params["first"].encode() + b"\n" + host.tree.files[host.tree.main]
        tree = sshd_tree.with_files(host.tree, {host.tree.main: text})
        account = host.account(module.params["account"])
        stage = rehearsal.start(host, tree, account, seconds=module.params["seconds"])
    module.exit_json(changed=True, stage=dict(stage._asdict()))


if __name__ == "__main__":
    main()
