# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authorized_keys document: nothing of anybody else's is lost, and edits do what sshd will see.

The first tests take one by one what editors of this file are known to get wrong.
"""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError, Malformed
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.authorized_keys import (
    AuthorizedKeys,
    LoginRequest,
    authorises,
    parse_line,
)
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.key_options import KeyOptions, parse_options
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.keys import parse_public_key
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import EL8, EL9

K1 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF12zMF6tQrTaNA1r6e4tPAOP+/ncrHaROzuCQvxFhLQ"
K2 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILV8uBCEJOsX+OzEpTla1eIULWkTrsyyNHxKw2JN9SBr"
CA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK1GHeKj0tzR3PmKQvqbd4ZFXjAFKv3sb/aC9W3hapgF"
NEW = parse_public_key(K2 + " new@example", "key")
OLD = parse_public_key(K1, "key")


def read(text):
    data = text if isinstance(text, bytes) else text.encode()
    return AuthorizedKeys.parse(data, EL9)


def options(text):
    return parse_options(text, EL9, "options")


def request(addr="10.0.0.1", now=1790000000):
    return LoginRequest(EL9, "alice", addr, addr, now)


def problems(text):
    return [entry.problem for entry in read(text).entries]


def assert_only_appended(before, line=NEW.text + "\n", guard=""):
    data = before if isinstance(before, bytes) else before.encode()
    after = read(data).with_key(NEW, None).render()
    assert after == data + guard.encode() + line.encode()
    assert authorises(read(after), NEW, request()).ok


def test_a_last_line_without_end_is_not_glued_to_the_new_key():
    assert_only_appended("# end comment", guard="\n")
    assert_only_appended(K1 + " x", guard="\n")


def test_a_key_type_inside_a_quoted_command_is_part_of_the_command():
    text = 'command="ssh-keygen -t ssh-rsa -f x" %s\n' % K1
    assert_only_appended(text)
    entry = read(text).entries[0]
    assert entry.options.command == "ssh-keygen -t ssh-rsa -f x"
    assert entry.key.blob == OLD.blob


def test_runs_of_spaces_inside_quotes_stay():
    text = 'command="echo  a   b" %s\n' % K1
    assert_only_appended(text)
    assert read(text).entries[0].options.command == "echo  a   b"


def test_one_key_with_two_sources_keeps_both_lines():
    text = 'from="1.1.1.1" %s\nfrom="2.2.2.2" %s\n' % (K1, K1)
    assert_only_appended(text)
    assert [authorises(read(text), OLD, request(addr)).line for addr in ("1.1.1.1", "2.2.2.2", "3.3.3.3")] == [1, 2, 0]


def test_a_ca_line_and_the_same_key_as_a_plain_key_are_two_grants():
    text = 'cert-authority,principals="x" %s\n%s\n' % (K1, K1)
    assert_only_appended(text)
    assert read(text).without_key(OLD).render().decode() == text.splitlines(True)[0]
    only_ca = read(text.splitlines(True)[0])
    assert not authorises(only_ca, OLD, request()).ok
    assert only_ca.with_key(OLD, None).render().decode() == text.splitlines(True)[0] + K1 + "\n"


def test_repeated_blank_lines_and_comments_stay_where_they_are():
    assert_only_appended("\n\n# a\n# a\n\n%s\n# a\n\n\n" % K1)


def test_a_line_that_is_commented_out_is_a_comment():
    text = "#no-pty %s\n" % K1
    assert read(text).entries == ()
    assert read(text).without_key(OLD).render().decode() == text
    assert read(text).with_key(OLD, None).render().decode() == text + K1 + "\n"


@pytest.mark.parametrize("line", ["ssh-rsa", "ssh-ed25519 ", "no-pty", "no-pty ssh-rsa", "ssh-rsa #", '"', "\\", ","])
def test_a_line_without_a_key_is_kept_and_named(line):
    assert_only_appended(line + "\n")
    assert problems(line + "\n")[0]


def test_bytes_that_are_no_utf8_stay():
    assert_only_appended(K1.encode() + b" caf\xe9\n# \xff\xfe\n")


def test_a_line_separator_inside_a_comment_does_not_split_the_line():
    text = "%s a\u2028b\u0085c\x0cd\x0be\n" % K1
    assert_only_appended(text)
    assert len(read(text).entries) == 1


def test_crlf_files_stay_crlf():
    text = "# a\r\n%s b\r\n" % K1
    assert_only_appended(text, NEW.text + "\r\n")
    assert_only_appended("# a\r\n%s" % K1, NEW.text + "\r\n", guard="\r\n")
    assert_only_appended("# a\n%s b\r\n" % K1)
    assert read(text).entries[0].key.comment == "b"


def test_a_header_stays_when_a_key_is_removed():
    assert read("# managed\n%s\n" % K1).without_key(OLD).render() == b"# managed\n"


def test_options_and_comment_on_the_host_stay_when_none_are_asked_for():
    document = read('command="x",restrict %s c\n' % K1)
    assert document.with_key(OLD, None) is document


def test_a_trailing_space_in_options_makes_no_change():
    document = read("no-pty %s\n" % K1)
    assert document.with_key(OLD, options("no-pty ")) is document


@pytest.mark.parametrize(
    "line, reason",
    [
        ("ssh-ed25519 AAAA%%%%", "not base64"),
        ("ssh-rsa " + K1.split()[1], "the line says 'ssh-rsa', the key data 'ssh-ed25519'"),
        ("nonsense-opt,no-pty " + K1, "bad key options: unknown key option"),
        ("from=1.2.3.4 " + K1, "bad key options: missing start quote"),
        ('from="1.2.3.4 ' + K1, "a quote is not closed"),
        ('from="10.0.0.1/8" ' + K1, "invalid from criteria"),
        ('principals="a" ' + K1, "principals on non-CA key"),
        ("\ufeff" + K1, "byte order mark"),
        ("\x00" + K1, "NUL byte"),
        ("restrict, pty " + K1, "no key"),
        ("SSH-ED25519 " + K1.split()[1], "no key"),
    ],
)
def test_a_line_that_sshd_ignores_is_not_taken_for_a_grant(line, reason):
    document = read(line + "\n")
    assert reason in document.entries[0].problem
    assert not authorises(document, OLD, request()).ok
    assert document.with_key(OLD, None).render().decode() == line + "\n" + K1 + "\n"


def test_new_keys_are_appended_even_where_there_are_duplicates():
    assert_only_appended("%s\n%s\n# x\n%s\n" % (K1, K1, K1))


def test_a_key_that_is_there_changes_nothing():
    for text in (NEW.text, K2 + "\n", "  no-pty\t%s  other\r\n" % K2, "# a\n\n%s" % K2):
        document = read(text)
        assert document.with_key(NEW, None) is document


def test_other_options_replace_the_line_in_place():
    text = "# a\nno-pty %s old comment\n# b\n%s\n" % (K1, K2)
    changed = read(text).with_key(OLD, options('restrict,from="10.0.0.0/8"'))
    line = 'restrict,from="10.0.0.0/8" %s old comment' % K1
    assert changed.render().decode() == text.replace("no-pty %s old comment" % K1, line)
    assert [entry.number for entry in changed.entries] == [2, 4]
    assert changed.with_key(OLD, options('from="10.0.0.0/8",restrict')) is changed


def test_a_replaced_line_keeps_its_line_end_or_its_lack_of_one():
    assert read("no-pty %s\r\n# x" % K1).with_key(OLD, KeyOptions()).render().decode() == "%s\r\n# x" % K1
    assert read("no-pty %s" % K1).with_key(OLD, KeyOptions()).render().decode() == K1


def test_a_comment_that_the_key_brings_replaces_the_old_one_only_with_the_line():
    key = parse_public_key(K1 + " mine", "key")
    assert read("%s old\n" % K1).with_key(key, None).render().decode() == "%s old\n" % K1
    assert read("%s old\n" % K1).with_key(key, options("no-pty")).render().decode() == "no-pty %s mine\n" % K1


def test_exactly_these_options_leaves_no_line_that_grants_more():
    text = 'from="1.1.1.1" %s a\n# x\n%s b\n%s\n%s c\n' % (K1, K1, K2, K1)
    wanted = [options('from="1.1.1.1"')]
    changed = read(text).with_only(OLD, wanted)
    assert changed.render().decode() == 'from="1.1.1.1" %s a\n# x\n%s\n' % (K1, K2)
    assert changed.with_only(OLD, wanted) is changed
    two = changed.with_only(OLD, wanted + [options("restrict")])
    assert two.render().decode() == changed.render().decode() + "restrict %s\n" % K1
    assert [entry.number for entry in two.entries] == [1, 3, 4]
    other = two.with_only(OLD, [options("no-pty"), options("no-user-rc")])
    assert other.render().decode() == "no-pty %s a\n# x\n%s\nno-user-rc %s\n" % (K1, K2, K1)


def test_every_line_of_a_removed_key_goes_good_or_bad():
    text = "%s\nfoo %s\n%s keep\nrestrict %s\ncert-authority %s\ncert-authority,foo %s\n" % (K1, K1, K2, K1, K1, K1)
    left = read(text).without_key(OLD)
    assert left.render().decode() == "%s keep\ncert-authority %s\ncert-authority,foo %s\n" % (K2, K1, K1)
    assert [entry.number for entry in left.entries] == [1, 2, 3]
    assert left.without_key(OLD) is left


def test_an_edit_leaves_the_original_as_it_was():
    document = read(K1)
    changed = document.with_key(NEW, None)
    assert document.render() == K1.encode()
    assert [(e.number, e.raw) for e in changed.entries] == [(e.number, e.raw) for e in read(changed.render()).entries]


def test_an_empty_file_takes_a_key():
    assert read("").with_key(NEW, None).render().decode() == NEW.text + "\n"


def test_a_security_key_is_a_grant_only_where_sshd_knows_the_type():
    line = (
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIF12zMF6tQrTaNA1r6e4tPAOP+/ncrHaROzu"
        "CQvxFhLQAAAABHNzaDo="
    )
    key = parse_public_key(line, "key")
    new, old = AuthorizedKeys.parse(line.encode(), EL9), AuthorizedKeys.parse(line.encode(), EL8)
    assert authorises(new, key, request()).ok
    assert not authorises(old, key, request()._replace(version=EL8)).ok
    assert old.entries[0].problem


def test_an_expired_line_falls_through_to_a_later_one():
    text = 'expiry-time="20200101" %s\n%s\n' % (K1, K1)
    verdict = authorises(read(text), OLD, request())
    assert (verdict.ok, verdict.line, verdict.why) == (True, 2, ("line 1: entry expired",))
    assert authorises(read(text), OLD, request(now=1500000000)).line == 1


def test_says_which_lines_of_the_key_were_passed_over():
    text = 'foo %s\nfrom="192.0.2.1" %s\n%s\n' % (K1, K1, K2)
    verdict = authorises(read(text), OLD, request())
    assert not verdict.ok
    assert verdict.why[0] == "line 1: bad key options: unknown key option"
    assert verdict.why[1].startswith("line 2: not from a permitted host (host=10.0.0.1")
    assert len(verdict.why) == 2


def test_options_are_named_as_sshds_log_names_them():
    text = 'restrict,command="x",expiry-time="20991231",tunnel="1",environment="A=1" %s\n' % K1
    assert authorises(read(text), OLD, request()).options == "commandexpires tun=1"
    permitted = request()._replace(permit_user_environment=True)
    assert authorises(read(text), OLD, permitted).options == "command environmentexpires tun=1"


def test_reads_a_wanted_line_with_and_without_options():
    assert parse_line(K1 + " c", EL9, "key") == (None, parse_public_key(K1 + " c", "key"))
    found, key = parse_line('command="a b",no-pty %s c' % K1, EL9, "key")
    assert (found, key.comment) == (options('no-pty,command="a b"'), "c")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "no public key"),
        ("ssh-rsa", "no key data"),
        ("nonsense-opt " + K1, "unknown key option 'nonsense-opt'"),
        ("from=10.0.0.1 " + K1, "missing start quote"),
        (K1 + "\n" + K2, "several lines"),
        ('command="x"', "not a key type"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "private key"),
        ("no-pty ssh-rsa " + K1.split()[1], "the line says"),
    ],
)
def test_refuses_a_wanted_line_that_would_not_work(text, reason):
    with pytest.raises(LatchkeyError) as caught:
        parse_line(text, EL9, "keys[0]")
    assert reason in caught.value.reason
    assert caught.value.where == "keys[0]"


def test_a_key_with_a_comment_of_two_lines_never_reaches_the_file():
    with pytest.raises(Malformed):
        parse_public_key(K1 + " a\n" + K2, "key")


def test_five_thousand_lines_are_no_burden(rng):
    lines = [K1[:-5] + "%05d" % number + " c%d\n" % rng.randrange(10) for number in range(10000, 15000)]
    document = read("".join(lines))
    assert len(document.with_key(NEW, None).entries) == 5001
