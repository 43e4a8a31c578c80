# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts and controllers for the end-to-end tests. They need root, as the test hosts do.

LATCHKEY_MATRIX=full tries every start state on every generation; LATCHKEY_KEEP_HOSTS=1 leaves the hosts up for a look.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from live import Farm  # noqa: E402  (helpers of these tests, beside this file)
from runs import Controller  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests out, and say so, where hosts cannot be had."""
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="test hosts need root"))


@pytest.fixture(scope="session")
def farm() -> Iterator[Farm]:
    """Return the test hosts; those that were used are taken down at the end."""
    made = Farm()
    yield made
    if not os.environ.get("LATCHKEY_KEEP_HOSTS"):
        made.drop()


@pytest.fixture(scope="module")
def desk() -> Iterator[Controller]:
    """Return a controller for all tests of a file, which follow each other on it as on a person's machine."""
    made = Controller()
    yield made
    made.close()


@pytest.fixture
def controller() -> Iterator[Controller]:
    """Return a controller for one test."""
    made = Controller()
    yield made
    made.close()
