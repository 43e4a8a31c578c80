# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the house: which room may use which, how long things may be, what the docs may promise.

Each rule is a function from a file to complaints. Each is also shown files that break it (BROKEN), so that no rule
can quietly stop seeing anything.
"""

import ast
import collections
import glob
import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGE = "ansible_collections.latchkey.ssh.plugins.module_utils"

ENGINE = "plugins/module_utils/"
OPENSSH = ENGINE + "_openssh/"
# From the top down: a room may import itself and those below it.
ROOMS = ["_module", "_facets", "_access", "_guard", "_host", "_openssh", "_errors"]
IMPURE = {
    "builtins", "fcntl", "glob", "importlib", "io", "logging", "multiprocessing", "os", "pathlib", "pty", "pwd", "grp",
    "select", "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
}
# Part of no standard library of Python 3.6.
NEWER_MODULES = {
    "contextvars", "dataclasses", "graphlib", "importlib.metadata", "importlib.resources", "tomllib", "zoneinfo",
}
NEWER_NAMES = {
    "typing": {"Annotated", "Final", "Literal", "OrderedDict", "Protocol", "Self", "TypeAlias", "TypedDict"},
    "functools": {"cache", "cached_property", "singledispatchmethod"},
    "contextlib": {"nullcontext", "AsyncExitStack", "aclosing", "chdir"},
}
NEWER_ATTRIBUTES = {
    "clock_gettime_ns", "fromisoformat", "is_relative_to", "isascii", "monotonic_ns", "perf_counter_ns",
    "removeprefix", "removesuffix", "time_ns",
}
NEWER_ARGUMENTS = {"capture_output", "text"}
BUILTIN_GENERICS = {"list", "dict", "tuple", "set", "frozenset", "type"}

LONGEST_FUNCTION = 40
LONGEST_FILE = 400
# Copied to hosts as it is, and complete without any other file.
LONGEST_ALONE = {"plugins/module_utils/_guard/guardian.py": 1650}
LONGEST_MAIN = 25
MOST_POSITIONAL = 4

Source = collections.namedtuple("Source", "path text tree")


def files(pattern):
    """Return the paths that match, relative to the project."""
    found = glob.glob(os.path.join(ROOT, *pattern.split("/")), recursive=True)
    return sorted(os.path.relpath(path, ROOT) for path in found if "__pycache__" not in path)


def read(path):
    """Return a parsed file of the project."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as stream:
        return parse(path, stream.read())


def parse(path, text):
    """Return a parsed text under the path it is to be judged by."""
    return Source(path, text, ast.parse(text, path))


def target_files():
    """Return what runs on hosts."""
    return files("plugins/modules/*.py") + files("plugins/module_utils/**/*.py")


def controller_files():
    """Return what runs on controllers; it may use syntax that Python before 3.10 cannot even parse."""
    if sys.version_info < (3, 10):
        return []
    return [path for path in files("plugins/**/*.py") if path not in target_files()]


def at(source, line, text):
    """Return one complaint."""
    return "%s:%d: %s" % (source.path, line, text)


# ---- rules: from a Source to complaints ------------------------------------------------------------------------------


def imported(source):
    """Yield (line, full name of what is imported, names taken from it), relative imports resolved."""
    base = ["ansible_collections", "latchkey", "ssh"] + source.path[:-len(".py")].split("/")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, []
        elif isinstance(node, ast.ImportFrom):
            parts = base[:-node.level] if node.level else []
            yield node.lineno, ".".join(parts + (node.module or "").split(".")).strip("."), [a.name for a in node.names]


def room_of(dotted):
    """Return the room that a dotted name below module_utils is in, '' for module_utils itself, None elsewhere."""
    if dotted == PACKAGE:
        return ""
    return dotted[len(PACKAGE) + 1:].split(".")[0] if dotted.startswith(PACKAGE + ".") else None


def upward_imports(source):
    """Complain about imports from a room above, and about rooms that the house does not have."""
    own = re.sub(r"\.py$", "", source.path.split("/")[2])
    if own == "__init__":
        return []
    if own not in ROOMS:
        return ["%s is not in a room of the house (%s)" % (source.path, ", ".join(ROOMS))]
    complaints = []
    for line, dotted, names in imported(source):
        room = room_of(dotted)
        for used in (names if room == "" else [room]):
            if used is not None and (used not in ROOMS or ROOMS.index(used) < ROOMS.index(own)):
                complaints.append(at(source, line, "%s must not import %s" % (own, used)))
    return complaints


