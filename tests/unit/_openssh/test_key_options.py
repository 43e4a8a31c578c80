# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key options: OpenSSH's own vectors, versions, equality, and what the errors say."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError, Malformed, Unsupported
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import key_options, source_list
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.key_options import KeyOptions, parse_options
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import EL8, EL9, U99, SshdVersion

FLAG_WORDS = [
    "agent-forwarding",
    "no-agent-forwarding",
    "port-forwarding",
    "no-port-forwarding",
    "pty",
    "no-pty",
    "user-rc",
    "no-user-rc",
    "x11-forwarding",
    "no-x11-forwarding",
    "cert-authority",
]
VALUED_WORDS = ['command="foo"', 'principals="foo"', 'from="foo"']
# regress/unittests/authopt/tests.c of OpenSSH: what sshauthopt_parse takes and what it refuses.
ACCEPTED = (
    ["", " ", "restrict", 'tunnel="1"', 'tunnel="any"']
    + FLAG_WORDS
    + ["restrict," + word for word in FLAG_WORDS]
    + VALUED_WORDS
    + ["restrict,%s,restrict" % word for word in VALUED_WORDS]
    + ['environment="foo=1",environment="bar=2"', 'permitopen="foo:123",permitopen="bar:*"']
)
REFUSED = [
    "restrict,",
    ",",
    "BLAH",
    "BLAH,",
    "BLAH ",
    'tunnel="blah"',
    "no-cert-authority",
    "command=oops",
    "principals=estragon",
    "from=127.0.0.1",
    'environment=",=bah"',
    "foo:bar",
    "foo:",
    "foo",
    "[:",
]


@pytest.mark.parametrize("text", ACCEPTED)
@pytest.mark.parametrize("sshd", [EL8, EL9, U99])
def test_takes_what_openssh_takes(text, sshd):
    options, rest = key_options.scan_options(text, sshd)
    assert not rest.strip()
    again, _rest = key_options.scan_options(options.text, sshd)
    assert again == options


@pytest.mark.parametrize("text", REFUSED)
@pytest.mark.parametrize("sshd", [EL8, EL9, U99])
def test_refuses_what_openssh_refuses(text, sshd):
    with pytest.raises(Malformed):
        key_options.scan_options(text, sshd)
    with pytest.raises(LatchkeyError) as caught:
        parse_options(text, sshd, "options")
    assert caught.value.where == "options"
    assert caught.value.remedy


EQUAL = [
    ('restrict,command="x"', 'command="x",restrict'),
    ("no-pty,no-user-rc", "no-user-rc,NO-PTY"),
    ("no-pty ", "no-pty"),
    ("", "pty,agent-forwarding"),
    ("restrict,pty", "restrict,no-user-rc,pty"),
    ('from="10.0.0.1,!10.0.0.2"', 'from="!10.0.0.2,10.0.0.1"'),
    ('from="Host.Example"', 'from="host.example"'),
    ('permitopen="a:1",permitopen="b:2"', 'permitopen="b:2",permitopen="a:1"'),
    ('permitlisten="8080"', 'permitlisten="*:8080"'),
    ('environment="A=1",environment="B=2"', 'environment="B=2",environment="A=1"'),
    ('environment="A=1",environment="A=2"', 'environment="A=1"'),
    ("restrict,,pty", "restrict,pty"),
    ('tunnel="any"', 'tunnel="ANY"'),
]
DIFFERENT = [
    ("pty,restrict", "restrict,pty"),
    ("restrict", "no-pty,no-user-rc,no-agent-forwarding,no-port-forwarding,no-x11-forwarding"),
    ('command="a b"', 'command="a  b"'),
    ('command="A"', 'command="a"'),
    ('from="10.0.0.1"', 'from="10.0.0.2"'),
    ('from="10.0.0.1"', ""),
    ("no-touch-required", ""),
    ("cert-authority", ""),
    ('tunnel="1"', 'tunnel="2"'),
]


@pytest.mark.parametrize("one, other", EQUAL)
def test_equal_where_sshd_makes_no_difference(one, other):
    first, second = parse_options(one, EL9, "a"), parse_options(other, EL9, "b")
    assert first == second
    assert (first != second) is False
    assert hash(first) == hash(second)


@pytest.mark.parametrize("one, other", DIFFERENT)
def test_different_where_sshd_makes_one(one, other):
    assert parse_options(one, EL9, "a") != parse_options(other, EL9, "b")


def test_quotes_in_a_command_survive():
    options = parse_options('command="echo \\"hi\\" \\\\ \\n"', EL9, "options")
    assert options.command == 'echo "hi" \\\\ \\n'
    assert parse_options(options.text, EL9, "options").command == options.command


def test_the_last_of_one_name_wins_on_the_old_sshd_and_the_first_on_the_new():
    text = 'environment="A=1",environment="A=2"'
    assert parse_options(text, EL8, "o").environment == ("A=2",)
    assert parse_options(text, EL9, "o").environment == ("A=1",)


