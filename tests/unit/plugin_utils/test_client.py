# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's view: keys in the order in which ssh offers them, known host keys, and who is reached through whom."""

import base64
import hashlib
import hmac
import json
import struct
import subprocess
import types

import pytest

pytest.importorskip("ansible")
client = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.client")
connections = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.connections")
host_key = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.host_key")
identity = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.identity")
jumps = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.jumps")
keys = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.module_utils._openssh.keys")
programs = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.programs")
ssh_arguments = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.ssh_arguments")


def key(number):
    blob = b"".join(struct.pack(">I", len(part)) + part for part in (b"ssh-ed25519", bytes([number]) * 32))
    return keys.parse_public_key("ssh-ed25519 " + base64.b64encode(blob).decode(), "test")


K = [key(number) for number in range(6)]
STRICT = host_key.HostKeyPolicy("strict")


# ---- keys that come first --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "held, files, only, mine, expected",
    [
        ([0, 1, 2], [], "no", 2, 2),
        ([0, 1, 2], [3], "no", 3, 3),
        ([0, 1, 2], [3], "yes", 3, 0),
        ([0, 1, 2], [2], "no", 2, 0),
        ([0, 1, 2], [2, 3], "no", 3, 3),
        ([0, 1, 2], [4, 1, 3], "yes", 3, 2),
        ([], [3, 4], "no", 4, 1),
        ([], [], "no", 5, 0),
    ],
)
def test_how_many_keys_are_offered_before_the_right_one(monkeypatch, tmp_path, held, files, only, mine, expected):
    monkeypatch.setattr(identity, "agent_keys", lambda: [K[number] for number in held])
    paths = []
    for number in files:
        (tmp_path / ("k%d.pub" % number)).write_text(K[number].text + "\n")
        paths.append(str(tmp_path / ("k%d.pub" % number)))
    who = identity.Identity("harden_key", "/k", K[mine].text, K[mine].fingerprint)
    seen = {"identityfile": ["/no/such/file", *paths], "identitiesonly": [only]}
    assert client.earlier(who, seen) == expected


def test_another_agent_than_the_environments_is_not_judged(monkeypatch):
    monkeypatch.setattr(identity, "agent_keys", lambda: K[:3])
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    who = identity.Identity("agent", "", K[2].text, K[2].fingerprint)
    for agent, expected in (("/run/agent", 2), ("SSH_AUTH_SOCK", 2), ("/run/other", 0), ("none", 0)):
        assert client.earlier(who, {"identityagent": [agent]}) == expected


def test_files_of_keys(tmp_path):
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(path)], check=True)
    public = keys.parse_public_key((tmp_path / "id.pub").read_text().strip(), "x")
    assert client._fingerprint(str(path)) == public.fingerprint
    path.write_text("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n")
    assert client._fingerprint(str(path)) == public.fingerprint
    (tmp_path / "id.pub").unlink()
    assert client._fingerprint(str(path)) == ""
    path.write_text("garbage")
    assert client._fingerprint(str(path)) == ""


# ---- known host keys -------------------------------------------------------------------------------------------------


def hashed(host):
    salt = b"12345678901234567890"
    digest = hmac.new(salt, host.encode(), hashlib.sha1).digest()
    return "|1|%s|%s" % (base64.b64encode(salt).decode(), base64.b64encode(digest).decode())


H = K[4]
SEEN = {"hostname": "web.example.com", "port": "22"}


