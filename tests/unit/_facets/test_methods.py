# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which settings leave exactly the wanted methods, per release."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import methods
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import version
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import SshdVersion

EL10 = SshdVersion(9, 9, 1, "redhat")
ALWAYS = {"PasswordAuthentication", "PermitEmptyPasswords", "PermitRootLogin"}


@pytest.mark.parametrize(
    "release, interactive",
    [
        (version.EL8, "ChallengeResponseAuthentication"),
        (SshdVersion(8, 6, 1, "upstream"), "ChallengeResponseAuthentication"),
        (version.EL9, "KbdInteractiveAuthentication"),
        (SshdVersion(8, 7, 0, "debian"), "KbdInteractiveAuthentication"),
        (EL10, "KbdInteractiveAuthentication"),
    ],
)
@pytest.mark.parametrize(
    "kept, extra",
    [
        (("publickey",), {"GSSAPIAuthentication", "HostbasedAuthentication"}),
        (("publickey", "gssapi-with-mic"), {"HostbasedAuthentication"}),
        (("publickey", "hostbased"), {"GSSAPIAuthentication"}),
        (("publickey", "hostbased", "gssapi-with-mic"), set()),
    ],
)
def test_keywords(release, interactive, kept, extra):
    found = methods.rules(kept, release)
    assert {rule.keyword for rule in found} == ALWAYS | {interactive} | extra
    assert all(rule.value == ("prohibit-password" if rule.keyword == "PermitRootLogin" else "no") for rule in found)
    assert {rule.keyword for rule in found if rule.always} == {
        "PasswordAuthentication", "PermitEmptyPasswords", interactive}


ROOT = next(rule for rule in methods.rules(("publickey",), EL10) if rule.keyword == "PermitRootLogin")


@pytest.mark.parametrize(
    "rule, answer, value",
    [
        (ROOT, {"permitrootlogin": ("yes",)}, "yes"),
        (ROOT, {"permitrootlogin": ("no",)}, None),
        (ROOT, {"permitrootlogin": ("without-password",)}, None),
        (ROOT, {"permitrootlogin": ("prohibit-password",)}, None),
        (ROOT, {"permitrootlogin": ("forced-commands-only",)}, None),
        (methods.way_in(), {"pubkeyauthentication": ("yes",)}, None),
        (methods.way_in(), {"pubkeyauthentication": ("no",)}, "no"),
        # What is not compiled in is not printed and cannot be on.
        (methods.rules((), EL10)[-2], {}, None),
        (methods.rules((), EL10)[-2], {"gssapiauthentication": ()}, None),
        (methods.rules((), EL10)[0], {"passwordauthentication": ("YES",)}, "YES"),
    ],
)
def test_what_breaks_a_rule(rule, answer, value):
    assert methods.unmet(rule, answer) == value


def test_the_old_keyword_changes_the_new_one_with_it():
    assert methods.also_printed(version.EL8) == {"challengeresponseauthentication": ("kbdinteractiveauthentication",)}
    assert methods.also_printed(version.EL9) == {}
