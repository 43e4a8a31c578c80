# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results: one a fault, kept over runs for as long as the product is the same."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .catalog import Fault, every, of_machine
from .place import ROOT, digest, locked, tree_bytes

FILE = ROOT / "build" / "faults.json"
SHORT = ROOT / "build" / "faults-short.json"
MACHINE = ROOT / "build" / "faults-vm.json"
CODE = ("plugins/module_utils", "plugins/plugin_utils", "plugins/action", "plugins/modules")


def product(root: Path = ROOT) -> str:
    """Return a hash of what is tested."""
    return digest(*[tree_bytes(root / path) for path in CODE])


class Results:
    """What is known of each fault, guarded and unguarded."""

    def __init__(self, file: Path, *, any_product: bool = False) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._any_product = any_product
        self._data: dict[str, Any] = {"product": product(), "faults": {}, "controls": {}, "unguarded": {}}
        self._take_over()

    def _take_over(self) -> None:
        """Add what other runs have kept and this one does not know; what this one has seen itself stands."""
        if not self.file.exists():
            return
        there = json.loads(self.file.read_text(encoding="utf-8"))
        if self._any_product or there["product"] == self._data["product"]:
            for name in ("faults", "controls", "unguarded"):
                self._data[name] = {**there.get(name, {}), **self._data[name]}
            # Steps that the product no longer takes are no faults any more.
            ids = {one.id for one in (of_machine() if self.file == MACHINE else every())}
            for name in ("faults", "controls"):
                self._data[name] = {key: value for key, value in self._data[name].items() if key in ids}

    def survived(self, fault: Fault) -> bool:
        """Say whether a fault was survived already."""
        return self._data["faults"].get(fault.id, {}).get("result") in ("survived", "dropped")

    def control(self, fault: Fault) -> str | None:
        """Return what the unguarded run of a fault suffered; None where it has not been made."""
        found = self._data["unguarded"].get(fault.control_id)
        return None if found is None or found.startswith("failed") else str(found)

    def of(self, fault: Fault) -> dict[str, Any]:
        """Return all that is known of a fault."""
        return dict(self._data["faults"].get(fault.id, {}))

    def forget(self, faults: Iterable[Fault]) -> None:
        """Forget what is known of these faults, guarded and unguarded."""
        with self._held():
            for one in faults:
                self._data["faults"].pop(one.id, None)
                self._data["controls"].pop(one.id, None)
                self._data["unguarded"].pop(one.control_id, None)

    def keep(self, fault: Fault, entry: dict[str, Any]) -> None:
        """Keep the result of a guarded run."""
        kind = {"generation": fault.generation, "point": fault.point, "actor": fault.actor, "kind": fault.kind}
        with self._held():
            harm = self.control(fault)
            if entry["result"] == "survived" and harm == "none":
                entry = {**entry, "result": "dropped"}
            if fault.possible and harm is not None:
                self._data["controls"][fault.id] = harm
            self._data["faults"][fault.id] = {
                "id": fault.id,
                **kind,
                **entry,
                "control": harm,
                "product": self._data["product"],
            }

    def keep_control(self, fault: Fault, harm: str) -> None:
        """Keep what an unguarded run suffered."""
        with self._held():
            self._data["unguarded"][fault.control_id] = harm

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Change what is kept, with what other runs have kept meanwhile."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, locked("faults"):
            self._take_over()
            yield
            fresh = self.file.with_suffix(".new")
            fresh.write_text(json.dumps(self._data, indent=1, sort_keys=True), encoding="utf-8")
            os.replace(fresh, self.file)


__all__ = ["CODE", "FILE", "MACHINE", "SHORT", "Results", "product"]
