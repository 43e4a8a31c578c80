# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facet server without a machine: our own reading of sshd_config stands in for sshd (it is held against real ones).

The configurations are those of AlmaLinux 8, 9 and 10 as installed.
"""

import contextlib
import os
import types

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import (
    HostError,
    LatchkeyError,
    Malformed,
    Refused,
    Unsupported,
)
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import server
from ansible_collections.latchkey.ssh.plugins.module_utils._facets.change import NARROW, WIDEN
from ansible_collections.latchkey.ssh.plugins.module_utils._host import fences, files, sshd
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import effective, sshd_tree, version
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.version import SshdVersion

ROOTFS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))),
    "tests", "hosts", "rootfs",
)
VERSIONS = {8: version.EL8, 9: version.EL9, 10: SshdVersion(9, 9, 1, "redhat")}
MAIN, DIRECTORY = "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d"
OURS = server.DROP_IN
KEYS_ONLY = {"methods": ["publickey"]}
BOB = effective.Connection("bob", ("staff",), "192.0.2.1", "192.0.2.1")


def installed(generation, first="", last="", **drop_ins):
    """Return the configuration of a generation, with lines before and after the main file's, and further drop-ins."""
    base = os.path.join(ROOTFS, str(generation))
    contents = {}
    for top, _directories, names in os.walk(os.path.join(base, "etc")):
        for name in names:
            path = os.path.join(top, name)
            with open(path, "rb") as stream:
                contents["/" + os.path.relpath(path, base)] = stream.read()
    contents[MAIN] = first.encode() + contents[MAIN] + last.encode()
    contents.update({"%s/%s.conf" % (DIRECTORY, name): text.encode() for name, text in drop_ins.items()})
    wanted = {path: data for path, data in contents.items() if "/ssh/" in path or "crypto-policies/back-ends" in path}
    return sshd_tree.Tree(MAIN, wanted, VERSIONS[generation])


def judge(tree, probes):
    """Answer as sshd would: what it refuses, and the effective values per probe."""
    wrong = [said for said in effective.check(tree) if said.fatal]
    if wrong:
        return "%s line %d: %s" % (wrong[0].path, wrong[0].line, wrong[0].message), []
    return None, [answer.values for answer in effective.evaluate_all(tree, probes)]


def look(tree, probes=(None,), listener="", exists=None):
    problem, answers = judge(tree, probes)
    assert problem is None, problem
    exists = tree.version != version.EL8 if exists is None else exists
    return server.Current(tree.version, tree, tuple(probes), tuple(answers), exists, 0o600, listener, "sshd.service")


def plan(tree, params, probes=(None,), listener=""):
    desired = server.Desired.from_params(params)
    server._validate(desired, tree.version)
    return server.plan(desired, look(tree, probes, listener), judge)


def after(tree, changes):
    """Return the tree with the file changes made."""
    written = {change.path: change.after for change in changes if change.kind == "file"}
    return sshd_tree.with_files(tree, written)


def brief(changes):
    return [(change.phase, change.kind, change.path) for change in changes]


def ours(changes):
    """Return the lines of our drop-in without its header."""
    text = [change.after for change in changes if change.path == OURS][-1].decode()
    assert text.startswith(server.HEADER)
    return text[len(server.HEADER):].splitlines()


RELOAD = (NARROW, "reload", "sshd.service")
PASSWORDS_OFF = ["PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitEmptyPasswords no"]


# ---- the three generations -------------------------------------------------------------------------------------------


