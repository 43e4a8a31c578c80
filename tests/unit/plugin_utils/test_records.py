# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a host and the summary of all, word for word: people act on these lines."""

import pytest

pytest.importorskip("ansible")
records = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.records")
results = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.results")
errors = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.module_utils._errors")

CHANGE = {"path": "/etc/ssh/sshd_config.d/00-00-latchkey.conf", "what": "settings of sshd"}
PROOF = {"operator": "admin", "proven": True, "offered": ["publickey"]}
REFUSAL = {"kind": "refused", "where": "become", "reason": "sudo is not installed", "remedy": "run `dnf install sudo`"}
AWAY = {"kind": "hosterror", "where": "cannot be reached", "reason": "no route", "remedy": "check it"}
KEY = {"changed": True, "identity": {"path": "/home/me/.ssh/id_ed25519", "pending": False}}
STRANDED = [
    {"account": "bob", "use": "real", "method": "password", "last": "2026-01-03T11:59:59Z", "from": "192.0.2.7"},
    {"account": "eve", "use": "possible", "method": "password", "last": "", "from": ""},
    {"account": "sam", "use": "possible", "method": "password", "last": "", "from": ""},
]


def summary(found, check_mode=False):
    return [line.text for line in records.summary(found, check_mode=check_mode)]


@pytest.mark.parametrize(
    "plan, transaction, status",
    [
        ({"refused": [REFUSAL]}, {}, "refused"),
        ({"refused": [AWAY]}, {}, "unreachable"),
        ({"changes": [CHANGE]}, {"refused": [REFUSAL], "changes": [CHANGE]}, "refused"),
        ({"changes": [CHANGE]}, {"changes": [CHANGE]}, "changed"),
        ({"changes": [CHANGE]}, {}, "would change"),
        ({"changes": []}, {}, "unchanged"),
        ({"changes": [CHANGE]}, {"changes": []}, "unchanged"),
        ({}, {}, "refused"),
    ],
)
def test_status(plan, transaction, status):
    assert records.build("h", {}, plan, transaction)["status"] == status


def test_a_host_that_was_never_looked_at_says_so():
    assert "an earlier task failed" in records.build("h", {}, {}, {})["refused"][0]
    assert len(records.build("h", {"refused": [REFUSAL]}, {}, {})["refused"]) == 1


def test_inventory_lines_only_where_a_key_was_proven():
    plan = {"inventory": ["delete  x"], "proofs": [PROOF]}
    assert records.build("h", {}, plan, {})["inventory"] == ["delete  x"]
    assert records.build("h", {}, dict(plan, proofs=[]), {})["inventory"] == []
    assert records.build("h", {}, dict(plan, refused=[REFUSAL]), {})["inventory"] == []


def test_the_last_proofs_count():
    after = dict(PROOF, offered=["publickey"])
    before = dict(PROOF, offered=["publickey", "password"])
    built = records.build("h", {}, {"proofs": [before], "changes": [CHANGE]}, {"proofs": [after], "changes": [CHANGE]})
    assert built["proven"] == [after] and built["planned"] == []


def test_summary_of_a_mixed_run():
    found = [
        records.build("web1", KEY, {"changes": [CHANGE], "inventory": ["delete  a", "set     b"], "stranded": STRANDED,
                                    "accepted_host_key": "ssh-ed25519 SHA256:x"},
                      {"changes": [CHANGE], "proofs": [PROOF], "predicted": ["alice", "bob"],
                       "conflicts": ["/etc/ssh/x:3: `Y` keeps Z at yes"]}),
        records.build("web2", {}, {"refused": [REFUSAL]}, {}),
        records.build("web3", {}, {"changes": [], "proofs": [PROOF, dict(PROOF, operator="ops")]}, {}),
        records.build("web4", {}, {"refused": [AWAY]}, {}),
        records.build("web5", {}, {"changes": [CHANGE], "proofs": [PROOF], "inventory": ["delete  a", "set     b"]},
                      {"changes": [CHANGE], "proofs": [PROOF]}),
    ]
    text = summary(found)
    assert text[0] == text[-1] == ""
    assert sorted(text[1].replace("latchkey: 5 hosts: ", "").split(", ")) == [
        "1 refused", "1 unchanged", "1 unreachable", "2 changed"]
    at = text.index("  web1: changed; proven by a fresh key login as root: admin; offers publickey")
    assert text[at + 1: at + 8] == [
        "      /etc/ssh/sshd_config.d/00-00-latchkey.conf: settings of sshd",
        "      key made: /home/me/.ssh/id_ed25519 (keep a copy: without it nobody gets in)",
        "      host key accepted on first contact: ssh-ed25519 SHA256:x",
        "      still open by a line of others: /etc/ssh/x:3: `Y` keeps Z at yes",
        "      predicted only (no key of theirs here): alice, bob",
        "      stranded, logged in lately: bob (password from 192.0.2.7, 2026-01-03T11:59:59Z)",
        "      without a key, never seen: eve, sam",
    ]
    at = text.index("  web2: refused")
    assert text[at + 1] == "      become: sudo is not installed. run `dnf install sudo`"
    same = "  web3: unchanged; proven by a fresh key login as root: admin, ops; offers publickey"
    assert text.index("  web2: refused") < text.index(same), "what wants a look comes first"
    assert text[-4:-1] == ["  Change in the inventory of web1, web5:", "      delete  a", "      set     b"]


