# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's identity, with keys and an agent that are real; and what the controller and the inventory say."""

import os
import shutil
import subprocess
import types

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError, Malformed, Refused

pytest.importorskip("ansible")
connections = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.connections")
identity = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.identity")
ephemeral = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.ephemeral")
inventory_lines = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.inventory_lines")
key_making = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.key_making")

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client on this machine")


def call(*argv, **more):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more).stdout.decode()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make one key of each kind that matters, once."""
    directory = str(tmp_path_factory.mktemp("keys"))
    for name, words in {
        "good": ["-t", "ed25519", "-N", ""],
        "other": ["-t", "ed25519", "-N", ""],
        "locked": ["-t", "ed25519", "-N", "pass phrase"],
        "weak": ["-t", "rsa", "-b", "1024", "-N", ""],
        "strong": ["-t", "rsa", "-b", "2048", "-N", ""],
    }.items():
        call("ssh-keygen", "-q", "-C", name, "-f", os.path.join(directory, name), *words)
    return directory


@pytest.fixture
def keys(made, tmp_path):
    """Return the directory of a fresh copy of the keys."""
    for name in os.listdir(made):
        shutil.copy(os.path.join(made, name), str(tmp_path / name))
    return str(tmp_path)


@pytest.fixture(autouse=True)
def no_agent(monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """Start an agent; call to add keys."""
    socket = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", socket)

    def add(*paths):
        for path in paths:
            call("ssh-add", "-q", path)

    for _attempt in range(200):
        # 1 is an agent without keys, 2 is no agent.
        ready = subprocess.run(["ssh-add", "-l"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if ready.returncode == 1:
            break
    yield add
    process.terminate()
    process.wait()


def fingerprint(path):
    return call("ssh-keygen", "-l", "-f", path).split()[1]


def test_a_key_file(keys):
    path = os.path.join(keys, "good")
    found = identity.of_file(path, "harden_key")
    assert (found.source, found.path, found.fingerprint) == ("harden_key", path, fingerprint(path))
    assert found.public_key.split()[:2] == open(path + ".pub").read().split()[:2]
    assert found.arguments() == ["-o", "IdentitiesOnly=yes"]
    assert identity.from_data(found.data()) == found


def test_a_stale_public_half_beside_it_is_not_believed(keys):
    path = os.path.join(keys, "good")
    true = fingerprint(path + ".pub")
    shutil.copy(os.path.join(keys, "other.pub"), path + ".pub")
    assert identity.of_file(path, "x").fingerprint == true != fingerprint(path + ".pub")


def test_the_home_is_filled_in(keys, monkeypatch):
    monkeypatch.setenv("HOME", keys)
    assert identity.of_file("~/good", "x").path == os.path.join(keys, "good")


def open_to_others(keys):
    os.chmod(os.path.join(keys, "good"), 0o640)
    return "good"


def no_key(keys):
    with open(os.path.join(keys, "good"), "w") as stream:
        stream.write("nothing\n")
    return "good"


def locked_alone(keys):
    os.unlink(os.path.join(keys, "locked.pub"))
    return "locked"


@pytest.mark.parametrize(
    "spoil, kind, words, remedy",
    [
        (lambda keys: "nowhere", Malformed, "no such key file", "harden_key_create"),
        (open_to_others, Refused, "others can read this private key", "chmod 600"),
        (no_key, Malformed, "no private key that ssh can read", "harden_key"),
        (lambda keys: "locked", Refused, "has a passphrase and is not in the agent", "ssh-add"),
        (lambda keys: "weak", Refused, "does not take ssh-rsa keys of 1024 bits", "harden_key"),
        (lambda keys: "good.pub", Refused, "does not hold the private half", "ssh-add"),
    ],
)
def test_keys_that_would_stop_a_run(keys, spoil, kind, words, remedy):
    path = os.path.join(keys, spoil(keys))
    with pytest.raises(kind) as caught:
        identity.of_file(path, "harden_key")
    assert words in caught.value.reason and remedy in caught.value.remedy and caught.value.where == path


def test_a_locked_key_without_its_public_half(keys):
    """Keys in OpenSSH's own format tell their public half without the passphrase."""
    path = os.path.join(keys, locked_alone(keys))
    with pytest.raises(LatchkeyError) as caught:
        identity.of_file(path, "x")
    assert isinstance(caught.value, (HostError, Refused)) and "passphrase" in caught.value.reason


def test_a_locked_key_that_the_agent_holds(keys, agent):
    agent_file = os.path.join(keys, "locked")
    call("ssh-keygen", "-q", "-p", "-P", "pass phrase", "-N", "", "-f", agent_file)
    agent(agent_file)
    call("ssh-keygen", "-q", "-p", "-P", "", "-N", "pass phrase", "-f", agent_file)
    assert identity.of_file(agent_file, "x").fingerprint == fingerprint(agent_file + ".pub")
    assert identity.of_file(agent_file + ".pub", "x").path == agent_file + ".pub"


def test_what_the_agent_holds(keys, agent):
    assert identity.agent_keys() == []
    agent(os.path.join(keys, "weak"), os.path.join(keys, "good"), os.path.join(keys, "strong"))
    assert len(identity.agent_keys()) == 3
    usable = identity.usable_agent_keys()
    assert [key.type for key in usable] == ["ssh-ed25519", "ssh-rsa"]
    found = identity.of_agent(usable[0], usable)
    assert (found.source, found.path, found.arguments()) == ("agent", "", [])
    assert found.may_be(usable[1].fingerprint) and not found.may_be("SHA256:x")
    assert identity.from_data(found.data()) == found