def test_el8_has_no_drop_ins_so_the_main_file_is_led_to_ours_first():
    tree = installed(8)
    changes = plan(tree, KEYS_ONLY).changes
    assert brief(changes) == [
        (NARROW, "directory", DIRECTORY),
        (NARROW, "file", OURS),
        (NARROW, "file", MAIN),
        RELOAD,
    ]
    assert [change.mode for change in changes[:3]] == [0o700, 0o600, 0o600]
    assert ours(changes) == [
        "PasswordAuthentication no",
        "ChallengeResponseAuthentication no",
        "PermitEmptyPasswords no",
        "PermitRootLogin prohibit-password",
        "GSSAPIAuthentication no",
    ]
    include = b"Include %s\n" % OURS.encode()
    assert changes[2].after.replace(include, b"", 1) == tree.files[MAIN]
    said = [line for line in changes[2].after.splitlines(True) if line.strip() and not line.startswith(b"#")]
    assert said[0] == include
    assert changes[2].before == tree.files[MAIN] and changes[2].existed


@pytest.mark.parametrize("generation", [9, 10])
def test_el9_and_el10_need_the_drop_in_only(generation):
    changes = plan(installed(generation), KEYS_ONLY).changes
    assert brief(changes) == [(NARROW, "file", OURS), RELOAD]
    assert not changes[0].existed and changes[0].mode == 0o600
    assert ours(changes) == PASSWORDS_OFF + ["GSSAPIAuthentication no"]


@pytest.mark.parametrize("generation", [8, 9, 10])
@pytest.mark.parametrize("kept", [["publickey"], ["publickey", "gssapi-with-mic"], ["publickey", "hostbased"]])
def test_the_plan_is_effective_and_then_empty(generation, kept):
    tree = installed(generation)
    done = after(tree, plan(tree, {"methods": kept}).changes)
    values = effective.evaluate(done, None).values
    assert values["passwordauthentication"] == ("no",)
    assert values["kbdinteractiveauthentication" if generation > 8 else "challengeresponseauthentication"] == ("no",)
    assert values["gssapiauthentication"] == (("yes",) if "gssapi-with-mic" in kept else ("no",))
    assert values["permitrootlogin"] == ("without-password",)
    desired = server.Desired.from_params({"methods": kept})
    assert server.plan(desired, look(done, exists=True), judge)[:2] == ([], [])


def test_what_is_right_without_us_needs_nothing():
    right = "PasswordAuthentication no\nGSSAPIAuthentication no\n"
    assert plan(installed(9, **{"00-site": right}), KEYS_ONLY)[:2] == ([], [])


def test_a_lock_that_others_made_tighter_stays():
    tree = installed(9, **{"01-permitrootlogin": "PermitRootLogin no\n"})
    assert not [line for line in ours(plan(tree, KEYS_ONLY).changes) if "PermitRootLogin" in line]
    tree = installed(9, **{"01-permitrootlogin": "PermitRootLogin yes\n"})
    assert "PermitRootLogin prohibit-password" in ours(plan(tree, KEYS_ONLY).changes)


def test_it_stays_too_where_our_own_file_of_a_former_run_hides_it():
    tree = installed(9, **{"00-00-latchkey": "PermitRootLogin prohibit-password\n", "50-site": "PermitRootLogin no\n"})
    assert not [line for line in ours(plan(tree, KEYS_ONLY).changes) if "PermitRootLogin" in line]


@pytest.mark.parametrize("generation", [9, 10])
@pytest.mark.parametrize("line", ["PasswordAuthentication yes", "Include /etc/ssh/sshd_config.d/*.conf"])
def test_a_line_before_the_include_is_overtaken(generation, line):
    """What stands in the main file above the Include of drop-ins wins over all of them."""
    tree = installed(generation, first="PasswordAuthentication yes\n" if "Pass" in line else line + "\n")
    changes = plan(tree, KEYS_ONLY).changes
    assert ((NARROW, "file", MAIN) in brief(changes)) == ("Pass" in line)
    done = after(tree, changes)
    assert effective.evaluate(done, None).values["passwordauthentication"] == ("no",)


def test_a_drop_in_that_sorts_before_ours_is_overtaken():
    tree = installed(9, **{"00-00-a": "PasswordAuthentication yes\n"})
    changes = plan(tree, KEYS_ONLY).changes
    assert (NARROW, "file", MAIN) in brief(changes)
    assert effective.evaluate(after(tree, changes), None).values["passwordauthentication"] == ("no",)


