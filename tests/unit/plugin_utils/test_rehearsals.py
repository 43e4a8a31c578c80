# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsed login: the relay byte by byte, and what is concluded from how the login ended."""

import os
import shlex
import socket
import subprocess
import sys
import threading
import types

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import Refused

pytest.importorskip("ansible")
connections = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.connections")
host_key = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.host_key")
interpreter = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.interpreter")
proofs = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.proofs")
rehearsals = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.rehearsals")
ssh_arguments = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.ssh_arguments")
transcript = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.transcript")

LARGE = os.urandom(3 * 1024 * 1024)


@pytest.fixture
def relay(tmp_path):
    """Start the relay to a socket on which ``serve`` is called with the connection; it returns (exit, out, err)."""

    def start(serve, **stdin):
        path = str(tmp_path / "stage")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)

            def accept():
                connection, _address = listener.accept()
                with connection:
                    serve(connection)

            server = threading.Thread(target=accept)
            server.start()
            argv = [sys.executable, "-I", "-S", "-c", rehearsals._RELAY, path]
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30, check=False,
                                  **stdin)
            server.join(30)
        return done.returncode, done.stdout, done.stderr

    return start


def take(connection):
    """Read until the other side has no more to say."""
    data = b""
    while True:
        part = connection.recv(65536)
        if not part:
            return data
        data += part


def test_the_relay_carries_both_ways_and_survives_a_half_closed_side(relay):
    def echo_at_the_end(connection):
        connection.sendall(b"hello")
        connection.sendall(take(connection))

    assert relay(echo_at_the_end, input=LARGE) == (0, b"hello" + LARGE, b"")


def test_the_relay_ends_with_sshd_though_the_client_is_still_there(relay):
    """A standard input that nobody closes must not hold it."""
    reader, writer = os.pipe()
    try:
        with os.fdopen(reader, "rb") as held:
            assert relay(lambda connection: connection.sendall(b"bye"), stdin=held) == (0, b"bye", b"")
    finally:
        os.close(writer)


def test_a_relay_without_a_stage_says_so(tmp_path):
    argv = [sys.executable, "-I", "-S", "-c", rehearsals._RELAY, str(tmp_path / "none")]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30,
                          check=False)
    assert done.returncode == 1
    assert done.stderr.decode().strip() == rehearsals.NOT_REACHED + " No such file or directory"


STAGE = {"socket": "/run/s", "journal": "LATCHKEY_REHEARSAL=1", "seconds": 60, "origin": [], "why": ""}
VARIABLES = {"ansible_python_interpreter": "/usr/bin/python3"}
THROUGH = types.SimpleNamespace(
    argv=lambda: ["ssh", "-S", "/tmp/100%/s", "-o", "ProxyCommand=sh -c 'x'", "h"],
    alive=lambda: True,
)


def test_the_client_takes_the_command_as_it_is_meant(monkeypatch):
    caller = proofs.Caller(None, None, None, VARIABLES)
    words = rehearsals._arguments(caller, STAGE, THROUGH)
    # Through Ansible's own splitting of ssh_args.
    assert shlex.split(ssh_arguments.join(words)) == words
    command = words[words.index("ProxyJump=none") + 2]
    inner = shlex.split(command.split("=", 1)[1])
    assert [word.replace("%%", "%") for word in inner[:-1]] == THROUGH.argv()
    remote = shlex.split(inner[-1].replace("%%", "%"))
    assert remote[:4] == ["/usr/bin/python3", "-I", "-S", "-c"] and remote[-1] == "/run/s"
    # The client would fill in what follows a single per cent sign.
    assert "%" not in command.replace("%%", "")


KEX = "debug1: Server host key: ssh-ed25519 SHA256:host\ndebug1: Authentications that can continue: publickey\n"
CLOSED = "Connection closed by UNKNOWN port 65535\n"
DENIED = KEX + "admin@h: Permission denied (publickey).\n"
OTHER = "debug1: Server host key: ssh-ed25519 SHA256:other\nHost key verification failed.\n"
IN = KEX + 'debug1: Server accepts key: /k ED25519 SHA256:mine\nAuthenticated to h (via proxy) using "publickey".\n'