ERRORS = [
    ("nonsense-opt", EL9, Malformed, "unknown key option 'nonsense-opt'", "sshd(8)"),
    ("no-ptyy", EL9, Malformed, "no-ptyy", "Did you mean no-pty?"),
    ("restrit", EL9, Malformed, "restrit", "restrict"),
    ("no-restrict", EL9, Malformed, "no-restrict", "restrict"),
    ("verify-required", EL8, Unsupported, "needs OpenSSH 8.4, this host has 8.0", "Leave it out"),
    ("no-touch-required", EL8, Unsupported, "needs OpenSSH 8.2", "Leave it out"),
    ("restrict, pty", EL9, Malformed, "space outside quotes", "commas without spaces"),
    ("restrict,", EL9, Malformed, "unexpected end-of-options", "commas"),
    ("command=ls", EL9, Malformed, "missing start quote", 'name="value"'),
    ('command="ls', EL9, Malformed, "missing end quote", 'name="value"'),
    ('command="ls\\"', EL9, Malformed, "missing end quote", 'name="value"'),
    ('command="a",command="b"', EL9, Malformed, 'multiple "command" clauses', ""),
    ('from="10.0.0.1",from="10.0.0.2"', EL9, Malformed, 'multiple "from" clauses', ""),
    ('command="a\nb"', EL9, Malformed, "control character", "one line"),
    ('principals="ops"', EL9, Malformed, "principals on non-CA key", "cert-authority"),
    ('from="10.0.0.1/8"', EL9, Malformed, "'10.0.0.1/8' is not a network", "from="),
    ('from="a,,b"', EL9, Malformed, "empty item", "from="),
    ('expiry-time="tomorrow"', EL9, Malformed, "invalid expires time", ""),
    ('expiry-time="20991231Z"', EL8, Malformed, "invalid expires time", ""),
    ('permitopen="host"', EL9, Malformed, "invalid permission port", ""),
    ('permitopen="host:0"', EL9, Malformed, "invalid permission port", ""),
    ('permitopen="[::1:22"', EL9, Malformed, "invalid permission hostname", ""),
    ('environment="A-B=1"', EL9, Malformed, "invalid environment string", ""),
    ('tunnel="-1"', EL9, Malformed, "invalid tun device", ""),
]


@pytest.mark.parametrize("text, sshd, kind, reason, remedy", ERRORS)
def test_errors_name_the_option_and_the_remedy(text, sshd, kind, reason, remedy):
    with pytest.raises(kind) as caught:
        parse_options(text, sshd, "accounts[0].options")
    assert reason in caught.value.reason
    assert remedy in caught.value.remedy
    assert caught.value.where == "accounts[0].options"


TIMES = [
    ("20991231", U99, 4102358400),
    ("209912310102", U99, 4102362120),
    ("20991231010203", U99, 4102362123),
    ("20991231Z", U99, 4102358400),
    ("20991231utc", U99, 4102358400),
    ("20991231Z", EL9, 4102358400),
    ("20991231Z", EL8, 0),
    ("20991231Z", SshdVersion(8, 7, 1, "upstream"), 0),
    ("20990231", U99, 4076179200),
    ("2099123", U99, 0),
    ("20991331", U99, 0),
    ("19700101", U99, 0),
    ("00000101", U99, 0),
    ("2099123x", U99, 0),
    ("2099123x", EL8, 4099939200),
]


@pytest.mark.parametrize("text, sshd, moment", TIMES)
def test_reads_times_as_each_sshd_does(text, sshd, moment):
    assert key_options.parse_time(text, sshd) == moment


def test_times_without_zone_are_the_hosts_own():
    assert key_options.parse_time("20991231", U99, 3600) == 4102358400 - 3600
    assert key_options.parse_time("20991231Z", U99, 3600) == 4102358400


def test_the_earliest_of_several_times_counts():
    options = parse_options('expiry-time="20991231",expiry-time="20981231"', EL9, "o")
    assert key_options.expiry(options, EL9, 0) == key_options.parse_time("20981231", EL9)
    assert key_options.expiry(KeyOptions(), EL9, 0) == 0


SOURCES = [
    ("10.0.0.1", 1),
    ("10.0.0.0/8", 1),
    ("10.0.0.0/8,!10.0.0.1", 0),
    ("!10.0.0.2,10.0.0.0/8", 1),
    ("!10.0.0.0/8,*", 0),
    ("10.0.0.?", 1),
    ("10.*", 1),
    ("10.1", 1),
    ("0xa.1", 1),
    ("012.0.0.1", 1),
    ("*.example.org", 1),
    ("*.Example.ORG", 1),
    ("*.example.org,!client.*", 0),
    ("!*.example.org", 0),
    ("192.0.2.0/24", 0),
    ("10.0.0.1/8", -1),
    ("10.0.0.0/33", -1),
    ("", -1),
    ("10.0.0.1,", -1),
    ("!", -1),
    ("::1,10.0.0.1", 1),
    ("::ffff:10.0.0.1", 0),
    ("10.0.0.0/x", 0),
]


@pytest.mark.parametrize("patterns, answer", SOURCES)
def test_judges_from_lists_as_sshd_does(patterns, answer):
    assert source_list.match_source("client.example.org", "10.0.0.1", patterns) == answer


@pytest.mark.parametrize(
    "patterns, answer", [("2001:db8::/32", 1), ("2001:DB8::1", 1), ("2001:db8::1/32", -1), ("10.0.0.0/8", 0), ("*", 1)]
)
def test_judges_ipv6(patterns, answer):
    assert source_list.match_source("2001:db8::1", "2001:db8::1", patterns) == answer


@pytest.mark.parametrize(
    "text, pattern, answer",
    [
        ("abc", "a*c", True),
        ("abc", "a?c", True),
        ("abc", "*", True),
        ("", "*", True),
        ("", "?", False),
        ("abc", "a**c", True),
        ("abc", "a*b", False),
        ("aXbXc", "*X*c", True),
        ("a[b]", "a[b]", True),
        ("a" * 60 + "b", "*a" * 30 + "c", False),
    ],
)
def test_patterns(text, pattern, answer):
    assert source_list.match_pattern(text, pattern) is answer
