# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document of one sshd_config file: what is read, and what edits do."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Malformed, Unsupported
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.sshd_config import parse, write_line
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import EL8, EL9, U99

PATH = "/etc/ssh/sshd_config"
STOCK = b"""# Package sshd_config
#PasswordAuthentication yes

Include /etc/ssh/sshd_config.d/*.conf
#PermitRootLogin prohibit-password
AuthorizedKeysFile\t.ssh/authorized_keys
Match User bob
    X11Forwarding no
Match Group sftp Address 10.0.0.0/8
    ForceCommand internal-sftp -l INFO # really
"""


def document(data, release=EL9):
    return parse(data, PATH, release)


def test_reads_keywords_words_and_blocks():
    lines = document(STOCK).lines
    assert [(line.number, line.keyword, line.args, line.block) for line in lines] == [
        (1, None, (), None),
        (2, None, (), None),
        (3, None, (), None),
        (4, "include", ("/etc/ssh/sshd_config.d/*.conf",), None),
        (5, None, (), None),
        (6, "authorizedkeysfile", (".ssh/authorized_keys",), None),
        (7, "match", ("User", "bob"), 0),
        (8, "x11forwarding", ("no",), 0),
        (9, "match", ("Group", "sftp", "Address", "10.0.0.0/8"), 1),
        (10, "forcecommand", ("internal-sftp -l INFO # really",), 1),
    ]
    assert [tuple(one) for one in document(STOCK).matches] == [
        (7, (("user", "bob"),)),
        (9, (("group", "sftp"), ("address", "10.0.0.0/8"))),
    ]


def test_an_older_sshd_reads_the_same_bytes_differently():
    assert document(STOCK, EL8).lines[9].args == ("internal-sftp -l INFO",)
    assert document(b"SetEnv A=1\nAcceptEnv A=1\n", EL8).lines[0].args == ("A=1",)
    assert document(b"SetEnv A=1\nAcceptEnv A=1\n", EL8).lines[1].args == ("A", "1")


def test_keeps_the_spelling_beside_the_keyword_it_stands_for():
    line = document(b"CHALLENGEResponseAuthentication=no\n").lines[0]
    assert (line.spelled, line.keyword, line.args) == (
        "CHALLENGEResponseAuthentication",
        "kbdinteractiveauthentication",
        ("no",),
    )
    assert document(b"ChallengeResponseAuthentication no", EL8).lines[0].keyword == "challengeresponseauthentication"


@pytest.mark.parametrize(
    "data, release, words",
    [
        (b"PasswordAuthentification no\n", EL9, ["unknown keyword", "Did you mean PasswordAuthentication?"]),
        (b"PubkeyAuthOptions none\n", EL8, ["is not known to OpenSSH 8.0"]),
        (b"Banner\n", EL9, ["Banner has no value"]),
        (b'Banner "/x\n', EL9, ["quote that is not closed"]),
        (b"Match\n", EL9, ["Match has no value"]),
        (b"Match User\n", EL9, ["Match user has no argument"]),
        (b"Match Bogus x\n", U99, ["does not know the criterion 'bogus'"]),
        (b"Match User=alice\n", U99, ["has no argument"]),
    ],
)
def test_says_what_is_wrong_with_a_line(data, release, words):
    problem = document(data, release).lines[0].problem
    for word in words:
        assert word in problem


@pytest.mark.parametrize("data", [b"Match User=alice\n", b"PasswordAuthentication=no\n", b"# x\n", b"\xff\xfe\n"])
def test_has_no_problem_with_what_is_right(data):
    assert document(data, EL9).lines[0].problem is None or data.startswith(b"\xff")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"Port 22",
        b"Port 22\r\nPort 23",
        b"\0\0\n\0Port 22\0\n\n",
        b"\xef\xbb\xbfPort 22\n",
        bytes(range(256)) * 3,
        b"Match all\nMatch\n\tMatch User\r\r\n\f\n",
    ],
)
@pytest.mark.parametrize("release", [EL8, EL9, U99])
def test_renders_what_it_parsed(data, release):
    assert document(data, release).render() == data


def test_renders_random_bytes(rng):
    pieces = [b"\n", b"\r\n", b"\0", b" ", b"\t", b'"', b"'", b"#", b"\\", b"=", b"Match", b"Port", b"\xff", b"Include"]
    for _number in range(3000):
        data = b"".join(rng.choice(pieces) for _piece in range(rng.randrange(12)))
        for release in (EL8, EL9, U99):
            assert document(data, release).render() == data, data


