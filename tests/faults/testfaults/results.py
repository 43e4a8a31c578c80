# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results: one a fault, kept over runs for as long as the product is the same."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

from testhosts.common import digest, tree_bytes

from .catalog import Fault
from .place import ROOT

FILE = ROOT / "build" / "faults.json"
CODE = ("plugins/module_utils", "plugins/plugin_utils", "plugins/action", "plugins/modules")


def product() -> str:
    """Return a hash of what is tested."""
    return digest(*[tree_bytes(ROOT / path) for path in CODE])


class Results:
    """What is known of each fault, guarded and unguarded."""

    def __init__(self, *, again: bool = False, any_product: bool = False) -> None:
        self._lock = threading.Lock()
        self._data: dict[str, Any] = {"product": product(), "faults": {}, "controls": {}, "unguarded": {}}
        if FILE.exists() and not again:
            old = json.loads(FILE.read_text(encoding="utf-8"))
            if any_product or old["product"] == self._data["product"]:
                self._data.update({name: old[name] for name in ("faults", "controls", "unguarded")})

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

    def keep(self, fault: Fault, entry: dict[str, Any]) -> None:
        """Keep the result of a guarded run."""
        with self._lock:
            kind = {"generation": fault.generation, "point": fault.point, "actor": fault.actor, "kind": fault.kind}
            harm = self.control(fault)
            if entry["result"] == "survived" and harm == "none":
                entry = {**entry, "result": "dropped"}
            if fault.possible and harm is not None:
                self._data["controls"][fault.id] = harm
            self._data["faults"][fault.id] = {**kind, **entry, "control": harm}
            self._save()

    def keep_control(self, fault: Fault, harm: str) -> None:
        """Keep what an unguarded run suffered."""
        with self._lock:
            self._data["unguarded"][fault.control_id] = harm
            self._save()

    def _save(self) -> None:
        for name, entry in self._data["faults"].items():
            entry["id"] = name
        FILE.parent.mkdir(parents=True, exist_ok=True)
        fresh = FILE.with_suffix(".new")
        fresh.write_text(json.dumps(self._data, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(fresh, FILE)


__all__ = ["FILE", "Results", "product"]
