# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of tests/hosts/hosts."""

import argparse
import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import hosts, image, inventory, machine, python36, states
from .accounts import OPERATOR, PASSWORDS
from .common import BUILD, HOME, ToolError
from .generations import GENERATIONS
from .podman import become, exec_in

Command = Callable[[argparse.Namespace], None]


def say(text: str) -> None:
    """Print one line at once, so that a reader of a pipe sees it when it happens."""
    print(text, flush=True)


def setup(_args: argparse.Namespace) -> None:
    installed = machine.install()
    say("packages       " + ("installed: " + " ".join(installed) if installed else "all there"))
    machine.need_root()
    raised = machine.raise_inotify()
    say("inotify        " + (raised or "enough instances"))
    prefix = machine.prefix()
    say(
        "cgroup         "
        + (
            "v2, used as it is"
            if not prefix
            else "v1 or hybrid: podman runs in a mount namespace of its own with cgroup2"
        )
    )
    python = python36.find()
    say(
        "python 3.6     "
        + (str(python) if python else "NOT FOUND: generation 8 stand-ins run Debian's 3.9 (set LATCHKEY_PYTHON36)")
    )


def prepared() -> None:
    """Do what `setup` does, silently unless there was something to do."""
    installed = machine.install()
    machine.need_root()
    for text in (("installed " + " ".join(installed)) if installed else "", machine.raise_inotify()):
        if text:
            say(text)


def build(args: argparse.Namespace) -> None:
    prepared()
    for number in args.generation or GENERATIONS:
        name, kind = image.ensure(number, args.kind, say)
        say(f"{number:<3} {kind:<10} {name}")


def up(args: argparse.Namespace) -> None:
    prepared()
    specs = [*args.spec, *(f"{name}={number}" for name, number in hosts.STOCK.items() if args.stock)]
    if not specs:
        raise ToolError("nothing to boot: name hosts (web1=9:match) or say --stock")
    try:
        hosts.up(specs, args.kind, say)
    finally:
        refresh()
    say(f"inventory      {BUILD.relative_to(Path.cwd()) if BUILD.is_relative_to(Path.cwd()) else BUILD}/inventory.yml")


def refresh() -> None:
    """Write inventory, known_hosts, ssh_config and state.json again."""
    with hosts.locked("inventory"):
        found = hosts.listed()
        for host in found:
            if host.running:
                hosts.adopt(host)
        inventory.write(found)


def down(args: argparse.Namespace) -> None:
    hosts.down(args.name, say)
    refresh()


def list_(_args: argparse.Namespace) -> None:
    for host in hosts.listed():
        say(hosts.line(host, "up" if host.running else "off"))


def one(action: Callable[[str, Callable[[str], None]], None]) -> Command:
    """Return the command that does `action` to all named hosts at once and refreshes the files."""

    def command(args: argparse.Namespace) -> None:
        try:
            hosts.together([functools.partial(action, name, say) for name in args.name])
        finally:
            refresh()

    return command


def start(name: str, out: Callable[[str], None]) -> None:
    """Switch a host on after `kill`."""
    hosts.boot(hosts.get(name), out)


def ssh(args: argparse.Namespace) -> None:
    host = hosts.running(args.name)
    code = _login(host.name, *args.command)
    # 255 and sshpass's own codes may be the remote command's: only a second, empty login tells.
    if code not in (5, 6, 255) or _login(host.name, "true") == 0:
        sys.exit(code)
    print(f"hosts: no login as {OPERATOR} over ssh; going in past sshd with podman exec", file=sys.stderr)
    terminal = ["-it"] if sys.stdin.isatty() else ["-i"]
    shell = ["bash", "-lc", " ".join(args.command)] if args.command else ["bash", "-l"]
    become(["exec", *terminal, "-u", OPERATOR, "-w", f"/home/{OPERATOR}", host.container, *shell])


def _login(name: str, *command: str) -> int:
    """Log in with the caller's keys and agent, else with the operator's password; return ssh's exit code."""
    argv = ["sshpass", "-e", "ssh", "-F", str(BUILD / "ssh_config"), name, *command]
    return subprocess.run(argv, env={**os.environ, "SSHPASS": PASSWORDS[OPERATOR]}, check=False).returncode


