# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that do not become effective are named with the line that wins."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import precedence
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import effective, sshd_tree
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import EL9

MAIN = "/etc/ssh/sshd_config"
OURS = "/etc/ssh/sshd_config.d/00-00-latchkey.conf"


def tree(ours, after):
    main = "Include /etc/ssh/sshd_config.d/*.conf\n" + after
    return sshd_tree.Tree(MAIN, {MAIN: main.encode(), OURS: ours.encode()}, EL9)


def candidate(built):
    return precedence.Candidate(built, built.files)


def test_a_line_is_named_where_it_stands_today():
    """On AlmaLinux 8 an Include of ours comes above it."""
    today = b"# top\nPort 22\nMatch User legacy\nPasswordAuthentication yes\n"
    new = today.replace(b"Port 22", b"Include /etc/ssh/sshd_config.d/00-00-latchkey.conf\nPort 22")
    found = precedence.Candidate(sshd_tree.Tree(MAIN, {MAIN: new}, EL9), {MAIN: today})
    assert [found.line_on_disk(effective.Source(MAIN, number)) for number in (1, 3, 5)] == [1, 2, 4]


@pytest.mark.parametrize(
    "setting, later, named",
    [
        (("MaxAuthTries", "4"), "MaxAuthTries 6\n", []),
        (("MaxStartups", "10:30:60"), "MaxStartups 10:30:100\n", ["/etc/ssh/sshd_config:2: `MaxStartups 10:30:100`"]),
        (("AllowUsers", "alice"), "AllowUsers bob\n", []),
        (("Port", "2222"), "Port 22\n", []),
    ],
)
def test_a_later_line_wins_only_over_keywords_of_which_the_last_counts(setting, later, named):
    built = tree("%s %s\n" % setting, later)
    found = precedence.ineffective([setting], candidate(built), effective.evaluate(built, None).values)
    assert [line.split(" wins over")[0] for line in found] == named


def test_the_command_line_wins_and_is_named():
    built = tree("PasswordAuthentication no\n", "")._replace(command_line=("PasswordAuthentication=yes",))
    found = precedence.ineffective(
        [("PasswordAuthentication", "no")], candidate(built), effective.evaluate(built, None).values
    )
    assert found == ["command line wins over `PasswordAuthentication no`"]
