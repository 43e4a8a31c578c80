#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: openssh_keypair
short_description: Make and keep an SSH key pair
version_added: 0.1.0
description:
  - Makes a private key and its C(.pub) file, or brings those that are there to what is asked for.
  - Options are named as in M(community.crypto.openssh_keypair).
  - A good private key is never replaced because its C(.pub) file is missing or belongs to another key, because of a
    comment, or because a passphrase is added, changed or taken off.
  - The private key is never, for no instant, readable by others. Links are not followed. Of several processes that
    make the same key at once, one makes it and the others find it.
  - Acts as the user that runs it. For a key below the home of somebody, run it as them (C(become_user)).
author: Latchkey contributors (@latchkey)
requirements:
  - cryptography >= 3.1 where a key is made or one in PEM format is opened
  - bcrypt where a passphrase is used
options:
  path:
    description: The file of the private key; the public one is beside it and ends in C(.pub).
    type: path
    required: true
  type:
    description:
      - Type of the key.
      - With V(auto) a new key is ed25519 (ecdsa where FIPS mode forbids that), and an existing key of any type stays.
    type: str
    choices: [auto, ed25519, ecdsa, rsa]
    default: auto
  size:
    description:
      - Size in bits, of V(rsa) (2048 to 16384) and V(ecdsa) (256, 384 or 521) keys; ignored for V(ed25519).
      - Without it a new key gets 4096 or 256 bits, and an existing key of any size stays.
    type: int
  comment:
    description:
      - Comment of the key, in one line. Where an existing key has another one, both halves are changed.
      - Without it a new key gets C(user@machine), and an existing comment stays.
    type: str
  passphrase:
    description:
      - Passphrase that the private key is to have; the empty string means none. Changed in place.
      - Without it a new key gets none, and that of an existing key is left alone.
    type: str
  current_passphrase:
    description: Passphrase that the private key has now, where O(passphrase) is to replace it.
    type: str
  private_key_format:
    description: New keys are always made in OpenSSH's own format; existing ones keep theirs.
    type: str
    choices: [auto, ssh]
    default: auto
  regenerate:
    description:
      - When an existing private key may be replaced by a new one.
      - V(never) keeps it whatever type and size it has; V(fail) fails where they differ; V(partial_idempotence)
        replaces it where they differ; V(full_idempotence) also where it is broken or O(passphrase) does not open it;
        V(always) always.
      - A key that is protected by an unknown passphrase is replaced by V(full_idempotence) and V(always) only.
    type: str
    choices: [never, fail, partial_idempotence, full_idempotence, always]
    default: partial_idempotence
  force:
    description: The same as O(regenerate=always).
    type: bool
    default: false
  mode:
    description:
      - Mode of the private key, as an octal number in quotes. What it gives to group and others is left out.
      - The C(.pub) file is made with mode 0644.
    type: raw
  state:
    description: Whether the pair shall be there.
    type: str
    choices: [present, absent]
    default: present
  transaction:
    description:
      - Always refused. A key pair takes no way in away, and a transaction (M(latchkey.ssh.guard)) does not take it
        back; make it before, in a task without this option.
    type: str
extends_documentation_fragment:
  - latchkey.ssh.attributes
"""

EXAMPLES = r"""
- name: Make a key for deployments
  latchkey.ssh.openssh_keypair:
    path: /home/deploy/.ssh/id_ed25519
    type: ed25519
    comment: deploy@example.org
  become: true
  become_user: deploy

- name: Give an existing key a passphrase
  latchkey.ssh.openssh_keypair:
    path: ~/.ssh/id_ed25519
    passphrase: "{{ vault_key_passphrase }}"
"""

RETURN = r"""
type:
  description: Type of the key.
  returned: always
  type: str
  sample: ed25519
size:
  description: Size of the key in bits.
  returned: always
  type: int
  sample: 256
filename:
  description: The file of the private key.
  returned: always
  type: str
  sample: /home/deploy/.ssh/id_ed25519
fingerprint:
  description: Fingerprint as C(ssh-keygen -l) prints it; empty where check mode did not make the key.
  returned: always
  type: str
  sample: SHA256:roaX6rVYWfmiMhAHOUim2WWsTDDLD+tcTgrwzdWUeBg
public_key:
  description: The line of the C(.pub) file; empty where check mode did not make the key.
  returned: always
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIXj0C022VOqiRLaobZzPKI8axuKDdar2Shh4hKm64Mc deploy@example.org
comment:
  description: Comment of the key.
  returned: always
  type: str
  sample: deploy@example.org
changes:
  description: What was changed, or would be in check mode. The private key is never in it.
  returned: always
  type: list
  elements: dict
  sample:
    - facet: keypair
      phase: widen
      kind: private_key
      path: /home/deploy/.ssh/id_ed25519
      what: make a new ed25519 key of 256 bits
      touches: [/home/deploy/.ssh/id_ed25519]
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.latchkey.ssh.plugins.module_utils import _module
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Unsupported
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import keypair
from ansible_collections.latchkey.ssh.plugins.module_utils._facets.keypair_params import REGENERATE, TYPES
from ansible_collections.latchkey.ssh.plugins.module_utils._host import private_keys

SPEC = dict(
    path=dict(type="path", required=True),
    type=dict(type="str", choices=list(TYPES), default="auto"),
    size=dict(type="int"),
    comment=dict(type="str"),
    passphrase=dict(type="str", no_log=True),
    current_passphrase=dict(type="str", no_log=True),
    private_key_format=dict(type="str", choices=["auto", "ssh"], default="auto", no_log=False),
    regenerate=dict(type="str", choices=list(REGENERATE), default="partial_idempotence"),
    force=dict(type="bool", default=False),
    mode=dict(type="raw"),
    state=dict(type="str", choices=["present", "absent"], default="present"),
    **_module.TRANSACTION_SPEC,
)


def work(module: AnsibleModule) -> Dict[str, Any]:
    """Bring the pair to what was asked for."""
    try:
        return keypair.ensure(module.params, check_mode=module.check_mode)
    except Unsupported as error:
        if error.where not in (private_keys.CRYPTOGRAPHY, private_keys.BCRYPT):
            raise
        return module.fail_json(msg="%s. %s" % (missing_required_lib(error.where), error.remedy))


def main() -> None:
    """Run the facet keypair."""
    _module.run(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
