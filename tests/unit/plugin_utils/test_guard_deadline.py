# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deadline of the action guard: raised where a host waits for its batch, refused where no deadline would fit."""

import types

import pytest

pytest.importorskip("ansible")
guard = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.action.guard")
errors = pytest.importorskip("ansible_collections.latchkey.ssh.plugins.module_utils._errors")


@pytest.mark.parametrize(
    "wanted, batch, forks, seconds",
    [
        (300, 1, 5, 300),
        (300, 5, 5, 300),
        (300, 6, 5, 600),
        (300, 60, 5, 3600),
        (0, 20, 5, 0),
        (3601, 20, 5, 3601),
    ],
)
def test_each_round_of_forks_takes_its_own_time(wanted, batch, forks, seconds):
    assert guard.raised(wanted, batch, forks) == seconds


def test_over_an_hour_the_batch_that_fits_is_named():
    with pytest.raises(errors.Refused) as caught:
        guard.raised(300, 61, 5)
    assert "13 times 300 s is more than 3600 s" in caught.value.reason and "serial: 60" in caught.value.remedy
    assert guard.raised(300, 60, 5) == 3600


@pytest.mark.parametrize("told, seconds", [(None, 300), (0, 0), ("45", 45)])
def test_what_is_told_counts(told, seconds):
    assert guard._seconds(told) == seconds


@pytest.mark.parametrize("told", ["soon", "1.5", ""])
def test_what_is_no_number_is_named(told):
    with pytest.raises(errors.Malformed) as caught:
        guard._seconds(told)
    assert caught.value.where == "timeout"


def action(strategy, *, batch=20, forks=5, timeout=60):
    """Return the action in a play of this strategy, two blocks down, and the variables that Ansible gives it."""
    play = types.SimpleNamespace(_play=types.SimpleNamespace(strategy=strategy), _parent=None)
    inner = types.SimpleNamespace(_parent=types.SimpleNamespace(_parent=play))
    task = types.SimpleNamespace(_parent=inner, args={"timeout": timeout})
    found = guard.ActionModule.__new__(guard.ActionModule)
    found._task = task
    hosts = ["h%d" % number for number in range(batch)]
    return found, {"ansible_play_batch": hosts, "ansible_forks": forks}


@pytest.mark.parametrize(
    "strategy, seconds",
    [("linear", 240), ("ansible.builtin.linear", 240), ("debug", 240), ("free", 60), ("host_pinned", 60)],
)
def test_only_where_hosts_wait_for_each_other_the_batch_counts(strategy, seconds):
    found, variables = action(strategy)
    assert found._timeout(variables) == seconds


def test_a_batch_too_large_for_linear_fits_where_nobody_waits():
    found, variables = action("linear", batch=1000)
    with pytest.raises(errors.Refused):
        found._timeout(variables)
    found, variables = action("host_pinned", batch=1000)
    assert found._timeout(variables) == 60
