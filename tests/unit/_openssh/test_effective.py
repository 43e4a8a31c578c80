# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration comes to, where it stands, and who has to be asked about."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Unsupported
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.effective import (
    COMMAND_LINE,
    COMPILED,
    Connection,
    MatchBlock,
    Source,
    check,
    evaluate,
    evaluate_all,
    general,
    match_blocks,
    satisfies,
    shadowed,
    witnesses,
)
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.sshd_tree import Tree
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import EL8, EL9, U99, SshdVersion

MAIN = "/etc/ssh/sshd_config"
OWN = "/etc/ssh/sshd_config.d/00-00-latchkey.conf"
CLOUD = "/etc/ssh/sshd_config.d/50-cloud-init.conf"
ALICE = Connection("alice", ("alice", "admins"), "client.example.org", "10.0.0.5", "127.0.0.1", 22)
BOB = Connection("bob", ("bob", "sftp"), "other.example.net", "192.168.7.9", "127.0.0.1", 2222)


def tree(main, release=EL9, command_line=(), **files):
    named = {"own": OWN, "cloud": CLOUD}
    held = {named[name]: data for name, data in files.items()}
    held[MAIN] = main
    return Tree(MAIN, held, release, command_line=command_line)


STOCK = b"Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\nUsePAM yes\n"


def test_names_the_line_that_wins_and_those_that_lose():
    given = tree(STOCK, own=b"# ours\nPasswordAuthentication no\n", cloud=b"PasswordAuthentication yes\n")
    answer = evaluate(given, None)
    assert answer.rc == 0
    assert answer.values["passwordauthentication"] == ("no",)
    assert answer.sources["passwordauthentication"] == (Source(OWN, 2),)
    assert answer.sources["usepam"] == (Source(MAIN, 3),)
    assert answer.sources["permitrootlogin"] == (COMPILED,)
    assert shadowed(given, "PasswordAuthentication", None) == [Source(CLOUD, 1), Source(MAIN, 2)]
    assert shadowed(given, "PermitRootLogin", None) == []


def test_the_command_line_beats_the_file():
    given = tree(STOCK, command_line=("PasswordAuthentication=no", "AllowUsers=alice"))
    answer = evaluate(given, ALICE)
    assert answer.values["passwordauthentication"] == ("no",)
    assert answer.sources["passwordauthentication"] == (COMMAND_LINE,)
    assert shadowed(given, "passwordauthentication", ALICE) == [Source(MAIN, 2)]
    assert evaluate(tree(STOCK, command_line=("Include=/x",)), None).rc == 1
    assert evaluate(tree(STOCK, command_line=("NoSuch=1",)), None).rc == 1


def test_a_block_beats_what_is_global_for_whom_it_holds():
    given = tree(STOCK + b"Match User bob\n PasswordAuthentication yes\n", own=b"PasswordAuthentication no\n")
    ours, theirs = evaluate_all(given, [ALICE, BOB])
    assert ours.values["passwordauthentication"] == ("no",)
    assert theirs.values["passwordauthentication"] == ("yes",)
    assert theirs.sources["passwordauthentication"] == (Source(MAIN, 5),)
    assert Source(OWN, 1) in shadowed(given, "PasswordAuthentication", BOB)
    assert Source(MAIN, 5) not in shadowed(given, "PasswordAuthentication", ALICE)


def test_a_later_block_that_holds_too_loses():
    given = tree(b"X11Forwarding no\nMatch User bob\n X11Forwarding no\nMatch User *\n X11Forwarding yes\n")
    answer = evaluate(given, BOB)
    assert (answer.values["x11forwarding"], answer.sources["x11forwarding"]) == (("no",), (Source(MAIN, 3),))
    assert shadowed(given, "X11Forwarding", BOB) == [Source(MAIN, 1), Source(MAIN, 5)]
    assert evaluate(given, ALICE).values["x11forwarding"] == ("yes",)