# ---- lines of others that win ----------------------------------------------------------------------------------------


def test_a_match_of_others_is_named_with_file_line_and_criteria():
    text = "# ours\nMatch Group staff\n    X11Forwarding no\n  PasswordAuthentication yes\n"
    tree = installed(9, **{"50-site": text})
    with pytest.raises(Refused) as caught:
        plan(tree, KEYS_ONLY, probes=(None, BOB))
    assert caught.value.reason == (
        "/etc/ssh/sshd_config.d/50-site.conf:4: `PasswordAuthentication yes` under `Match Group staff` keeps"
        " PasswordAuthentication at yes for connections like user bob from 192.0.2.1"
    )
    assert "harden_foreign" in caught.value.remedy


def test_several_are_counted():
    text = "Match User bob\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes\nPermitRootLogin yes\n"
    with pytest.raises(Refused) as caught:
        plan(installed(9, last=text), KEYS_ONLY, probes=(None, BOB))
    assert caught.value.reason.endswith("(and 2 more)") and caught.value.reason.startswith(MAIN + ":")


def test_where_they_are_only_reported_the_rest_is_done():
    tree = installed(9, last="Match User bob\nPasswordAuthentication yes\n")
    found = plan(tree, dict(KEYS_ONLY, foreign="report"), probes=(None, BOB))
    assert brief(found.changes) == [(NARROW, "file", OURS), RELOAD]
    assert len(found.conflicts) == 1 and "`Match User bob`" in found.conflicts[0]
    again = server.plan(server.Desired.from_params(dict(KEYS_ONLY, foreign="report")),
                        look(after(tree, found.changes), (None, BOB)), judge)
    assert (again.changes, again.conflicts) == ([], found.conflicts)


def test_the_command_line_beats_every_file():
    tree = installed(9)._replace(command_line=("PasswordAuthentication=yes",))
    with pytest.raises(Refused) as caught:
        plan(tree, KEYS_ONLY)
    assert caught.value.reason == "sshd's command line (OPTIONS in /etc/sysconfig/sshd): PasswordAuthentication yes"


def test_a_match_that_is_stricter_is_no_conflict():
    tree = installed(9, last="Match User bob\nPermitRootLogin no\nPasswordAuthentication no\n")
    assert plan(tree, KEYS_ONLY, probes=(None, BOB)).conflicts == []


# ---- keys switched off -----------------------------------------------------------------------------------------------


def test_where_keys_are_off_they_come_first_and_alone():
    tree = installed(9, **{"50-site": "PubkeyAuthentication no\n"})
    changes = plan(tree, KEYS_ONLY).changes
    assert brief(changes) == [
        (WIDEN, "file", OURS),
        (WIDEN, "reload", "sshd.service"),
        (NARROW, "file", OURS),
        RELOAD,
    ]
    assert changes[0].after == (server.HEADER + "PubkeyAuthentication yes\n").encode()
    assert (changes[2].before, changes[2].existed) == (changes[0].after, True)
    assert "PubkeyAuthentication yes" in ours(changes) and "PasswordAuthentication no" in ours(changes)
    halfway = after(tree, changes[:1])
    values = effective.evaluate(halfway, None).values
    assert (values["pubkeyauthentication"], values["passwordauthentication"]) == (("yes",), ("yes",))


def test_on_el8_the_include_comes_with_that_first_step():
    changes = plan(installed(8, last="PubkeyAuthentication no\n"), KEYS_ONLY).changes
    assert brief(changes) == [
        (WIDEN, "directory", DIRECTORY),
        (WIDEN, "file", OURS),
        (WIDEN, "file", MAIN),
        (WIDEN, "reload", "sshd.service"),
        (NARROW, "file", OURS),
        RELOAD,
    ]


