# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The finder of the host's Python, run by the shells that hosts and controllers have."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("ansible")
interpreter = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.interpreter")
SHELLS = [path for path in ("/bin/sh", "/bin/bash", "/bin/dash") if os.path.exists(path)]


@pytest.fixture(params=SHELLS)
def host(tmp_path, monkeypatch, request):
    """Make a host's /usr: call with names and what they are, get what the finder started, or what it said."""
    script_of = interpreter._CANDIDATES
    for directory in ("bin", "libexec"):
        (tmp_path / directory).mkdir()
    monkeypatch.setattr(interpreter, "_CANDIDATES", script_of.replace("/usr/", str(tmp_path) + "/"))

    def run(minor, tree):
        for name, content in tree.items():
            path = tmp_path / name
            if content.startswith("->"):
                path.symlink_to(content[2:])
            else:
                # A program that can be asked for its minor version, or started with a module on standard input.
                path.write_text('#!/bin/sh\n[ "$1" = -c ] && { echo %s; exit; }\necho "$0 $(cat)"\n' % content)
                path.chmod(0o755 if content != "unusable" else 0o644)
        command = interpreter._finder(minor)
        done = subprocess.run([request.param, "-c", command], input=b"module", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        shown = (done.stdout + done.stderr).decode().replace(str(tmp_path) + "/", "").strip()
        return done.returncode, shown

    return run


EL8 = {"libexec/platform-python3.6": "6", "libexec/platform-python": "->platform-python3.6"}
EL9 = {"bin/python3.9": "9", "bin/python3": "->python3.9", "libexec/platform-python": "->../bin/python3.9"}
EL10 = {"bin/python3.12": "12", "bin/python3": "->python3.12"}


@pytest.mark.parametrize(
    "minor, tree, started",
    [
        (6, EL8, "libexec/platform-python"),
        (6, EL9, "bin/python3"),
        (9, EL9, "bin/python3"),
        (9, EL10, "bin/python3"),
        # The default one is too old, and a newer one is installed beside it.
        (9, dict(EL8, **{"bin/python3.11": "11"}), "bin/python3.11"),
        (9, {"bin/python3.6": "6", "bin/python3": "->python3.6", "bin/python3.12": "12"}, "bin/python3.12"),
        (9, dict(EL8, **{"bin/python3.9": "9"}), "bin/python3.9"),
        # alternatives(8): a link over a link.
        (9, {"bin/alt": "->python3.9", "bin/python3": "->alt", "bin/python3.9": "9"}, "bin/python3"),
        # A name that does not tell the version is asked.
        (9, {"bin/python3": "9"}, "bin/python3"),
        (9, {"bin/python3": "8", "bin/python3.11": "11"}, "bin/python3.11"),
        (9, {"bin/python3.9d": "9", "bin/python3": "->python3.9d"}, "bin/python3"),
        # Dangling and unusable ones are passed over.
        (9, {"bin/python3": "->python3.9", "bin/python3.12": "12"}, "bin/python3.12"),
        (9, {"bin/python3": "unusable", "bin/python3.12": "12"}, "bin/python3.12"),
        (10, {"bin/python3": "->python3.9", "bin/python3.9": "9", "bin/python3.10": "10"}, "bin/python3.10"),
    ],
)
def test_the_first_that_fits_is_started_with_standard_input(host, minor, tree, started):
    assert host(minor, tree) == (0, started + " module")


@pytest.mark.parametrize(
    "minor, tree, names",
    [
        (9, {}, []),
        (9, EL8, ["libexec/platform-python=3.6"]),
        (10, EL9, ["bin/python3=3.9", "libexec/platform-python=3.9", "bin/python3.9=3.9"]),
        (9, {"bin/python3": "unusable"}, []),
    ],
)
def test_where_none_fits_it_is_said_what_is_there(host, minor, tree, names):
    assert host(minor, tree) == (127, " ".join([interpreter.NONE_FITS] + names))


@pytest.mark.parametrize(
    "core, said, minor",
    [
        ("2.16.19", None, 6),
        ("2.17.0", None, 7),
        ("2.18.1", None, 8),
        ("2.19.0", None, 8),
        ("2.20.0", (3, 9), 9),
        ("2.21.5", (3, 9), 9),
        ("2.30.0", (3, 12), 12),
        ("2.30.0", None, 9),
        ("2.16.0", "3.6", 6),
    ],
)
def test_what_each_core_needs(monkeypatch, core, said, minor):
    monkeypatch.setattr(interpreter, "core_version", core)
    monkeypatch.setattr(interpreter.basic, "_PY_MIN", said, raising=False)
    assert interpreter.minimum() == minor


@pytest.mark.parametrize("configured", ["auto", "auto_silent", "auto_legacy", "auto_legacy_silent"])
def test_automatic_ways_are_the_finder(configured):
    found = interpreter.choose({"ansible_python_interpreter": configured})
    assert found == interpreter._finder(interpreter.minimum()) and found.startswith("/bin/sh -c '")


@pytest.mark.parametrize("configured", ["/usr/bin/python3.12", "/opt/x/python"])
def test_what_the_user_set_is_taken(configured):
    assert interpreter.choose({"ansible_python_interpreter": configured}) == configured


def test_the_finder_is_one_quoted_word_for_a_shell():
    script = interpreter._finder(9)
    assert script.count("'") == 2 and "\n" not in script


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("configured", [None, sys.executable])
def test_a_program_of_ours_is_run_by_the_same_interpreter(shell, configured, monkeypatch):
    """The finder passes on what stands behind it; quotes, blanks and lines of the program survive every shell."""
    monkeypatch.setattr(interpreter, "_CANDIDATES", sys.executable)
    source = "import sys\nfor word in sys.argv[1:]:\n    print(word, \"it's\", '%h', r'\\n', sep='|')\n"
    variables = {"ansible_python_interpreter": configured} if configured else {}
    command = interpreter.program(variables, source, ["a b", "$HOME"])
    assert "\n" not in command
    done = subprocess.run([shell, "-c", command], input=b"print('taken from standard input')", stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    assert done.stdout.decode() == "a b|it's|%h|\\n\n$HOME|it's|%h|\\n\n", done.stderr.decode()
