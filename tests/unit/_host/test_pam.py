# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PAM's files as AlmaLinux and Debian write them, and faillock's records as pam_faillock does."""

import struct

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._host import pam, programs

SSHD = """#%PAM-1.0
auth       substack     password-auth
account    required     pam_sepermit.so
account    required     pam_nologin.so
account    include      password-auth # as all
-account   optional     pam_systemd_home.so
"""
PASSWORD_AUTH = """
auth        required      pam_faillock.so preauth silent deny=4
auth        sufficient    pam_unix.so try_first_pass nullok
account     [success=1 default=ignore] /usr/lib64/security/pam_access.so accessfile=%s nodefgroup
account     required      pam_unix.so \\
    no_pass_expiry
session     required      pam_limits.so
"""


@pytest.fixture
def etc(tmp_path, monkeypatch):
    monkeypatch.setattr(pam, "_STACKS", str(tmp_path))
    monkeypatch.setattr(pam, "_FAILLOCK", str(tmp_path / "faillock.conf"))
    monkeypatch.setattr(pam, "_TALLIES", str(tmp_path / "tallies"))
    (tmp_path / "tallies").mkdir()
    (tmp_path / "sshd").write_text(SSHD)
    (tmp_path / "password-auth").write_text(PASSWORD_AUTH % (tmp_path / "access.conf"))
    return tmp_path


def test_stacks_are_followed(etc):
    assert pam.stack("sshd", "account") == [
        ("pam_sepermit.so", ()),
        ("pam_nologin.so", ()),
        ("pam_access.so", ("accessfile=%s" % (etc / "access.conf"), "nodefgroup")),
        ("pam_unix.so", ("no_pass_expiry",)),
        ("pam_systemd_home.so", ()),
    ]
    assert [line[0] for line in pam.stack("sshd", "auth")] == ["pam_faillock.so", "pam_unix.so"]
    assert pam.stack("nothing", "auth") == []


def test_debians_include_and_one_that_includes_itself(etc):
    (etc / "common").write_text("account required pam_unix.so\n@include common\n")
    (etc / "sshd").write_text("@include common\n")
    assert set(pam.stack("sshd", "account")) == {("pam_unix.so", ())}


def test_rules_of_access(etc):
    lines = pam.stack("sshd", "account")
    assert pam.access_rules(lines) == ()
    (etc / "access.conf").write_text("+:root:ALL\n-:ALL \\\n:ALL\n")
    assert pam.access_rules(lines) == ("+:root:ALL", "-:ALL  :ALL")
    assert pam.access_rules([("pam_unix.so", ())]) == ()


def tallies(*records):
    return b"".join(struct.pack("=52sHHQ", b"192.0.2.7", 0, status, when) for status, when in records)


@pytest.mark.parametrize(
    "conf, records, expected",
    [
        ("", [], None),
        ("", [(1, 1000), (1, 1010), (0, 1020), (1, 1030)], (3, 1030, 4, 600)),
        ("# deny = 9\nunlock_time = never\nfail_interval = 25\n", [(1, 1000), (1, 1010), (1, 1030)], (2, 1030, 4, 0)),
        ("unlock_time=60", [(1, 1000)], (1, 1000, 4, 60)),
    ],
)
def test_what_faillock_counts(etc, conf, records, expected):
    (etc / "faillock.conf").write_text(conf)
    if records:
        (etc / "tallies" / "alice").write_bytes(tallies(*records) + b"cut off")
    found = pam.failures("alice", pam.stack("sshd", "auth"))
    assert found == expected


def test_no_faillock_counts_nothing(etc):
    (etc / "tallies" / "alice").write_bytes(tallies((1, 1000)))
    assert pam.failures("alice", pam.stack("sshd", "account")) is None


INVALID = "[error] [/etc/authselect/system-auth] has unexpected content!\nCurrent configuration is not valid.\n"


@pytest.mark.parametrize(
    "there, said, expected",
    [
        (False, INVALID, ""),
        (True, "Current configuration is valid.\n", ""),
        (True, "No existing configuration detected.\n", ""),
        (True, INVALID, "/etc/authselect/system-auth"),
        (True, "Current configuration is not valid.\n", "/etc/pam.d"),
    ],
)
def test_what_authselect_says(monkeypatch, there, said, expected):
    monkeypatch.setattr(programs, "find", lambda name: "/usr/bin/" + name if there else None)
    monkeypatch.setattr(programs, "run", lambda argv: programs.Outcome(1, "", said))
    assert pam.authselect_problem() == expected
