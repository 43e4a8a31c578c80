# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sshd_config engine against this machine's own sshd, on generated trees.

Short by default; ``LATCHKEY_LONG=1`` tries many more. /etc/ssh is not read: each tree lies in a directory of its own,
with a host key made for the run. ``LATCHKEY_SSHD`` names another sshd to ask, ``LATCHKEY_SSHD_FLAVOUR`` who patched it.
"""

import grp
import os
import pathlib
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import effective, keywords, sshd_tree, version
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

LONG = os.environ.get("LATCHKEY_LONG") == "1"
RED_HAT = pathlib.Path("/etc/redhat-release")
PRIVSEP = pathlib.Path("/run/sshd")
# Chosen when the package was built; they say nothing about the grammar.
BUILD_PATHS = {"pidfile", "xauthlocation", "modulifile", "sshdsessionpath", "sshdauthpath"}

WORDS = {
    "flag": "yes no YES No maybe",
    "addressfamily": "any inet inet6 INET bogus",
    "forwarding": "yes no all local remote Local",
    "permitrootlogin": "yes no prohibit-password without-password forced-commands-only Yes",
    "compression": "yes no delayed",
    "gatewayports": "yes no clientspecified",
    "ignorerhosts": "yes no shosts-only",
    "tunnel": "yes no point-to-point ethernet Yes",
    "fingerprinthash": "md5 sha256 SHA512 sha1 bogus",
    "facility": "AUTH authpriv LOCAL0 local7 local8 DAEMON mail",
    "loglevel": "QUIET info VERBOSE debug DEBUG1 debug3 bogus",
    "int": "0 1 10 +5 -1 2147483647 2147483648 1x 007",
    "time": "0 30 5m 1h30m 1m30s 2w 1.5m -1 5x 5M 99999999999 10s20",
    "idletime": "none NONE 0 30 5m x",
    "port": "22 2222 65535 0 65536 ssh http x -1",
    "rekeylimit": "default 1G 512M 16 15 1g 1.5K 1GB 0",
    "maxstartups": "10 10:30:100 10:30 5:101:9 9:30:5 0 3:10:20x 10:30:60",
    "netblocksize": "24:64 32:128 33:1 0:0 1:129",
    "persourcemaxstartups": "none 3 0 x None",
    "bindmask": "0177 177 0 0777 1000 8 0111x",
    "ipqos": "af21 cs0 ef lowdelay none 0x10 184 256 le EF reliability 010",
    "ciphers": "aes256-ctr aes256-gcm@openssh.com,aes128-ctr +aes128-cbc -aes128-* ^aes256-ctr bogus aes*",
    "macs": "hmac-sha2-512 -hmac-sha1* +hmac-md5 bogus ^hmac-sha2-256",
    "kexalgorithms": "curve25519-sha256 -diffie-* +diffie-hellman-group1-sha1 bogus",
    "gsskex": "gss-group14-sha256- gss-gex-sha1- bogus",
    "keyalgorithms": "ssh-ed25519 +ssh-rsa -ssh-rsa ^rsa-sha2-512 ecdsa-* bogus ssh-ed25519-cert-v01@openssh.com rsa",
    "users": "alice root@10.0.0.0/8 * !bob a@10.0.0.1/8 u@*.example.org x@!1.2.3.4,*",
    "groups": "wheel adm* !x",
    "acceptenv": "LANG LC_* A=1",
    "setenv": "A=1 B=2 A=3 NAME",
    "keyfiles": ".ssh/authorized_keys /etc/keys/%u none",
    "authmethods": "publickey any publickey,password publickey,keyboard-interactive:pam bogus none password hostbased",
    "command": "/usr/bin/true none relative",
    "rawline": "internal-sftp none",
    "addendum": "none hello",
    "permitopen": "any none db:5432 [::1]:22 db:* db host/22 *:*",
    "permitlisten": "any none 8080 localhost:8080 x *:0",
    "listenaddress": "0.0.0.0 127.0.0.1:2222 [::1]:22 ::1 :: 10.1.2.3:x [::1",
    "channeltimeout": "none session:*=5m x11=0 =5 session",
    "pubkeyauthoptions": "none touch-required verify-required bogus",
    "penalties": "yes no crash:10 authfail:5m max:60 overflow:deny-all bogus:1 max-sources4:10",
    "addresslist": "127.0.0.1 10.0.0.0/8 10.0.0.1/8",
    "userenvironment": "yes no NO LANG,LC_*",
    "subsystem": "sftp internal-sftp foo",
    "word": "none /srv/%u nobody",
    "filename": "none /etc/x NONE",
    "tildefile": "none .ssh/x NONE",
    "hostfile": "/nonexistent/key",
    "agent": "SSH_AUTH_SOCK none /run/x",
    "skprovider": "internal none /usr/lib/x",
    "rdomain": "none x",
    "deprecated": "yes no",
    "ignored": "2",
    "unsupported": "yes",
}
CRITERIA = {
    "User": "root nobody !root,* * nosuch r??t daemon,root",
    "Group": "root nogroup !root,* * adm",
    "Host": "*.example.org !other.*,* client.example.org CLIENT.EXAMPLE.ORG",
    "Address": "10.0.0.0/8 10.0.0.5 2001:db8::/32 !10.0.0.0/8,* 10.0.0.* 10.0.0.1/8 * 010.0.0.5 10/8",
    "LocalAddress": "127.0.0.1 127.0.0.0/8 ::1",
    "LocalPort": "22 2222 ssh x",
    "RDomain": "* x",
    "all": "",
    "invalid-user": "",
    "Exec": "true",
}


class Machine(NamedTuple):
    sshd: str
    key: str
    version: version.SshdVersion
    base: dict[str, tuple[str, ...]]


def _ask(sshd: str, arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sshd, *arguments], capture_output=True, timeout=20, check=False, cwd="/")


def _printed(output: bytes) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in output.decode("utf-8", "surrogateescape").split("\n"):
        key, _space, value = line.partition(" ")
        if key:
            found[key.lower()] = found.get(key.lower(), ()) + (value,)
    return found


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    sshd = os.environ.get("LATCHKEY_SSHD") or shutil.which("sshd", path=search)
    if sshd is None:
        pytest.skip("NOT RUN: this machine has no sshd; install openssh-server to hold the engine against it")
    if not PRIVSEP.is_dir():
        if os.geteuid() != 0:
            pytest.skip(f"NOT RUN: sshd needs {PRIVSEP}, and only root can make it")
        PRIVSEP.mkdir(mode=0o755)
    directory = tmp_path_factory.mktemp("sshd")
    key = str(directory / "host_key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    # Before 9.2 sshd has no -V, but names its release when it refuses the option.
    banner = _ask(sshd, ["-V"]).stderr.decode()
    flavour = os.environ.get("LATCHKEY_SSHD_FLAVOUR") or _flavour()
    empty = directory / "empty"
    empty.write_bytes(b"")
    dumped = _ask(sshd, ["-T", "-f", str(empty), "-h", key])
    assert dumped.returncode == 0, dumped.stderr
    yield Machine(sshd, key, version.parse_version(banner, flavour), _printed(dumped.stdout))


def _flavour() -> str:
    # sshd does not say who patched it, ssh does on Debian.
    banner = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
    return "debian" if "Debian" in banner or "Ubuntu" in banner else "redhat" if RED_HAT.exists() else "upstream"


def _known(found: keywords.Keyword) -> str:
    return WORDS.get(found.kind, "yes no")


@st.composite
def directive(draw: st.DrawFn, release: version.SshdVersion) -> bytes:
    names = [*keywords.known_names(release), "NoSuchKeyword"]
    name = draw(st.sampled_from([one for one in names if one not in ("Match", "Include")]))
    found = keywords.lookup(name, release)
    pool = (WORDS["flag"] if found is None else _known(found)).split()
    count = draw(st.sampled_from([1, 1, 1, 1, 2, 3, 0]))
    words = [draw(st.sampled_from(pool)) for _number in range(count)]
    quote = draw(st.sampled_from(["", "", "", "", '"', "'"]))
    spelled = draw(st.sampled_from([name, name, name.lower(), name.upper()]))
    separator = draw(st.sampled_from([" ", " ", " ", "\t", "=", " = ", "  "]))
    indent = draw(st.sampled_from(["", "", " ", "\t"]))
    tail = draw(st.sampled_from(["", "", "", "", "", " # note", "#x", " ", "\r", "\f", ' "', " \\ x", " ''"]))
    return (indent + spelled + separator + " ".join(quote + word + quote for word in words) + tail).encode()


@st.composite
def match_line(draw: st.DrawFn) -> bytes:
    text = draw(st.sampled_from(["Match", "match", "MATCH"]))
    for _number in range(draw(st.sampled_from([1, 1, 1, 2, 2, 3]))):
        name = draw(st.sampled_from([*list(CRITERIA)[:8], *list(CRITERIA)[:8], *CRITERIA]))
        pool = CRITERIA[name].split()
        text += " " + name
        if pool:
            text += draw(st.sampled_from([" ", " ", " ", "="])) + draw(st.sampled_from(pool))
    return (text + draw(st.sampled_from(["", "", "", " # x", " ", ' ""']))).encode()


def noise() -> st.SearchStrategy[bytes]:
    letters = st.sampled_from([*" \t\r\f\"'\\#=,*!x1-", "Port", "Banner", "Match", "é", "\0"])
    return st.lists(letters, max_size=6).map(lambda parts: "".join(parts).encode())


def content(release: version.SshdVersion, most: int) -> st.SearchStrategy[bytes]:
    include = st.sampled_from(
        [b"Include @D@/d/*.conf", b"Include @D@/d/1*", b"Include @D@/e/x @D@/none/*", b"include d/*"]
    )
    usual = st.one_of(directive(release), directive(release), directive(release), match_line(), include)
    lines = st.lists(st.one_of(*[usual] * 12, noise(), st.sampled_from([b"", b"# note"])), max_size=most)
    return st.tuples(lines, st.sampled_from([b"\n", b"\n", b"\n", b"\r\n"]), st.booleans()).map(
        lambda parts: parts[1].join(parts[0]) + (parts[1] if parts[2] else b"")
    )


def _tree(directory: pathlib.Path, files: dict[str, bytes], machine: Machine) -> sshd_tree.Tree:
    shutil.rmtree(directory, ignore_errors=True)
    held = {}
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        held[str(path)] = data.replace(b"@D@", str(directory).encode())
        path.write_bytes(held[str(path)])
    return sshd_tree.Tree(
        str(directory / "sshd_config"), held, machine.version, command_line=(f"HostKey={machine.key}",)
    )


def _connection(user: str, host: str, addr: str, lport: int) -> effective.Connection:
    try:
        account = pwd.getpwnam(user)
        groups = tuple(grp.getgrgid(one).gr_name for one in os.getgrouplist(user, account.pw_gid))
    except KeyError:
        groups = ()
    return effective.Connection(user, groups, host, addr, "127.0.0.1", lport)


CONNECTIONS = (
    None,
    _connection("root", "client.example.org", "10.0.0.5", 22),
    _connection("nobody", "other.example.net", "192.168.7.9", 2222),
    _connection("nosuch", "x", "2001:db8::5", 22),
)


def _theirs(
    machine: Machine, tree: sshd_tree.Tree, connection: effective.Connection | None
) -> tuple[int, bytes, bytes]:
    arguments = ["-T", "-f", tree.main, "-h", machine.key]
    if connection is not None:
        asked = connection
        arguments += [
            "-C",
            f"user={asked.user},host={asked.host},addr={asked.addr},laddr={asked.laddr},lport={asked.lport}",
        ]
    done = _ask(machine.sshd, arguments)
    return done.returncode, done.stdout, done.stderr


def _delta(values: dict[str, tuple[str, ...]], base: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...] | None]:
    changed = {key for key in set(values) | set(base) if values.get(key) != base.get(key)}
    return {key: values.get(key) for key in changed}


def test_an_empty_file_has_this_sshds_defaults(machine: Machine, tmp_path: pathlib.Path) -> None:
    ours = effective.evaluate(_tree(tmp_path / "t", {"sshd_config": b""}, machine), None).values
    theirs = {key: value for key, value in machine.base.items() if key not in BUILD_PATHS}
    assert {key: value for key, value in ours.items() if key not in BUILD_PATHS} == theirs


def _compare(machine: Machine, directory: pathlib.Path, files: dict[str, bytes]) -> None:
    tree = _tree(directory, files, machine)
    refused = effective.check(tree)
    tested = _ask(machine.sshd, ["-t", "-f", tree.main, "-h", machine.key])
    note(f"sshd -t: {tested.returncode} {tested.stderr.decode(errors='replace')[:400]}")
    assert bool(refused) == bool(tested.returncode), refused
    ours_base = effective.evaluate(_tree(directory.with_name("base"), {"sshd_config": b""}, machine), None).values
    for connection, answer in zip(CONNECTIONS, effective.evaluate_all(tree, CONNECTIONS), strict=True):
        status, output, errors = _theirs(machine, tree, connection)
        note(f"{connection}: {status} {errors.decode(errors='replace')[:200]}")
        assert (answer.rc == 0) == (status == 0), answer.diagnostics
        if status == 0:
            assert _delta(answer.values, ours_base) == _delta(_printed(output), machine.base)


def test_generated_trees(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("generated") / "tree"
    release = machine.version
    trees = st.fixed_dictionaries(
        {"sshd_config": content(release, 7)},
        optional={"d/10-a.conf": content(release, 3), "d/20-B.conf": content(release, 2), "e/x": content(release, 2)},
    )

    @settings(max_examples=6000 if LONG else 150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(trees)
    def compare(files: dict[str, bytes]) -> None:
        _compare(machine, directory, files)

    compare()


def test_single_lines(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("single") / "tree"

    @settings(max_examples=8000 if LONG else 300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(directive(machine.version), match_line(), noise()), st.booleans())
    def compare(line: bytes, in_block: bool) -> None:
        head = b"Match User root\n" if in_block else b""
        _compare(machine, directory, {"sshd_config": head + line + b"\n"})

    compare()
