# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's sshd: its command line, its answers, and whether the listener has what is on disk."""

import os
import sys

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, LatchkeyError, Malformed, Refused
from ansible_collections.latchkey.ssh.plugins.module_utils._host import files, processes, programs, sshd, systemd
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import effective, sshd_tree, version

MAIN = "/etc/ssh/sshd_config"


def unit(*arguments):
    return systemd.Unit("sshd.service", True, True, os.getpid(), ("/usr/sbin/sshd",) + arguments)


def installed(main=MAIN, options=(), binary="/bin/sh"):
    return sshd.Sshd(binary, version.EL9, unit(), main, tuple(options))


@pytest.mark.parametrize(
    "line, main, options, settings",
    [
        ("-D", MAIN, "", []),
        ("-D -oCiphers=a,b -oMACs=c", MAIN, "-oCiphers=a,b -oMACs=c", ["Ciphers=a,b", "MACs=c"]),
        ("-D -o Port=24 -4", MAIN, "-oPort=24 -4", ["Port=24"]),
        ("-D -p 24 -p 25", MAIN, "-p24 -p25", ["Port=24", "Port=25"]),
        ("-p24 -D", MAIN, "-p24", ["Port=24"]),
        ("-D -f /etc/ssh/other", "/etc/ssh/other", "", []),
        ("-D -f/etc/ssh/other -e", "/etc/ssh/other", "", []),
        ("-Df /etc/ssh/other -4", "/etc/ssh/other", "-4", []),
        ("-De4", MAIN, "-4", []),
        ("-D -u 0 -h /k -g 30 -c /c", MAIN, "-u0 -h/k -g30 -c/c", []),
        ("-D -u0 -6", MAIN, "-u0 -6", []),
        ("-E /var/log/x -D -4", MAIN, "-4", []),
        ("-D -C user=x -o UsePAM=no", MAIN, "-oUsePAM=no", ["UsePAM=no"]),
    ],
)
def test_the_command_line_as_getopt_reads_it(line, main, options, settings, monkeypatch):
    words = line.split()
    monkeypatch.setattr(programs, "find", lambda name: "/usr/sbin/" + name)
    monkeypatch.setattr(systemd, "show", lambda name: unit(*words))
    monkeypatch.setattr(programs, "run", lambda argv: programs.Outcome(1, "", "OpenSSH_8.7p1, OpenSSL 3.0.7\nusage:"))
    found = sshd.locate()
    assert (found.main, " ".join(found.options)) == (main, options)
    assert list(sshd.command_line_settings(found)) == settings


def test_a_command_line_of_no_sshd_is_said(monkeypatch):
    with pytest.raises(HostError) as caught:
        sshd._main_file(["-D", "-z"])
    assert "-z" in caught.value.reason and "systemctl cat" in caught.value.remedy


def test_which_sshd(monkeypatch):
    monkeypatch.setattr(programs, "find", lambda name: None)
    with pytest.raises(HostError) as caught:
        sshd.locate()
    assert "dnf install openssh-server" in caught.value.remedy
    monkeypatch.setattr(programs, "find", lambda name: "/usr/sbin/" + name)
    for found in (unit()._replace(active=False), unit()._replace(loaded=False)):
        monkeypatch.setattr(systemd, "show", lambda name, found=found: found)
        with pytest.raises(HostError) as caught:
            sshd.locate()
        assert "sshd.service is not running" in caught.value.reason and "sshd.socket" in caught.value.remedy


@pytest.mark.parametrize(
    "said, release",
    [
        ("unknown option -- V\nOpenSSH_8.0p1, OpenSSL 1.1.1k  FIPS 25 Mar 2021\nusage: sshd", (8, 0)),
        ("unknown option -- V\nOpenSSH_8.7p1, OpenSSL 3.0.7 1 Nov 2022\nusage: sshd", (8, 7)),
        ("OpenSSH_9.9p1, OpenSSL 3.2.2 4 Jun 2024\n", (9, 9)),
    ],
)
def test_versions(monkeypatch, said, release):
    monkeypatch.setattr(programs, "run", lambda argv: programs.Outcome(1, "", said))
    assert version.release(sshd._version("/usr/sbin/sshd")) == release


def test_a_binary_without_a_version(monkeypatch):
    monkeypatch.setattr(programs, "run", lambda argv: programs.Outcome(127, "", "Segmentation fault\n"))
    with pytest.raises(HostError):
        sshd._version("/usr/sbin/sshd")