def test_match_all_does_not_beat_what_only_may_be_global():
    given = tree(b"UsePAM no\nMatch all\n UsePAM yes\n X11Forwarding yes\n")
    assert evaluate(given, ALICE).values["usepam"] == ("no",)
    assert evaluate(given, ALICE).values["x11forwarding"] == ("yes",)
    assert evaluate(tree(b"Match all\n UsePAM yes\n"), ALICE).values["usepam"] == ("yes",)


@pytest.mark.parametrize("release, value", [(EL8, ("A=1",)), (EL9, ("A=2",))])
def test_set_env_in_a_block_has_no_effect_up_to_8_4(release, value):
    given = tree(b"SetEnv A=1\nMatch User alice\n SetEnv A=2\n", release)
    assert evaluate(given, ALICE).values["setenv"] == value
    assert evaluate(given, BOB).values["setenv"] == ("A=1",)


@pytest.mark.parametrize("release, value", [(EL9, ("A=1", "A=2")), (SshdVersion(9, 1, 1, "upstream"), ("A=1",))])
def test_set_env_takes_a_name_once_from_9_1_on(release, value):
    assert evaluate(tree(b"SetEnv A=1 A=2\n", release), None).values["setenv"] == value


def test_listens_on_addresses_as_given_and_on_ports_as_set():
    given = tree(b"ListenAddress 127.0.0.1\nListenAddress [::1]:2222\nPort 22\nPort 23\nListenAddress name:1\n")
    answer = evaluate(given, None)
    assert answer.values["listenaddress"] == ("127.0.0.1:22", "127.0.0.1:23", "[::1]:2222", "name:1")
    assert [source.line for source in answer.sources["listenaddress"]] == [1, 1, 2, 5]
    answer = evaluate(tree(b"AddressFamily inet6\nPort 22\nPort 23\n"), None)
    assert answer.values["listenaddress"] == ("[::]:22", "[::]:23")
    assert [source.line for source in answer.sources["listenaddress"]] == [2, 3]


def test_lists_name_a_line_per_item():
    answer = evaluate(tree(b"AllowUsers alice bob\nAllowUsers carol\nPort 22\nPort 2222\n"), None)
    assert answer.values["allowusers"] == ("alice", "bob", "carol")
    assert answer.sources["allowusers"] == (Source(MAIN, 1), Source(MAIN, 1), Source(MAIN, 2))
    assert answer.sources["port"] == (Source(MAIN, 3), Source(MAIN, 4))


def test_parts_of_a_value_can_stand_on_two_lines():
    answer = evaluate(tree(b"RekeyLimit 1G\nRekeyLimit 512M 1h\n"), None)
    assert answer.values["rekeylimit"] == ("1073741824 3600",)
    assert answer.sources["rekeylimit"] == (Source(MAIN, 1), Source(MAIN, 2))


@pytest.mark.parametrize(
    "lines, release, value, line",
    [
        (b"KbdInteractiveAuthentication no\n", EL8, "yes", 0),
        (b"ChallengeResponseAuthentication no\n", EL8, "no", 1),
        (b"ChallengeResponseAuthentication no\nKbdInteractiveAuthentication yes\n", EL8, "yes", 2),
        (b"KbdInteractiveAuthentication no\nChallengeResponseAuthentication yes\n", EL8, "yes", 2),
        (b"KbdInteractiveAuthentication no\n", EL9, "no", 1),
        (b"ChallengeResponseAuthentication no\n", EL9, "no", 1),
        (b"ChallengeResponseAuthentication yes\nKbdInteractiveAuthentication no\n", EL9, "yes", 1),
    ],
)
def test_keyboard_interactive_has_two_switches_on_8_0(lines, release, value, line):
    answer = evaluate(tree(lines, release), None)
    assert answer.values["kbdinteractiveauthentication"] == (value,)
    assert [source.line for source in answer.sources["kbdinteractiveauthentication"]] == [line]