def test_meanwhile_what_our_file_said_stays_in_force():
    former = server.HEADER + "PasswordAuthentication no\nMaxAuthTries 3\n"
    tree = installed(9, **{"00-00-latchkey": former, "50-site": "PubkeyAuthentication no\n"})
    changes = plan(tree, KEYS_ONLY).changes
    values = effective.evaluate(after(tree, changes[:1]), None).values
    assert values["pubkeyauthentication"] == ("yes",)
    assert (values["passwordauthentication"], values["maxauthtries"]) == (("no",), ("3",))


def test_keys_stay_off_where_nobody_asked_for_methods():
    tree = installed(9, **{"50-site": "PubkeyAuthentication no\n"})
    changes = plan(tree, {"settings": {"X11Forwarding": False}}).changes
    assert brief(changes) == [(NARROW, "file", OURS), RELOAD]
    assert ours(changes) == ["X11Forwarding no"]


# ---- the listener ----------------------------------------------------------------------------------------------------


def test_a_run_that_died_before_its_reload_needs_only_that():
    tree = installed(9)
    done = after(tree, plan(tree, KEYS_ONLY).changes)
    said = OURS + " is newer than the running listener"
    changes = plan(done, KEYS_ONLY, listener=said).changes
    assert brief(changes) == [RELOAD] and said in changes[0].what


def test_one_reload_is_enough():
    assert brief(plan(installed(9), KEYS_ONLY, listener="x").changes).count(RELOAD) == 1


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [8, 9, 10])
@pytest.mark.parametrize(
    "settings, lines, shown",
    [
        ({"X11Forwarding": False}, ["X11Forwarding no"], {"x11forwarding": ("no",)}),
        ({"TCPKeepAlive": True, "MaxAuthTries": 3}, ["TCPKeepAlive yes", "MaxAuthTries 3"],
         {"tcpkeepalive": ("yes",), "maxauthtries": ("3",)}),
        ({"maxauthtries": "3"}, ["maxauthtries 3"], {"maxauthtries": ("3",)}),
        ({"AllowUsers": ["alice", "bob"]}, ["AllowUsers alice bob"], {"allowusers": ("alice", "bob")}),
        ({"ClientAliveInterval": "5m"}, ["ClientAliveInterval 5m"], {"clientaliveinterval": ("300",)}),
        ({"Banner": "/etc/issue.net"}, ["Banner /etc/issue.net"], {"banner": ("/etc/issue.net",)}),
        ({"ChallengeResponseAuthentication": "no"}, ["ChallengeResponseAuthentication no"], {}),
        ({"RekeyLimit": "1G 1h"}, ["RekeyLimit 1G 1h"], {"rekeylimit": ("1073741824 3600",)}),
        ({"MaxStartups": "10:30:60"}, ["MaxStartups 10:30:60"], {"maxstartups": ("10:30:60",)}),
        ({"Ciphers": "aes256-ctr"}, ["Ciphers aes256-ctr"], {"ciphers": ("aes256-ctr",)}),
        ({"PubkeyAcceptedKeyTypes": "ssh-ed25519"}, ["PubkeyAcceptedKeyTypes ssh-ed25519"], {}),
    ],
)
def test_settings_become_effective_and_then_need_nothing(generation, settings, lines, shown):
    tree = installed(generation)
    changes = plan(tree, {"settings": settings}).changes
    if generation > 8:
        assert (NARROW, "file", MAIN) not in brief(changes), "the drop-in alone is read first"
    if changes:
        assert ours(changes) == lines
    done = after(tree, changes)
    values = effective.evaluate(done, None).values
    assert {key: values[key] for key in shown} == shown
    desired = server.Desired.from_params({"settings": settings})
    assert server.plan(desired, look(done, exists=True), judge)[:2] == ([], [])


def test_settings_that_are_there_already_need_no_file_of_ours():
    assert plan(installed(9), {"settings": {"X11Forwarding": True, "UsePAM": True}})[:2] == ([], [])


