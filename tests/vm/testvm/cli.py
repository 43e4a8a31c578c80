# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of tests/vm/vm."""

import argparse
import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from testhosts.common import ToolError

from . import image, inventory, machine, talk
from .common import BUILD, install
from .machine import Machine

Command = Callable[[argparse.Namespace], None]


def say(text: str) -> None:
    """Print one line at once, so that a reader of a pipe sees it when it happens."""
    print(text, flush=True)


def setup(_args: argparse.Namespace) -> None:
    installed = install()
    say("packages       " + ("installed: " + " ".join(installed) if installed else "all there"))


def build(_args: argparse.Namespace) -> None:
    install()
    base = image.ensure(say)
    say(str(machine.golden(base, say)))


def up(args: argparse.Namespace) -> None:
    install()
    begun = time.monotonic()
    made = machine.up(args.name, say, cold=args.cold)
    inventory.write()
    say(f"{made.name:<14} ready after {time.monotonic() - begun:.0f} s, 127.0.0.1 port {made.port}")


def down(args: argparse.Namespace) -> None:
    for one in [Machine(name) for name in args.name] or machine.machines():
        one.remove()
    inventory.write()


def list_(_args: argparse.Namespace) -> None:
    for one in machine.machines():
        say(f"{one.name:<14} {'on' if one.pid else 'off':<4} 127.0.0.1 port {one.port}")


def start(args: argparse.Namespace) -> None:
    one = Machine(args.name)
    one.need(on=False)
    one.power_on()
    one.wait_ready()


def with_running(action: Callable[[Machine], None]) -> Command:
    """Return the command that does `action` to a machine that is on."""

    def command(args: argparse.Namespace) -> None:
        one = Machine(args.name)
        one.need(on=True)
        action(one)

    return command


def snapshot(args: argparse.Namespace) -> None:
    with_running(lambda one: one.save(args.tag))(args)


def restore(args: argparse.Namespace) -> None:
    Machine(args.name).restore(args.tag)


def link(args: argparse.Namespace) -> None:
    up_now = args.state == "up"
    with_running(lambda one: talk.qmp(one.directory / "qmp", "set_link", name="net0", up=up_now))(args)


def ssh(args: argparse.Namespace) -> None:
    one = Machine(args.name.rpartition("@")[2])
    one.need(on=True)
    argv = machine.login(one, args.name.rpartition("@")[0] or "root", args.command)
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def exec_(args: argparse.Namespace) -> None:
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise ToolError("say what to run: vm exec NAME -- COMMAND")
    one = Machine(args.name)
    one.need(on=True)
    done = one.execute(*command, stdin=b"" if sys.stdin.isatty() else sys.stdin.buffer.read())
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)
    sys.exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)


def console(args: argparse.Namespace) -> None:
    sys.stdout.buffer.write((BUILD / args.name / "console").read_bytes())


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="vm", description="A throw-away virtual machine with SELinux enforcing. tests/vm/README.md tells more."
    )
    add = functools.partial(_add, top.add_subparsers(metavar="COMMAND", required=True))
    add("setup", setup, "install what is needed")
    add("build", build, "build the image and save its first boot (up does this too)")
    command = add("up", up, "make a machine, new, and wait until it is ready")
    command.add_argument("name")
    command.add_argument("--cold", action="store_true", help="boot it now, not from the saved first boot")
    add("down", down, "remove machines (all without a name)").add_argument("name", nargs="*")
    add("list", list_, "list the machines")
    for name, function, text in (
        ("start", start, "switch on after kill or poweroff"),
        ("kill", with_running(Machine.kill), "cut the power"),
        ("poweroff", with_running(Machine.poweroff), "shut down"),
        ("reboot", with_running(Machine.reboot), "shut down and boot again"),
        ("console", console, "print what it wrote to its console"),
    ):
        add(name, function, text).add_argument("name")
    _add_for_states(add)
    return top


def _add(commands: Any, name: str, function: Command, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.set_defaults(function=function)
    return command


def _add_for_states(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    """Add the commands that take more than a name."""
    for name, function, text in (
        ("snapshot", snapshot, "save memory and disks of a running machine"),
        ("restore", restore, "go back to what was saved, in seconds"),
    ):
        command = add(name, function, text)
        command.add_argument("name")
        command.add_argument("tag", help=f"a name for it; {machine.BOOTED}: right after the first boot")
    command = add("link", link, "cut its network, or join it again")
    command.add_argument("name")
    command.add_argument("state", choices=("up", "down"))
    for name, function, text in (
        ("ssh", ssh, "log in, as root unless USER@NAME"),
        ("exec", exec_, "run a command as root, past sshd"),
    ):
        command = add(name, function, text)
        command.add_argument("name")
        command.add_argument("command", nargs=argparse.REMAINDER)


def main() -> None:
    """Run one command; errors are one message and exit code 2."""
    args = parser().parse_args()
    # A first boot that is called off must not leave its qemu behind.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    try:
        args.function(args)
    except ToolError as error:
        print(f"vm: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)
