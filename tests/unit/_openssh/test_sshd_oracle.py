# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sshd_config engine against recorded answers of AlmaLinux's own sshd (tests/unit/fixtures/sshd-oracle.json.gz)."""

import gzip
import io
import json
import os
from collections import Counter, OrderedDict

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import effective, sshd_tree, version

FIXTURE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures", "sshd-oracle.json.gz")
BINARIES = OrderedDict([("el8", version.EL8), ("el9", version.EL9), ("u99", version.U99)])
DIRECTORY = "/oracle"
ENOUGH = 1.0

# From the laxest to the strictest; for these, ours may never be stricter than the recorded one.
LAX_TO_STRICT = {
    "passwordauthentication": ("yes", "no"),
    "kbdinteractiveauthentication": ("yes", "no"),
    "challengeresponseauthentication": ("yes", "no"),
    "permitemptypasswords": ("yes", "no"),
    "permitrootlogin": ("yes", "without-password", "forced-commands-only", "no"),
    "gssapiauthentication": ("yes", "no"),
    "kerberosauthentication": ("yes", "no"),
    "hostbasedauthentication": ("yes", "no"),
    "pubkeyauthentication": ("yes", "no"),
    "refuseconnection": ("no", "yes"),
}
# Not ordered: who gets in depends on all of the value, so it has to be the recorded one.
EXACT = ("allowusers", "denyusers", "allowgroups", "denygroups", "authenticationmethods")


def _oracle():
    with gzip.open(FIXTURE) as packed:
        return json.load(io.TextIOWrapper(packed, encoding="utf-8"))


ORACLE = _oracle()


def _failed_on_host_keys(said):
    # sshd loads host keys when it has accepted the grammar; that is all such a case says.
    return said["t"] == 1 and any("no hostkeys" in line or "Unable to load host key" in line for line in said["msg"])


def _tree(case, binary):
    files = {}
    for path, text in case["files"].items():
        files[DIRECTORY + "/" + path] = text.replace("@D@", DIRECTORY).encode("utf-8")
    return sshd_tree.Tree(DIRECTORY + "/sshd_config", files, BINARIES[binary])


def _connection(query):
    if query is None:
        return None
    groups = tuple(ORACLE["users"].get(query["user"], ()))
    return effective.Connection(
        query["user"], groups, query["host"], query["addr"], query["laddr"], int(query["lport"])
    )


def _recorded(binary, said):
    found = {key: tuple(value) for key, value in ORACLE["base"][binary].items()}
    found.update({key: tuple(value) for key, value in said["set"].items()})
    return {key: value for key, value in found.items() if key not in said["unset"]}


def _stricter(key, ours, theirs):
    if key in EXACT:
        return ours != theirs
    scale = LAX_TO_STRICT[key]
    return scale.index(ours[0]) > scale.index(theirs[0])


def _compare(binary, answer, said):
    """Return (wrong, closed): what differs, and what ours calls closed although the recorded one lets in."""
    if said["rc"] != 0 or answer.rc != 0:
        wrong = [] if (said["rc"] == 0) == (answer.rc == 0) else ["rc %d, recorded %d" % (answer.rc, said["rc"])]
        return wrong, ["refused"] if said["rc"] == 0 and answer.rc != 0 else []
    theirs = _recorded(binary, said)
    wrong = [
        "%s %s, recorded %s" % (key, answer.values.get(key), theirs.get(key))
        for key in sorted(set(theirs) | set(answer.values))
        if answer.values.get(key) != theirs.get(key)
    ]
    closed = [
        key
        for key in list(LAX_TO_STRICT) + list(EXACT)
        if answer.values.get(key) != theirs.get(key)
        and (key not in theirs or key not in answer.values or _stricter(key, answer.values[key], theirs[key]))
    ]
    return wrong, closed


def _judge(case, binary):
    """Return (number of comparisons, what differs, what ours calls closed) for one case."""
    said = case["says"][binary]
    tree = _tree(case, binary)
    refused = effective.check(tree)
    wrong, closed = [], []
    if _failed_on_host_keys(said):
        return (["-t %s, recorded: taken up to the host keys" % (refused,)], ["refused"]) if refused else ([], [])
    if bool(refused) != bool(said["t"]):
        wrong.append("-t %s, recorded %d %s" % (refused, said["t"], said["msg"]))
        closed.extend(["refused"] if refused else [])
    answers = effective.evaluate_all(tree, [_connection(query) for query in case["queries"]])
    for answer, recorded in zip(answers, said["T"]):
        more_wrong, more_closed = _compare(binary, answer, recorded)
        wrong.extend(more_wrong)
        closed.extend(more_closed)
    return wrong, closed


@pytest.fixture(scope="module")
def verdicts():
    """Judge every case once: {(binary, kind): [(id, wrong, closed)]}."""
    found = OrderedDict()
    for binary in BINARIES:
        for case in ORACLE["cases"]:
            wrong, closed = _judge(case, binary)
            found.setdefault((binary, case["kind"]), []).append((case["id"], wrong, closed))
    return found


def _share(results):
    return sum(not wrong for _id, wrong, _closed in results) / len(results)


def test_enough_cases_agree_per_binary(verdicts, capsys):
    lines = ["", "agreement with recorded answers (cases in which everything is the same):"]
    for (binary, kind), results in verdicts.items():
        right = sum(not wrong for _id, wrong, _closed in results)
        lines.append("  %-4s %-18s %4d of %4d  %6.2f %%" % (binary, kind, right, len(results), 100 * _share(results)))
    totals = {}
    for (binary, _kind), results in verdicts.items():
        totals.setdefault(binary, []).extend(results)
    for binary, results in totals.items():
        lines.append("  %-4s %-18s %4d cases         %6.2f %%" % (binary, "all", len(results), 100 * _share(results)))
        for case_id, wrong, _closed in [one for one in results if one[1]][:10]:
            lines.append("       %s: %s" % (case_id, "; ".join(wrong)[:300]))
    with capsys.disabled():
        print("\n".join(lines))
    assert set(totals) == set(BINARIES)
    assert {binary: _share(results) for binary, results in totals.items() if _share(results) < ENOUGH} == {}


def test_ours_never_calls_closed_what_was_open(verdicts):
    found = [
        (binary, case_id, closed)
        for (binary, _kind), results in verdicts.items()
        for case_id, _wrong, closed in results
        if closed
    ]
    assert found == []


def test_the_first_line_refused_is_the_recorded_one():
    counts = Counter()
    for binary in BINARIES:
        for case in ORACLE["cases"]:
            said = case["says"][binary]
            place = said["msg"][0].split(": ")[0] if said["msg"] else ""
            named_a_line = place.startswith("@D@") and " line " in place and "Deprecated" not in said["msg"][0]
            if said["t"] != 255 or not named_a_line:
                continue
            refused = effective.check(_tree(case, binary))
            if refused:
                named = "%s line %d" % (refused[0].path.replace(DIRECTORY, "@D@"), refused[0].line)
                counts[named == place] += 1
    assert counts[True] > 300
    assert counts[False] == 0


@pytest.mark.parametrize("binary", list(BINARIES))
def test_an_empty_file_has_the_recorded_defaults(binary):
    answer = effective.evaluate(sshd_tree.Tree("/f", {"/f": b""}, BINARIES[binary]), None)
    assert answer.values == {key: tuple(value) for key, value in ORACLE["base"][binary].items()}