@pytest.mark.parametrize(
    "main, release, line, words",
    [
        (b"Port 22\nPasswordAuthentification no\n", EL9, 2, ["Did you mean PasswordAuthentication?"]),
        (b"PubkeyAuthOptions none\n", EL8, 1, ["not known to OpenSSH 8.0"]),
        (b"PasswordAuthentication maybe\n", EL9, 1, ["does not take 'maybe'", "yes, no"]),
        (b"Port 22 23\n", EL8, 1, ["a word too many: '23'"]),
        (b"Match User bob\nMaxStartups 5\n", EL9, 2, ["MaxStartups may not stand in a Match block"]),
        (b"Match Address 10.0.0.1/8\n", EL9, 1, ["host part"]),
        (b"AllowUsers a@10.0.0.1/8\n", EL8, 1, ["a@10.0.0.1/8"]),
        (b"Subsystem sftp a\nSubsystem sftp b\n", EL9, 2, ["defined a second time"]),
        (b"UsePAM yes\nAuthorizedKeysCommand /x\n", EL9, 2, ["authorizedkeyscommanduser"]),
        (b"PubkeyAuthentication no\nAuthenticationMethods publickey\n", EL9, 2, ["Nobody could log in"]),
        (b"Ciphers bogus\n", EL9, 1, ["'bogus'"]),
        (b"Include /etc/ssh/sshd_config\n", EL9, 0, ["more than 16 deep"]),
        (b"AddressFamily inet6\nListenAddress 127.0.0.1\n", EL9, 2, ["not of AddressFamily inet6"]),
        (b"RDomain x\n", EL9, 1, ["not supported"]),
        (b"ListenAddress ''\n", EL8, 1, ["neither an address nor a host name"]),
        (b"ListenAddress :22\n", EL9, 1, ["neither an address nor a host name"]),
    ],
)
def test_names_the_line_sshd_refuses_and_why(main, release, line, words):
    found = check(tree(main, release))
    assert len(found) == 1
    assert (found[0].path, found[0].line, found[0].fatal) == (MAIN, line, True)
    for word in words:
        assert word in found[0].message
    assert evaluate(tree(main, release), None).rc == 255


@pytest.mark.parametrize("release", [EL8, EL9, U99])
def test_accepts_what_is_right(release):
    assert check(tree(STOCK + b"Match Group sftp\n ForceCommand internal-sftp\n", release)) == ()


def test_goes_on_after_lines_sshd_only_counts():
    found = check(tree(b"NoSuch 1\nPort 22\nNeither 2\n"))
    assert [one.line for one in found] == [1, 3]


def test_tells_what_has_no_effect_without_refusing():
    answer = evaluate(tree(b"UsePrivilegeSeparation yes\nProtocol 2\n"), None)
    assert answer.rc == 0
    assert [(one.line, one.fatal) for one in answer.diagnostics] == [(1, False)]


def test_a_drop_in_that_includes_its_own_directory_breaks_only_connections():
    given = tree(STOCK, own=b"PermitTTY no\n", cloud=b"Include /etc/ssh/sshd_config.d/*.conf\n")
    assert check(given) == ()
    answer = evaluate(given, ALICE)
    assert answer.rc == 255
    assert "more than 16 deep" in answer.diagnostics[-1].message


def test_a_file_may_be_included_twice():
    given = tree(STOCK + b"Include " + OWN.encode() + b"\n", own=b"AllowUsers alice\n")
    assert evaluate(given, ALICE).values["allowusers"] == ("alice", "alice")


def test_a_missing_main_file_is_refused():
    answer = evaluate(Tree(MAIN, {}, EL9), None)
    assert (answer.rc, answer.values) == (1, {})
    assert "does not exist" in answer.diagnostics[0].message


def test_a_block_in_a_drop_in_ends_with_it():
    given = tree(STOCK, own=b"Match User bob\n X11Forwarding yes\n", cloud=b"PermitTTY no\n")
    assert evaluate(given, ALICE).values["permittty"] == ("no",)
    assert evaluate(given, ALICE).values["x11forwarding"] == ("no",)
    assert evaluate(given, BOB).values["x11forwarding"] == ("yes",)


