# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says about logins beside sshd: shadow, sudo, fail2ban, locks, keys of its own."""

import fcntl
import os
import subprocess
import sys

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._host import files, login_model, programs, selinux
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import version

SHADOW = """root:$6$x$y:19000:0:99999:7:::
alice:!$6$x$y:19990:0:60:7:14:20100:
svc:*:::::::
new::0:0:99999:7:::
broken:line
"""


def says(monkeypatch, out, status=0, found=True):
    calls = []

    def run(argv, **_more):
        calls.append(argv)
        return programs.Outcome(status, out, "")

    monkeypatch.setattr(programs, "run", run)
    monkeypatch.setattr(programs, "find", lambda name: "/usr/bin/" + name if found else None)
    return calls


def test_shadow(monkeypatch):
    calls = says(monkeypatch, SHADOW, status=2)
    assert login_model.shadow(["root", "alice", "svc", "new", "ghost"]) == {
        "root": ("usable", 19000, 99999, -1),
        "alice": ("locked", 19990, 60, 20100),
        "svc": ("none", -1, -1, -1),
        "new": ("empty", 0, 99999, -1),
    }
    assert calls == [["getent", "shadow", "root", "alice", "svc", "new", "ghost"]]


DEFAULTS = "Matching Defaults entries for alice on h:\n    !visiblepw, env_reset, %s secure_path=/sbin\\:/bin\n\n"
MAY = "User alice may run the following commands on h:\n"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("User alice is not allowed to run sudo on h.\n", (False, "")),
        (DEFAULTS % "" + MAY + "    (ALL) ALL\n", (True, "alice")),
        (MAY + "    (ALL : ALL) ALL\n", (True, "alice")),
        (MAY + "    (root) NOPASSWD: ALL\n", (True, "")),
        (MAY + "    (ALL) NOPASSWD: SETENV: ALL\n", (True, "")),
        (MAY + "    (ALL) ALL\n    (ALL) NOPASSWD: /usr/bin/dnf\n", (True, "alice")),
        (MAY + "    (ALL) NOPASSWD: ALL\n    (ALL) PASSWD: ALL\n", (True, "alice")),
        (MAY + "    (ALL) NOPASSWD: /bin/sh, PASSWD: ALL\n", (True, "alice")),
        (MAY + "    (ALL) NOPASSWD: /usr/bin/dnf, /bin/sh\n", (True, "")),
        (MAY + "    (ALL) NOPASSWD: /usr/bin/dnf\n", (False, "")),
        (MAY + "    (postgres) ALL\n", (False, "")),
        (MAY + "    (ALL, !root) ALL\n", (False, "")),
        (DEFAULTS % "rootpw," + MAY + "    (ALL) ALL\n", (True, "root")),
        (DEFAULTS % "targetpw," + MAY + "    (ALL) ALL\n", (True, "root")),
        (DEFAULTS % "!authenticate," + MAY + "    (ALL) ALL\n", (True, "")),
        ("", None),
    ],
)
def test_what_sudo_lets_an_account_do(monkeypatch, text, expected):
    calls = says(monkeypatch, text)
    assert login_model.sudo("alice") == expected
    assert calls == [["sudo", "-n", "-l", "-U", "alice"]]


def test_a_host_without_sudo_says_nothing_about_it(monkeypatch):
    assert says(monkeypatch, "", found=False) == [] and login_model.sudo("alice") is None


IGNORED = "These IP addresses/networks are ignored:\n|- 127.0.0.0/8\n|- ::1\n`- 192.0.2.0/24\n"


@pytest.mark.parametrize(
    "running, status, out, expected",
    [
        (False, 0, IGNORED, None),
        (True, 255, "Sorry but the jail 'sshd' does not exist", None),
        (True, 0, IGNORED, ("127.0.0.0/8", "::1", "192.0.2.0/24")),
        (True, 0, "No IP address/network is ignored\n", ()),
    ],
)
def test_whom_fail2ban_leaves_alone(monkeypatch, tmp_path, running, status, out, expected):
    if running:
        (tmp_path / "sock").write_text("")
    monkeypatch.setattr(login_model, "_FAIL2BAN", str(tmp_path / "sock"))
    says(monkeypatch, out, status)
    assert login_model.fail2ban_ignores() == expected


