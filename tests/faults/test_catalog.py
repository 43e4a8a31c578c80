# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog of faults leaves no cell empty without a reason, and names each fault once."""

from __future__ import annotations

import collections
import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from testfaults import catalog  # noqa: E402  (found only after the line above)
from testfaults.scenarios import SCENARIOS  # noqa: E402

_STATE_OF = (
    ("arm-", "PREPARED"),
    ("apply-", "APPLIED"),
    ("revert-", "REVERTING"),
    ("boot-revert-", "REVERTING"),
    ("finish-", "REVERTED"),
    ("confirm-", "COMMITTING"),
)
CELLS = {(actor, kind, state) for actor in catalog.KINDS for kind in catalog.KINDS[actor] for state in catalog.STATES}


def _cell(fault: catalog.Fault) -> tuple[str, str, str]:
    """Return the cell of a fault: its journal step stands for the state in which that is taken."""
    kinds = [
        kind for kind in catalog.KINDS.get(fault.actor, ()) if fault.kind == kind or fault.kind.startswith(f"{kind}-")
    ]
    kind = max(kinds, key=len, default=fault.kind)
    state = next((state for prefix, state in _STATE_OF if fault.point.startswith(prefix)), fault.point)
    return fault.actor, kind, state


def empty_cells(faults: list[catalog.Fault], reasons: dict[tuple[str, str, str], str]) -> set[tuple[str, str, str]]:
    """Return the cells that have neither a fault nor a reason."""
    return CELLS - {_cell(fault) for fault in faults} - set(reasons)


def test_no_cell_is_empty_on_any_generation() -> None:
    for generation in catalog.GENERATIONS:
        faults = [one for one in catalog.every() if one.generation == generation]
        # Steps in which nothing can be harmed are dealt out to the generations.
        dealt = [one for one in catalog.every() if not one.possible]
        assert not empty_cells(faults + dealt, catalog.REASONS)


def test_an_empty_cell_is_seen() -> None:
    faults = [one for one in catalog.every() if (one.actor, one.kind) != ("sshd", "stopped")]
    assert ("sshd", "stopped", "APPLIED") in empty_cells(faults, catalog.REASONS)


def test_no_reason_stands_beside_a_fault() -> None:
    assert not {_cell(fault) for fault in catalog.every()} & set(catalog.REASONS)


def test_reasons_are_about_cells_and_say_something() -> None:
    assert set(catalog.REASONS) <= CELLS
    assert all(len(text) > 20 for text in catalog.REASONS.values())


def test_names_are_distinct() -> None:
    counted = collections.Counter(fault.id for fault in catalog.every())
    assert [name for name, number in counted.items() if number > 1] == []


def test_there_are_enough() -> None:
    assert len([one for one in catalog.every() if one.possible]) >= 200


def test_the_virtual_machine_meets_what_containers_cannot_show() -> None:
    found = catalog.of_machine()
    assert len({one.id for one in found}) == len(found)
    assert len([one for one in found if one.kind == "power-cut"]) >= 12
    assert {one.point for one in found if one.actor == "clock"} == {"ARMED", "APPLIED"}
    assert {one.point for one in found if one.kind == "restarted"} == {"ARMED", "APPLIED", "COMMITTING", "REVERTING"}


def test_every_scenario_is_there_and_used() -> None:
    assert {fault.scenario for fault in catalog.every()} == set(SCENARIOS)


def test_the_short_part_meets_every_generation_and_most_actors() -> None:
    short = [fault for fault in catalog.every() if fault.short]
    assert {fault.generation for fault in short} == set(catalog.GENERATIONS)
    assert {"guardian", "applier", "host", "sshd", "controller", "network", "confirmer"} <= {one.actor for one in short}


def test_a_step_has_a_name_of_its_own() -> None:
    for generation, process in itertools.product(catalog.GENERATIONS, ("watch", "boot", "drive")):
        found = [one for one in catalog.steps(generation, process) if not one.startswith("arm-")]
        assert found
        # The driver runs twice for the record, once to confirm.
        assert len(found) == len(set(found)), process