@pytest.mark.parametrize(
    "names, seen, found",
    [
        ("web.example.com", {}, True),
        ("WEB.example.com,192.0.2.1", {}, True),
        ("*.example.com", {}, True),
        ("*.example.com,!web.example.com", {}, False),
        (hashed("web.example.com"), {}, True),
        (hashed("db.example.com"), {}, False),
        ("|1|garbage", {}, False),
        ("web.example.com", {"port": "2222"}, False),
        ("[web.example.com]:2222", {"port": "2222"}, True),
        ("alias", {"hostkeyalias": "alias", "port": "2222"}, True),
        ("@revoked web.example.com", {}, False),
        ("@cert-authority *.example.org", {}, False),
        ("web.example.com", {"knownhostscommand": "/bin/lookup"}, False),
        ("web.example.com", {"knownhostscommand": "none", "verifyhostkeydns": "false"}, True),
        ("web.example.com", {"verifyhostkeydns": "yes"}, False),
    ],
)
def test_by_which_keys_a_host_is_known(tmp_path, names, seen, found):
    path = tmp_path / "known_hosts"
    path.write_text("# a comment\n\n%s %s\nother %s\nweb.example.com garbage garbage\n" % (names, H.text, K[5].text))
    view = {name: [value] for name, value in {**SEEN, "userknownhostsfile": "/none %s" % path, **seen}.items()}
    assert client.known(view, STRICT) == ([H.fingerprint] if found else [])


def test_where_an_authority_vouches_no_key_is_the_known_one(tmp_path):
    path = tmp_path / "known_hosts"
    path.write_text("web.example.com %s\n@cert-authority *.example.com %s\n" % (H.text, K[5].text))
    view = {**{name: [value] for name, value in SEEN.items()}, "globalknownhostsfile": [str(path)]}
    assert client.known(view, STRICT) == []


def test_pinned_is_known():
    assert client.known({}, host_key.HostKeyPolicy("pinned", ("SHA256:x",))) == ["SHA256:x"]


# ---- jumps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command, expected",
    [
        ("ssh -W %h:%p bastion", ["bastion"]),
        ("/usr/bin/ssh -q -W '[%h]:%p' -p 2222 admin@bastion", ["-p", "2222", "-l", "admin", "bastion"]),
        ("ssh bastion -l admin -W %h:%p", ["-l", "admin", "bastion"]),
        ("sshpass -e ssh -W %h:%p bastion", ["bastion"]),
        ("ssh bastion nc %h %p", []),
        ("nc -X connect -x proxy:3128 %h %p", []),
        ("ssh -W %h:%p 'unclosed", []),
        ("ssh -W %h:%p", []),
        ("", []),
    ],
)
def test_the_hop_of_a_proxy_command(command, expected):
    assert jumps._hop_of(command) == expected


HOSTS = {
    "bastion": {"ansible_host": "192.0.2.1"},
    "db": {"ansible_ssh_common_args": "-J admin@192.0.2.1", "ansible_host": "10.0.0.9", "ansible_port": 2222},
    "web": {"ansible_ssh_common_args": "-o ProxyJump=first,gate"},
    "app": {"ansible_ssh_extra_args": '-o ProxyCommand="ssh -W %h:%p -l ops bastion"'},
    "off": {"ansible_ssh_common_args": "-o ProxyJump=none"},
    "odd": {"ansible_ssh_common_args": "-o 'unclosed"},
    "two": {"ansible_ssh_common_args": "-J admin@192.0.2.1", "ansible_host": "10.0.0.8"},
    "plain": {},
}
CONFIG = {"gate": "hostname 192.0.2.1\nuser deploy\n", "lonely": "proxyjump bastion\nhostname 10.0.0.7\nport 24\n"}


