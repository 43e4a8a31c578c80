# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sshd_config document and the resolver on arbitrary bytes: nothing is lost, nothing raises what it should not."""

import os

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import effective, sshd_tree
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.sshd_config import parse
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import EL8, EL9, U99
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = 20000 if os.environ.get("LATCHKEY_LONG") == "1" else 600
PIECES = [b"\n", b"\r\n", b"\0", b" ", b"\t", b"\f", b'"', b"'", b"#", b"\\", b"=", b",", b"\xc3\xa9", b"\xff"]
WORDS = [
    b"Match",
    b"User",
    b"all",
    b"Include",
    b"/f",
    b"Port",
    b"22",
    b"Banner",
    b"no",
    b"PasswordAuthentication",
    b"SetEnv",
]
FILES = st.one_of(
    st.binary(max_size=200), st.lists(st.sampled_from(PIECES + WORDS + [b" ", b"\n"]), max_size=40).map(b"".join)
)
held = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("release", [EL8, EL9, U99])
@held
@given(data=FILES)
def test_renders_what_it_parsed(release, data):
    document = parse(data, "/f", release)
    assert document.render() == data
    assert [line.number for line in document.lines] == list(range(1, len(document.lines) + 1))


@pytest.mark.parametrize("release", [EL8, EL9, U99])
@held
@given(data=FILES)
def test_a_first_line_is_global_and_wins(release, data):
    edited = parse(data, "/f", release).with_first_line("PasswordAuthentication no")
    lines = [line for line in edited.lines if line.keyword == "passwordauthentication"]
    assert (lines[0].args, lines[0].block, lines[0].problem) == (("no",), None, None)
    rest = parse(edited.render(), "/f", release).without_line(lines[0].number).render()
    assert rest.rstrip(b"\r\n") == data.rstrip(b"\r\n")
    answer = effective.evaluate(sshd_tree.Tree("/f", {"/f": edited.render()}, release), None)
    if answer.rc == 0 and not edited.matches:
        assert answer.values["passwordauthentication"] == ("no",)
        assert answer.sources["passwordauthentication"] == (effective.Source("/f", lines[0].number),)


@pytest.mark.parametrize("release", [EL8, EL9, U99])
@held
@given(data=FILES)
def test_the_resolver_answers_whatever_it_is_given(release, data):
    tree = sshd_tree.Tree("/f", {"/f": data}, release)
    answer = effective.evaluate(tree, effective.Connection("alice", ("wheel",), "h", "10.0.0.1", "10.0.0.2", 22))
    assert (answer.rc == 0) or any(one.fatal for one in answer.diagnostics)
    assert effective.check(tree) == () or answer.rc != 0
    effective.witnesses(tree, [("alice", ["wheel"])], ["10.0.0.1"])
