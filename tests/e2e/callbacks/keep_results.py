# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write every task's result on every host to the file that LATCHKEY_TEST_RESULTS names, one JSON object a line."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: keep_results
type: notification
short_description: Keep results as data for tests
description: Writes one line of JSON for each result.
"""


class CallbackModule(CallbackBase):
    """Keep results; what people see stays with the callback for standard output."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "keep_results"
    CALLBACK_NEEDS_ENABLED = True

    def _keep(self, result: Any, outcome: str) -> None:
        # Core 2.19 made these attributes public; 2.16 knows the old names only.
        task = getattr(result, "task", None) or result._task
        host = getattr(result, "host", None) or result._host
        value = getattr(result, "result", None) or result._result
        line = {
            "host": host.get_name(),
            "task": task.get_name(),
            "action": task.resolved_action or task.action,
            "outcome": outcome,
            "result": json.loads(self._dump_results(value, indent=None, sort_keys=False, keep_invocation=False)),
        }
        with open(os.environ["LATCHKEY_TEST_RESULTS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def v2_runner_on_ok(self, result: Any, **kwargs: Any) -> None:
        """Keep a result."""
        self._keep(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False, **kwargs: Any) -> None:
        """Keep a failure."""
        self._keep(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Keep a host that could not be reached."""
        self._keep(result, "unreachable")

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Keep a skipped task."""
        self._keep(result, "skipped")
