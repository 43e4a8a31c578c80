# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments of the ssh client, held against the client itself: what it makes of them counts, not how they look."""

import json
import os
import shlex
import shutil
import subprocess

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Malformed

pytest.importorskip("ansible")
ssh_arguments = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.ssh_arguments")

NEEDS_SSH = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh client on this machine")


def client(arguments):
    """Return what ssh would do with these arguments."""
    done = subprocess.run(["ssh", "-F", "none", "-G"] + list(arguments) + ["host.invalid"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return dict(line.split(" ", 1) for line in done.stdout.decode().splitlines() if " " in line)


@pytest.mark.parametrize(
    "given, words, jump",
    [
        ("", [], ""),
        ("-C -o ControlMaster=auto -o ControlPersist=60s", ["-C"], ""),
        ("-oControlPath=/x -oControlMaster=yes -4", ["-4"], ""),
        ("-o 'ControlPath = /x y' -o \"controlmaster yes\"", [], ""),
        ("-S /x -M -q -O check -i /k", ["-i", "/k"], ""),
        ("-S/x -i /k", ["-i", "/k"], ""),
        ("-o StrictHostKeyChecking=no -o UserKnownHostsFile=/kh", ["-o", "UserKnownHostsFile=/kh"], ""),
        ("-o LogLevel=QUIET -v", ["-v"], ""),
        ("-J a@b:22,c", [], "a@b:22,c"),
        ("-Jb", [], "b"),
        ("-o ProxyJump=b -p 24", ["-p", "24"], "b"),
        ("-o 'ProxyJump b'", [], "b"),
        ("-o ProxyJump=none", [], "none"),
        # The first one is the one ssh takes.
        ("-J a -o ProxyJump=b", [], "a"),
        ("-o 'ProxyCommand=ssh -W [%h]:%p b'", ["-o", "ProxyCommand=ssh -W [%h]:%p b"], ""),
        ("-o SetEnv=A='b c'", ["-o", "SetEnv=A=b c"], ""),
        # Flags in one word, and logs that would leave nothing to read.
        ("-Cq", ["-C"], ""),
        ("-4MCq", ["-4", "-C"], ""),
        ("-qM", [], ""),
        ("-E /log -y -C", ["-C"], ""),
        ("-E/log", [], ""),
        ("-Cy4i/k", ["-C", "-4", "-i", "/k"], ""),
    ],
)
def test_clean(given, words, jump):
    found = ssh_arguments.clean(given)
    assert (list(found.words), found.jump) == (words, jump)


def test_what_ssh_would_not_read_is_said():
    with pytest.raises(Malformed) as caught:
        ssh_arguments.clean("-C -z")
    assert "-z" in caught.value.reason and caught.value.where == "ssh_args"


SPOILERS = [
    "-o ControlMaster=auto -o ControlPersist=600 -o ControlPath=/tmp/x",
    "-S /tmp/x -M",
    "-MS /tmp/x",
    "-CMq -o ControlPath=/tmp/x",
    "-o BatchMode=no -o NumberOfPasswordPrompts=3 -o PreferredAuthentications=password,publickey",
    "-q -o LogLevel=QUIET",
]


@NEEDS_SSH
@pytest.mark.parametrize("given", SPOILERS)
def test_whatever_is_given_the_login_stays_fresh_and_talks(given):
    found = client(list(ssh_arguments.FRESH) + list(ssh_arguments.clean(given).words))
    assert found["controlmaster"] in ("false", "no") and found.get("controlpath", "none") == "none"
    assert found["batchmode"] == "yes" and found["numberofpasswordprompts"] == "0"
    assert found["preferredauthentications"] == "publickey" and found["loglevel"] == "DEBUG"


@NEEDS_SSH
def test_the_spoilers_do_spoil():
    """Without cleaning, a later -S wins over an earlier one: the reason for all this."""
    found = client(list(ssh_arguments.FRESH) + ["-S", "/tmp/x"])
    assert found["controlpath"] == "/tmp/x"


@NEEDS_SSH
@pytest.mark.parametrize("given", SPOILERS + ["-L 8080:localhost:80 -o ExitOnForwardFailure=yes"])
def test_a_connection_is_kept_open_whatever_is_given(given):
    found = client(ssh_arguments.master("/tmp/%h/s", 330) + list(ssh_arguments.clean(given).words))
    assert found["controlmaster"] in ("true", "yes") and found["controlpersist"] == "330"
    # The client fills in %h when it prints.
    assert found["controlpath"] in ("/tmp/%%h/s", "/tmp/%h/s") and found["clearallforwardings"] == "yes"


@NEEDS_SSH
def test_without_an_open_connection_nobody_logs_in(tmp_path):
    words = ["ssh"] + ssh_arguments.through(str(tmp_path / "%h" / "s")) + ["localhost", "true"]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 255 and ssh_arguments.GONE in done.stderr.decode()


@pytest.mark.parametrize("words", [
    [], ["-o", "ProxyCommand=sh -c 'echo \"%h\"' $x"], ["a b", "", "it's", '"', "\\", "$HOME", "`id`", "ü", "*"],
])
def test_joined_words_are_split_into_the_same_words(words):
    assert shlex.split(ssh_arguments.join(words)) == words


@pytest.mark.parametrize(
    "text, name, value",
    [
        ("ProxyJump=b", "proxyjump", "b"),
        (" ProxyJump = b ", "proxyjump", "b"),
        ("ProxyJump\tb", "proxyjump", "b"),
        ('ControlPath="/a b"', "controlpath", "/a b"),
        ("ControlMaster", "controlmaster", ""),
    ],
)
def test_split_option(text, name, value):
    assert ssh_arguments.split_option(text) == (name, value)


@pytest.mark.parametrize(
    "hop, words, name",
    [
        ("b", [], "b"),
        ("a@b", ["-l", "a"], "b"),
        ("a@b:24", ["-l", "a", "-p", "24"], "b"),
        ("b:24", ["-p", "24"], "b"),
        ("ssh://a@b:24", ["-l", "a", "-p", "24"], "b"),
        ("ssh://b/", [], "b"),
        ("[2001:db8::1]", [], "2001:db8::1"),
        ("a@[2001:db8::1]:24", ["-l", "a", "-p", "24"], "2001:db8::1"),
        ("a@corp@b", ["-l", "a@corp"], "b"),
        ("2001:db8::1", [], "2001:db8::1"),
    ],
)
def test_hops(hop, words, name):
    assert (ssh_arguments.hop_words(hop), ssh_arguments.hop_name(hop)) == (words, name)


@pytest.fixture
def chain(tmp_path):
    """Follow a ProxyCommand: every ssh in it notes its arguments and starts what it was told to go through."""
    real, log = shutil.which("ssh"), tmp_path / "log"
    fake = tmp_path / "bin dir" / "ssh"
    fake.parent.mkdir()
    fake.write_text(
        "#!/usr/bin/python3\nimport json, os, sys\n"
        "open(%r, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        "proxy = [a for a in sys.argv if a.startswith('ProxyCommand=')]\n"
        "if proxy: os.execv(%r, [%r, '-F', 'none', '-o', proxy[0], '-p', '7', sys.argv[-1]])\n"
        % (str(log), real, real))
    fake.chmod(0o755)

    def follow(hops, config="", host="target.invalid"):
        options = ["-F", config] if config else []
        command = ssh_arguments.proxy_command(hops, options, executable=str(fake))
        environment = dict(os.environ, SHELL="/bin/sh")
        subprocess.run([real, "-F", "none", "-o", "ProxyCommand=" + command, "-p", "24", host], env=environment,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        return [json.loads(line) for line in log.read_text().splitlines()]

    return follow


QUIET = ["-q", "-S", "none", "-o", "ControlMaster=no", "-o", "BatchMode=yes"]


@NEEDS_SSH
def test_one_hop_as_the_shell_and_ssh_hand_it_on(chain):
    assert chain(["a@b:25"]) == [QUIET + ["-l", "a", "-p", "25", "-W", "[target.invalid]:24", "b"]]


@NEEDS_SSH
def test_a_configuration_file_and_an_ipv6_target(chain):
    found = chain(["b"], config="/etc/my ssh/it's", host="2001:db8::7")
    assert found == [QUIET + ["-F", "/etc/my ssh/it's", "-W", "[2001:db8::7]:24", "b"]]


@NEEDS_SSH
@pytest.mark.parametrize("hops", [["one", "two"], ["one", "two", "u@three:26"], ["a", "b", "c", "d"]])
def test_every_further_hop_goes_through_those_before_it(chain, hops):
    found = chain(hops)
    assert [words[-1] for words in found] == [ssh_arguments.hop_name(hop) for hop in reversed(hops)]
    assert found[0][-3:-1] == ["-W", "[target.invalid]:24"]
    for words, nearer in zip(found[1:], found):
        assert words[-3:-1] == ["-W", "[%s]:7" % nearer[-1]], "each is asked for the one before it"
    assert not [word for words in found[-1:] for word in words if "ProxyCommand" in word]