def test_a_setting_beats_the_rule_of_its_keyword_and_is_then_judged():
    changes = plan(installed(9), dict(KEYS_ONLY, settings={"PermitRootLogin": "no"})).changes
    assert "PermitRootLogin no" in ours(changes) and "PermitRootLogin prohibit-password" not in ours(changes)
    with pytest.raises(Refused) as caught:
        plan(installed(9), dict(KEYS_ONLY, settings={"PasswordAuthentication": True}))
    assert OURS in caught.value.reason


def test_what_our_file_no_longer_says_goes_back():
    tree = installed(9, **{"00-00-latchkey": server.HEADER + "X11Forwarding no\nMaxAuthTries 2\n"})
    changes = plan(tree, {"settings": {"X11Forwarding": False}}).changes
    assert brief(changes) == [(NARROW, "file", OURS), RELOAD]
    assert ours(changes) == ["X11Forwarding no"]


def test_match_settings():
    params = {"match": [{"criteria": "User bob", "settings": {"X11Forwarding": False, "PermitTTY": "no"}}]}
    tree = installed(9)
    changes = plan(tree, params, probes=(None, BOB)).changes
    assert ours(changes) == ["Match User bob", "    X11Forwarding no", "    PermitTTY no"]
    done = after(tree, changes)
    assert effective.evaluate(done, BOB).values["x11forwarding"] == ("no",)
    assert effective.evaluate(done, None).values["x11forwarding"] == ("yes",)
    assert plan(done, params, probes=(None, BOB))[:2] == ([], [])


def test_a_match_of_ours_ends_with_our_file():
    """Lines behind the Include of drop-ins still hold for everybody."""
    tree = installed(9, last="MaxSessions 5\n")
    done = after(tree, plan(tree, {"match": [{"criteria": "User bob", "settings": {"PermitTTY": False}}]}).changes)
    assert effective.evaluate(done, None).values["maxsessions"] == ("5",)


@pytest.mark.parametrize(
    "params, generation, kind, words",
    [
        ({"methods": ["password", "publickey"]}, 9, Malformed, "`password` is no method that can stay"),
        ({"methods": ["gssapi-with-mic"]}, 9, Malformed, "without publickey"),
        ({"settings": {"PaswordAuthentication": "no"}}, 9, Unsupported, "Did you mean PasswordAuthentication?"),
        ({"settings": {"RequiredRSASize": 2048}}, 8, Unsupported, "RequiredRSASize is not known to OpenSSH 8.0"),
        ({"settings": {"PerSourcePenalties": "yes"}}, 9, Unsupported, "It came with OpenSSH 9.8"),
        ({"settings": {"MaxAuthTries": "many"}}, 9, Malformed, "`MaxAuthTries many`"),
        ({"settings": {"X11Forwarding": "maybe"}}, 9, Malformed, "`X11Forwarding maybe`"),
        ({"settings": {"Banner": "none # x"}}, 9, Malformed, "settings.Banner"),
        ({"settings": {"Banner": "a\nPermitRootLogin yes"}}, 9, Malformed, "settings.Banner"),
        ({"settings": {"Banner": "a\rb"}}, 9, Malformed, "settings.Banner"),
        ({"settings": {"Banner": ""}}, 9, Malformed, "settings.Banner"),
        ({"settings": {"Banner": None}}, 9, Malformed, "settings.Banner"),
        ({"settings": {"AllowUsers": []}}, 9, Malformed, "settings.AllowUsers"),
        ({"settings": {"AllowUsers": {"a": 1}}}, 9, Malformed, "settings.AllowUsers"),
        ({"match": [{"criteria": "", "settings": {}}]}, 9, Malformed, "match[0].criteria"),
        ({"match": [{"criteria": "User x\nX", "settings": {}}]}, 9, Malformed, "match[0].criteria"),
        ({"match": [{"criteria": "Usr x", "settings": {"PermitTTY": "no"}}]}, 9, Malformed, "match `Usr x`"),
        ({"match": [{"criteria": "User x", "settings": {"Port": 24}}]}, 9, Malformed, "match `User x`"),
        ({"match": [{"criteria": "User x", "settings": {"PermitTTY": "x"}}]}, 9, Malformed, "`PermitTTY x`"),
        ({"match": [{"criteria": "User x", "settings": {"PermitTTYY": "no"}}]}, 9, Unsupported, "PermitTTY"),
    ],
)
def test_wrong_wishes_say_where_and_what_instead(params, generation, kind, words):
    with pytest.raises(kind) as caught:
        plan(installed(generation), params)
    assert words in str(caught.value)


