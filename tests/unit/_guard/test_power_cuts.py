# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A power cut at every write point of a transaction, on every disk that it may leave (tests/faults/replay.py)."""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "faults"))

import histories  # noqa: E402  (found only after the line above)
import onehost  # noqa: E402
import replay  # noqa: E402
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import guardian  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root's own files are written")


@pytest.mark.parametrize("phase, least", list(zip(replay.PHASES, (80, 60, 50, 60, 80, 80, 65))))
def test_every_power_cut_is_survived(request, phase, least):
    with onehost.one_host() as host:
        found = list(replay.run(host, [phase], request.config.latchkey_seed))
    print("\n%s: %d cuts, on %d disks" % (phase, len(found), sum(disks for _name, disks in found)))
    assert len(found) >= least
    assert len({name for name, _disks in found}) == len(found)


def test_cuts_have_the_same_names_in_every_run():
    with onehost.one_host() as host:
        first = replay.ids(host)
    with onehost.one_host() as host:
        assert replay.ids(host) == first
        (cut,) = replay.run(host, replay.PHASES, 1, lambda name: name == first[200])
    assert cut[0] == first[200]


def nothing(real):
    return lambda *arguments: None


def renamed_before_it_is_synced(real):
    def replace(path, data, mode):
        handle = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        os.write(handle, data)
        os.fchmod(handle, mode)
        os.rename(path + ".new", path)
        os.close(handle)
        guardian.sync_directory(os.path.dirname(path))

    return replace


def removed_without_a_sync(real):
    def remove(entry):
        for path in entry.get("absent", []):
            if os.path.isdir(path) and not os.listdir(path):
                os.rmdir(path)

    return remove


@pytest.mark.parametrize(
    "where, name, change, phase, words",
    [
        (guardian, "sync_directory", nothing, "apply", "mix|answered|not over"),
        (guardian, "sync_directory", nothing, "confirm", "."),
        (guardian, "replace", renamed_before_it_is_synced, "apply", "."),
        (guardian, "_remove_made", nothing, "revert", "mix"),
        (guardian, "_remove_made", removed_without_a_sync, "revert", "mix"),
        (guardian, "boot", lambda real: lambda at: 0, "apply", "sshd has started"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_a_guard_that_loses_something_is_noticed(monkeypatch, where, name, change, phase, words):
    with onehost.one_host() as host:
        monkeypatch.setattr(where, name, change(getattr(where, name)))
        with pytest.raises((histories.Broken, ValueError), match=words):
            list(replay.run(host, [phase], 1))