def test_files_that_keep_people_out_and_units_that_start_sshd(monkeypatch, tmp_path):
    monkeypatch.setattr(login_model, "_NOLOGIN", (str(tmp_path / "run"), str(tmp_path / "etc")))
    monkeypatch.setattr(login_model, "_WANTS", str(tmp_path))
    assert (login_model.nologin(), login_model.socket_unit()) == ("", "")
    (tmp_path / "etc").write_text("")
    os.symlink("/usr/lib/systemd/system/not-there", str(tmp_path / "sshd.socket"))
    assert (login_model.nologin(), login_model.socket_unit()) == (str(tmp_path / "etc"), "sshd.socket")


def test_addresses_of_this_machine():
    found = login_model.addresses()
    assert "127.0.0.1" in found and "127.0.0.0" not in found


HOLD = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, %s); print('held', flush=True); sys.stdin.read()"


@pytest.mark.parametrize("kind, writes", [("fcntl.LOCK_EX", True), ("fcntl.LOCK_SH", False)])
def test_who_writes_the_packages(monkeypatch, tmp_path, kind, writes):
    lock = tmp_path / ".rpm.lock"
    monkeypatch.setattr(login_model, "_PACKAGE_LOCKS", (str(lock), str(tmp_path / "none")))
    assert login_model.package_writer() == ""
    lock.write_text("")
    assert login_model.package_writer() == ""
    code = HOLD % kind if writes else HOLD.replace("'w'", "'r'") % kind
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        said = login_model.package_writer()
        assert (("process %d, py" % holder.pid) in said and str(lock) in said) if writes else said == ""
    finally:
        holder.communicate()
    assert fcntl.F_GETLK and login_model.package_writer() == ""


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "ssh_host_ed25519_key"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    try:
        subprocess.check_call(argv, stdout=subprocess.DEVNULL)
    except OSError:
        pytest.skip("needs ssh-keygen")
    return path


def test_host_keys(key, tmp_path, monkeypatch):
    paths = [str(tmp_path / "gone"), str(key)]
    (one,) = login_model.host_keys(paths, version.EL9)
    assert (one.path, one.problem, one.key.type) == (str(key), "", "ssh-ed25519")
    assert one.key.base64 in (tmp_path / "ssh_host_ed25519_key.pub").read_text()
    key.chmod(0o640)
    if os.geteuid() == 0:
        assert "0640" in login_model.host_keys(paths, version.EL9)[0].problem
        monkeypatch.setattr(login_model, "_group", lambda gid: "ssh_keys")
        assert login_model.host_keys(paths, version.EL9)[0].problem == ""
        assert "0640" in login_model.host_keys(paths, version.EL9._replace(flavour="debian"))[0].problem
    key.write_text("garbage")
    (one,) = login_model.host_keys(paths, version.EL9)
    assert one.key is None and one.problem


def test_labels(monkeypatch, tmp_path):
    wanted = [None]
    monkeypatch.setattr(selinux, "label_for", lambda path, mode: wanted[0])
    monkeypatch.setattr(os, "getxattr", lambda *a, **k: b"unconfined_u:object_r:admin_home_t:s0\0", raising=False)
    assert login_model.labels(str(tmp_path), 0) == ("", "")
    wanted[0] = b"system_u:object_r:admin_home_t:s0\0"
    assert login_model.labels(str(tmp_path), 0) == ("", "")
    wanted[0] = b"system_u:object_r:ssh_home_t:s0\0"
    assert login_model.labels(str(tmp_path), 0) == ("admin_home_t", "ssh_home_t")


def test_fips(monkeypatch):
    for data, expected in ((b"1\n", True), (b"0\n", False), (b"", False)):
        monkeypatch.setattr(files, "read", lambda path, data=data: files.FileState(path, "file", data))
        assert login_model.fips() is expected
