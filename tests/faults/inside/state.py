# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say how the transaction of this host stands, and what is left of it around; runs on the host, Python 3.6 and newer.

    python state.py SECONDS      wait for so long until it is over and nothing is left

One JSON object: the transaction, ``left``, and ``waited``: whether it was not over when first asked.
"""

import json
import os
import subprocess
import sys
import time

STATE = "/var/lib/latchkey/transaction.json"
UNITS = ("latchkey-guard.service", "latchkey-boot.service")
PLACES = ("", "multi-user.target.wants", "sysinit.target.wants")
FILES = [os.path.join("/etc/systemd/system", place, unit) for place in PLACES for unit in UNITS]
LIST = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "latchkey-*"]


def look():
    """Return the transaction and what is left."""
    try:
        with open(STATE) as handle:
            found = json.load(handle)
    except FileNotFoundError:
        found = {}
    except ValueError as error:
        found = {"state": "unreadable: {0}".format(error)}
    # Of what is left, this would come into being or act by itself.
    stands = [path for path in FILES if os.path.islink(path)]
    units = [line.split()[0] for line in subprocess.check_output(LIST).decode().splitlines()]
    left = [path for path in FILES + ["/run/latchkey/armed"] if os.path.lexists(path)]
    active = [unit for unit in units if subprocess.call(["systemctl", "-q", "is-active", unit]) == 0]
    return dict(found, left=left or active, stands=stands + active, listed=units)


def main():
    """Print it."""
    end = time.monotonic() + float(sys.argv[1])
    waited = False
    while True:
        found = look()
        over = found.get("state", "REVERTED") in ("COMMITTED", "REVERTED") and not found["left"]
        if over or time.monotonic() > end:
            print(json.dumps(dict(found, waited=waited, clock=time.clock_gettime(7))))
            return
        waited = True
        time.sleep(0.1)


if __name__ == "__main__":
    main()
