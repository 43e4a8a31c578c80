# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``ssh -v`` of three releases said about logins that went every way, and what is read out of it.

The fixture holds the whole standard error of the clients 8.4p1, 9.2p1 and 10.0p2 (C locale; addresses replaced).
"""

import gzip
import json
import os
import re

import pytest

pytest.importorskip("ansible")
transcript = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.transcript")
failures = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.failures")
connections = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.connections")

FIXTURE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "fixtures", "ssh-client-transcripts.json.gz")
with gzip.open(FIXTURE, "rb") as stream:
    RECORDED = json.loads(stream.read().decode("utf-8"))
CLIENTS = sorted(RECORDED)
OFFERED = ("publickey", "gssapi-keyex", "gssapi-with-mic", "password")


def said(client, case):
    return transcript.read(RECORDED[client][case])


def good_fingerprint(client):
    return re.findall(r"Server accepts key: \S+ ED25519 (SHA256:\S+)", RECORDED[client]["success"])[-1]


def test_the_recording_is_complete():
    assert CLIENTS == ["OpenSSH_10.0p2", "OpenSSH_8.4p1", "OpenSSH_9.2p1"]
    assert min(len(cases) for cases in RECORDED.values()) >= 15


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", ["success", "second key", "accepted host key", "proxycommand"])
def test_a_login_by_key(client, case):
    found = said(client, case)
    assert (found.authenticated, found.offered, found.refused) == ("publickey", OFFERED, None)
    assert found.fingerprint == good_fingerprint(client)
    assert re.match(r"(ssh-ed25519|ecdsa-sha2-nistp256) SHA256:\S{43}\Z", found.host_key)
    assert not found.multiplexed and not transcript.host_key_failed(found)


@pytest.mark.parametrize("client", CLIENTS)
def test_what_the_command_said_is_kept_and_nothing_else(client):
    assert said(client, "success").words == "a word on stderr"
    assert said(client, "second key").words == ""
    assert said(client, "accepted host key").words == (
        "Warning: Permanently added '%s' (%s) to the list of known hosts."
        % ("192.0.2.8" if "9.2" in client else "192.0.2.9", "ECDSA" if "8.4" in client else "ED25519")
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refused_key(client):
    found = said(client, "refused")
    assert (found.authenticated, found.fingerprint, found.refused, found.offered) == ("", "", OFFERED, OFFERED)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", ["changed host key", "unknown host"])
def test_a_host_key_that_is_not_known_ends_it_before_anything_is_offered(client, case):
    found = said(client, case)
    assert transcript.host_key_failed(found)
    assert (found.authenticated, found.offered, found.refused) == ("", (), None)
    assert ("has changed" in found.words) == (case == "changed host key")
    assert found.host_key.startswith(("ssh-ed25519 SHA256:", "ecdsa-sha2-nistp256 SHA256:"))


@pytest.mark.parametrize("client", CLIENTS)
def test_too_many_keys(client):
    found = said(client, "too many failures")
    assert (found.authenticated, found.refused) == ("", None)
    assert "Too many authentication failures" in found.words


@pytest.mark.parametrize("client", [client for client in CLIENTS if "penalty" in RECORDED[client]])
def test_a_penalty_is_seen_although_only_a_debug_line_tells_it(client):
    found = said(client, "penalty")
    assert "Not allowed at this time" in found.words
    assert found.refused is None and found.offered == ()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_jump_host_that_refuses_is_no_refusal_of_the_target(client):
    found = said(client, "proxycommand refused by the jump host")
    assert (found.authenticated, found.refused, found.offered) == ("", None, ())
    assert not transcript.host_key_failed(found)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_login_that_rides_an_old_connection_is_none(client):
    found = said(client, "multiplexed")
    assert found.multiplexed and not found.authenticated


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "case, words",
    [
        ("nobody listens", "ssh: connect to host"),
        ("no route", "Connection timed out"),
        ("no such name", "Could not resolve hostname"),
    ],
)
def test_a_host_that_is_away(client, case, words):
    found = said(client, case)
    assert words in found.words and (found.authenticated, found.refused, found.offered) == ("", None, ())


@pytest.mark.parametrize("client", CLIENTS)
def test_a_wrong_password_after_which_sshpass_ends_the_client(client):
    whole = RECORDED[client]["refused"]
    cut = re.sub(r"(?m)^\S+: Permission denied .*$", "Permission denied, please try again.\r", whole)
    assert cut != whole
    assert transcript.read(cut).refused == OFFERED
    assert transcript.read(RECORDED[client]["success"] + "\nPermission denied, please try again.\n").refused is None


def test_nothing_and_noise():
    assert transcript.read("") == transcript.Transcript("", (), "", None, "", False, "")
    found = transcript.read("bash: x: Permission denied\nmotd\nPermission denied (publickey).\n")
    assert found.refused is None and found.authenticated == ""


def test_a_long_speech_is_cut_at_its_beginning():
    assert transcript.plain("x" * 1000 + "\nthe end") == ("x" * 1000 + " the end")[-600:]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "case, where, words",
    [
        ("refused", "admin", "let admin in by no key (it offers"),
        ("changed host key", "host key", "known_hosts has another key"),
        ("unknown host", "host key", "is not known here"),
        ("too many failures", "admin", "too many keys"),
        ("penalty", "", "PerSourcePenalties"),
        ("no route", failures.UNREACHABLE, "Connection timed out"),
        ("no such name", failures.UNREACHABLE, "Could not resolve"),
        ("nobody listens", failures.UNREACHABLE, "connect to host"),
        ("proxycommand refused by the jump host", failures.UNREACHABLE, "Connection closed"),
    ],
)
def test_each_of_them_in_one_line_with_a_remedy(client, case, where, words):
    if case not in RECORDED[client]:
        pytest.skip("not recorded with this client")
    found = said(client, case)
    error = failures.of_login(connections.Reached(found, found.words), "admin")
    assert words in error.reason and error.where == where and error.remedy
    assert "\n" not in str(error) and len(str(error)) < 800