def test_answers_of_old_and_new_releases():
    old = "port 22\nlistenaddress 0.0.0.0:22\nlistenaddress [::]:22\npasswordauthentication yes\nbanner \n"
    new = "Port 22\nListenAddress 0.0.0.0:22\nListenAddress [::]:22\nPasswordAuthentication yes\nBanner \n"
    expected = {
        "port": ("22",),
        "listenaddress": ("0.0.0.0:22", "[::]:22"),
        "passwordauthentication": ("yes",),
        "banner": ("",),
    }
    assert sshd.parse_answer(old) == sshd.parse_answer(new) == expected
    assert sshd.parse_answer("") == {}


def test_values_keep_their_case_and_blanks():
    assert sshd.parse_answer("Banner /etc/My  Banner\n") == {"banner": ("/etc/My  Banner",)}


def test_connections_as_sshd_takes_them():
    full = effective.Connection("u", ("g",), "h", "192.0.2.1", "192.0.2.2", 22, "vrf")
    assert sshd.connection_spec(full) == "user=u,host=h,addr=192.0.2.1,laddr=192.0.2.2,lport=22,rdomain=vrf"
    assert sshd.connection_spec(effective.Connection("u", (), "", "192.0.2.1")) == "user=u,addr=192.0.2.1"


# ---- the tree --------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path):
    """Write a configuration; return the path of a name below its directory."""
    directory = tmp_path / "ssh"
    (directory / "d").mkdir(parents=True)

    def write(**contents):
        for name, text in contents.items():
            (directory / name.replace("__", "/").replace("_", ".")).write_text(text)
        return lambda name: str(directory / name)

    return write


def test_every_included_file_is_read_once_in_any_depth(config):
    at = config(main="", d__b_conf="Port 22\n", d__a_conf="", deep="X11Forwarding no\n")
    with open(at("main"), "w") as stream:
        stream.write("Include %s\nInclude %s /no/such/*\nInclude %s\n" % (at("d/*.conf"), at("d"), at("main")))
    with open(at("d/a.conf"), "w") as stream:
        stream.write('Match User x\n  Include "%s"\n' % at("deep"))
    tree = sshd.read_tree(installed(at("main"), ["-o", "Port=24"]))
    assert sorted(tree.files) == sorted([at("main"), at("d/a.conf"), at("d/b.conf"), at("deep")])
    assert tree.command_line == ("Port=24",) and tree.main == at("main")


def test_a_missing_main_file_is_said(config):
    at = config(other="")
    with pytest.raises(HostError) as caught:
        sshd.read_tree(installed(at("main")))
    assert caught.value.where == at("main") and "dnf reinstall" in caught.value.remedy


# ---- the listener ----------------------------------------------------------------------------------------------------


def touch(path, when):
    os.utime(path, ns=(when, when))


@pytest.fixture
def listening(config, tmp_path, monkeypatch):
    """A listener of long ago; ``times`` say in ns when what was changed (ctime cannot be set, so look is led)."""
    at = config(main="Port 22\n", d__a_conf="", pid="1\n", bin="")
    times = {}
    real = files.look
    monkeypatch.setattr(files, "look", lambda path: real(path)._replace(changed_ns=times.get(path, 1000)))
    monkeypatch.setattr(processes, "started_ns", lambda pid: times.get("start", 2000))
    found = installed(at("main"), binary=at("bin"))
    paths = [at("d/a.conf"), at("main")]

    def problem(pid_file=None, **changed):
        times.clear()
        times.update({at(name.replace("__", "/").replace("_", ".")) if name != "start" else name: when
                      for name, when in changed.items()})
        return sshd.listener_problem(found, paths, {"pidfile": (pid_file or at("pid"),)})

    problem.at = at
    return problem


@pytest.mark.parametrize(
    "changed, newer",
    [
        ({}, None),
        ({"main": 1999}, None),
        ({"main": 2000}, None),
        ({"main": 2001}, "main"),
        ({"d__a_conf": 2001}, "d/a.conf"),
        # A drop-in that was removed shows in its directory only.
        ({"d": 2001}, "d"),
        ({"bin": 2001}, "bin"),
        # SIGHUP writes the pid file again: then that counts.
        ({"main": 2500, "pid": 3000}, None),
        ({"main": 3001, "pid": 3000}, "main"),
        ({"bin": 2500, "pid": 3000}, None),
        ({"pid": 1000, "start": 5000, "main": 4000}, None),
    ],
)
def test_a_listener_behind_its_files(listening, changed, newer):
    said = listening(**changed)
    assert said == (None if newer is None else "%s is newer than the running listener" % listening.at(newer))


