# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How lines and words are cut, by release."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import tokens
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import EL8, EL9


@pytest.mark.parametrize(
    "data, el8, el9",
    [
        (b"", [], []),
        (b"Port 22", [(1, "Port 22")], [(1, "Port 22")]),
        (b"\n\n  \tPort 22\n", [(3, "Port 22")], [(3, "Port 22")]),
        (b"# a\nPort 22\n", [(2, "Port 22")], [(1, "# a"), (2, "Port 22")]),
        (b"Banner /etc/a#b\n", [(1, "Banner /etc/a")], [(1, "Banner /etc/a#b")]),
        # A NUL byte ends what sshd keeps of a line, its newline included.
        (b"Port 22\0x\n PidFile /x\n", [(1, "Port 22PidFile /x")], [(1, "Port 22PidFile /x")]),
        (
            b"Port 22\r\nUsePAM yes\r\n",
            [(1, "Port 22\r"), (2, "UsePAM yes\r")],
            [(1, "Port 22\r"), (2, "UsePAM yes\r")],
        ),
        # A lone CR ends no line.
        (b"Port 22\rPort 23\n", [(1, "Port 22\rPort 23")], [(1, "Port 22\rPort 23")]),
    ],
)
def test_lines(data, el8, el9):
    # Comment lines are dropped when sshd 8.0 loads the file, later when it reads them.
    assert [tuple(line) for line in tokens.logical_lines(data, EL8)] == el8
    assert [tuple(line) for line in tokens.logical_lines(data, EL9)] == el9


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Port 22", ("Port", "22")),
        ("Port=22", ("Port", "22")),
        ("Port = 22", ("Port", "22")),
        ("Port\t=\t22 ", ("Port", "22")),
        ("Port", ("Port", None)),
        ("Port\x0c22", ("Port\x0c22", None)),
        ("Port 22\x0c\r", ("Port", "22")),
        ('"Port" 22', ("Port", "22")),
        ("=22", ("22", None)),
        ("#Port 22", None),
        ("# x", None),
        ('"Port 22', None),
    ],
)
def test_keyword_and_rest(text, expected):
    found = tokens.split_keyword(text)
    assert (None if found is None else tuple(found)) == expected


@pytest.mark.parametrize(
    "text, words",
    [
        ("a b", ["a", "b"]),
        ("a=b", ["a", "b"]),
        ('"a b" c', ["a b", "c"]),
        ('A="x y"', ["A", "x y"]),
        ("'a b'", ["'a", "b'"]),
        ("a\\ b", ["a\\", "b"]),
        ('a "b', ["a"]),
        ('"" a', []),
    ],
)
def test_words_up_to_8_6(text, words):
    assert tokens.Args(text, EL8).remaining() == words


@pytest.mark.parametrize(
    "text, words",
    [
        ("a b", ["a", "b"]),
        ("a=b", ["a=b"]),
        ('"a b" c', ["a b", "c"]),
        ("'a b'", ["a b"]),
        ("a\\ b", ["a b"]),
        ("'a\\ b'", ["a\\ b"]),
        ("a\\nb", ["a\\nb"]),
        ("a # b", ["a"]),
        ("a#b", ["a#b"]),
        ('"" a', ["", "a"]),
        ('a"b c"d', ["ab cd"]),
        ('"\'"', ["'"]),
        ("a\rb", ["a\rb"]),
    ],
)
def test_words_from_8_7_on(text, words):
    args = tokens.Args(text, EL9)
    assert args.valid
    assert args.remaining() == words


@pytest.mark.parametrize("text", ['"a', "'a", "a'", "'\"", '"a\\"'])
def test_an_open_quote_is_an_error_from_8_7_on(text):
    assert not tokens.Args(text, EL9).valid


def test_what_is_left_over():
    old = tokens.Args("22 23", EL8)
    assert (old.next(), old.leftover()) == ("22", "23")
    old = tokens.Args('22 ""', EL8)
    assert (old.next(), old.leftover()) == ("22", None)
    new = tokens.Args('22 ""', EL9)
    assert (new.next(), new.leftover()) == ("22", "")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"caf\xc3\xa9", bytes(range(256))])
def test_decoding_loses_nothing(data):
    assert tokens.encode(tokens.decode(data)) == data


def test_lower_leaves_other_letters_alone():
    assert tokens.lower("\u212aA\u00c9\u0130") == "\u212aa\u00c9\u0130"
