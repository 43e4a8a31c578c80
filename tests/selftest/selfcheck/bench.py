# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cases are made of: changes that lock the user out, and the promise that the host is held against."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from .host import Entered, Host
from .judge import Entry
from .link import Unreachable
from .options import Options
from .runs import PLAYS, Run, Runner

# The promise: so many seconds after the deadline, or after sshd is up again, a login works.
PROMISED = 30.0
# For what must not be explained by its deadline: a proof that fails, a boot.
PROOF, LONG = 240, 900
_RELOAD = 20.0
_MAIN, DROPINS = "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d"
_PLANTED = "zz-selftest.conf"
_OVER = ("REVERTED", "COMMITTED", "NONE")


class Broken(Exception):
    """The promise was not kept."""


class NotRun(Exception):
    """This cannot be tried here; the text says why."""


class Window(NamedTuple):
    """An armed transaction, and when (time.monotonic()) the host goes back."""

    id: str
    deadline: float


class Bench:
    """One host under test, and how it was before."""

    def __init__(self, options: Options, host: Host, facts: Mapping[str, Any]) -> None:
        self.options, self.host, self.facts = options, host, facts
        self.runner: Runner | None = None
        self.before: dict[str, Entry] = {}
        self.offered: tuple[str, ...] = ()
        self.first_arm = 0.0
        # When (time.monotonic()) the host goes back at the latest, whatever is under way.
        self.deadline = 0.0
        self.denied_before: list[str] = []

    # --- changes -------------------------------------------------------------------------------------------------

    def change(self, settings: Mapping[str, Any], deadline: int, *, prove: bool = False) -> Run:
        """Arm and change sshd's configuration through the collection, as somebody's own play does."""
        return self.play("change.yml", settings, deadline, prove=prove)

    def play(self, name: str, settings: Mapping[str, Any], deadline: int, **more: Any) -> Run:
        """Run a play of ours that arms."""
        assert self.runner is not None
        self.first_arm = self.first_arm or float(self.host.look("moment")["now"])
        # A run takes its time before it arms.
        self.deadline = time.monotonic() + deadline + 120
        return self.runner.play(PLAYS / name, {"settings": dict(settings), "deadline": deadline, **more})

    def guarded(self, settings: Mapping[str, Any], deadline: int) -> Window:
        """Change under a guard without confirming; raises where the run failed."""
        run = self.change(settings, deadline)
        if run.rc != 0:
            raise Broken(f"the change did not come about: {run.why}")
        return self.window(str(run.of("guard")["transaction"]["id"]))

    def window(self, identifier: str) -> Window:
        """Return the window that is open on the host."""
        seen = self.host.look("guard")
        if seen["id"] != identifier or seen["state"] not in ("ARMED", "APPLIED"):
            raise Broken(f"it should be armed, and is {seen['state']} ({seen['reason']}): try a longer --deadline")
        self.deadline = time.monotonic() + float(seen["left"])
        return Window(identifier, self.deadline)

    def locked_out(self, deadline: int) -> Window:
        """Take the user's way in under a guard, and see that it is really gone."""
        window = self.guarded({"DenyUsers": self.host.user}, deadline)
        self.see_locked_out()
        return window

    def see_locked_out(self) -> None:
        """Raise unless a login is refused: what harms nobody shows nothing."""
        end = time.monotonic() + _RELOAD
        entered = self.host.enter()
        # A reload closes the port for a moment, and before that the old configuration counts.
        while (entered.ok or not entered.reached) and time.monotonic() < end:
            time.sleep(1)
            entered = self.host.enter()
        if entered.ok or not entered.reached:
            said = "a login still works" if entered.ok else f"no answer: {entered.said}"
            raise Broken(f"the change should lock the user out, and {said}")

    def lock_out_as_others_do(self) -> None:
        """Take the user's way in past the collection, as another tool would."""
        self.host.do(f"sed -i '1i DenyUsers {self.host.user}' {_MAIN} && systemctl reload sshd")
        self.see_locked_out()

    def break_sshd(self) -> None:
        """Have sshd die of a configuration that it does not take."""
        # AlmaLinux 8 has no directory of drop-ins but the one that a change of ours makes, and takes away again.
        path = f"{DROPINS}/{_PLANTED}" if DROPINS in self.before else _MAIN
        self.host.do(f"echo 'Nonsense yes' >> {path}; systemctl reload sshd; true")

    def tidy(self) -> None:
        """Take away what a case has planted, wherever it was cut off; what the guardian brings back is its work."""
        self.host.do(f"rm -f {DROPINS}/{_PLANTED}")

    # --- the promise ---------------------------------------------------------------------------------------------

    def back_after(self, window: Window) -> str:
        """See that a fresh login works in time after the deadline, and that everything is as before; returns a note."""
        time.sleep(max(0.0, window.deadline - time.monotonic()))
        self._await_over(window.deadline + PROMISED)
        entered = self._await_login(window.deadline + PROMISED)
        seconds = time.monotonic() - window.deadline
        if not entered.ok:
            raise Broken(f"no login {seconds:.0f} s after the deadline: {entered.said}")
        self.as_before()
        return f"login and root {seconds:.1f} s after the deadline"

    def back_after_boot(self, window: Window) -> str:
        """See that the first login after a restart works in time, and that sshd started on the old files."""
        end = time.monotonic() + self.options.boot_seconds
        entered = self._await_login(end, rebooted=True)
        if not entered.ok or not entered.rebooted:
            raise Broken(f"no login within {self.options.boot_seconds} s of the restart: {entered.said}")
        if entered.sshd_up > PROMISED:
            raise Broken(f"the first login worked when sshd had been up for {entered.sshd_up:.0f} s")
        self.host.await_console(60)
        self.host.mark()
        when = self.host.look("order")
        if not 0 < when["revert"] < when["sshd"]:
            raise Broken(f"sshd started before the files were back: {when}")
        self._await_over(time.monotonic() + PROMISED)
        self.as_before()
        ahead = when["sshd"] - when["revert"]
        return f"login and root {entered.sshd_up:.1f} s after sshd; files back {ahead:.1f} s before"

    def _await_over(self, end: float) -> None:
        """Wait until the transaction is over; without a console only logins can tell."""
        while time.monotonic() < end:
            try:
                if self.host.look("guard")["state"] in _OVER:
                    return
            except Unreachable:
                return
            time.sleep(0.5)

    def _await_login(self, end: float, *, rebooted: bool = False) -> Entered:
        while True:
            entered = self.host.enter()
            if (entered.ok and (entered.rebooted or not rebooted)) or time.monotonic() > end:
                return entered
            # Each refused login costs 5 s of penalty with OpenSSH 9.8 and newer, and more than 15 s shut the door.
            time.sleep(3.0 if entered.reached else 1.0)

    def as_before(self, state: str = "REVERTED") -> None:
        """See that the transaction is over and nothing on the host differs from before."""
        seen = self.host.look("guard")
        if seen["state"] != state or seen["problems"]:
            raise Broken(f"the transaction should be {state}, and is {seen['state']}: {'; '.join(seen['problems'])}")
        left = self.host.look("left")
        if left:
            raise Broken(f"something is left: {', '.join(left[:5])}")
        changed = self.host.differences(self.before)
        if changed:
            raise Broken(f"not as before: {'; '.join(changed[:5])}")


__all__ = ["DROPINS", "LONG", "PROMISED", "PROOF", "Bench", "Broken", "NotRun", "Window"]
