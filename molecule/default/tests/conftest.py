# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Testinfra itself comes in by the operator's key (molecule.yml); each other attempt is an ssh client of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The same logins as in the end-to-end tests.
sys.path.insert(0, str(ROOT / "tests" / "e2e"))


@pytest.fixture(scope="session")
def key() -> Path:
    """Return the operator's key, which the run made."""
    return ROOT / "build" / "molecule" / "default" / "operator"


@pytest.fixture(scope="session")
def wrong_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a key that no host knows."""
    path = tmp_path_factory.mktemp("keys") / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path
