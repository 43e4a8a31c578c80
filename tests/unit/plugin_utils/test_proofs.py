# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a login has to show before it counts, and which further operators are tried."""

import types

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Refused

pytest.importorskip("ansible")
connections = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.connections")
host_key = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.host_key")
identity = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.identity")
proofs = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.proofs")
transcript = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.transcript")

WHO = identity.Identity("harden_key", "/k", "ssh-ed25519 AAAA me", "SHA256:mine")
GOOD = transcript.Transcript("publickey", ("publickey",), "SHA256:mine", None, "", False, "")


def reached(**changes):
    return connections.Reached(GOOD._replace(**changes), "")


@pytest.mark.parametrize(
    "changes, who, words",
    [
        ({}, WHO, None),
        ({"multiplexed": True}, WHO, "no fresh login was seen"),
        ({"authenticated": ""}, WHO, "no fresh login was seen"),
        ({"authenticated": "gssapi-with-mic"}, WHO, "made by gssapi-with-mic, not by key"),
        ({"authenticated": "password"}, WHO, "made by password, not by key"),
        ({"fingerprint": "SHA256:other"}, WHO, "took the key SHA256:other, but SHA256:mine"),
        ({"fingerprint": ""}, WHO, "was to be proven"),
        ({"fingerprint": "SHA256:other"}, WHO._replace(source="agent", also=("SHA256:other",)), None),
        ({"fingerprint": "SHA256:other"}, WHO._replace(also=("SHA256:other",)), "was to be proven"),
    ],
)
def test_logins_that_prove_nothing(changes, who, words):
    found = proofs._login_problem(reached(**changes), proofs.Caller(None, who, host_key.policy("strict"), {}), "admin")
    assert found is None if words is None else isinstance(found, Refused) and words in found.reason


@pytest.mark.parametrize(
    "nonce, root, words", [(True, True, None), (False, True, "nonce"), (True, False, "root"), (False, False, "nonce")]
)
def test_answers_that_prove_nothing(nonce, root, words):
    found = proofs._answer_problem(nonce=nonce, root=root)
    assert found is None if words is None else words in found.reason and found.remedy


@pytest.mark.parametrize(
    "offered, methods, same",
    [
        (("publickey",), {"publickey"}, True),
        (("publickey", "password"), {"publickey"}, False),
        (("publickey", "gssapi-keyex", "gssapi-with-mic"), {"publickey", "gssapi-with-mic"}, True),
        (("publickey", "gssapi-with-mic"), {"publickey", "gssapi-with-mic"}, True),
        (("publickey", "gssapi-keyex"), {"publickey"}, False),
        ((), {"publickey"}, False),
    ],
)
def test_what_a_host_offers(offered, methods, same):
    assert proofs.offers_only(offered, methods) is same


@pytest.mark.parametrize(
    "text, left",
    [
        ("Failed to connect to the host via ssh: debug1: x\nu@h: Permission denied (publickey).",
         "debug1: x\nu@h: Permission denied (publickey)."),
        ("Invalid/incorrect password: Permission denied, please try again.", "Permission denied, please try again."),
        ("Invalid/incorrect username/password. x: y", "y"),
        ("something else", "something else"),
    ],
)
def test_ansibles_own_words_before_those_of_the_client(text, left):
    assert connections._without_prefix(text) == left


def task(**changes):
    plain = dict(delegate_to=None, run_once=False, async_val=0)
    return types.SimpleNamespace(**dict(plain, **changes))


def fake_action(connection, **changes):
    return types.SimpleNamespace(_connection=connection, _task=task(**changes))


@pytest.fixture
def ssh():
    connection = object.__new__(connections.core_ssh.Connection)
    connection.become = None
    return connection


@pytest.mark.parametrize(
    "changes, where",
    [({"delegate_to": "x"}, "delegate_to"), ({"run_once": True}, "run_once"), ({"async_val": 5}, "async")],
)
def test_ways_to_run_a_task_that_prove_nothing(ssh, changes, where):
    connections.check_task(fake_action(ssh))
    with pytest.raises(Refused) as caught:
        connections.check_task(fake_action(ssh, **changes))
    assert caught.value.where == where and caught.value.remedy


def test_other_connection_plugins_are_refused_by_name(ssh, monkeypatch):
    with pytest.raises(Refused) as caught:
        connections.check_task(fake_action(types.SimpleNamespace(_load_name="community.docker.docker", transport="x")))
    assert "community.docker.docker" in caught.value.reason
    ssh.become = types.SimpleNamespace(name="su")
    with pytest.raises(Refused) as caught:
        connections.check_task(fake_action(ssh))
    assert caught.value.where == "become_method"
    ssh.become = types.SimpleNamespace(name="sudo")
    connections.check_task(fake_action(ssh))
    monkeypatch.setattr(connections.C, "DEFAULT_KEEP_REMOTE_FILES", True)
    with pytest.raises(Refused):
        connections.check_task(fake_action(ssh))