def ansible_imports(source):
    """Complain about imports of Ansible: the engine is plain Python, but for its boundary."""
    if source.path == ENGINE + "_module.py":
        return []
    return [at(source, line, "the engine must not import " + dotted) for line, dotted, _names in imported(source)
            if dotted.split(".")[0] in ("ansible", "ansible_collections") and room_of(dotted) is None]


def impurities(source):
    """Complain about anything in _openssh that could reach beyond its arguments."""
    complaints = [at(source, line, "_openssh is pure: no " + dotted) for line, dotted, _names in imported(source)
                  if dotted.split(".")[0] in IMPURE]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("open", "print", "input"):
            complaints.append(at(source, node.lineno, "_openssh is pure: no %s()" % node.func.id))
    return complaints


def too_new(source):
    """Complain about what Python 3.6 does not have; 3.6 itself, where it is there, sees the rest."""
    found = []
    for line, dotted, names in imported(source):
        if dotted in NEWER_MODULES or (dotted == "__future__" and "annotations" in names):
            found.append((line, dotted))
        found += [(line, name) for name in names if name in NEWER_NAMES.get(dotted, ())]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr in NEWER_ATTRIBUTES:
            found.append((node.lineno, node.attr))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("run", "Popen"):
            found += [(node.lineno, k.arg) for k in node.keywords if k.arg in NEWER_ARGUMENTS]
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in BUILTIN_GENERICS:
            found.append((node.lineno, node.value.id + "[...]"))
    found += [(note.lineno, "X | None") for note in annotations(source)
              if any(isinstance(node, ast.BitOr) for node in ast.walk(note))]
    return [at(source, line, "not in Python 3.6: " + what) for line, what in found + list(newer_syntax(source))]


def annotations(source):
    """Yield the annotations of arguments, results and variables."""
    for node in ast.walk(source.tree):
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                yield getattr(node, name)


def newer_syntax(source):
    """Yield (line, what) of syntax that came after 3.6, as far as this Python can tell."""
    newer = {"NamedExpr": ":=", "Match": "match", "TryStar": "except*", "TypeAlias": "type X ="}
    for node in ast.walk(source.tree):
        if type(node).__name__ in newer:
            yield node.lineno, newer[type(node).__name__]
        elif isinstance(node, (ast.FunctionDef, ast.Lambda)) and getattr(node.args, "posonlyargs", []):
            yield node.lineno, "positional-only arguments"


