# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each release makes of a keyword."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Unsupported
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import directives, keyword_table
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.keywords import (
    canonical,
    keyword,
    known_names,
    lookup,
)
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import EL8, EL9, U99, SshdVersion

D92 = SshdVersion(9, 2, 1, "debian")
U101 = SshdVersion(10, 1, 1, "upstream")


@pytest.mark.parametrize(
    "name, release, expected",
    [
        ("passwordauthentication", EL8, "PasswordAuthentication"),
        ("MACS", EL9, "MACs"),
        ("gssapienablek5users", EL9, "GSSAPIEnablek5users"),
        ("ipqos", U99, "IPQoS"),
    ],
)
def test_spells_a_keyword_as_usual(name, release, expected):
    assert canonical(name, release) == expected


@pytest.mark.parametrize(
    "name, release, key",
    [
        ("ChallengeResponseAuthentication", EL8, "challengeresponseauthentication"),
        ("ChallengeResponseAuthentication", EL9, "kbdinteractiveauthentication"),
        ("SKeyAuthentication", U99, "kbdinteractiveauthentication"),
        ("DSAAuthentication", EL8, "pubkeyauthentication"),
        ("PubkeyAcceptedKeyTypes", EL8, "pubkeyacceptedkeytypes"),
        ("PubkeyAcceptedKeyTypes", EL9, "pubkeyacceptedalgorithms"),
        ("HostDSAKey", EL9, "hostkey"),
        ("KeepAlive", EL9, "tcpkeepalive"),
        ("RSAMinSize", EL9, "requiredrsasize"),
        ("GSSAPICleanupCreds", EL8, "gssapicleanupcredentials"),
    ],
)
def test_resolves_other_spellings(name, release, key):
    assert keyword(name, release).key == key


@pytest.mark.parametrize(
    "name, release, in_match",
    [
        ("PasswordAuthentication", EL8, True),
        ("MaxStartups", U99, False),
        ("IgnoreRhosts", EL8, False),
        ("IgnoreRhosts", EL9, True),
        ("Subsystem", EL9, False),
        ("Subsystem", U99, True),
        ("ChallengeResponseAuthentication", EL8, False),
        ("ChallengeResponseAuthentication", EL9, True),
        ("DSAAuthentication", EL9, False),
    ],
)
def test_knows_what_may_stand_in_a_match_block(name, release, in_match):
    assert keyword(name, release).in_match is in_match


@pytest.mark.parametrize(
    "name, release, repeat",
    [
        ("PasswordAuthentication", EL8, "first"),
        ("AllowUsers", EL8, "append"),
        ("MaxStartups", U99, "last"),
        ("MaxStartups", U101, "first"),
        ("IPQoS", U101, "last"),
        ("PerSourceMaxStartups", EL9, "last"),
        ("PerSourceMaxStartups", D92, "last"),
        ("PerSourceMaxStartups", U99, "first"),
        ("Subsystem", EL9, "fatal"),
        ("Subsystem", SshdVersion(9, 4, 1, "upstream"), "fatal"),
        ("Subsystem", SshdVersion(9, 5, 1, "upstream"), "by-name"),
        ("RekeyLimit", EL8, "parts"),
        ("FingerprintHash", U99, "last"),
    ],
)
def test_knows_what_a_second_line_does(name, release, repeat):
    assert keyword(name, release).repeat == repeat


@pytest.mark.parametrize("name", ["UsePrivilegeSeparation", "Protocol", "KerberosGetAFSToken", "RSAAuthentication"])
def test_knows_what_has_no_effect(name):
    assert not keyword(name, EL9).effective
    assert keyword("PermitRootLogin", EL9).effective


@pytest.mark.parametrize(
    "name, release, words",
    [
        (
            "PaswordAuthentication",
            EL8,
            ["unknown keyword 'PaswordAuthentication'", "Did you mean PasswordAuthentication?"],
        ),
        ("permitroot", EL9, ["Did you mean PermitRootLogin?"]),
        ("PubkeyAcceptedAlgoritms", EL8, ["unknown keyword", "Did you mean"]),
        ("Xyzzy", EL9, ["unknown keyword 'Xyzzy'", "sshd_config(5)"]),
        ("PubkeyAuthOptions", EL8, ["PubkeyAuthOptions is not known to OpenSSH 8.0", "came with OpenSSH 8.2"]),
        ("requiredrsasize", EL8, ["RequiredRSASize is not known to OpenSSH 8.0", "came with OpenSSH 8.7"]),
        ("ChannelTimeout", EL9, ["is not known to OpenSSH 8.7", "came with OpenSSH 9.2"]),
        ("DebianBanner", EL9, ["Only the OpenSSH of Debian"]),
        ("X11MaxDisplays", U99, ["Only the OpenSSH of Red Hat"]),
        ("GSSAPIKeyExchange", U99, ["Red Hat and Debian"]),
        ("PAMAuthenticationViaKbdInt", SshdVersion(10, 4, 1, "upstream"), ["10.3 was the last to know it"]),
    ],
)
def test_says_why_a_keyword_is_not_known(name, release, words):
    with pytest.raises(Unsupported) as caught:
        keyword(name, release)
    for word in words:
        assert word in str(caught.value)


def test_never_offers_what_this_release_does_not_know():
    for release in (EL8, EL9, U99, D92):
        for name in keyword_table.ROWS:
            with_typo = name.name[:-1] + "q"
            if lookup(with_typo, release) is None:
                with pytest.raises(Unsupported) as caught:
                    keyword(with_typo, release)
                if "Did you mean" in caught.value.remedy:
                    offered = caught.value.remedy.split("Did you mean ")[1].rstrip("?")
                    assert lookup(offered, release) is not None


@pytest.mark.parametrize("release", [EL8, EL9, U99, D92, U101])
def test_every_keyword_has_a_reader_and_no_rows_overlap(release):
    names = known_names(release)
    assert len(names) == len({name.lower() for name in names}) > 90
    for name in names:
        found = lookup(name, release)
        assert found is not None
        assert found.kind in directives.READERS or found.kind in ("match", "include")


def test_case_is_lowered_in_ascii_only():
    assert lookup("\u212aeepAlive", EL9) is None
    assert lookup("KEEPALIVE", EL9) is not None