def test_only_the_agents_own_identity_may_be_another_key(keys):
    found = identity.of_file(os.path.join(keys, "good"), "harden_key")._replace(also=("SHA256:x",))
    assert not found.may_be("SHA256:x")


def test_a_dead_agent_holds_nothing(monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", "/no/such/socket")
    assert identity.agent_keys() == []


def test_a_key_as_text_leaves_no_file_behind(keys, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(identity.tempfile, "tempdir", str(scratch))
    text = open(os.path.join(keys, "good")).read()
    for given in (text, text.rstrip("\n"), text + "\n\n"):
        found = identity.of_text(given)
        assert (found.source, found.path) == ("private_key", "")
        assert found.fingerprint == fingerprint(os.path.join(keys, "good"))
    for wrong in ("locked", "weak"):
        with pytest.raises(Refused) as caught:
            identity.of_text(open(os.path.join(keys, wrong)).read())
        assert str(scratch) not in str(caught.value)
    with pytest.raises(Malformed) as caught:
        identity.of_text("garbage")
    assert str(scratch) not in str(caught.value), "a file that is gone already helps nobody"
    assert os.listdir(str(scratch)) == []


# ---- the controller --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environment, reason",
    [
        ({}, ""),
        ({"CI": "true"}, "CI is set"),
        ({"CI": "1"}, "CI is set"),
        ({"CI": ""}, ""),
        ({"CI": "false"}, ""),
        ({"CI": "FALSE"}, ""),
        ({"CI": "0"}, ""),
        ({"AWX_PRIVATE_DATA_DIR": "/tmp/x"}, "started by ansible-runner"),
        ({"RUNNER_OMIT_EVENTS": ""}, "started by ansible-runner"),
    ],
)
def test_controllers_that_do_not_last(monkeypatch, environment, reason):
    monkeypatch.setattr(ephemeral, "_MARKERS", ())
    assert ephemeral.reason(environment) == reason


def test_containers_do_not_last(monkeypatch, tmp_path):
    (tmp_path / "marker").write_text("")
    markers = ((str(tmp_path / "no"), "one"), (str(tmp_path / "marker"), "a podman container"))
    monkeypatch.setattr(ephemeral, "_MARKERS", markers)
    assert ephemeral.reason({}) == "a podman container"


# ---- the inventory ---------------------------------------------------------------------------------------------------


def action(password=None, become=None, context=None):
    options = {"password": password}
    become_plugin = None if become is None else types.SimpleNamespace(get_option=lambda name: become)
    connection = types.SimpleNamespace(get_option=options.get, become=become_plugin)
    return types.SimpleNamespace(_connection=connection, _play_context=types.SimpleNamespace(password=context))


def who(source, path):
    return identity.Identity(source, path, "ssh-ed25519 AAAA", "SHA256:x")


KEY_LINE = "set     ansible_ssh_private_key_file: /keys/x"
PASSWORD_LINE = "delete  ansible_password (also as ansible_ssh_pass or -k): it no longer opens the host"
BECOME_LINE = "keep    ansible_become_password (sudo wants it); if it is taken from ansible_password, write it out"


@pytest.mark.parametrize(
    "given, key, expected",
    [
        (action(), who("default", "/h/.ssh/id_ed25519"), []),
        (action("p"), who("default", "/h/.ssh/id_ed25519"), [PASSWORD_LINE]),
        (action(context="p"), who("agent", ""), [PASSWORD_LINE]),
        (action("p", "p"), who("harden_key", "/keys/x"), [KEY_LINE, BECOME_LINE, PASSWORD_LINE]),
        (action("p", "q"), who("harden_key", "/keys/x"), [KEY_LINE, PASSWORD_LINE]),
        (action(None, "q"), who("made", "/keys/x"), [KEY_LINE]),
        (action(None, ""), who("made", "/h/.ssh/id_ed25519"), []),
        (action(), who("private_key_file", "/keys/x"), []),
        (action(), who("private_key", ""), []),
    ],
)
def test_lines_of_the_inventory(monkeypatch, given, key, expected):
    monkeypatch.setattr(connections, "tries_by_itself", lambda action, path: path == "/h/.ssh/id_ed25519")
    monkeypatch.setattr(inventory_lines, "agent_keys", lambda: [])
    assert inventory_lines.lines(given, key) == expected


def test_an_agent_full_of_other_keys_would_use_up_the_tries(monkeypatch):
    others = [types.SimpleNamespace(fingerprint=f"SHA256:{number}") for number in range(5)]
    monkeypatch.setattr(connections, "tries_by_itself", lambda action, path: True)
    monkeypatch.setattr(inventory_lines, "agent_keys", lambda: others)
    assert inventory_lines.lines(action(), who("default", "/h/.ssh/id_ed25519"))[0].startswith("add     ansible_ssh_ex")
    monkeypatch.setattr(inventory_lines, "agent_keys", lambda: others[1:])
    assert inventory_lines.lines(action(), who("default", "/h/.ssh/id_ed25519")) == []


# ---- making ----------------------------------------------------------------------------------------------------------


def test_wishes_for_a_key():
    assert key_making.Wanted.from_args({}) == ("", "auto", "auto", 0, "", "")
    full = {"key": "/k", "create": True, "type": "rsa", "size": "4096", "comment": "c", "passphrase": "p"}
    assert key_making.Wanted.from_args(full) == ("/k", "true", "rsa", 4096, "c", "p")
    for wrong, where in (({"create": "maybe"}, "harden_key_create"), ({"type": "dsa"}, "harden_key_type")):
        with pytest.raises(Malformed) as caught:
            key_making.Wanted.from_args(wrong)
        assert caught.value.where == where
    assert key_making.default_path("ecdsa") == "~/.ssh/id_ecdsa"
