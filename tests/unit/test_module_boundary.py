# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boundary to Ansible: parameters in, results and errors out, and nothing applied in check mode.

Where ansible-core is not installed (the environments of Python 3.6 and 3.9) only the first test runs.
"""

import glob
import importlib
import io
import json
import os
import sys

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, Malformed, Refused, Unsupported
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import together
from ansible_collections.latchkey.ssh.plugins.module_utils._facets.change import NARROW, WIDEN, Change, Outcome

PLUGINS = "ansible_collections.latchkey.ssh.plugins."
ADD = Change("keys", WIDEN, "file", "/k", "keys of alice", after=b"a\n", mode=0o600, owner="alice", account="alice")
REMOVE = Change("keys", NARROW, "file", "/k", "keys of alice", b"a\n", True, b"", 0o600, "alice", "alice")


def test_what_runs_on_hosts_compiles_on_this_python(root):
    """tests/tools/unit runs this on 3.6, 3.9 and 3.12, the Pythons of AlmaLinux 8, 9 and 10."""
    paths = glob.glob(os.path.join(root, "plugins", "module_utils", "**", "*.py"), recursive=True)
    paths += glob.glob(os.path.join(root, "plugins", "modules", "*.py"))
    assert len(paths) > 40
    for path in paths:
        with open(path, encoding="utf-8") as stream:
            compile(stream.read(), path, "exec")


class Ended(Exception):
    """Carries what a module ended with."""


class FakeModule:
    """What _module needs of an AnsibleModule."""

    def __init__(self, params, check_mode=False):
        self.params, self.check_mode, self.warnings = params, check_mode, []

    def exit_json(self, **result):
        raise Ended(result)

    def fail_json(self, **result):
        raise Ended(dict(result, failed=True))

    def warn(self, text):
        self.warnings.append(text)


class FakeFacet:
    """A facet with one change of each phase."""

    def __init__(self, found=None, breaks=None):
        self.applied, self.breaks = [], breaks
        self.found = found if found is not None else Outcome([ADD, REMOVE], [])

    def outcome(self, params, host):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def apply(self, changes, phase, host, done):
        if phase == self.breaks:
            raise HostError("it broke", "", "/k")
        self.applied.append((phase, [change for change in changes if change.phase == phase]))
        done += self.applied[-1][1]


class FakeHost:
    closed = 0
    fence = None

    def __init__(self, fence=None):
        FakeHost.fence = fence

    def __enter__(self):
        return self

    def __exit__(self, *_unused):
        FakeHost.closed += 1


def asked(phase, transaction=None):
    return {"phase": phase, "transaction": transaction}


@pytest.fixture
def boundary(monkeypatch):
    pytest.importorskip("ansible")
    module = importlib.import_module(PLUGINS + "module_utils._module")
    monkeypatch.setattr(module, "Host", FakeHost)
    FakeHost.closed = 0
    return module


@pytest.mark.parametrize(
    "phase, applied, reported",
    [
        ("all", [(WIDEN, [ADD]), (NARROW, [REMOVE])], [WIDEN, NARROW]),
        ("widen", [(WIDEN, [ADD])], [WIDEN]),
        ("narrow", [(NARROW, [REMOVE])], [NARROW]),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_phases_and_check_mode(boundary, phase, applied, reported, check_mode):
    facet = FakeFacet()
    found = boundary._facet_result(FakeModule(asked(phase), check_mode), facet)
    assert facet.applied == ([] if check_mode else applied)
    assert found["changed"] and [change["phase"] for change in found["changes"]] == reported
    assert len(found["diff"]) == len(reported) and FakeHost.closed == 1


@pytest.mark.parametrize("given, known", [(None, ""), ("t1", "t1")])
def test_writers_get_the_fence_of_the_transaction_they_name(boundary, given, known):
    boundary._facet_result(FakeModule(asked("all", given)), FakeFacet())
    assert isinstance(FakeHost.fence, boundary.fence.Fence) and FakeHost.fence.transaction == known


def test_nothing_to_do_is_no_change(boundary):
    found = boundary._facet_result(FakeModule(asked("all")), FakeFacet(Outcome([], [])))
    assert (found["changed"], found["changes"], found["diff"], found["conflicts"]) == (False, [], [], [])
    found = boundary._facet_result(FakeModule(asked("widen")), FakeFacet(Outcome([REMOVE], [])))
    assert found["changed"] is False


def test_lines_of_others_are_warned_of(boundary):
    module = FakeModule(asked("all"))
    assert boundary._facet_result(module, FakeFacet(Outcome([], ["x:1: y"])))["conflicts"] == ["x:1: y"]
    assert module.warnings == ["a line of others wins: x:1: y"]


@pytest.mark.parametrize("kind", [Malformed, Unsupported, Refused, HostError])
def test_errors_of_the_engine_end_the_module_in_words_and_as_data(boundary, kind):
    facet = FakeFacet(kind("what", "do that", "file:3"))
    with pytest.raises(Ended) as caught:
        boundary.run(FakeModule(asked("all")), lambda module: boundary._facet_result(module, facet))
    assert caught.value.args[0] == {
        "failed": True,
        "msg": "file:3: what. do that",
        "error": {"kind": kind.__name__.lower(), "where": "file:3", "reason": "what", "remedy": "do that"},
    }
    assert FakeHost.closed == 1


@pytest.mark.parametrize("breaks, made", [(WIDEN, []), (NARROW, ["widen"])])
def test_what_was_changed_before_a_failure_is_reported(boundary, breaks, made):
    with pytest.raises(Ended) as caught:
        boundary._facet_result(FakeModule(asked("all")), FakeFacet(breaks=breaks))
    found = caught.value.args[0]
    assert found["failed"] and found["error"]["reason"] == "it broke"
    assert [change["phase"] for change in found["changes"]] == made
    assert found["changed"] is bool(made) and len(found["diff"]) == len(made) and FakeHost.closed == 1


def test_mistakes_of_our_own_are_not_dressed_up(boundary):
    facet = FakeFacet(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        boundary.run(FakeModule(asked("all")), lambda module: boundary._facet_result(module, facet))


PLAN = {
    "desired": {"keys": None, "server": {"methods": ["publickey"]}},
    "operators": ["admin"], "stranded": "refuse", "stranded_ok": ["bob"], "stranded_days": 30, "nonce": "n",
    "identity_user": "admin", "identity_key": "ssh-ed25519 AAAA", "client": {"forks": 5},
}


def test_the_plan_says_everything_and_changes_nothing(boundary, monkeypatch):
    asked = []

    def plan(desired, policy, operators, host, way, client):
        asked.append((desired, policy, list(operators), way, client))
        told = [{"cause": "c"}]
        return together.Everything([ADD], ["x:1"], [{"account": "eve"}], [Refused("r", "m", "w")], "8.7", findings=told)

    monkeypatch.setattr(together, "plan", plan)
    monkeypatch.setattr(together, "effective_user", lambda: 0)
    found = boundary._plan_result(FakeModule(PLAN))
    policy, way = together.Policy("refuse", ("bob",), 30), together.Way("admin", "ssh-ed25519 AAAA")
    assert asked == [({"server": {"methods": ["publickey"]}}, policy, ["admin"], way, {"forks": 5})]
    assert found["preflight"] == [{"cause": "c"}]
    assert (found["changed"], found["planned"], found["conflicts"]) == (False, True, ["x:1"])
    assert found["refused"] == [{"kind": "refused", "where": "w", "reason": "r", "remedy": "m"}]
    assert found["stranded"] == [{"account": "eve"}] and found["sshd_version"] == "8.7"
    assert found["login"] == {"nonce": "n", "euid": 0}
    assert [change["what"] for change in found["changes"]] == ["keys of alice"]


def test_a_login_that_is_not_root_looks_at_nothing(boundary, monkeypatch):
    monkeypatch.setattr(together, "effective_user", lambda: 1000)
    monkeypatch.setattr(together, "plan", lambda *args: pytest.fail("it looked"))
    found = boundary._plan_result(FakeModule(PLAN))
    assert found["login"] == {"nonce": "n", "euid": 1000} and found["planned"] is False
    assert "did not become root" in found["refused"][0]["reason"]


def test_the_plan_takes_exactly_what_each_module_takes(boundary):
    options = boundary.PLAN_SPEC["desired"]["options"]
    assert options["keys"]["options"] is boundary.AUTHORIZED_KEYS_SPEC
    assert options["server"]["options"] is boundary.SSHD_CONFIG_SPEC
    assert set(options) == {name for name, _facet in together.FACETS}
    assert boundary.GUARD_SPEC["desired"]["options"] is options


# ---- through Ansible's own reading of parameters ---------------------------------------------------------------------


@pytest.fixture
def run_module(boundary, monkeypatch, capsys):
    """Run a module as Ansible does, up to its one line of JSON."""
    testing = pytest.importorskip("ansible.module_utils.testing")

    def run(name, **arguments):
        module = importlib.import_module(PLUGINS + "modules." + name)
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with testing.patch_module_args(arguments):
            with pytest.raises(SystemExit):
                module.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.mark.parametrize(
    "name, arguments, words",
    [
        ("authorized_keys", {}, "no account is named"),
        ("authorized_keys", {"user": "alice"}, "no key is given for alice"),
        ("authorized_keys", {"accounts": [{"user": "alice"}]}, "key"),
        ("authorized_keys", {"user": "alice", "key": "x", "state": "gone"}, "state"),
        ("authorized_keys", {"user": "alice", "key": "garbage"}, "key[0]"),
        ("sshd_config", {"methods": ["password"]}, "`password` is no method that can stay"),
        ("sshd_config", {"match": [{"criteria": "", "settings": {}}]}, "match[0].criteria"),
        ("sshd_config", {"foreign": "ignore"}, "foreign"),
        ("sshd_config", {"no_such": 1}, "no_such"),
        ("sshd_config", {"transaction": ["x"], "phase": "later"}, "phase"),
        ("plan", {"confirm": {"id": "x"}}, "nonce"),
        ("guard", {"state": "extended"}, "transaction"),
        ("guard", {"state": "reverted"}, "transaction"),
        ("guard", {"timeout": "soon"}, "timeout"),
        ("plan", {"desired": {"server": {"settings": "x"}}}, "settings"),
    ],
)
def test_wrong_parameters_fail_in_words(run_module, name, arguments, words):
    found = run_module(name, **arguments)
    assert found["failed"] and words in found["msg"]
    assert "Traceback" not in json.dumps(found)


def test_a_private_key_given_by_mistake_is_not_shown(run_module):
    secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n-----END OPENSSH PRIVATE KEY-----"
    found = run_module("authorized_keys", user="alice", key=[secret])
    assert "private key" in found["msg"] and "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU" not in found["msg"]