def functions(source):
    """Yield every function and method."""
    return (node for node in ast.walk(source.tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def length(function):
    """Return its lines, docstring included."""
    return max(getattr(node, "lineno", 0) for node in ast.walk(function)) - function.lineno + 1


def too_long(source):
    """Complain about long files and functions."""
    complaints = [at(source, f.lineno, "%s has %d lines, more than %d" % (f.name, length(f), LONGEST_FUNCTION))
                  for f in functions(source) if length(f) > LONGEST_FUNCTION]
    lines = source.text.count("\n")
    most = LONGEST_ALONE.get(source.path, LONGEST_FILE)
    if lines > most:
        complaints.append("%s has %d lines, more than %d" % (source.path, lines, most))
    return complaints


# Their arguments are given by the class of Ansible that they override.
OVERRIDES = {"exec_command"}


def clumsy_signatures(source):
    """Complain about many positional arguments and about positional booleans: a call has to be readable."""
    complaints = []
    for function in (f for f in functions(source) if f.name not in OVERRIDES):
        args = [a for a in function.args.args if a.arg not in ("self", "cls")]
        if len(args) > MOST_POSITIONAL:
            what = "%s takes %d positional arguments" % (function.name, len(args))
            complaints.append(at(source, function.lineno, what))
        complaints += [at(source, function.lineno, "%s takes the boolean %s by position" % (function.name, a.arg))
                       for a in args if isinstance(a.annotation, ast.Name) and a.annotation.id == "bool"]
    return complaints


def broad_excepts(source):
    """Complain about handlers that would also swallow mistakes in our own code."""
    handlers = [node for node in ast.walk(source.tree) if isinstance(node, ast.ExceptHandler)]
    return [at(source, handler.lineno, "broad except") for handler in handlers
            if handler.type is None or getattr(handler.type, "id", "") in ("Exception", "BaseException")]


def module_faults(source):
    """Complain about a module that is not thin or not documented."""
    complaints = []
    assigned = {target.id for node in source.tree.body if isinstance(node, ast.Assign)
                for target in node.targets if isinstance(target, ast.Name)}
    needed = ("DOCUMENTATION", "EXAMPLES", "RETURN")
    complaints += [at(source, 1, "no " + name) for name in needed if name not in assigned]
    mains = [function for function in functions(source) if function.name == "main"]
    complaints += [at(source, f.lineno, "main has %d lines, more than %d" % (length(f), LONGEST_MAIN))
                   for f in mains if length(f) > LONGEST_MAIN]
    return complaints


# ---- the project against the rules -----------------------------------------------------------------------------------

EVERYWHERE = [
    (upward_imports, ENGINE), (ansible_imports, ENGINE), (impurities, OPENSSH), (too_long, "plugins/"),
    (clumsy_signatures, "plugins/"), (broad_excepts, "plugins/"), (module_faults, "plugins/modules/"),
]


@pytest.mark.parametrize("rule, below", EVERYWHERE, ids=lambda value: getattr(value, "__name__", ""))
def test_rule_holds(rule, below):
    complaints = []
    for path in target_files() + controller_files():
        if path.startswith(below):
            complaints += rule(read(path))
    assert not complaints, "\n" + "\n".join(complaints)


def test_what_runs_on_hosts_is_python_3_6():
    assert target_files()
    complaints = [complaint for path in target_files() for complaint in too_new(read(path))]
    assert not complaints, "\n" + "\n".join(complaints)


def test_every_action_has_a_documented_module():
    missing = [path for path in files("plugins/action/[a-z]*.py") if not os.path.exists(
        os.path.join(ROOT, "plugins", "modules", os.path.basename(path)))]
    assert not missing, "an action is documented by a module of its name: %s" % missing


# ---- the rules against files that break them -------------------------------------------------------------------------

BROKEN = [
    (upward_imports, OPENSSH + "x.py", "from .._host import files\n"),
    (upward_imports, OPENSSH + "x.py", "from .. import _host\n"),
    (upward_imports, ENGINE + "_host/x.py", "from %s._facets.keys import plan\n" % PACKAGE),
    (upward_imports, ENGINE + "_guard/x.py", "from .._access import table\n"),
    (upward_imports, ENGINE + "_facets/x.py", "import %s._module\n" % PACKAGE),
    (upward_imports, ENGINE + "_errors.py", "from ._openssh import tokens\n"),
    (upward_imports, ENGINE + "helpers.py", "\n"),
    (ansible_imports, ENGINE + "_host/x.py", "from ansible.module_utils.basic import AnsibleModule\n"),
    (ansible_imports, ENGINE + "_host/x.py", "from ansible_collections.ansible.posix.plugins.module_utils import x\n"),
    (impurities, OPENSSH + "x.py", "import os.path\n"),
    (impurities, OPENSSH + "x.py", "from subprocess import run\n"),
    (impurities, OPENSSH + "x.py", "def f(path):\n    return open(path).read()\n"),
    (too_new, ENGINE + "x.py", "from __future__ import annotations\n"),
    (too_new, ENGINE + "x.py", "import dataclasses\n"),
    (too_new, ENGINE + "x.py", "from typing import Literal\n"),
    (too_new, ENGINE + "x.py", "def f(x: list[str]) -> None:\n    pass\n"),
    (too_new, ENGINE + "x.py", "def f(x: 'str') -> str | None:\n    pass\n"),
    (too_new, ENGINE + "x.py", "def f(x):\n    return x.removeprefix('a')\n"),
    (too_new, ENGINE + "x.py", "def f(s):\n    s.run(['a'], capture_output=True)\n"),
    (too_long, ENGINE + "x.py", "def f():\n" + "    f()\n" * 40),
    (too_long, ENGINE + "x.py", "f = 1\n" * 401),
    (clumsy_signatures, ENGINE + "x.py", "def f(a, b, c, d, e):\n    pass\n"),
    (clumsy_signatures, ENGINE + "x.py", "def f(a, quiet: bool = False):\n    pass\n"),
    (broad_excepts, ENGINE + "x.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
    (broad_excepts, ENGINE + "x.py", "try:\n    f()\nexcept:\n    pass\n"),
    (module_faults, "plugins/modules/x.py", "DOCUMENTATION = EXAMPLES = RETURN = ''\ndef main():\n" + "    f()\n" * 25),
    (module_faults, "plugins/modules/x.py", "DOCUMENTATION = EXAMPLES = ''\n"),
]
if sys.version_info >= (3, 8):
    BROKEN += [
        (too_new, ENGINE + "x.py", "if (n := 1):\n    pass\n"),
        (too_new, ENGINE + "x.py", "def f(a, /):\n    pass\n"),
    ]
KEPT = [
    (upward_imports, ENGINE + "_host/x.py", "import os\nfrom .._openssh import tokens\nfrom . import y\n"),
    (upward_imports, ENGINE + "_host/x.py", "from .._errors import Malformed\n"),
    (ansible_imports, ENGINE + "_host/x.py", "from %s._errors import E\nfrom .._openssh import tokens\n" % PACKAGE),
    (impurities, OPENSSH + "x.py", "import re\nfrom . import tokens\n"),
    (too_new, ENGINE + "x.py", "from typing import List\ndef f(x: List[str], flags: int = 1 | 2) -> None:\n    pass\n"),
    (too_long, ENGINE + "x.py", "def f():\n" + "    f()\n" * 39),
    (clumsy_signatures, ENGINE + "x.py", "class C:\n    def f(self, a, b, c, d, *, e: bool):\n        pass\n"),
    (broad_excepts, ENGINE + "x.py", "try:\n    f()\nexcept (OSError, ValueError):\n    pass\n"),
    (module_faults, "plugins/modules/x.py", "DOCUMENTATION = EXAMPLES = RETURN = ''\ndef main():\n" + "    f()\n" * 24),
]


@pytest.mark.parametrize("rule, path, text", BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_rule_sees_what_breaks_it(rule, path, text):
    assert rule(parse(path, text))


@pytest.mark.parametrize("rule, path, text", KEPT, ids=lambda value: getattr(value, "__name__", ""))
def test_rule_accepts_what_keeps_it(rule, path, text):
    assert rule(parse(path, text)) == []


# ---- docs and the tree -----------------------------------------------------------------------------------------------


def dead_rows(text):
    """Return the files named by rows `| I want to change ... | `file` ... |` that do not exist."""
    dead = []
    table = text.partition("I want to change")[2]
    for cells in (line.strip().strip("|").split("|") for line in table.splitlines() if line.startswith("|")):
        named = re.findall(r"`([^`]+)`", cells[1]) if len(cells) > 1 else []
        dead += [name for name in named if not glob.glob(os.path.join(ROOT, name))]
    return dead


def test_every_row_of_the_architecture_table_leads_somewhere():
    path = os.path.join(ROOT, "docs", "architecture.md")
    if not os.path.exists(path):
        pytest.skip("docs/architecture.md does not exist yet")
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    assert re.search(r"(?im)^\|.*want to change.*\|", text), "no table 'I want to change X | file Y'"
    assert dead_rows(text) == []


def test_a_dead_row_is_seen():
    rows = "| I want to change | file |\n|---|---|\n| a | `galaxy.yml` |\n| b | `no/such/file.py` |\n"
    assert dead_rows(rows) == ["no/such/file.py"]


def local_paths(data):
    """Return the paths of this very machine in a file's bytes: the clone, what lies beside it, its interpreters."""
    parent = os.path.dirname(ROOT)
    beside = [name for name in os.listdir(parent) if not name.startswith(".")] if parent != "/" else []
    around = [ROOT] + [os.path.join(parent, name) for name in beside if os.path.join(parent, name) != ROOT]
    home = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    return [path for path in around + [home] if re.search(re.escape(path.encode()) + rb"(?![\w.-])", data)]


def test_no_tracked_file_names_a_place_of_this_machine():
    if not os.path.exists(os.path.join(ROOT, ".git")):
        pytest.skip("not a git clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = os.path.join(ROOT, name)
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as stream:
                found += ["%s: %s" % (name, place) for place in local_paths(stream.read())]
    assert not found, "\n" + "\n".join(found)


def test_a_place_of_this_machine_is_seen():
    assert local_paths(("see %s/README.md" % ROOT).encode()) == [ROOT]


def test_no_host_waits_for_another_between_change_and_proof():
    seen = []
    for path in glob.glob(os.path.join(ROOT, "playbooks", "*.yml")):
        with open(path, encoding="utf-8") as stream:
            plays = stream.read().split("\n- name: ")
        seen += [play for play in plays if re.search(r"tasks_from: (change|revert)\b", play)]
    assert seen and all("strategy: ansible.builtin.host_pinned" in play for play in seen)