def test_blocks_of_files_included_in_a_block_have_both_conditions():
    given = tree(
        b"Match User alice,bob\n Include /etc/ssh/sshd_config.d/*\nMatch all\n PermitTTY no\n",
        own=b"X11Forwarding yes\nMatch Address 10.0.0.0/8\n PermitTunnel yes\nMatch all\n GatewayPorts yes\n",
    )
    assert match_blocks(given) == [
        MatchBlock(MAIN, 1, (("user", "alice,bob"),)),
        MatchBlock(OWN, 2, (("user", "alice,bob"), ("address", "10.0.0.0/8"))),
        MatchBlock(OWN, 4, (("user", "alice,bob"),)),
        MatchBlock(MAIN, 3, (("all", ""),)),
    ]
    for connection in (ALICE, BOB, ALICE._replace(user="carol")):
        values = evaluate(given, connection).values
        held = [satisfies(block, connection, EL9) for block in match_blocks(given)]
        assert held == [
            values["x11forwarding"] == ("yes",),
            values["permittunnel"] == ("yes",),
            values["gatewayports"] == ("yes",),
            values["permittty"] == ("no",),
        ]


def test_blocks_gather_the_conditions_of_all_files_above():
    given = tree(
        b"Match User alice\n Include /etc/ssh/sshd_config.d/00*\n",
        own=b"Match Group admins\n Include /etc/ssh/sshd_config.d/50*\n",
        cloud=b"Match Address 10.0.0.0/8\n PermitTTY no\n",
    )
    assert match_blocks(given)[-1].criteria == (("user", "alice"), ("group", "admins"), ("address", "10.0.0.0/8"))
    assert evaluate(given, ALICE).values["permittty"] == ("no",)
    assert evaluate(given, ALICE._replace(groups=("users",))).values["permittty"] == ("yes",)


@pytest.mark.parametrize(
    "criteria, release, alice, bob",
    [
        ((("user", "alice"),), EL9, True, False),
        ((("user", "!alice,*"),), EL9, False, True),
        ((("user", "!alice"),), EL9, False, False),
        ((("group", "adm*"),), EL9, True, False),
        ((("group", "!sftp,*"),), EL9, True, False),
        ((("host", "*.EXAMPLE.org"),), EL9, True, False),
        ((("address", "10.0.0.0/8"), ("user", "alice")), EL9, True, False),
        ((("address", "10.0.0.0/8"), ("user", "bob")), EL9, False, False),
        ((("address", "10.0.0.1/8"),), EL9, False, False),
        ((("localaddress", "127.0.0.*"),), EL9, True, True),
        ((("localport", "2222"),), EL9, False, True),
        ((("rdomain", "*"),), EL9, False, False),
        ((("invalid-user", ""),), U99, False, False),
        ((("all", ""),), EL8, True, True),
    ],
)
def test_criteria(criteria, release, alice, bob):
    block = MatchBlock(MAIN, 1, criteria)
    assert (satisfies(block, ALICE, release), satisfies(block, BOB, release)) == (alice, bob)


def test_an_account_that_does_not_exist_is_in_no_group():
    block = MatchBlock(MAIN, 1, (("group", "*"),))
    assert not satisfies(block, Connection("nosuch", (), "h", "10.0.0.5"), EL9)


def test_without_a_connection_local_port_cannot_be_judged():
    given = tree(b"Match LocalPort 22\n X11Forwarding yes\n")
    assert check(given) == ()
    assert evaluate(given, None).rc == 255
    assert evaluate(given, ALICE).values["x11forwarding"] == ("yes",)
    assert evaluate(given, ALICE._replace(lport=0)).values["x11forwarding"] == ("no",)


def test_9_9_crashes_on_a_subsystem_only_a_block_has():
    given = tree(b"Match User alice\n Subsystem sftp internal-sftp\n", U99)
    assert check(given) == ()
    assert evaluate(given, BOB).rc == 0
    answer = evaluate(given, ALICE)
    assert answer.rc == -11
    assert "crashes" in answer.diagnostics[-1].message