def test_a_list_of_booleans_reads_as_yes_and_no():
    assert server.Desired.from_params({"settings": {"X": [True, False, 3]}}).settings == (("X", "yes no 3"),)


# ---- guards ----------------------------------------------------------------------------------------------------------


def test_what_sshd_refuses_is_not_written():
    with pytest.raises(Refused) as caught:
        server.plan(server.Desired.from_params(KEYS_ONLY), look(installed(9)), lambda tree, probes: ("line 1: no", []))
    assert "line 1: no" in caught.value.reason and caught.value.where == OURS


def test_a_change_that_would_change_something_else_is_not_made():
    def other(tree, probes):
        problem, answers = judge(tree, probes)
        return problem, [dict(answer, port=("24",)) for answer in answers]

    with pytest.raises(HostError) as caught:
        server.plan(server.Desired.from_params(KEYS_ONLY), look(installed(9)), other)
    assert "would also change port" in caught.value.reason


@pytest.mark.parametrize("name, value", [("Port", 2222), ("listenaddress", "192.0.2.1"), ("AddressFamily", "inet")])
def test_where_sshd_listens_is_not_set_here(name, value):
    with pytest.raises(Refused) as caught:
        plan(installed(9), {"settings": {name: value}})
    assert name in caught.value.reason and "firewall role" in caught.value.reason and caught.value.where == "settings"


@pytest.mark.parametrize(
    "params",
    [
        {"settings": {"AuthorizedKeysFile": "/etc/ssh/keys/%u"}},
        {"match": [{"criteria": "User bob", "settings": {"AuthorizedKeysFile": "/etc/ssh/keys/%u"}}]},
    ],
)
def test_keys_that_are_in_place_are_not_left_behind(params):
    with pytest.raises(Refused) as caught:
        plan(installed(9), params)
    assert "AuthorizedKeysFile would change" in caught.value.reason
    there = server.HEADER + "Match User bob\n    AuthorizedKeysFile /etc/ssh/keys/%u\n"
    params = {"match": params["match"], "settings": {"X11Forwarding": "no"}} if "match" in params else {
        "settings": {"AuthorizedKeysFile": ".ssh/authorized_keys", "X11Forwarding": "no"}}
    assert plan(installed(9, **{"00-00-latchkey": there}), params).changes


def test_where_a_reload_shows_no_trace_sshd_is_restarted():
    current = look(installed(9), listener="it was started with other options")._replace(verb="restart")
    changes = server.plan(server.Desired.from_params(KEYS_ONLY), current, judge).changes
    assert brief(changes)[-1] == (NARROW, "restart", "sshd.service")
    done = look(after(installed(9), changes), listener="it was started with other options")._replace(verb="restart")
    (change,) = server.plan(server.Desired.from_params(KEYS_ONLY), done, judge).changes
    assert change.kind == "restart" and "started with other options" in change.what


def test_the_main_file_keeps_its_mode():
    current = look(installed(8))._replace(main_mode=0o644)
    changes = server.plan(server.Desired.from_params(KEYS_ONLY), current, judge).changes
    assert [change.mode for change in changes if change.path == MAIN] == [0o644]


# ---- apply -----------------------------------------------------------------------------------------------------------