@pytest.mark.parametrize("pid_file", ["none", "/no/such/pid"])
def test_without_a_pid_file_the_start_counts(listening, pid_file):
    assert listening(pid_file, main=1999) is None
    assert "newer" in listening(pid_file, main=2001)


def test_a_reload_is_not_tried_with_a_configuration_that_would_end_sshd(monkeypatch):
    calls = []
    monkeypatch.setattr(programs, "run", lambda argv: programs.Outcome(255, "", "line 3: Bad\n  option"))
    monkeypatch.setattr(systemd, "reload", calls.append)
    with pytest.raises(Refused) as caught:
        sshd.reload(installed(options=["-4"]), {})
    assert "line 3: Bad option" in caught.value.reason and calls == []


def test_a_reload_waits_until_sshd_wrote_its_pid_and_is_active(monkeypatch, config):
    at = config(pid="1\n")
    order = []

    def reload(_unit):
        order.append("reload")
        os.unlink(at("pid"))
        with open(at("pid"), "w") as stream:
            stream.write("1\n")

    monkeypatch.setattr(programs, "run", lambda argv: order.append(argv[1]) or programs.Outcome(0, "", ""))
    monkeypatch.setattr(systemd, "reload", reload)
    monkeypatch.setattr(systemd, "show", lambda name: order.append("show") or unit())
    monkeypatch.setattr(processes, "started_ns", lambda pid: 1)
    sshd.reload(installed(), {"pidfile": (at("pid"),)})
    assert order == ["-t", "reload", "show"]


def test_a_reload_that_never_comes_is_an_error(monkeypatch, config):
    at = config(pid="1\n")
    monkeypatch.setattr(programs, "run", lambda argv: programs.Outcome(0, "", ""))
    monkeypatch.setattr(systemd, "reload", lambda unit: None)
    real = systemd.wait_for
    monkeypatch.setattr(systemd, "wait_for", lambda condition, what: real(condition, what, seconds=0.1))
    with pytest.raises(HostError) as caught:
        sshd.reload(installed(), {"pidfile": (at("pid"),)})
    assert "the reload of sshd.service" in caught.value.reason


@pytest.mark.parametrize(
    "running, words, other",
    [
        ("/usr/sbin/sshd -D", "-D", None),
        ("/usr/sbin/sshd -D -oA=b -p 24", "-D -o A=b -p24", None),
        ("/usr/sbin/sshd -D -oPasswordAuthentication=yes", "-D", "-oPasswordAuthentication=yes"),
        ("/usr/sbin/sshd -D", "-D -oPasswordAuthentication=no", "-oPasswordAuthentication=no"),
        ("/usr/sbin/sshd -D -oA=1 -oA=2", "-D -oA=2 -oA=1", "-oA=1 -oA=2"),
        # What cannot be read is not judged.
        ("/usr/local/bin/wrapped -D -oA=1", "-D", None),
        ("/usr/sbin/sshd -z", "-D", None),
        (None, "-D", None),
    ],
)
def test_a_listener_that_was_started_with_other_options(monkeypatch, running, words, other):
    monkeypatch.setattr(processes, "listener_arguments", lambda pid: running and tuple(running.split()))
    found = sshd.options_problem(installed()._replace(unit=unit(*words.split())))
    assert found is None if other is None else "(%s)" % other in found


@pytest.mark.parametrize("after, good", [("/usr/sbin/sshd -4", True), ("/usr/sbin/sshd -6", False)])
def test_a_restart_is_waited_for_and_has_to_help(monkeypatch, after, good):
    order = []
    monkeypatch.setattr(programs, "run", lambda argv: order.append(argv[1]) or programs.Outcome(0, "", ""))
    monkeypatch.setattr(systemd, "restart", lambda unit: order.append("restart"))
    monkeypatch.setattr(systemd, "show", lambda name: order.append("show") or unit("-4"))
    monkeypatch.setattr(processes, "listener_arguments", lambda pid: tuple(after.split()))
    if good:
        sshd.restart(installed())
    else:
        with pytest.raises(HostError, match="after a restart"):
            sshd.restart(installed())
    assert order == ["-t", "restart", "show", "show"]


@pytest.mark.parametrize("value, shows", [("/run/sshd.pid", True), ("none", False)])
def test_only_a_pid_file_shows_that_the_configuration_was_read(value, shows):
    assert sshd.shows_reloads({"pidfile": (value,)}) is shows and not sshd.shows_reloads({})