@pytest.fixture
def graph(monkeypatch, tmp_path):
    """Find out the jumps of an inventory; return what each host has behind it, and how often ssh was asked."""
    asked = []

    def run(words, given=b""):
        asked.append(words)
        name = words[-1]
        user = words[words.index("-l") + 1] if "-l" in words else "me"
        text = CONFIG.get(name, "hostname %s\nuser %s\n" % (name, user))
        return subprocess.CompletedProcess(words, 0, text, "")

    monkeypatch.setattr(programs, "run", run)
    monkeypatch.setattr(jumps.C, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(jumps, "_OWN_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(jumps, "_SYSTEM_CONFIG", (str(tmp_path / "system*"),))
    monkeypatch.setattr(jumps, "_option", lambda name, listed, variables: str(next(
        (variables[one] for one in listed if one in variables), "")))

    def behind(host, known=None):
        hosts = HOSTS if known is None else known
        option = {"host": hosts[host].get("ansible_host")}.get
        action = types.SimpleNamespace(_connection=types.SimpleNamespace(get_option=option))
        task_vars = {"inventory_hostname": host, "hostvars": hosts, "groups": {"all": list(hosts)}}
        return jumps.behind(action, task_vars, ""), asked

    behind.path = tmp_path
    return behind


def test_who_is_reached_through_whom(graph):
    found, asked = graph("bastion")
    assert {one["host"]: (one["user"], one["target"], one["port"]) for one in found} == {
        "db": ("admin", "10.0.0.9", 2222), "web": ("deploy", "web", 22), "app": ("ops", "app", 22),
        "two": ("admin", "10.0.0.8", 22)}
    # One question for each hop, and none for the hosts themselves.
    assert len(asked) == 3
    assert graph("plain") == ([], asked) and len(asked) == 3


def test_ssh_config_is_asked_where_it_could_name_a_jump(graph):
    hosts = {"bastion": {}, "lonely": {}}
    (graph.path / "system1").write_text("Host *\nInclude other\n#   ProxyCommand ssh -W %h:%p gate\n")
    assert graph("bastion", hosts) == ([], [])
    (graph.path / "latchkey-jumps").unlink()
    (graph.path / "config").write_text("Host lonely\n  ProxyJump bastion\n")
    assert graph("bastion", hosts)[0] == [{"host": "lonely", "user": "me", "target": "10.0.0.7", "port": 24}]


def test_a_host_is_not_behind_itself(graph):
    assert graph("bastion", {"bastion": {"ansible_ssh_common_args": "-J bastion"}})[0] == []


def test_a_run_finds_out_once(graph):
    (graph.path / "latchkey-jumps").write_text(json.dumps([["x", ["plain"], "u", "t", 7]]))
    assert graph("plain") == ([{"host": "x", "user": "u", "target": "t", "port": 7}], [])


def test_options_of_other_hosts_come_from_variables_else_from_the_configuration(monkeypatch):
    config = types.SimpleNamespace(get_config_value=lambda name, **more: "-C" if name == "ssh_args" else None)
    monkeypatch.setattr(jumps.C, "config", config)
    assert jumps._option("ssh_args", ("ansible_ssh_args",), {}) == "-C"
    assert jumps._option("ssh_args", ("ansible_ssh_args",), {"ansible_ssh_args": "-4"}) == "-4"
    assert jumps._option("port", ("ansible_port",), {"ansible_port": 7}) == "7"
    assert jumps._option("port", ("ansible_port",), {}) == ""


def test_the_whole_view(monkeypatch, graph):
    seen = {name: [",".join(pair)] for name, pair in {"kexalgorithms": "ab", "ciphers": "cd", "macs": "ef"}.items()}
    seen.update(hostkeyalgorithms=["g"], pubkeyacceptedkeytypes=["h"], requiredrsasize=["2048"], hostname=["bastion"])
    asked = []
    monkeypatch.setattr(connections, "configured_view", lambda action, more: asked.append(more) or seen)
    monkeypatch.setattr(identity, "agent_keys", list)
    connection = types.SimpleNamespace(get_option={"port": 24, "host": "192.0.2.1"}.get)
    variables = {"inventory_hostname": "x", "ansible_forks": 7, "hostvars": HOSTS, "groups": {"all": list(HOSTS)}}
    who = identity.Identity("harden_key", "/k", K[0].text, K[0].fingerprint)
    caller = client.proofs.Caller(types.SimpleNamespace(_connection=connection), who, STRICT, variables)
    view = client.view(caller)
    assert asked == [["-o", "Port=24", "-o", "IdentityFile=/k"]]
    assert (view["kex"], view["ciphers"], view["macs"]) == (["a", "b"], ["c", "d"], ["e", "f"])
    assert (view["host_key_algorithms"], view["key_algorithms"], view["minimum_rsa_bits"]) == (["g"], ["h"], 2048)
    assert (view["forks"], view["earlier"], view["alone"], view["known"]) == (7, 0, True, [])
    assert {one["host"] for one in view["behind"]} == {"db", "web", "app", "two"}
