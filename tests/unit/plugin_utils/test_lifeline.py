# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the socket of a lifeline lies; what goes over it is tried against live hosts."""

import os
import socket
import stat
import tempfile

import pytest

pytest.importorskip("ansible")
lifeline = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.plugin_utils.lifeline")


@pytest.mark.parametrize("length", [1, 60, 150])
def test_the_socket_has_a_short_name_and_a_private_directory(tmp_path, monkeypatch, length):
    base = tmp_path / ("d" * length)
    base.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    folder = lifeline._short_directory()
    path = os.path.join(folder, "s.0123456789abcdef")
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path)
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        assert not list(base.iterdir()) or folder.startswith(str(base))
    finally:
        os.unlink(path)
        os.rmdir(folder)


def test_a_client_that_does_not_answer_is_no_connection_and_no_error(tmp_path, monkeypatch):
    """What the connection was for may have gone well: its end must not hide that."""
    def hangs(words, given=b""):
        raise lifeline.HostError("`ssh` does not answer on the controller")

    monkeypatch.setattr(lifeline.programs, "run", hangs)
    line = lifeline.Lifeline(None)
    line._folder = str(tmp_path / "socket")
    monkeypatch.setattr(line, "_client", lambda: ["ssh"])
    monkeypatch.setattr(line, "_host", lambda: "host")
    assert not line.alive()
    line.close()
    assert line._folder == ""
