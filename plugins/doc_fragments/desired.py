# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The desired state of a host, as several modules take it."""


class ModuleDocFragment:
    """Keys and server."""

    DOCUMENTATION = r"""
options:
  desired:
    description: The desired state, keyed by facet; each value is what the facet's module takes.
    type: dict
    default: {}
    suboptions:
      keys:
        description: See M(latchkey.ssh.authorized_keys).
        type: dict
        suboptions:
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
                    - Options before the key, as in C(authorized_keys). Without it the options of a key that is
                      there stay.
                  type: str
                state:
                  description: Whether the keys shall open the account.
                  type: str
                  choices: [present, absent]
                  default: present
            user:
              description: Name of a single account, instead of or beside C(accounts).
              type: str
            key:
              description: Public keys for C(user).
              type: list
              elements: str
            key_options:
              description: Options before the key for C(user).
              type: str
            state:
              description: Whether the keys shall open C(user).
              type: str
              choices: [present, absent]
              default: present
            break_glass_keys:
              description:
                - Public keys, or their SHA256 fingerprints, that are kept for the worst day. To withdraw one of them is
                  refused.
              type: list
              elements: str
              default: []
      server:
        description: See M(latchkey.ssh.sshd_config).
        type: dict
        suboptions:
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
              description: What to do where a line of others wins over C(methods).
              type: str
              choices: [refuse, report]
              default: refuse
      revert:
        description: See M(latchkey.ssh.revert).
        type: dict
        suboptions:
            revert:
              description: The committed transaction to go back from.
              type: str
              required: true
"""