def exec_(args: argparse.Namespace) -> None:
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise ToolError("say what to run: hosts exec NAME -- COMMAND")
    terminal = ["-it"] if sys.stdin.isatty() and sys.stdout.isatty() else ["-i"]
    become(["exec", *terminal, hosts.running(args.name).container, *command])


def log(args: argparse.Namespace) -> None:
    sys.stdout.buffer.write(
        exec_in(
            hosts.running(args.name).name,
            "journalctl",
            "--no-pager",
            "-q",
            "-o",
            "short-precise",
            "-t",
            "sshd",
            "-t",
            "sshd-session",
            "-t",
            "sshd-auth",
        ).stdout
    )


def inside(script: str, *arguments: str) -> Command:
    """Return the command that runs inside/SCRIPT with the host's own Python and prints what it says."""

    def command(args: argparse.Namespace) -> None:
        name = hosts.running(args.name).name
        python = "/usr/libexec/platform-python"
        if exec_in(name, "test", "-x", python, check=False).returncode != 0:
            python = "/usr/bin/python3"
        extra = [word for key in arguments for value in getattr(args, key) for word in (f"--{key}", value)]
        source = (HOME / "inside" / script).read_bytes()
        sys.stdout.buffer.write(exec_in(name, python, "-I", "-B", "-", *extra, stdin=source).stdout)

    return command


def states_(_args: argparse.Namespace) -> None:
    for name in states.names():
        say(f"{name:<12} {states.load(name).about}")


def generation(text: str) -> int:
    """Return the number of a generation; argparse makes a message of the error."""
    if not text.isdigit() or int(text) not in GENERATIONS:
        raise argparse.ArgumentTypeError("the generation is 8, 9 or 10")
    return int(text)


def add_kind(command: argparse.ArgumentParser) -> None:
    default = os.environ.get("LATCHKEY_HOSTS_KIND", "auto")
    command.add_argument("--kind", choices=("auto", "almalinux", "standin"), default=default, help=f"now: {default}")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="hosts", description="Throw-away AlmaLinux-like hosts. tests/hosts/README.md tells more."
    )
    add = functools.partial(_add, top.add_subparsers(metavar="COMMAND", required=True))
    add("setup", setup, "install what is needed and prepare this machine")
    command = add("build", build, "build the images (up does this too)")
    command.add_argument("generation", nargs="*", type=generation, metavar="8|9|10")
    add_kind(command)
    command = add("up", up, "boot hosts and write build/hosts/inventory.yml")
    command.add_argument("spec", nargs="*", metavar="NAME[=GEN[:STATE]]")
    command.add_argument("--stock", action="store_true", help="alma8, alma9 and alma10")
    add_kind(command)
    add("down", down, "remove hosts (all without a name)").add_argument("name", nargs="*")
    add("list", list_, "list the hosts")
    add("states", states_, "list the start states")
    _add_for_hosts(add)
    return top


def _add(commands: Any, name: str, function: Command, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.set_defaults(function=function)
    return command


def _add_for_hosts(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    """Add the commands that are about hosts that exist."""
    add("restart", one(hosts.restart), "reboot").add_argument("name", nargs="+")
    add("kill", one(hosts.kill), "cut the power").add_argument("name", nargs="+")
    add("start", one(start), "switch on after kill").add_argument("name", nargs="+")
    add("reset", one(hosts.reset), "back to the start state").add_argument("name", nargs="+")
    for name, function, text in (
        ("ssh", ssh, "log in as the operator"),
        ("exec", exec_, "run a command as root, past sshd"),
    ):
        command = add(name, function, text)
        command.add_argument("name")
        command.add_argument("command", nargs=argparse.REMAINDER)
    add("log", log, "show sshd's log").add_argument("name")
    logins = add("logins", inside("logins.py"), "list logins since boot, accepted and failed, as JSON")
    logins.add_argument("name")
    trees = "print a line for everything in /etc /home /root /var/lib/latchkey"
    command = add("tree-hash", inside("tree_hash.py", "ignore"), trees)
    command.add_argument("name")
    command.add_argument("--ignore", action="append", default=[], metavar="GLOB", help="leave out paths that match")


def main() -> None:
    """Run one command; errors are one message and exit code 2."""
    args = parser().parse_args()
    try:
        args.function(args)
    except ToolError as error:
        print(f"hosts: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)