def test_nul_joins_lines_as_sshd_reads_them():
    lines = document(b"Port 22\0\nUsePAM yes\nPrintMotd no\n").lines
    assert [(line.keyword, line.args) for line in lines] == [
        ("port", ("22UsePAM", "yes")),
        (None, ()),
        ("printmotd", ("no",)),
    ]


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", b"Port 9\n"),
        (b"# only", b"# only\nPort 9\n"),
        (b"# only\n", b"# only\nPort 9\n"),
        (b"\n# top\nUsePAM yes\n", b"\n# top\nPort 9\nUsePAM yes\n"),
        (b"Match all\n", b"Port 9\nMatch all\n"),
        (b"# a\r\nUsePAM yes\r\n", b"# a\r\nPort 9\r\nUsePAM yes\r\n"),
        (b"# a\0b\nUsePAM yes\n", b"Port 9\n# a\0b\nUsePAM yes\n"),
    ],
)
def test_first_line_stands_above_every_directive(data, expected):
    edited = document(data).with_first_line("Port 9")
    assert edited.render() == expected
    directives = [line for line in edited.lines if line.spelled]
    assert (directives[0].keyword, directives[0].args, directives[0].block) == ("port", ("9",), None)


@pytest.mark.parametrize("text", ["Port 9\nPort 10", "Port 9\r", "Port\0"])
def test_refuses_a_first_line_that_is_more_than_one(text):
    with pytest.raises(Malformed, match="line break"):
        document(b"").with_first_line(text)


def test_takes_a_line_out():
    edited = document(STOCK).without_line(7)
    assert edited.render() == STOCK.replace(b"Match User bob\n", b"")
    assert [section.number for section in edited.matches] == [8]
    assert edited.lines[6].block is None


@pytest.mark.parametrize("number", [0, 11, -1])
def test_refuses_to_take_out_what_is_not_there(number):
    with pytest.raises(Malformed) as caught:
        document(STOCK).without_line(number)
    assert caught.value.where == PATH


@pytest.mark.parametrize(
    "data, name, args, expected",
    [
        (b"", "usepam", ["yes"], b"UsePAM yes\n"),
        (b"Port 22", "UsePAM", ["yes"], b"Port 22\nUsePAM yes\n"),
        (
            b"Port 22\nMatch all\n X11Forwarding no\n",
            "UsePAM",
            ["yes"],
            b"Port 22\nUsePAM yes\nMatch all\n X11Forwarding no\n",
        ),
        (b"#usepam no\nPort 22\n", "UsePAM", ["yes"], b"#usepam no\nUsePAM yes\nPort 22\n"),
        (b"# UsePAM=no\r\nPort 22\r\n", "UsePAM", ["yes"], b"# UsePAM=no\r\nUsePAM yes\r\nPort 22\r\n"),
        # A remark that only begins with the same letters is not its default.
        (b"#UsePAMx no\nPort 22\n", "UsePAM", ["yes"], b"#UsePAMx no\nPort 22\nUsePAM yes\n"),
        # What comes first wins, so it goes above the lines that set the same, whatever they call it.
        (b"#KeepAlive x\nKeepAlive no\n", "TCPKeepAlive", ["yes"], b"#KeepAlive x\nTCPKeepAlive yes\nKeepAlive no\n"),
        (
            b"Match all\n#UsePAM yes\nX11Forwarding no\n",
            "X11Forwarding",
            ["yes"],
            b"X11Forwarding yes\nMatch all\n#UsePAM yes\nX11Forwarding no\n",
        ),
        (b"", "Banner", ["/etc/a b"], b'Banner "/etc/a b"\n'),
        (b"", "ForceCommand", ["echo 'a'"], None),
        (b"", "AllowUsers", ["alice", "bob"], b"AllowUsers alice bob\n"),
    ],
)
def test_inserts_a_global_line(data, name, args, expected):
    if expected is None:
        assert document(data).with_global(name, args).render() == b"ForceCommand echo 'a'\n"
        return
    edited = document(data).with_global(name, args)
    assert edited.render() == expected
    assert next(line for line in edited.find(name) if line.block is None).args == tuple(args)


@pytest.mark.parametrize("arg", ["", "a#b", 'a"b', "a'b", "a\\b", "a\nb", "a\0b"])
def test_refuses_values_releases_read_differently(arg):
    with pytest.raises(Malformed, match="Banner cannot be given"):
        write_line("Banner", [arg], EL9)


def test_refuses_to_write_what_sshd_would_not_know():
    with pytest.raises(Unsupported, match="8.0"):
        document(b"", EL8).with_global("RequiredRSASize", ["2048"])
    with pytest.raises(Malformed, match="needs a value"):
        write_line("Port", [], EL9)


def test_documents_do_not_change():
    before = document(STOCK)
    before.with_first_line("Port 9")
    before.without_line(1)
    assert before.render() == STOCK
