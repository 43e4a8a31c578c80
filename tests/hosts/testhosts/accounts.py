# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounts of every test host and their passwords: no secrets, the hosts live on a bridge of this machine."""

OPERATOR = "admin"
PASSWORDS = {
    "root": "Root-Password-0",
    "admin": "Admin-Password-1",
    "alice": "Alice-Password-2",
}
