# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the selftest makes of its observations: which hosts it refuses, what counts as changed, what it reports."""

import importlib.util
import json
import os
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

pytestmark = pytest.mark.skipif(sys.version_info < (3, 10), reason="the selftest runs on the controller")

FACTS = {
    "release": {"NAME": "AlmaLinux", "ID": "almalinux", "VERSION_ID": "9.6"},
    "rpm": True,
    "dpkg": False,
    "container": False,
    "virtualization": "kvm",
    "selinux": "enforcing",
    "fapolicyd": True,
    "var_mount": True,
    "sshd": "OpenSSH_8.7p1",
    "systemd": "252",
    "python": "3.9.21",
    "kernel": "5.14.0",
    "machine_id": "1" * 32,
    "state": "NONE",
    "logins": [["admin", "192.0.2.1", 400]],
    "sessions": ["admin"],
    "listening": [22, 111],
    "days_up": 0.3,
    "committed": 0,
}


def facts(**changes):
    return dict(FACTS, **changes)


@pytest.fixture(scope="module")
def load():
    sys.path.insert(0, os.path.join(ROOT, "tests", "selftest"))
    yield lambda name: importlib.import_module("selfcheck." + name)
    sys.path.pop(0)


@pytest.fixture
def judge(load):
    return load("judge")


@pytest.fixture
def report(load):
    return load("report")


# ---- which hosts are tried on ----------------------------------------------------------------------------------------


def test_a_fresh_machine_of_its_own_user_is_a_throw_away(judge):
    assert judge.signs_of_use(FACTS, "admin", "192.0.2.1") == []


@pytest.mark.parametrize(
    "change, word",
    [
        ({"logins": [["bob", "192.0.2.1", 4]]}, "bob from 192.0.2.1"),
        ({"logins": [["admin", "198.51.100.7", 4]]}, "198.51.100.7"),
        ({"sessions": ["admin", "bob"]}, "right now: bob"),
        ({"listening": [22, 80, 443]}, "80, 443"),
        ({"virtualization": "none"}, "no virtual machine"),
        ({"days_up": 31.0}, "31 days"),
        ({"committed": 1}, "before"),
    ],
)
def test_a_host_that_somebody_needs_is_told_by_its_signs(judge, change, word):
    signs = judge.signs_of_use(facts(**change), "admin", "192.0.2.1")
    assert len(signs) == 1 and word in signs[0]


@pytest.mark.parametrize(
    "change, word",
    [
        ({"machine_id": "2" * 32}, "runs on"),
        ({"state": "APPLIED"}, "under way"),
        ({"state": "REVERT_FAILED"}, "under way"),
        ({"sshd": "unknown"}, "no OpenSSH"),
    ],
)
def test_some_hosts_are_refused_whatever_is_said(judge, change, word):
    assert word in judge.refusal(facts(**change), "2" * 32)
    assert judge.refusal(FACTS, "2" * 32) == ""


def test_rehearsals_of_an_earlier_selftest_are_no_logins_of_others(judge):
    assert judge.signs_of_use(facts(logins=[["admin", "UNKNOWN", 9]]), "admin", "192.0.2.1") == []


@pytest.mark.parametrize(
    "said, path",
    [
        ("debug1: Server accepts key: /home/a b/key ED25519 SHA256:Abc explicit\ndebug1: x", "/home/a b/key"),
        ("debug1: Server accepts key: /home/a/.ssh/id_rsa RSA SHA256:Abc", "/home/a/.ssh/id_rsa"),
        ("debug1: Server accepts key: me@desk ED25519 SHA256:Abc agent", ""),
        ("debug1: Authentications that can continue: publickey", ""),
    ],
)
def test_the_key_that_opens_the_host_is_the_one_for_ansible(judge, said, path):
    assert judge.key_file(said) == path


@pytest.mark.parametrize("python, core", [("3.6.8", "2.16"), ("3.9.21", "new"), ("3.12.11", "new")])
def test_each_host_gets_the_core_that_can_drive_it(judge, python, core):
    assert judge.core_for(python) == core


# ---- what counts as changed ------------------------------------------------------------------------------------------

LINE = "{} file {} root:root - {} {}\n"


def test_a_file_that_is_put_back_is_as_before_though_it_was_written_again(judge):
    before = judge.tree(LINE.format("/etc/a b", "0600", 100, "aa"))
    assert judge.differences(before, judge.tree(LINE.format("/etc/a b", "0600", 200, "aa"))) == []


def test_each_difference_is_named(judge):
    before = judge.tree(LINE.format("/etc/a", "0600", 1, "aa") + LINE.format("/etc/b", "0600", 1, "aa"))
    after = judge.tree(LINE.format("/etc/a", "0644", 1, "bb") + LINE.format("/etc/c", "0600", 1, "aa"))
    assert judge.differences(before, after) == ["/etc/a: mode, content", "/etc/b: gone", "/etc/c: appeared"]
    assert judge.differences(before, after, ["/etc/[bc]"]) == ["/etc/a: mode, content"]