def test_summary_in_check_mode():
    pending = {"changed": True, "identity": {"path": "/k", "pending": True}}
    text = summary([records.build("web1", pending, {"changes": [CHANGE]}, {})], check_mode=True)
    assert text == [
        "",
        "latchkey: 1 host: 1 would change",
        "  web1: would change",
        "      /etc/ssh/sshd_config.d/00-00-latchkey.conf: settings of sshd",
        "      key to be made: /k",
        "Check mode: nothing was changed, and no key was proven that is not in place yet.",
        "",
    ]


def test_colours_follow_the_status():
    lines = records.summary([records.build("h", {}, {"refused": [REFUSAL]}, {})], check_mode=False)
    assert [line.color for line in lines if line.text.startswith("  h")] == ["red"]


def test_errors_as_data_and_back():
    error = errors.Refused("why", "what to do", "where")
    described = results.describe(error)
    assert described == {"kind": "refused", "where": "where", "reason": "why", "remedy": "what to do"}
    assert results.sentence(described) == str(error) == "where: why. what to do"
    assert results.sentence(results.describe(errors.HostError("why"))) == "why"
    foreign = results.describe(RuntimeError("two\n  lines"))
    assert (foreign["kind"], foreign["reason"]) == ("hosterror", "two lines")


def test_what_the_pre_flight_only_tells_is_a_line_of_its_own():
    told = {"cause": "fail2ban", "where": "fail2ban", "reason": "it watches logins", "remedy": "add 192.0.2.7"}
    built = records.build("h", {}, {"changes": [CHANGE], "preflight": [told]}, {"changes": [CHANGE]})
    assert "      fail2ban: it watches logins. add 192.0.2.7" in summary([built])


UNDER_WAY = {"id": "20261124T113000-1f2e3d", "by": "ops@ci", "state": "APPLIED", "paths": ["/etc/ssh/sshd_config"]}


@pytest.mark.parametrize(
    "guard, status, listed",
    [
        ({"changed": True, "status": dict(UNDER_WAY, state="REVERTED")}, "changed", "changed"),
        ({"changed": True, "status": UNDER_WAY}, "would change", "planned"),
    ],
)
def test_what_was_under_way_is_named_with_its_transaction(guard, status, listed):
    built = records.build("h", {}, {}, {}, guard=guard)
    assert (built["status"], built["refused"]) == (status, [])
    assert [(one["path"], one["what"]) for one in built[listed]] == [
        ("/etc/ssh/sshd_config", "as it was before the transaction 20261124T113000-1f2e3d of ops@ci")]
    assert "1f2e3d of ops@ci" in "\n".join(summary([built]))


def test_nothing_to_go_back_from_is_no_refusal():
    guard = {"changed": False, "status": {"state": "NONE"}, "history": []}
    built = records.build("h", {}, {}, {}, guard=guard)
    assert built["status"] == "unchanged" and "there is nothing to go back from" in "\n".join(summary([built]))
    assert records.build("h", {}, {"changes": [CHANGE]}, {}, guard=guard)["warnings"] == []


@pytest.mark.parametrize(
    "state, status", [("REVERTED", "reverted"), ("UNKNOWN", "unknown"), ("REVERT_FAILED", "revert failed")]
)
def test_how_a_host_stands_after_a_failed_change_is_its_status(state, status):
    plan = {"changes": [CHANGE], "proofs": [PROOF]}
    done = {"refused": [REFUSAL], "transaction": {"id": "x", "state": state}, "taken_back": [CHANGE]}
    record = records.build("web1", {}, plan, done)
    assert record["status"] == status and record["taken_back"] == [CHANGE]
    text = summary([record, records.build("web2", {}, {}, {"changes": []})])
    assert text[1].endswith(f"1 {status}, 1 refused") and text[2].startswith(f"  web1: {status}")


def test_a_candidate_that_was_not_tried_is_said():
    done = {"changes": [CHANGE], "proofs": [PROOF], "rehearsal": {"rehearsed": False, "why": "no systemd"}}
    assert "      not rehearsed: no systemd" in summary([records.build("web1", {}, {"changes": [CHANGE]}, done)])
