# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose sshd punishes wrong logins (PerSourcePenalties, OpenSSH 9.8 and newer), those of the tester too."""

from pathlib import Path

from live import OPERATOR, log_in

HOST = "mol10-penalties"
# sshd_config(5): 5 s for each failed login, and an address is turned away from 15 s on.
TRIES_UNTIL_BANNED = 12


def test_the_runs_did_not_get_the_controller_banned(key: Path, wrong_key: Path) -> None:
    """The key is taken, a wrong one refused for the stated reason; only more of them get the address turned away."""
    login = log_in(HOST, OPERATOR, key=key)
    assert login.ok, login.said
    login = log_in(HOST, OPERATOR, key=wrong_key)
    assert login.refused_by("publickey"), login.said
    for _try in range(TRIES_UNTIL_BANNED):
        login = log_in(HOST, OPERATOR, key=wrong_key)
        if not login.refused_by("publickey"):
            break
    assert "Not allowed at this time" in login.said, "penalties are off here, so this host has shown nothing"