@pytest.mark.parametrize(
    "stderr, words",
    [
        ("kex_exchange_identification: Connection closed by remote host\n" + CLOSED, "no sshd answered"),
        (ssh_arguments.GONE + "\n" + CLOSED, ssh_arguments.GONE),
        (interpreter.NONE_FITS + "\n" + CLOSED, "no Python"),
        (rehearsals.NOT_REACHED + " Permission denied\nkex_exchange_identification: x\n" + CLOSED,
         "its socket could not be reached on the host: Permission denied"),
        ("sh: 1: /usr/bin/pythn: not found\n" + CLOSED, "pythn: not found"),
        (DENIED, ""),
        (KEX + CLOSED, ""),
        (IN, ""),
        ("Unable to negotiate with UNKNOWN port 65535: no matching key exchange method found.\n", ""),
    ],
)
def test_why_it_could_not_be_tried(stderr, words):
    found = rehearsals._not_tried(connections.Reached(transcript.read(stderr), "x"))
    assert words in found if words else found == ""


LOG = (
    "Connection from UNKNOWN port 65535 on /run/latchkey-rehearsal.sock port 65535\n"
    "User admin from UNKNOWN not allowed because not listed in AllowUsers\n"
    "Failed publickey for invalid user admin from UNKNOWN port 65535 ssh2: ED25519 SHA256:mine\n"
    "Connection closed by invalid user admin UNKNOWN port 65535 [preauth]\n"
)


def rehearse(monkeypatch, stderr, problem, heard="", through=THROUGH, **stage):
    """Return how a rehearsal ends whose login ended so."""
    reached = connections.Reached(transcript.read(stderr), "the login failed" if problem else "")
    proof = proofs.Proof("admin", "SHA256:mine", (), problem, reached, {})
    monkeypatch.setattr(connections, "fresh", lambda *_words, **_more: None)
    monkeypatch.setattr(proofs, "by_command", lambda *_words, **_more: proof)
    monkeypatch.setattr(rehearsals, "_heard", lambda *_words: heard)
    caller = proofs.Caller(None, None, host_key.policy("strict"), VARIABLES)
    return rehearsals.rehearse(caller, dict(STAGE, **stage), through, "admin")


FAILED = Refused("no", "do", "admin")


@pytest.mark.parametrize(
    "stderr, problem, heard, stage, rehearsed, why",
    [
        (IN, None, "", {}, True, ""),
        (IN, None, "", {"origin": ["x11forwarding"]}, True, "does not show: x11forwarding"),
        ("", FAILED, "", {"why": "the host cannot do it"}, False, "the host cannot do it"),
        ("", FAILED, "", {}, False, "no sshd answered"),
        (DENIED, FAILED, LOG, {"origin": ["allowusers"]}, False, "does not show: allowusers (User admin not allowed"),
        (DENIED, FAILED, "Authentication tried for admin with correct key but not from a permitted host (x)", {}, False,
         "it depends on the address"),
        (KEX + CLOSED, FAILED, "pam_access(sshd:account): access denied for user `admin' from `UNKNOWN'", {}, False,
         "it depends on the address"),
        # What was cut off says nothing about the configuration.
        (IN, FAILED, "Connection from x\nLATCHKEY-ENDED\n", {}, False, "its time on the host was over"),
        (KEX + CLOSED, FAILED, "LATCHKEY-ENDED\n", {}, False, "its time on the host was over"),
    ],
)
def test_what_is_recorded(monkeypatch, stderr, problem, heard, stage, rehearsed, why):
    found = rehearse(monkeypatch, stderr, problem, heard, **stage)
    assert (found["operator"], found["rehearsed"]) == ("admin", rehearsed)
    assert why in found["why"] if why else found["why"] == ""


@pytest.mark.parametrize(
    "stderr, problem, heard, reason",
    [
        (DENIED, FAILED, LOG, "does not let admin in: User admin not allowed because not listed in AllowUsers; Failed"),
        (DENIED, FAILED, "", "does not let admin in: admin@h: Permission denied (publickey)"),
        (KEX + CLOSED, FAILED, "Access denied for user admin by PAM account configuration [preauth]", "by PAM account"),
        (OTHER, FAILED, "", "a host key that is not known here: ssh-ed25519 SHA256:other"),
        (IN, Refused("the sudo password is wrong", "do", "become"), "", "lets admin in, but: the sudo password"),
        ("Unable to negotiate with UNKNOWN port 65535: no matching x.\n", FAILED, "", "no matching x"),
    ],
)
def test_what_is_refused(monkeypatch, stderr, problem, heard, reason):
    with pytest.raises(Refused) as caught:
        rehearse(monkeypatch, stderr, problem, heard)
    assert reason in caught.value.reason and caught.value.remedy and caught.value.where == "rehearsal"


def test_a_connection_that_broke_meanwhile_is_no_refusal(monkeypatch):
    gone = types.SimpleNamespace(argv=THROUGH.argv, alive=lambda: False)
    found = rehearse(monkeypatch, KEX + CLOSED, FAILED, through=gone)
    assert not found["rehearsed"] and found["why"] == ssh_arguments.GONE
