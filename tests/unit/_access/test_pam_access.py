# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of access.conf: the first that matches decides, and what only a server could answer ends the judgement."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._access.pam_access import refusing_line

DENY = "- : ALL : ALL"


@pytest.mark.parametrize(
    "rules, refused",
    [
        ([], False),
        ([DENY], True),
        (["# - : ALL : ALL", "", "nonsense", "x:ALL:ALL", DENY], True),
        (["+ : ops : ALL", DENY], False),
        (["+ : (wheel) : ALL", DENY], False),
        (["+ : wheel : ALL", DENY], False),
        (["+ : (staff) bob : ALL", DENY], True),
        (["+ : OPS : 192.0.2.", DENY], False),
        (["+ : ops : 192.0.2.0/24", DENY], False),
        (["+ : ops : 192.0.2.9/24", DENY], False),
        (["+ : ops : 192.0.3.0/24 198.51.100.7", DENY], True),
        (["+ : ops : 192.0.2.7", DENY], False),
        (["+ : ops : 2001:db8::/32", DENY], True),
        (["- : ALL EXCEPT root ops : ALL"], False),
        (["- : ALL EXCEPT root : ALL"], True),
        (["- : ALL : ALL EXCEPT 192.0.2.0/24 EXCEPT 192.0.2.7"], True),
        (["- : ALL : ALL EXCEPT 192.0.2.0/24"], False),
        (["- : ops : LOCAL"], False),
        (["- : ops : tty1 cron"], False),
        (["- : ops@192.0.2.7 : ALL"], True),
        (["- : ops@10.0.0.1 : ALL"], False),
        # A netgroup, a name, a mask in dots: what it answers is not known here.
        (["+ : @admins : ALL", DENY], False),
        (["+ : ops : @desks", DENY], False),
        (["+ : ops : desk.example.com", DENY], False),
        (["+ : ops : 192.0.2.0/255.255.255.0", DENY], False),
        (["+ : bob : desk.example.com", DENY], True),
    ],
)
def test_who_is_refused(rules, refused):
    line = refusing_line(rules, "ops", ("ops", "wheel"), "192.0.2.7")
    assert bool(line) is refused and line in ["", *rules]


def test_names_where_sshd_knows_the_client_by_one():
    for origin, refused in ((".example.com", True), ("desk.example.com", True), ("h", False)):
        rule = "- : ops : " + origin
        assert bool(refusing_line([rule], "ops", (), "desk.example.com")) is refused
    assert refusing_line(["- : ops : LOCAL"], "ops", (), "desk")