def test_shadowed_refuses_a_keyword_sshd_does_not_know():
    with pytest.raises(Unsupported):
        shadowed(tree(STOCK), "NoSuch", None)


@pytest.mark.parametrize("release", [SshdVersion(9, 2, 1, "debian"), SshdVersion(10, 4, 1, "upstream"), EL8])
def test_other_releases_have_defaults_too(release):
    answer = evaluate(tree(b"", release), None)
    assert answer.rc == 0
    assert len(answer.values) > 75
    assert answer.values["passwordauthentication"] == ("yes",)


# --- witnesses: who has to be asked about


def reached(given, found):
    return {tuple(satisfies(block, one, given.version) for block in match_blocks(given)) for one in found}


ACCOUNTS = [("root", ("root",)), ("alice", ("alice", "admins")), ("bob", ("bob", "sftp")), ("carol", ("carol",))]


def test_without_blocks_root_and_one_other_account_stand_for_all():
    found = witnesses(tree(STOCK), ACCOUNTS, ["198.51.100.7"])
    assert [one.user for one in found] == ["root", "alice"]
    assert {one.addr for one in found} == {"198.51.100.7"}


def test_accounts_that_criteria_tell_apart_are_asked_about_one_by_one():
    given = tree(STOCK + b"Match User bob\n PermitTTY no\nMatch Group admins\n PermitTTY yes\n")
    found = witnesses(given, ACCOUNTS, [])
    assert [one.user for one in found] == ["root", "alice", "bob", "carol"]
    assert found[1].groups == ("alice", "admins")


@pytest.mark.parametrize(
    "criteria",
    [
        b"Address 10.0.0.0/8",
        b"Address 10.1.2.3",
        b"Address 10.0.0.0/24,!10.0.0.0,!10.0.0.1",
        b"Address 192.168.*",
        b"Address 192.168.7.*,!192.168.7.1",
        b"Address !10.0.0.0/8,*",
        b"Address 2001:db8::/32",
        b"Host *.example.org",
        b"Host !bad.example.org,*.example.org",
        b"LocalAddress 127.0.0.0/8",
        b"LocalPort 2222",
        b"LocalPort 22",
        b"User deploy",
        b"User svc-*",
        b"Group sftp",
        b"User bob Address 10.0.0.0/8 Host h? LocalPort 2222",
        b"RDomain vrf*",
    ],
)
def test_every_criterion_is_met_by_one_and_missed_by_another(criteria):
    given = tree(b"Match " + criteria + b"\n X11Forwarding yes\n")
    found = witnesses(given, ACCOUNTS, ["198.51.100.7"])
    assert reached(given, found) == {(True,), (False,)}
    assert {one.user for one in found} >= {"root"}


def test_an_invalid_user_is_asked_about_where_a_block_is_for_such():
    given = tree(b"Match invalid-user User *\n RefuseConnection yes\n", U99)
    assert reached(given, witnesses(given, ACCOUNTS, [])) == {(True,), (False,)}


def test_blocks_are_met_together_as_far_as_that_is_possible():
    given = tree(
        b"Match Address 10.0.0.0/8\n X11Forwarding yes\n"
        b"Match Address 10.1.0.0/16\n PermitTTY no\n"
        b"Match User alice\n GatewayPorts yes\n"
        b"Match Address 192.168.0.0/16\n PermitTunnel yes\n"
    )
    found = reached(given, witnesses(given, ACCOUNTS, []))
    assert found == {
        (first, second, third, fourth)
        for first, second, fourth in [(False,) * 3, (True, False, False), (True, True, False), (False, False, True)]
        for third in (True, False)
    }


def test_no_account_is_asked_about_criteria_nobody_can_meet():
    given = tree(b"Match Group nobodys\n X11Forwarding yes\nMatch User alice Group sftp\n X11Forwarding yes\n")
    assert reached(given, witnesses(given, ACCOUNTS, [])) == {(False, False)}