class FakePresent:
    def ask(self, _connection):
        return {}


class RecordingFence(fences.Fence):
    """Notes what passed it, and when."""

    def __init__(self, done, transaction=""):
        self.done, self.transaction = done, transaction

    @contextlib.contextmanager
    def writing(self, path, after, account=None):
        self.done.append(("fence", path, after))
        yield

    @contextlib.contextmanager
    def reloading(self, unit):
        self.done.append(("fence", unit, None))
        yield


class FakeHost:
    sshd = types.SimpleNamespace(unit=types.SimpleNamespace(name="sshd.service"))
    present = FakePresent()
    forgotten = 0

    def __init__(self, fence=None):
        self.fence = fence or fences.Fence()

    def forget(self):
        self.forgotten += 1


@pytest.fixture
def machine(monkeypatch):
    """Record what would be done to a machine; ``fail`` names the step that fails."""
    done = []

    def record(step):
        def do(path, *rest):
            if step == machine.fail:
                raise HostError("it failed")
            done.append((step, path, rest[0] if step == "replace" else None))

        return do

    def machine():
        return done

    machine.fail = ""
    monkeypatch.setattr(files, "replace", record("replace"))
    monkeypatch.setattr(files, "remove", record("remove"))
    monkeypatch.setattr(files, "make_directory", record("directory"))
    monkeypatch.setattr(sshd, "reload", record("reload"))
    monkeypatch.setattr(sshd, "restart", record("restart"))
    monkeypatch.setattr(sshd, "recover", record("recover"))
    return machine


def test_files_come_before_the_reload_that_reads_them(machine):
    host = FakeHost()
    changes = plan(installed(8), KEYS_ONLY).changes
    made = []
    server.apply(changes, WIDEN, host, made)
    assert machine() == made == []
    server.apply(changes, NARROW, host, made)
    assert [step[:2] for step in machine()] == [
        ("directory", DIRECTORY), ("replace", OURS), ("replace", MAIN), ("reload", FakeHost.sshd)]
    assert host.forgotten == 2


def test_every_write_and_reload_passes_the_fence_first(machine):
    changes = plan(installed(8), KEYS_ONLY).changes
    server.apply(changes, NARROW, FakeHost(RecordingFence(machine())), [])
    ours, main = [change.after for change in changes if change.kind == "file"]
    assert [step for step in machine() if step[0] != "reload"] == [
        ("fence", DIRECTORY, None), ("directory", DIRECTORY, None),
        ("fence", OURS, ours), ("replace", OURS, ours),
        ("fence", MAIN, main), ("replace", MAIN, main),
        ("fence", "sshd.service", None),
    ]


def test_inside_a_transaction_what_failed_is_left_to_its_revert(machine):
    machine.fail, made = "reload", []
    with pytest.raises(LatchkeyError):
        server.apply(plan(installed(8), KEYS_ONLY).changes, NARROW, FakeHost(RecordingFence([], "t1")), made)
    assert [step[0] for step in machine()] == ["directory", "replace", "replace"]
    assert [change.kind for change in made] == ["directory", "file", "file"], "reported as what was changed"


def test_a_restart_is_done_as_one(machine):
    server.apply([server.Change("server", NARROW, "restart", "sshd.service", "")], NARROW, FakeHost(), [])
    assert [step[0] for step in machine()] == ["restart"]


def test_a_reload_that_fails_puts_every_file_back(machine):
    tree = installed(8)
    machine.fail, made = "reload", []
    with pytest.raises(LatchkeyError):
        server.apply(plan(tree, KEYS_ONLY).changes, NARROW, FakeHost(), made)
    assert [change.kind for change in made] == ["directory"], "the one thing that is not put back"
    assert machine()[3:5] == [("replace", MAIN, tree.files[MAIN]), ("remove", OURS, None)]
    assert machine()[5][0] == "recover", "the listener may have the new configuration, or be gone"
