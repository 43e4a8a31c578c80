# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong, in one line: everything that sudo, Python and Ansible may answer instead of a module."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, Refused

pytest.importorskip("ansible")
failures = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.failures")
connections = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.connections")
interpreter = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.interpreter")
ssh_arguments = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.ssh_arguments")
transcript = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.transcript")

NOTHING = connections.Reached(transcript.read(""), "")


@pytest.mark.parametrize(
    "said, reason",
    [
        ("Incorrect sudo password", "the sudo password is wrong"),
        ("Sorry, try again.\nsudo: 1 incorrect password attempt", "the sudo password is wrong"),
        ("Missing sudo password", "sudo wants a password and none is set"),
        ("sudo: a password is required", "sudo wants a password and none is set"),
        ("sudo: a terminal is required to read the password", "sudo wants a password and none is set"),
        ("alice is not in the sudoers file.", "this account may not use sudo"),
        ("Sorry, user alice is not allowed to execute '/bin/sh' as root", "this account may not use sudo"),
        ("Sorry, user alice may not run sudo on host.", "this account may not use sudo"),
        ("sudo: sorry, you must have a tty to run sudo", "sudo wants a terminal (requiretty)"),
        ("/bin/sh: sudo: command not found", "sudo is not installed"),
        ("sh: 1: sudo: not found", "sudo is not installed"),
        ("all is well", None),
        ("", None),
    ],
)
def test_sudo(said, reason):
    found = failures.of_sudo(said)
    if reason is None:
        assert found is None
    else:
        assert isinstance(found, Refused) and found.reason == reason and found.remedy and found.where == "become"


@pytest.mark.parametrize(
    "result, where, words",
    [
        ({"rc": 1, "module_stderr": "sudo: a password is required"}, "become", "sudo wants a password"),
        ({"rc": 1, "msg": "Missing sudo password"}, "become", "sudo wants a password"),
        ({"rc": 127, "module_stderr": interpreter.NONE_FITS + "\n"}, "python", "the host has no Python"),
        ({"rc": 127, "module_stderr": "motd\n%s /usr/bin/python3=3.6 /x=3.5\n" % interpreter.NONE_FITS}, "python",
         "/usr/bin/python3=3.6, /x=3.5"),
        ({"rc": 1, "module_stderr": "SyntaxError: future feature annotations is not defined"}, "python",
         "needs Python 3."),
        ({"rc": 1, "msg": "Ansible requires Python 3.9 or newer on the target. Current version: 3.6.8"}, "python",
         "needs Python 3."),
        ({"rc": 127, "module_stderr": "/bin/sh: /usr/bin/pythn: No such file or directory"}, "python",
         "no Python at the path that is set"),
        ({"rc": 1, "module_stderr": "Segmentation  fault\n"}, "", "the module did not run: Segmentation fault"),
    ],
)
def test_a_module_that_gave_no_result(result, where, words):
    error = failures.of_module(result, NOTHING)
    assert error.where == where and words in error.reason and error.remedy
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"changed": False},
        {"failed": True, "msg": "sudo: a password is required"},
        {"failed": True, "rc": 1, "error": {"reason": "not found"}, "msg": "not found"},
    ],
)
def test_a_result_of_the_module_itself_is_none_of_these(result):
    assert failures.of_module(result, NOTHING) is None


def test_the_command_that_looks_for_a_python_is_not_taken_for_its_answer():
    """Ansible quotes the command it ran in its own message."""
    quoted = {"rc": 1, "msg": "%s said: killed" % interpreter._finder(9), "module_stderr": "Killed"}
    assert "Killed" in failures.of_module(quoted, NOTHING).reason


@pytest.mark.parametrize(
    "stderr, error, kind, where, words",
    [
        ("", "Incorrect sudo password", Refused, "become", "the sudo password is wrong"),
        ("", "to use the 'ssh' connection type with passwords, you must install the sshpass program", HostError,
         "controller", "sshpass"),
        ("debug1: kex_exchange_identification: banner line 0: Not allowed at this time", "x", Refused, "",
         "PerSourcePenalties"),
        ("u@h: Permission denied (publickey,password).", "x", Refused, "u", "it offers publickey, password"),
        ("u@h: Permission denied (publickey,password).", "x", Refused, "u", "no password was tried"),
        ("Host key verification failed.", "x", Refused, "host key", "a key that ssh did not show"),
        ("debug1: Server host key: ssh-rsa SHA256:x\nHost key for h has changed\nHost key verification failed.", "x",
         Refused, "host key", "ssh-rsa SHA256:x"),
        ("%s\nConnection closed by UNKNOWN port 65535" % ssh_arguments.GONE, "x", HostError, failures.UNREACHABLE,
         "was kept open is gone"),
        ("Connection closed by UNKNOWN port 65535", "x", HostError, failures.UNREACHABLE, "through the jump host"),
        ("ssh: connect to host h port 22: Connection refused", "the words", HostError, failures.UNREACHABLE,
         "the words"),
    ],
)
def test_logins_that_failed(stderr, error, kind, where, words):
    found = failures.of_login(connections.Reached(transcript.read(stderr), error), "u")
    assert isinstance(found, kind) and found.where == where and words in found.reason and found.remedy


def test_a_password_is_blamed_only_where_there_was_one():
    said = transcript.read("u@h: Permission denied (publickey,password).")
    found = failures.of_login(connections.Reached(said, "x", password=True), "u")
    assert "neither by key nor by password" in found.reason and "ansible_password" in found.remedy
    found = failures.of_login(connections.Reached(transcript.read("u@h: Permission denied (publickey)."), "x"), "u")
    assert "no password was tried" in found.reason and "password" not in found.remedy
