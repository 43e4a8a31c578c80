# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the clone importable as ``ansible_collections.latchkey.ssh`` and every random choice repeatable."""

import os
import random
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, ".collections"))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Choose one seed for the run; LATCHKEY_SEED or --hypothesis-seed repeats a run that is of interest."""
    given = getattr(config.option, "hypothesis_seed", None)
    if given is None:
        given = os.environ.get("LATCHKEY_SEED") or str(random.randrange(2**32))
    config.latchkey_seed = int(given)
    if hasattr(config.option, "hypothesis_seed"):
        config.option.hypothesis_seed = str(given)


def pytest_report_header(config):
    """Name what the results depend on."""
    return "latchkey: Python %d.%d, LATCHKEY_SEED=%d" % (sys.version_info[0], sys.version_info[1], config.latchkey_seed)


@pytest.fixture(scope="session")
def root():
    """Return the path of the project."""
    return ROOT


@pytest.fixture
def rng(request):
    """Return a random generator whose seed is the run's and the test's, so that one test alone repeats too."""
    return random.Random("%d %s" % (request.config.latchkey_seed, request.node.nodeid))
