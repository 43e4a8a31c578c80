# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test hosts are what they claim to be. Needs root; uses hosts of its own (smoke8, smoke9, smoke10, one per state).

LATCHKEY_MATRIX=full tries every start state on every generation instead of on generation 9 alone.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "hosts"
sys.path.insert(0, str(HERE))
from testhosts import python36, states  # noqa: E402  (the tool is a program, not an installed package)
from testhosts.accounts import OPERATOR, PASSWORDS  # noqa: E402

GENERATIONS = (8, 9, 10)
STATE_GENERATIONS = GENERATIONS if os.environ.get("LATCHKEY_MATRIX") == "full" else (9,)
REFUSED = 255  # ssh's exit code after the one password it may offer
each = pytest.mark.parametrize("generation", GENERATIONS)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="test hosts need root")


def tool(*args: str) -> str:
    """Run the tool and return what it printed; fail the test with its words."""
    done = subprocess.run([HERE / "hosts", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"hosts {' '.join(args)}: {done.stdout}{done.stderr}"
    return done.stdout


def as_root(name: str, command: str) -> str:
    return tool("exec", name, "--", "sh", "-c", command)


def login(name: str, password: str, user: str = OPERATOR, command: str = "id -un") -> subprocess.CompletedProcess[str]:
    """Really log in by password and by nothing else."""
    argv = [
        "sshpass",
        "-e",
        "ssh",
        "-F",
        str(BUILD / "ssh_config"),
        "-o",
        "PreferredAuthentications=password",
        "-o",
        "NumberOfPasswordPrompts=1",
        "-o",
        "ControlPath=none",
        f"{user}@{name}",
        command,
    ]
    return subprocess.run(
        argv, env={**os.environ, "SSHPASS": password}, capture_output=True, text=True, timeout=30, check=False
    )


def key_login(name: str, key: str, user: str = OPERATOR) -> subprocess.CompletedProcess[str]:
    argv = [
        "ssh",
        "-F",
        str(BUILD / "ssh_config"),
        "-o",
        "BatchMode=yes",
        "-o",
        "IdentitiesOnly=yes",
        "-i",
        str(BUILD / "keys" / key),
        f"{user}@{name}",
        "id -un",
    ]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def logins(name: str) -> list[dict[str, object]]:
    return json.loads(tool("logins", name))


def effective(name: str, user: str = OPERATOR) -> dict[str, str]:
    """Return sshd -T for a user, with the command line that the unit gives sshd; the last of repeated keywords."""
    text = as_root(
        name,
        ". /etc/sysconfig/sshd; policy=/etc/crypto-policies/back-ends/opensshserver.config; "
        "eval \"$(grep '^CRYPTO_POLICY=' $policy)\"; "
        f"sshd -T -C user={user},host=tester,addr=192.0.2.1 $OPTIONS $CRYPTO_POLICY",
    )
    return dict(line.split(" ", 1) for line in text.splitlines())


@pytest.fixture(scope="module", autouse=True)
def stock() -> Iterator[None]:
    print(tool("up", *(f"smoke{number}={number}" for number in GENERATIONS)))
    yield
    tool("down", *(f"smoke{number}" for number in GENERATIONS))


@each
def test_password_logs_in(generation: int) -> None:
    done = login(f"smoke{generation}", PASSWORDS[OPERATOR])
    assert (done.returncode, done.stdout) == (0, "admin\n"), done.stderr


@each
def test_wrong_password_is_refused_and_seen(generation: int) -> None:
    name = f"smoke{generation}"
    before = len(logins(name))
    done = login(name, "not the password")
    assert done.returncode == REFUSED and "Permission denied" in done.stderr
    seen = [(entry["user"], entry["method"], entry["ok"]) for entry in logins(name)[before:]]
    assert seen[0] == (OPERATOR, "password", False), seen
    assert not any(ok for _user, _method, ok in seen)


@each
def test_logins_are_counted_exactly(generation: int) -> None:
    name = f"smoke{generation}"
    before = len([entry for entry in logins(name) if entry["ok"]])
    for _turn in range(3):
        assert login(name, PASSWORDS[OPERATOR]).returncode == 0
    accepted = [entry for entry in logins(name) if entry["ok"]][before:]
    assert [(entry["user"], entry["method"]) for entry in accepted] == [(OPERATOR, "password")] * 3


# Stock values of AlmaLinux that a stand-in must not get wrong.
STOCK_VALUES = {
    "passwordauthentication": "yes",
    "kbdinteractiveauthentication": "no",
    "permitemptypasswords": "no",
    "pubkeyauthentication": "yes",
    "gssapiauthentication": "yes",
    "gssapicleanupcredentials": "no",
    "usepam": "yes",
    "x11forwarding": "yes",
    "printmotd": "no",
    "syslogfacility": "AUTHPRIV",
    "authorizedkeysfile": ".ssh/authorized_keys",
    "strictmodes": "yes",
    "subsystem": "sftp /usr/libexec/openssh/sftp-server",
    "authenticationmethods": "any",
}
ROOT_LOGIN = {8: "yes", 9: "without-password", 10: "without-password"}


@each
def test_effective_values_are_stock(generation: int) -> None:
    values = effective(f"smoke{generation}")
    assert {key: values.get(key) for key in STOCK_VALUES} == STOCK_VALUES
    assert values["permitrootlogin"] == ROOT_LOGIN[generation]
    assert values["ciphers"].startswith("aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr"), (
        "crypto policy is not in force"
    )


LAYOUT = {
    8: {"/etc/ssh/sshd_config": "600", "/etc/ssh/ssh_host_rsa_key": "600"},
    9: {"/etc/ssh/sshd_config": "600", "/etc/ssh/sshd_config.d": "700", "/etc/ssh/sshd_config.d/50-redhat.conf": "600"},
    10: {
        "/etc/ssh/sshd_config": "600",
        "/etc/ssh/sshd_config.d/40-redhat-crypto-policies.conf": "600",
        "/etc/ssh/sshd_config.d/50-redhat.conf": "600",
        "/etc/ssh/sshd_config.d/99-test-exempt.conf": "600",
    },
}


@each
def test_files_and_modes_are_stock(generation: int) -> None:
    name = f"smoke{generation}"
    for path, mode in LAYOUT[generation].items():
        assert as_root(name, f"stat -c '%a %U' {path}") == f"{mode} root\n", path
    present = as_root(name, "test -e /etc/ssh/sshd_config.d && echo there || echo absent").strip()
    assert present == ("absent" if generation == 8 else "there")
    assert (
        as_root(name, "systemctl is-system-running; systemctl is-active sshd firewalld rsyslog")
        == "running\n" + 3 * "active\n"
    )
    assert "ssh" in as_root(name, "firewall-cmd --zone=public --list-services").split()


def test_generation_8_has_python_36_and_no_other() -> None:
    if python36.find() is None:
        pytest.skip("NO PYTHON 3.6 ON THIS MACHINE: generation 8 is not tested on AlmaLinux 8's Python")
    assert (
        as_root("smoke8", "/usr/libexec/platform-python -c 'import ssl, ctypes, sys; print(sys.version_info[:2])'")
        == "(3, 6)\n"
    )
    assert as_root("smoke8", "ls /usr/bin/ /usr/local/bin | grep -c ^python || true") == "0\n"


@each
def test_restart_and_power_cut_keep_the_address(generation: int) -> None:
    name = f"smoke{generation}"
    as_root(name, "echo kept > /etc/kept; echo gone > /run/gone")
    for commands in (("restart",), ("kill", "start")):
        for command in commands:
            tool(command, name)
        assert login(name, PASSWORDS[OPERATOR]).returncode == 0
        assert as_root(name, "cat /etc/kept; test -e /run/gone || echo emptied") == "kept\nemptied\n"
        as_root(name, "echo gone > /run/gone")


@each
def test_reset_brings_the_start_state_and_the_same_host_key(generation: int) -> None:
    name = f"smoke{generation}"
    as_root(name, "rm -rf /etc/ssh/sshd_config; touch /home/admin/trace")
    tool("reset", name)
    assert as_root(name, "ls /home/admin; stat -c %a /etc/ssh/sshd_config") == "600\n"
    assert login(name, PASSWORDS[OPERATOR]).returncode == 0, "the known host key no longer fits"


@each
def test_tree_hash_is_blind_to_logins_and_sees_changes(generation: int) -> None:
    name = f"smoke{generation}"
    before = tool("tree-hash", name)
    assert login(name, "not the password").returncode == REFUSED
    assert login(name, PASSWORDS[OPERATOR], command="echo Admin-Password-1 | sudo -S true").returncode == 0
    assert tool("tree-hash", name) == before
    for change in (
        "touch /etc/passwd",
        "chmod 601 /etc/ssh/sshd_config",
        "mkdir -p /var/lib/latchkey",
        "chown root /home/alice/.bashrc",
        "ln -s x /root/x",
        "setfattr -n user.x -v 1 /etc/hostname || touch /etc/hostname",
    ):
        as_root(name, change)
        after = tool("tree-hash", name)
        assert after != before, change
        before = after


@pytest.mark.parametrize("core", ["2.16", "new"])
def test_modules_run(core: str) -> None:
    """ansible.builtin.setup and a module with module_utils; newer cores on 9 and 10 only, as with AlmaLinux."""
    ansible = HERE.parents[1] / ".venv" / core / "bin" / "ansible"
    if not ansible.exists():
        pytest.skip(f"no {ansible} (make venv)")
    limit = "smoke*" if core == "2.16" else "smoke9:smoke10"
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(HERE / "probe"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
    }
    for module in ("ansible.builtin.setup", "latchkey.probe.probe"):
        done = subprocess.run(
            [ansible, "-i", BUILD / "inventory.yml", limit, "-m", module],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert len(re.findall(r"\buid\W+0\b", done.stdout)) == (3 if core == "2.16" else 2)


@pytest.fixture(scope="module", params=STATE_GENERATIONS)
def in_states(request: pytest.FixtureRequest) -> Iterator[int]:
    names = {f"st{request.param}-{state}": f"{request.param}:{state}" for state in states.names()}
    print(tool("up", *(f"{name}={what}" for name, what in names.items())))
    yield request.param
    tool("down", *names)


# state, account, its password, keyword, value by sshd -T, what a password login does
STATE_FACTS = (
    ("stock", OPERATOR, "Admin-Password-1", "passwordauthentication", "yes", 0),
    ("cloudinit", OPERATOR, "Admin-Password-1", "passwordauthentication", "yes", 0),
    ("anaconda", "root", "Root-Password-0", "permitrootlogin", "yes", 0),
    ("match", "legacy", "Legacy-Password-3", "passwordauthentication", "yes", 0),
    ("died", OPERATOR, "Admin-Password-1", "passwordauthentication", "no", 0),
    ("ipa", "ada", "Ada-Password-3", "authorizedkeyscommand", "/usr/bin/sss_ssh_authorizedkeys", 0),
    ("ipa", "ada", "Ada-Password-3", "kbdinteractiveauthentication", "yes", 0),
    ("stranded", "old", "Old-Password-5", "passwordauthentication", "yes", 0),
    ("guide", OPERATOR, "not the password", "passwordauthentication", "yes", REFUSED),
)


def test_start_states(in_states: int) -> None:
    for state, user, password, keyword, value, code in STATE_FACTS:
        name = f"st{in_states}-{state}"
        assert effective(name, user)[keyword] == value, (state, keyword)
        done = login(name, password, user)
        assert done.returncode == code, (state, user, done.stderr)


def test_state_match_is_for_one_user(in_states: int) -> None:
    tail = as_root(f"st{in_states}-match", "tail -n 2 /etc/ssh/sshd_config")
    assert tail == "Match User legacy\n    PasswordAuthentication yes\n"


def test_state_keys_log_in(in_states: int) -> None:
    for state, key, user in (("died", "operator", OPERATOR), ("ipa", "ipa", "ada")):
        done = key_login(f"st{in_states}-{state}", key, user)
        assert done.stdout == f"{user}\n", (state, done.stderr)
    assert as_root(f"st{in_states}-ipa", "grep -c ^ada: /etc/passwd || true") == "0\n"
    assert "RSA" in as_root(f"st{in_states}-guide", "ssh-keygen -lf /home/admin/.ssh/authorized_keys")
    assert key_login(f"st{in_states}-guide", "guide").returncode == 255, "the guide's key has no passphrase"


def test_state_stranded_has_real_lines(in_states: int) -> None:
    name = f"st{in_states}-stranded"
    yesterday = as_root(name, "date -d yesterday '+%b %e'").strip()
    secure = as_root(name, "cat /var/log/secure").splitlines()
    assert any(line.startswith(yesterday) and "Accepted password for bob from " in line for line in secure)
    users = {entry["user"]: entry["address"] for entry in logins(name) if entry["ok"]}
    tester = as_root(name, "ip route").split()[2]
    assert "bob" not in users and users["sftpjob"] != tester


@pytest.mark.parametrize(
    "state,first", [("nopasswd", ""), ("sudopw", "Root-Password-0"), ("stock", "Admin-Password-1")]
)
def test_sudo_wants_what_the_state_says(in_states: int, state: str, first: str) -> None:
    name = f"st{in_states}-{state}"
    sudo = f"echo {first} | sudo -k -S -p '' id -u" if first else "sudo -n id -u"
    assert login(name, PASSWORDS[OPERATOR], command=sudo).stdout == "0\n"
    if first:
        wrong = sudo.replace(first, "Alice-Password-2")
        assert login(name, PASSWORDS[OPERATOR], command=wrong).stdout == ""


def test_penalties_are_on_only_where_said() -> None:
    """sshd 10 refuses the tester after wrong passwords in the state penalties, and never elsewhere."""
    tool("up", "pen10=10:penalties")
    try:
        # Six at once, so that the 5 s that each costs add up faster than they pass; 15 s are enforced.
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(login, 6 * ["pen10", "smoke10"], 12 * ["not the password"]))
        assert login("pen10", PASSWORDS[OPERATOR]).returncode == REFUSED
        assert login("smoke10", PASSWORDS[OPERATOR]).returncode == 0
    finally:
        tool("down", "pen10")


def test_errors_are_one_message(tmp_path: Path) -> None:
    for args, word in (
        (["up", "x=9:nonsense"], "no start state"),
        (["up", "x=7"], "generation is 8, 9 or 10"),
        (["restart", "nobody"], "no host"),
    ):
        done = subprocess.run([HERE / "hosts", *args], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 2 and word in done.stderr and "Traceback" not in done.stderr