def test_what_a_boot_writes_is_nobodys_change(judge):
    after = judge.tree(LINE.format("/etc/resolv.conf", "0644", 1, "aa"))
    assert judge.differences({}, after) == []
    assert judge.differences({}, judge.tree(LINE.format("/etc/ssh/resolv.conf", "0644", 1, "aa")))


# ---- what SELinux denied ---------------------------------------------------------------------------------------------

DENIED = (
    'type=AVC msg=audit({}:1): avc:  denied  {{ read }} for  pid={} comm="{}" name="{}" dev="vda" '
    "scontext=system_u:system_r:{}:s0 tcontext=system_u:object_r:{}:s0 tclass=file permissive=0"
)
GUARDIAN = DENIED.format("1.0", 7, "python3", "transaction.json", "init_t", "var_lib_t")
SSHD = DENIED.format("2.0", 8, "sshd", "00-00-latchkey.conf", "sshd_t", "var_t")
CHRONY = DENIED.format("3.0", 9, "chronyd", "drift", "chronyd_t", "var_t")


def test_denials_of_ours_are_told_from_those_of_others(judge):
    found = judge.denials([], [GUARDIAN, CHRONY, SSHD])
    assert found.ours == [GUARDIAN, SSHD] and found.others == [CHRONY]


def test_what_the_host_denied_before_in_the_same_words_is_its_own_business(judge):
    later = SSHD.replace("audit(2.0:1)", "audit(9.9:5)").replace("pid=8", "pid=99")
    assert judge.denials([SSHD], [later]).ours == []
    assert judge.denials([CHRONY], [later]).ours == [later]


# ---- what is reported ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, told",
    [
        ({}, "AlmaLinux 9.6"),
        ({"container": True}, "container of AlmaLinux 9.6"),
        ({"rpm": False}, "stand-in for AlmaLinux 9.6"),
        ({"dpkg": True}, "stand-in for AlmaLinux 9.6"),
        ({"release": {"NAME": "Rocky Linux", "ID": "rocky", "VERSION_ID": "9.6"}}, "Rocky Linux 9.6"),
    ],
)
def test_only_almalinux_on_a_kernel_of_its_own_is_called_so(report, change, told):
    assert report.platform(facts(**change)) == told


def test_what_was_not_run_counts_neither_way(report):
    results = [
        report.Result("arm", report.HELD, 2.0, "rehearsed"),
        report.Result("expiry", report.BROKEN, 42.0, "no login"),
        report.Result("reboot-armed", report.NOT_RUN, 0.0, "a container"),
        report.Result("reboot-applied", report.NOT_RUN, 0.0, "a container"),
    ]
    assert report.last_line(FACTS, results) == (
        "selftest: 1/2 on AlmaLinux 9.6, SELinux enforcing, fapolicyd active, /var its own mount; "
        "not run: reboot-armed, reboot-applied (a container)"
    )
    told = report.data(FACTS, results, "2026-01-01")
    assert (told["survived"], told["cases"], told["not_run"], told["generation"]) == (1, 2, 2, 9)
    assert told["environment"]["selinux"] == "enforcing"


def test_the_readmes_table_takes_what_is_reported(report, tmp_path):
    spec = importlib.util.spec_from_file_location("table", os.path.join(ROOT, "tests", "tools", "table.py"))
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    results = [report.Result("arm", report.HELD, 2.0, "")]
    for told, cells in ((FACTS, {"9": "1/1"}), (facts(rpm=False), None)):
        data = report.data(told, results, "2026-01-01")
        (tmp_path / "selftest.json").write_text(json.dumps(data))
        assert table.collect(tmp_path)["cells"].get("selftest") == cells


# ---- how it is called ------------------------------------------------------------------------------------------------


def test_a_call_is_read(load):
    asked = load("options").read(["admin@host", "--power-on", "virsh start x", "--ssh-args", "-p 22 -o 'A B=c'"])
    assert (asked.user, asked.host, asked.power_on) == ("admin", "host", "virsh start x")
    assert asked.ssh_args == ("-p", "22", "-o", "A B=c") and not asked.throw_away


@pytest.mark.parametrize("words", [[], ["admin@"], ["-oProxyCommand=x@h"], ["a@h", "--deadline", "4"]])
def test_a_call_that_makes_no_sense_is_refused(load, words, capsys):
    with pytest.raises(SystemExit):
        load("options").read(words)
    assert capsys.readouterr().err


def test_every_case_can_be_asked_for_once(load):
    names = [case.name for case in load("cases").CASES]
    assert len(names) == len(set(names)) and all(case.text for case in load("cases").CASES)