def test_stays_small_for_many_accounts_and_says_the_same_again():
    accounts = [("user%d" % number, ("users", "team%d" % (number % 9))) for number in range(5000)]
    given = tree(
        b"Match Group team1,team2 Address 10.0.0.0/8\n X11Forwarding yes\n"
        b"Match User user1*\n X11Forwarding yes\n"
        b"Match Host *.example.org LocalPort 2222\n X11Forwarding yes\n"
    )
    found = witnesses(given, accounts, ["198.51.100.7", "10.0.0.9"])
    assert 12 <= len(found) < 100
    assert found == witnesses(given, accounts, ["198.51.100.7", "10.0.0.9"])
    blocks = match_blocks(given)
    classes = {tuple(satisfies(block, one, EL9) for block in blocks) for one in found}
    assert len(classes) == 8
    for name, groups in accounts[::97]:
        for other in found[:12]:
            held = tuple(satisfies(block, other._replace(user=name, groups=groups), EL9) for block in blocks)
            assert held in classes


def test_many_blocks_are_still_all_reached():
    lines = b"".join(
        b"Match User user%d Address 10.%d.0.0/16 Host h%d.example.org LocalPort %d\n X11Forwarding yes\n"
        % (number, number, number, 1000 + number)
        for number in range(25)
    )
    given = tree(lines + b"Match User *\n PermitTTY no\nMatch Group sftp\n GatewayPorts yes\n")
    accounts = [("user%d" % number, ("sftp",)) for number in range(20)]
    found = witnesses(given, accounts, [])
    held = reached(given, found)
    for place in range(27):
        assert any(one[place] for one in held), place
    assert {one.user for one in found} >= {name for name, _groups in accounts}
    assert len(found) < 200


# --- algorithm lists


@pytest.mark.parametrize(
    "lines, release, value",
    [
        (b"Ciphers aes256-ctr\n", EL8, "aes256-ctr"),
        (b"Ciphers aes*-gcm@openssh.com\n", EL9, None),
        (b"Ciphers -aes*,chacha*,x\n", EL9, ""),
        (b"Ciphers ^aes256-ctr\n", EL8, None),
        (b"Ciphers bogus\n", SshdVersion(9, 9, 1, "redhat"), "bogus"),
        (b"Ciphers aes256-ctr,aes256-ctr\n", EL9, "aes256-ctr"),
    ],
)
def test_algorithm_lists(lines, release, value):
    answer = evaluate(tree(lines, release), None)
    assert (answer.rc != 0) == (value is None)
    if value is not None:
        assert answer.values["ciphers"] == (value,)


def test_red_hats_own_algorithms_of_later_releases_are_not_refused():
    given = tree(b"KexAlgorithms mlkem768nistp256-sha256,curve25519-sha256\n", SshdVersion(9, 9, 1, "redhat"))
    assert check(given) == ()
    assert evaluate(given, None).values["kexalgorithms"] == ("mlkem768nistp256-sha256,curve25519-sha256",)


def test_10_4_prints_prohibit_password():
    release = SshdVersion(10, 4, 1, "upstream")
    assert evaluate(tree(b"", release), None).values["permitrootlogin"] == ("prohibit-password",)
    given = tree(b"PermitRootLogin without-password\n", release)
    assert evaluate(given, None).values["permitrootlogin"] == ("prohibit-password",)
    assert evaluate(given._replace(version=U99), None).values["permitrootlogin"] == ("without-password",)


def test_what_is_general_can_be_said_of_a_tree_that_needs_a_port():
    """sshd -T alone ends with 255 on such a tree (seen on 8.0, 8.7 and 9.9)."""
    text = b"PermitRootLogin yes\nMatch LocalPort 2222\nPermitRootLogin no\n"
    tree = Tree("/etc/ssh/sshd_config", {"/etc/ssh/sshd_config": text}, EL9)
    assert evaluate(tree, None).rc == 255
    assert general(tree).values["permitrootlogin"] == ("yes",)