# ---- a candidate, asked of this machine's own sshd -----------------------------------------------------------------


@pytest.fixture
def own(tmp_path, monkeypatch):
    """This machine's sshd with a host key of its own, so that it answers without one in /etc/ssh."""
    binary = programs.find("sshd")
    if binary is None or os.geteuid() != 0 or not os.path.isdir("/run/sshd"):
        pytest.skip("no sshd on this machine that root could ask")
    monkeypatch.setattr(sshd, "_SCRATCH", str(tmp_path))
    key = str(tmp_path / "key")
    assert programs.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key]).status == 0
    said = programs.run([binary, "-V"])
    found = version.parse_version(said.out + said.err, "debian")
    return sshd.Sshd(binary, found, unit(), MAIN, ("-h", key))


def tree_of(found, **contents):
    paths = {"main": MAIN, "drop": "/etc/ssh/sshd_config.d/a.conf"}
    return sshd_tree.Tree(MAIN, {paths[name]: text.encode() for name, text in contents.items()}, found.version)


def test_a_candidate_answers_for_files_that_are_nowhere_yet(own, tmp_path):
    tree = tree_of(own, main="Include sshd_config.d/*.conf\nBanner none\nMatch User bob\n  Banner /etc/b\n",
                   drop="MaxAuthTries 3\n")
    with sshd.Candidate(own, tree) as candidate:
        assert candidate.check() is None
        assert candidate.ask(None)["maxauthtries"] == ("3",) and candidate.ask(None)["banner"] == ("none",)
        bob = effective.Connection("bob", (), "192.0.2.1", "192.0.2.1")
        assert candidate.ask(bob)["banner"] == ("/etc/b",)
    assert [name for name in os.listdir(str(tmp_path)) if name.startswith("latchkey-")] == []


def test_a_candidate_names_the_real_file_and_line(own):
    tree = tree_of(own, main="Include /etc/ssh/sshd_config.d/*.conf\n", drop="\nNoSuchKeyword 1\n")
    with sshd.Candidate(own, tree) as candidate:
        assert "/etc/ssh/sshd_config.d/a.conf" in candidate.check() and "line 2" in candidate.check()
        assert "latchkey-candidate" not in candidate.check()
        with pytest.raises(Malformed):
            candidate.ask(None)


def test_a_candidate_that_cannot_be_written_is_an_error_of_ours(own, monkeypatch):
    monkeypatch.setattr(sshd, "_SCRATCH", "/no/such/directory")
    with pytest.raises(LatchkeyError):
        sshd.Candidate(own, tree_of(own, main=""))


def test_a_candidate_stays_below_its_directory(own, tmp_path):
    tree = tree_of(own, main="Include ../../../../foo.conf\n")
    tree = tree._replace(files=dict(tree.files, **{"/etc/ssh/../../../../../../foo.conf": b"MaxAuthTries 3\n"}))
    with sshd.Candidate(own, tree) as candidate:
        assert candidate.ask(None)["maxauthtries"] == ("3",)
    assert [name for name in os.listdir(str(tmp_path)) if name.startswith(("latchkey-", "foo"))] == []


def test_a_full_scratch_directory_is_an_error_of_ours(own, monkeypatch, tmp_path):
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sshd.os, "makedirs", full)
    with pytest.raises(HostError, match="No space left"):
        sshd.Candidate(own, tree_of(own, main=""))
    assert [name for name in os.listdir(str(tmp_path)) if name.startswith("latchkey-")] == []


def test_a_program_whose_permissions_were_set_anew_is_not_newer(listening, monkeypatch):
    """rpm --setperms and relabelling change the time of its inode as well."""
    monkeypatch.setattr(processes, "runs", lambda pid, program: True)
    assert listening(bin=2001) is None


def test_a_process_runs_the_file_that_it_was_started_from():
    assert processes.runs(os.getpid(), os.path.realpath(sys.executable))
    assert not processes.runs(os.getpid(), "/bin/sh") and not processes.runs(0, "/bin/sh")


def test_what_lies_behind_a_link_counts(tmp_path, monkeypatch):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("")
    link.symlink_to(target)
    changed = {str(target): 3000, str(link): 1000}
    real = files.look
    monkeypatch.setattr(files, "look", lambda path: real(path)._replace(changed_ns=changed.get(path, 0)))
    monkeypatch.setattr(processes, "started_ns", lambda pid: 2000)
    assert sshd.unread(installed(), [str(link)], {}) == str(link)
    changed[str(target)] = 1500
    assert sshd.unread(installed(), [str(link)], {}) == ""
