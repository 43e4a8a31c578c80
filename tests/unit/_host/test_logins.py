# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who logged in: every form in which sshd's line stands in a log, and lines that only look like it."""

import calendar
import gzip
import os
import time

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError
from ansible_collections.latchkey.ssh.plugins.module_utils._host import logins, programs
from ansible_collections.latchkey.ssh.plugins.module_utils._host.logins import Login

try:
    import lzma
except ImportError:
    lzma = None

WRITTEN = calendar.timegm((2026, 1, 3, 12, 0, 0))
TAIL = "from 192.0.2.7 port 40000 ssh2"


@pytest.fixture(autouse=True)
def utc():
    """Read local times as UTC, and put the zone back."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """Make the logs of a host: call with a name and lines; there is no journal."""
    real = logins.glob.glob
    monkeypatch.setattr(logins.glob, "glob", lambda pattern: real(pattern.replace("/var/log", str(tmp_path))))
    monkeypatch.setattr(programs, "find", lambda name: None)
    monkeypatch.setattr(logins.time, "time", lambda: float(WRITTEN))

    def write(name, *lines):
        path = str(tmp_path / name)
        data = "".join(line + "\n" for line in lines).encode("utf-8")
        opener = {".gz": gzip.open, ".xz": getattr(lzma, "open", None)}.get(name[-3:], open)
        with opener(path, "wb") as stream:
            stream.write(data)
        os.utime(path, (WRITTEN, WRITTEN))
        return path

    return write


def at(*parts):
    return float(calendar.timegm(parts + (0,) * (6 - len(parts))))


@pytest.mark.parametrize(
    "stamp, when",
    [
        ("Jan  3 11:59:58", at(2026, 1, 3, 11, 59, 58)),
        ("Jan 03 11:59:58", at(2026, 1, 3, 11, 59, 58)),
        ("Dec 31 23:59:59", at(2025, 12, 31, 23, 59, 59)),
        ("Jan  1 00:00:00", at(2026, 1, 1)),
        # The clock went back a little after the line was written.
        ("Jan  3 18:00:00", at(2026, 1, 3, 18)),
        ("2026-01-02T10:11:12.123456+00:00", at(2026, 1, 2, 10, 11, 12)),
        ("2026-01-02T10:11:12Z", at(2026, 1, 2, 10, 11, 12)),
        ("2026-01-02T10:11:12.5+02:00", at(2026, 1, 2, 8, 11, 12)),
        ("2026-01-02T10:11:12-0530", at(2026, 1, 2, 15, 41, 12)),
        ("2026-01-02T10:11:12", at(2026, 1, 2, 10, 11, 12)),
        # The last leap day is too long ago.
        ("Feb 29 10:00:00", None),
        ("Feb 30 10:00:00", None),
        ("Nov 31 10:00:00", None),
        ("Foo 10 10:00:00", None),
        ("someday", None),
    ],
)
def test_times(logs, stamp, when):
    logs("secure", "%s host sshd[123]: Accepted password for alice %s" % (stamp, TAIL))
    expected = [Login("alice", "password", "192.0.2.7", when)] if when is not None else []
    assert logins.recent(90) == expected


@pytest.mark.parametrize(
    "words, method",
    [
        ("password", "password"),
        ("keyboard-interactive/pam", "keyboard-interactive"),
        ("publickey", "publickey"),
        ("gssapi-with-mic", "gssapi-with-mic"),
        ("gssapi-keyex", "gssapi-keyex"),
        ("hostbased", "hostbased"),
    ],
)
@pytest.mark.parametrize("tag", ["sshd[123]", "sshd-session[123]", "sshd[1]"])
def test_methods_as_each_sshd_logs_them(logs, words, method, tag):
    extra = ": ED25519 SHA256:AAAA" if method == "publickey" else ""
    logs("secure", "Jan  3 11:00:00 host %s: Accepted %s for alice %s%s" % (tag, words, TAIL, extra))
    assert [(login.user, login.method) for login in logins.recent(90)] == [("alice", method)]


FORGED = [
    # A user name is whatever a stranger sends: sshd logs it, blanks included.
    "sshd[9]: Invalid user Accepted password for root from 203.0.113.9 port 1 from 192.0.2.66 port 50000",
    "sshd[9]: Failed password for invalid user Accepted publickey for bob from 203.0.113.9 port 1 ssh2 from"
    " 192.0.2.66 port 50000 ssh2",
    "sshd[9]: Failed password for invalid user x host sshd[1]: Accepted publickey for bob from 203.0.113.9 port 1"
    " from 192.0.2.66 port 50000 ssh2",
    "sshd-session[9]: Disconnected from invalid user Accepted password for bob from 203.0.113.9 port 1 192.0.2.66",
    "mysshd[9]: Accepted password for bob from 203.0.113.9 port 1",
    "su[9]: sshd[1]: Accepted password for bob from 203.0.113.9 port 1",
]


@pytest.mark.parametrize("message", FORGED)
@pytest.mark.parametrize("stamp", ["Jan  3 11:00:00", "2026-01-03T11:00:00+00:00"])
def test_a_login_cannot_be_forged_by_a_user_name(logs, stamp, message):
    logs("secure", "%s host %s" % (stamp, message))
    assert logins.recent(90) == []


@pytest.mark.parametrize("message", FORGED)
def test_nor_in_the_journal(monkeypatch, message):
    monkeypatch.setattr(programs, "find", lambda name: "/usr/bin/" + name)
    line = "%d.123456 host %s\n" % (time.time(), message)
    monkeypatch.setattr(programs, "lines", lambda argv, seconds: [line])
    assert list(logins._journal(90)) == []


def test_rotated_and_packed_logs_count_and_damaged_ones_do_no_harm(logs):
    line = "Jan  3 %s:00:00 host sshd[1]: Accepted password for %s " + TAIL
    logs("secure", line % (11, "now"))
    logs("secure-20260101", line % (10, "plain"))
    logs("secure-20251225.gz", line % ("09", "packed"))
    whole = logs("secure-20251224.gz", line % ("08", "cut"))
    with open(whole, "rb") as stream:
        data = stream.read()
    for name, damaged in (("secure-1.gz", data[:-12]), ("secure-2.gz", b"no gzip"), ("secure-3.gz", b"")):
        with open(os.path.join(os.path.dirname(whole), name), "wb") as stream:
            stream.write(damaged)
        os.utime(os.path.join(os.path.dirname(whole), name), (WRITTEN, WRITTEN))
    os.mkdir(os.path.join(os.path.dirname(whole), "secure-directory"))
    found = [login.user for login in logins.recent(90)]
    assert [name for name in found if name != "cut"] == ["packed", "plain", "now"]


@pytest.mark.skipif(lzma is None, reason="this Python has no lzma")
def test_logs_packed_by_xz_count(logs):
    logs("secure-20260101.xz", "Jan  1 11:00:00 host sshd[1]: Accepted password for alice " + TAIL)
    damaged = logs("secure-20260102.xz", "x")
    with open(damaged, "wb") as stream:
        stream.write(b"no xz")
    assert [login.user for login in logins.recent(90)] == ["alice"]


def test_a_log_that_is_rotated_away_meanwhile(logs, monkeypatch):
    logs("secure", "Jan  3 11:00:00 host sshd[1]: Accepted password for alice " + TAIL)
    real = logins.glob.glob
    monkeypatch.setattr(logins.glob, "glob", lambda pattern: ["/var/log/no-such-log"] + real(pattern))
    assert [login.user for login in logins.recent(90)] == ["alice"]


def test_reading_ends(logs, monkeypatch):
    logs("secure", "Jan  3 11:00:00 host sshd[1]: Accepted password for alice " + TAIL)
    monkeypatch.setattr(logins, "_SECONDS", -1.0)
    with pytest.raises(HostError) as caught:
        logins.recent(90)
    assert "the logins of 90 days cannot be read" in caught.value.reason and "harden_stranded_days" in str(caught.value)


def test_only_the_days_asked_for(logs):
    logs("secure", *("%s host sshd[1]: Accepted password for %s %s" % (stamp, name, TAIL)
                     for stamp, name in (("Jan  1 11:00:00", "old"), ("Jan  2 13:00:00", "new"))))
    assert [login.user for login in logins.recent(1)] == ["new"]
    old = logs("secure-20250101", "Dec 31 11:00:00 host sshd[1]: Accepted password for older " + TAIL)
    os.utime(old, (WRITTEN - 3 * 86400,) * 2)
    assert [login.user for login in logins.recent(2)] == ["new"]


JOURNAL = """\
1767441598.536132 host sshd[27]: Server listening on 0.0.0.0 port 22.
1767441599.999999 host sshd[87]: Accepted password for alice from 192.0.2.7 port 39666 ssh2
1767441600.000001 host sshd-session[88]: Accepted publickey for bob from 2001:db8::7 port 39666 ssh2: RSA SHA256:x
1767441601.000001 host sshd[89]: Accepted keyboard-interactive/pam for DOM\\carol from 192.0.2.8 port 1 ssh2
"""


def test_the_journal_is_asked_for_both_names_of_sshd(monkeypatch):
    asked = []

    def run(argv, seconds):
        asked.append(argv)
        return JOURNAL.splitlines()

    monkeypatch.setattr(programs, "find", lambda name: "/usr/bin/" + name)
    monkeypatch.setattr(programs, "lines", run)
    assert list(logins._journal(7)) == [
        Login("alice", "password", "192.0.2.7", 1767441599.0),
        Login("bob", "publickey", "2001:db8::7", 1767441600.0),
        Login("DOM\\carol", "keyboard-interactive", "192.0.2.8", 1767441601.0),
    ]
    assert "--since=-7d" in asked[0] and "short-unix" in asked[0]
    words = ["SYSLOG_IDENTIFIER=sshd", "_UID=0", "+", "SYSLOG_IDENTIFIER=sshd-session", "_UID=0"]
    assert asked[0][-5:] == words


def test_one_login_in_both_logs_is_one(logs, monkeypatch):
    logs("secure", "Jan  3 11:00:00 host sshd[87]: Accepted password for alice " + TAIL)
    line = "%d.73 host sshd[87]: Accepted password for alice %s\n" % (at(2026, 1, 3, 11), TAIL)
    monkeypatch.setattr(programs, "find", lambda name: "/usr/bin/" + name)
    monkeypatch.setattr(programs, "lines", lambda argv, seconds: [line])
    assert len(logins.recent(90)) == 1


def test_the_latest_of_each_account_and_method():
    one, two = Login("a", "password", "192.0.2.1", 1.0), Login("a", "password", "192.0.2.2", 2.0)
    other = Login("a", "publickey", "192.0.2.3", 1.5)
    assert logins.latest([one, other, two]) == {("a", "password"): two, ("a", "publickey"): other}
