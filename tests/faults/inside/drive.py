# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do on the host what a controller has done there, by the product's own engine; Python 3.6 and newer.

    python drive.py '{"steps": ["arm", "apply server", ...], "desired": {...}, "timeout": 6}'

Each step answers with one line of JSON. A probe (probe.py) may stop it anywhere.
"""

import collections
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "engine")]

import probe as probing  # noqa: E402  (found only after the line above)
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError  # noqa: E402
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import guarding, keys, server  # noqa: E402
from ansible_collections.latchkey.ssh.plugins.module_utils._guard import fence, guardian  # noqa: E402
from ansible_collections.latchkey.ssh.plugins.module_utils._host.host import Host  # noqa: E402

FACETS = {"keys": keys, "server": server}
# What another tool writes in the window: nobody gets in, and sshd reads it.
FOREIGN = "/etc/ssh/sshd_config"


def say(**fields):
    """Answer with one line."""
    fields["clock"] = time.clock_gettime(7)
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class Drive:
    """One run: what was asked for, and the transaction that it armed."""

    def __init__(self, asked, probe):
        self.asked, self.probe = asked, probe
        self.transaction = asked.get("transaction") or {}

    def step(self, words):
        """Do one step."""
        getattr(self, words[0])(*words[1:])

    def arm(self):
        """Arm, as the module guard does."""
        # Options that are not given are None, as in a module.
        params = collections.defaultdict(
            lambda: None, state="armed", timeout=self.asked["timeout"], desired=self.asked["desired"], by="a test"
        )
        params.update(operators=["admin"], touches=[FOREIGN], accounts=[])
        self.probe.enter("arm")
        done = guarding.run(params, check_mode=False)
        self.probe.phase = ""
        self.transaction = done["transaction"]
        state = guardian.load(guardian.Places())
        say(event="armed", deadline=state["deadline"], **self.transaction)

    def apply(self, name):
        """Change one facet inside the transaction, as its module does."""
        self.probe.enter("apply-" + name)
        with Host(self._fence()) as host:
            outcome = FACETS[name].outcome(self.asked["desired"][name], host)
            for phase in ("widen", "narrow"):
                FACETS[name].apply(outcome.changes, phase, host, [])
        self.probe.phase = ""
        say(event="applied", facet=name)

    def _fence(self):
        return fence.Fence(self.transaction["id"], guardian.Site())

    def foreign(self):
        """Lock the operator out as another tool would, past the fence."""
        with open(FOREIGN) as handle:
            text = handle.read()
        with open(FOREIGN + ".tmp", "w") as handle:
            handle.write("DenyUsers admin\n" + text)
        os.chmod(FOREIGN + ".tmp", os.stat(FOREIGN).st_mode & 0o7777)
        os.rename(FOREIGN + ".tmp", FOREIGN)
        os.system("systemctl reload sshd")
        say(event="foreign")

    def pause(self):
        """Let somebody else come in between."""
        time.sleep(1)

    def confirm(self):
        """Confirm, as root on the console may."""
        self.probe.enter("confirm")
        answer = guardian.confirm(guardian.Site(), self.transaction["id"], None, None)
        self.probe.phase = ""
        say(event="confirmed", **answer)

    def cancel(self):
        """Take it back now, as the module guard does."""
        self.probe.enter("cancel")
        answer = guardian.cancel(guardian.Site(), self.transaction["id"], "a test")
        self.probe.phase = ""
        say(event="cancelled", **answer)


def main():
    """Do the steps in order; an error ends them and is the answer."""
    asked = json.loads(sys.argv[1])
    drive = Drive(asked, probing.install("drive"))
    try:
        for step in asked["steps"]:
            drive.step(step.split())
    except (LatchkeyError, OSError) as error:
        say(event="refused", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
