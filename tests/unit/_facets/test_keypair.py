# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facet keypair: every case of an existing key, and races, against real files and real ssh-keygen."""

import os
import shutil
import stat
import subprocess
import sys
import threading

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import HostError, Malformed, Refused, Unsupported
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import keypair
from ansible_collections.latchkey.ssh.plugins.module_utils._host import keypair as files
from ansible_collections.latchkey.ssh.plugins.module_utils._host import private_keys
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.keys import parse_public_key
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.private_key import parse_container

KEYGEN = shutil.which("ssh-keygen")
makes_keys = pytest.mark.skipif(not private_keys.HAS_CRYPTOGRAPHY, reason="no Python library cryptography")
with_passphrase = pytest.mark.skipif(
    not (private_keys.HAS_CRYPTOGRAPHY and private_keys.HAS_BCRYPT), reason="no Python library bcrypt"
)
needs_keygen = pytest.mark.skipif(not KEYGEN, reason="no ssh-keygen")


@pytest.fixture(autouse=True)
def no_files_for_others():
    """Let nothing hide behind the umask of who runs the tests."""
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch, request):
    """Spend little on deriving keys from passphrases; one test keeps what users get."""
    if "real_rounds" not in request.fixturenames:
        monkeypatch.setattr(private_keys, "ROUNDS", 2)


@pytest.fixture
def real_rounds():
    return private_keys.ROUNDS


@pytest.fixture
def path(tmp_path):
    os.chmod(str(tmp_path), 0o700)
    return str(tmp_path / "id")


def run(path, check_mode=False, **params):
    return keypair.ensure(dict(params, path=path), check_mode=check_mode)


def keygen(*words):
    done = subprocess.run(
        [KEYGEN] + [str(word) for word in words],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def make(path, kind="ed25519", bits=256, comment="made", passphrase="", *more):
    keygen("-q", "-t", kind, "-b", bits, "-C", comment, "-N", passphrase, "-f", path, *more)
    return content(path)


def content(path):
    with open(path, "rb") as stream:
        return stream.read()


def write(path, data, mode=0o600):
    with open(path, "wb") as stream:
        stream.write(data)
    os.chmod(path, mode)


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def kinds(result):
    return [step["kind"] for step in result["changes"]]


def tree(path):
    room = os.path.dirname(path)
    found = {}
    for name in sorted(os.listdir(room)):
        full = os.path.join(room, name)
        found[name] = (mode(full), os.lstat(full).st_mtime_ns, content(full) if os.path.isfile(full) else b"")
    return found


@makes_keys
@needs_keygen
@pytest.mark.parametrize(
    "params, kind, bits",
    [
        ({}, "ed25519", 256),
        ({"type": "ed25519", "size": 256}, "ed25519", 256),
        ({"type": "rsa", "size": 2048}, "rsa", 2048),
        ({"type": "ecdsa"}, "ecdsa", 256),
        ({"type": "ecdsa", "size": 384}, "ecdsa", 384),
        ({"type": "ecdsa", "size": 521}, "ecdsa", 521),
    ],
)
def test_makes_a_pair_that_ssh_keygen_reads(path, params, kind, bits):
    result = run(path, comment="me@here", **params)
    assert result["changed"]
    assert (result["type"], result["size"], result["comment"], result["filename"]) == (kind, bits, "me@here", path)
    assert (mode(path), mode(path + ".pub")) == (0o600, 0o644)
    assert keygen("-y", "-P", "", "-f", path).strip() == result["public_key"]
    assert keygen("-l", "-f", path + ".pub").split()[1] == result["fingerprint"]
    assert content(path + ".pub").decode() == result["public_key"] + "\n"
    assert sorted(os.listdir(os.path.dirname(path))) == ["id", "id.pub"]
    before = tree(path)
    again = run(path, comment="me@here", **params)
    assert (again["changed"], tree(path)) == (False, before)
    assert {name: again[name] for name in ("type", "size", "fingerprint", "public_key", "comment", "filename")} == {
        name: result[name] for name in ("type", "size", "fingerprint", "public_key", "comment", "filename")
    }


@makes_keys
def test_the_comment_is_user_and_machine_where_none_is_given(path):
    assert run(path)["comment"] == keypair.default_comment()
    assert not run(path)["changed"]


@makes_keys
def test_the_private_key_is_in_no_result(path):
    secret = "".join(content_lines(run(path)) + content_lines(run(path, regenerate="always")))
    for line in content(path).decode().splitlines()[1:-1]:
        assert line not in secret
    assert "PRIVATE" not in secret
    desired = keypair.Desired.from_params({"path": path, "passphrase": "s3cret"})
    assert "s3cret" not in repr(desired)
    assert "PRIVATE" not in repr(keypair.observe(desired._replace(passphrase=None)))


def content_lines(result):
    return [repr(result)]


@makes_keys
def test_check_mode_changes_nothing_and_foretells(path):
    foretold = run(path, check_mode=True, type="ecdsa", comment="c")
    assert tree(path) == {}
    assert foretold["changed"]
    assert (foretold["type"], foretold["size"], foretold["comment"]) == ("ecdsa", 256, "c")
    assert (foretold["fingerprint"], foretold["public_key"]) == ("", "")
    done = run(path, type="ecdsa", comment="c")
    assert kinds(done) == kinds(foretold)
    before = tree(path)
    again = run(path, check_mode=True, type="rsa")
    assert (again["changed"], again["fingerprint"], again["type"], tree(path)) == (True, "", "rsa", before)


@needs_keygen
def test_a_stale_pub_never_costs_the_private_key(path):
    """ssh-keygen -l -f id reads id.pub: who trusts that throws a good key away."""
    secret = make(path)
    make(path + "2", "rsa", 2048)
    shutil.copy(path + "2.pub", path + ".pub")
    for regenerate in ("never", "fail", "partial_idempotence", "full_idempotence"):
        shutil.copy(path + "2.pub", path + ".pub")
        result = run(path, type="ed25519", regenerate=regenerate)
        assert kinds(result) == ["file"]
        assert content(path) == secret
        assert content(path + ".pub").decode().strip() == keygen("-y", "-P", "", "-f", path).strip()


@needs_keygen
@pytest.mark.parametrize("public", [None, b"", b"nonsense\n", b"ssh-ed25519 AAAA\n", b"\xff\xfe"])
def test_a_lost_or_broken_pub_comes_back_with_the_stored_comment(path, public):
    secret = make(path, comment="kept inside")
    os.unlink(path + ".pub")
    if public is not None:
        write(path + ".pub", public, 0o644)
    result = run(path)
    assert (kinds(result), result["comment"]) == (["file"], "kept inside")
    assert content(path) == secret
    assert content(path + ".pub").decode().endswith(" kept inside\n")
    assert mode(path + ".pub") == 0o644
    assert not run(path)["changed"]


@needs_keygen
def test_a_comment_that_somebody_changed_in_the_pub_stays(path):
    make(path)
    write(path + ".pub", content(path + ".pub").replace(b"made", b"renamed"), 0o644)
    result = run(path)
    assert (result["changed"], result["comment"]) == (False, "renamed")


@makes_keys
@needs_keygen
def test_a_comment_is_changed_in_both_halves_and_the_key_stays(path):
    make(path, comment="old")
    before = keygen("-l", "-f", path + ".pub").split()[1]
    result = run(path, comment="new one")
    assert (sorted(kinds(result)), result["fingerprint"]) == (["file", "rewrite"], before)
    os.unlink(path + ".pub")
    assert keygen("-y", "-P", "", "-f", path).strip() == result["public_key"]
    assert result["public_key"].endswith(" new one")
    assert run(path)["comment"] == "new one"
    assert not run(path, comment="new one")["changed"]


TABLE = [
    ("never", "kept"),
    ("fail", "refused"),
    ("partial_idempotence", "made"),
    ("full_idempotence", "made"),
    ("always", "made"),
]


@makes_keys
@needs_keygen
@pytest.mark.parametrize("regenerate, outcome", TABLE)
@pytest.mark.parametrize("wanted", [{"type": "ed25519"}, {"type": "rsa", "size": 3072}])
def test_another_type_or_size_follows_regenerate(path, wanted, regenerate, outcome):
    secret = make(path, "rsa", 2048)
    if outcome == "refused":
        with pytest.raises(Refused):
            run(path, regenerate=regenerate, **wanted)
    else:
        assert run(path, regenerate=regenerate, **wanted)["changed"] is (outcome == "made")
    assert (content(path) != secret) is (outcome == "made")
    if outcome == "made":
        assert mode(path) == 0o600
        assert keygen("-l", "-f", path + ".pub").split()[0] == str(wanted.get("size", 256))


@makes_keys
@pytest.mark.parametrize(
    "regenerate, outcome",
    [
        ("never", "refused"),
        ("fail", "refused"),
        ("partial_idempotence", "refused"),
        ("full_idempotence", "made"),
        ("always", "made"),
    ],
)
@pytest.mark.parametrize("broken", [b"", b"x", b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n"])
def test_a_broken_file_follows_regenerate(path, broken, regenerate, outcome):
    write(path, broken)
    if outcome == "refused":
        with pytest.raises(Refused) as caught:
            run(path, regenerate=regenerate)
        assert caught.value.where == path
        assert content(path) == broken
    else:
        assert run(path, regenerate=regenerate)["changed"]
        assert content(path).startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----\n")


@needs_keygen
@pytest.mark.parametrize("regenerate", ["never", "fail", "partial_idempotence", "full_idempotence"])
def test_a_good_key_is_kept_whatever_regenerate_says(path, regenerate):
    make(path, "rsa", 2048)
    before = tree(path)
    for params in ({}, {"type": "auto"}, {"type": "rsa"}, {"type": "rsa", "size": 2048}):
        assert not run(path, regenerate=regenerate, **params)["changed"]
    assert tree(path) == before


@makes_keys
@needs_keygen
def test_force_makes_a_new_key(path):
    secret = make(path)
    assert run(path, force=True)["changed"]
    assert content(path) != secret


@needs_keygen
@pytest.mark.parametrize("asked", [None, "0644", "0666", "0600", 0o640])
def test_a_private_key_never_gets_a_mode_that_lets_others_in(path, asked):
    make(path)
    os.chmod(path, 0o644)
    result = run(path, mode=asked)
    assert (kinds(result), mode(path), mode(path + ".pub")) == (["mode"], 0o600, 0o644)
    assert not run(path, mode=asked)["changed"]


@makes_keys
def test_a_new_key_over_an_open_file_is_closed_all_the_same(path):
    write(path, b"x", 0o644)
    run(path, force=True)
    assert mode(path) == 0o600


@needs_keygen
def test_a_read_only_key_stays_read_only(path):
    make(path)
    os.chmod(path, 0o400)
    assert not run(path)["changed"]
    assert kinds(run(path, mode="0600")) == ["mode"]
    assert kinds(run(path, mode="0400")) == ["mode"]
    os.chmod(path + ".pub", 0o666)
    assert kinds(run(path)) == ["mode"]
    assert mode(path + ".pub") == 0o644


@pytest.mark.parametrize("suffix", ["", ".pub"])
@pytest.mark.parametrize("target", ["there", "dangling"])
def test_a_link_is_not_followed(path, suffix, target):
    if target == "there":
        write(path + "-target", b"precious", 0o644)
    os.symlink(path + "-target", path + suffix)
    for params in ({}, {"force": True}, {"state": "absent"}):
        with pytest.raises(Refused) as caught:
            run(path, **params)
        assert caught.value.where == path + suffix
        assert "symbolic link" in caught.value.reason
    assert os.path.islink(path + suffix)
    assert os.path.exists(path + "-target") is (target == "there")
    if target == "there":
        assert (content(path + "-target"), mode(path + "-target")) == (b"precious", 0o644)


def test_a_directory_in_the_way_is_refused(path):
    os.mkdir(path)
    with pytest.raises(Refused):
        run(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_does_not_write_in_the_directory_of_somebody_else(path):
    os.chown(os.path.dirname(path), 1001, 1001)
    with pytest.raises(Refused) as caught:
        run(path)
    assert "become_user" in caught.value.remedy
    os.chown(os.path.dirname(path), 0, 0)
    write(path, b"x")
    os.chown(path, 1001, 1001)
    with pytest.raises(Refused):
        run(path)


def test_a_directory_where_everybody_writes_is_refused(path):
    os.chmod(os.path.dirname(path), 0o777)
    with pytest.raises(Refused):
        run(path)


@makes_keys
def test_a_missing_directory_is_made_and_check_mode_bears_it(path):
    inner = os.path.join(path, "id")
    foretold = run(inner, check_mode=True)
    assert (foretold["changed"], os.path.exists(path)) == (True, False)
    assert kinds(run(inner)) == kinds(foretold) == ["directory", "private_key", "public_key"]
    assert mode(path) == 0o700
    with pytest.raises(HostError) as caught:
        run(os.path.join(path, "a", "b", "id"))
    assert "Create it first" in caught.value.remedy


@pytest.mark.parametrize(
    "params, field",
    [
        ({"comment": "two\nlines"}, "comment"),
        ({"comment": "bell\x07"}, "comment"),
        ({"type": "dsa"}, "type"),
        ({"type": "rsa", "size": 1024}, "size"),
        ({"type": "rsa", "size": 20000}, "size"),
        ({"type": "ecdsa", "size": 255}, "size"),
        ({"size": 4096}, "size"),
        ({"regenerate": "sometimes"}, "regenerate"),
        ({"passphrase": "a\nb"}, "passphrase"),
        ({"mode": "rw"}, "mode"),
        ({"mode": "0077"}, "mode"),
        ({"path": ""}, "path"),
        ({"path": "/tmp/"}, "path"),
        ({"path": "/tmp/id.pub"}, "path"),
    ],
)
def test_bad_parameters_are_named_before_anything_is_touched(path, params, field):
    with pytest.raises(Malformed) as caught:
        keypair.ensure(dict({"path": path}, **params), check_mode=False)
    assert caught.value.where == field
    assert caught.value.remedy
    assert tree(path) == {}


@needs_keygen
@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_transaction_is_refused_with_the_reason(path, check_mode, state):
    with pytest.raises(Refused) as caught:
        run(path, check_mode=check_mode, state=state, transaction="20261124T113000-1f2e3d")
    assert caught.value.where == "transaction"
    assert "does not take it back" in caught.value.reason and "before" in caught.value.remedy
    assert not os.path.exists(path)


def test_absent_removes_both_halves(path):
    make(path)
    foretold = run(path, check_mode=True, state="absent")
    assert os.path.exists(path)
    done = run(path, state="absent")
    assert kinds(done) == kinds(foretold) == ["absent", "absent"]
    assert tree(path) == {}
    assert not run(path, state="absent")["changed"]


@with_passphrase
@needs_keygen
def test_a_passphrase_is_added_changed_and_taken_off_in_place(path):
    secret = make(path, comment="keep me")
    fingerprint = keygen("-l", "-f", path + ".pub").split()[1]
    steps = [
        ({"passphrase": "first"}, "first"),
        ({"passphrase": "second", "current_passphrase": "first"}, "second"),
        ({"passphrase": "", "current_passphrase": "second"}, ""),
    ]
    for params, now in steps:
        foretold = run(path, check_mode=True, **params)
        result = run(path, **params)
        assert kinds(result) == kinds(foretold) == ["rewrite"]
        assert result["fingerprint"] == fingerprint
        assert keygen("-y", "-P", now, "-f", path).strip().endswith(" keep me")
        assert not run(path, **params)["changed"]
        assert mode(path) == 0o600
    assert content(path) != secret


@needs_keygen
@pytest.mark.parametrize("regenerate", ["never", "fail"])
def test_a_passphrase_is_not_changed_where_the_key_is_to_stay_as_it_is(path, regenerate):
    secret = make(path)
    with pytest.raises(Refused) as caught:
        run(path, passphrase="x", regenerate=regenerate)
    assert "has no passphrase" in caught.value.reason
    assert content(path) == secret


@with_passphrase
@needs_keygen
@pytest.mark.parametrize("kind, bits", [("ed25519", 256), ("rsa", 2048), ("ecdsa", 521)])
def test_a_new_key_with_a_passphrase_is_encrypted(path, kind, bits):
    result = run(path, type=kind, size=bits, passphrase="open sesame", comment="c")
    with pytest.raises(AssertionError):
        keygen("-y", "-P", "wrong", "-f", path)
    assert keygen("-y", "-P", "open sesame", "-f", path).strip() == result["public_key"]
    before = tree(path)
    assert not run(path, type=kind, size=bits, passphrase="open sesame", comment="c")["changed"]
    assert not run(path, type=kind, size=bits)["changed"]
    assert tree(path) == before


@with_passphrase
@needs_keygen
def test_a_passphrase_costs_a_guesser_no_less_than_ssh_keygens(path, real_rounds):
    run(path, passphrase="open sesame")
    container = parse_container(content(path))
    assert (container.cipher, container.kdf, container.rounds) == ("aes256-ctr", "bcrypt", real_rounds)
    assert real_rounds >= 24
    keygen("-y", "-P", "open sesame", "-f", path)


@with_passphrase
@needs_keygen
def test_a_wrong_passphrase_makes_no_new_key_unless_that_was_asked_for(path):
    secret = make(path, "ed25519", 256, "c", "right one", "-a", "2")
    for regenerate in ("never", "fail", "partial_idempotence"):
        with pytest.raises(Refused) as caught:
            run(path, passphrase="wrong one", regenerate=regenerate)
        assert "does not open" in caught.value.reason
        assert "wrong one" not in str(caught.value)
    with pytest.raises(Refused) as caught:
        run(path, passphrase="")
    assert caught.value.remedy == "Give it as current_passphrase"
    assert content(path) == secret
    run(path, passphrase="wrong one", regenerate="full_idempotence")
    assert content(path) != secret


@needs_keygen
def test_a_locked_key_is_known_without_its_passphrase_and_never_replaced(path):
    secret = make(path, "rsa", 2048, "c", "unknown", "-a", "2")
    os.unlink(path + ".pub")
    assert kinds(run(path, type="rsa")) == ["file"]
    assert kinds(run(path, comment="mine")) == ["file"]
    with pytest.raises(Refused) as caught:
        run(path, type="ed25519")
    assert "passphrase" in caught.value.reason
    assert content(path) == secret


@with_passphrase
@needs_keygen
def test_the_stored_comment_of_an_encrypted_key_comes_back(path):
    make(path, "ed25519", 256, "inside", "right one", "-a", "2")
    os.unlink(path + ".pub")
    assert run(path, passphrase="right one")["comment"] == "inside"


@makes_keys
@needs_keygen
def test_a_pem_key_stays_what_it_is(path):
    secret = make(path, "rsa", 2048, "c", "", "-m", "PEM")
    os.unlink(path + ".pub")
    result = run(path, comment="new", private_key_format="ssh")
    assert (kinds(result), result["comment"], content(path)) == (["file"], "new", secret)
    assert not run(path)["changed"]
    with pytest.raises(Refused) as caught:
        run(path, passphrase="x")
    assert "ssh-keygen -p" in caught.value.remedy
    assert content(path) == secret


def test_a_missing_library_is_named(path, monkeypatch):
    monkeypatch.setattr(private_keys, "HAS_CRYPTOGRAPHY", False)
    with pytest.raises(Unsupported) as caught:
        run(path)
    assert caught.value.where == "cryptography"
    assert tree(path) == {}
    monkeypatch.setattr(private_keys, "HAS_CRYPTOGRAPHY", True)
    monkeypatch.setattr(private_keys, "HAS_BCRYPT", False)
    with pytest.raises(Unsupported) as caught:
        run(path, passphrase="x")
    assert caught.value.where == "bcrypt"
    assert tree(path) == {}


@makes_keys
def test_fips_mode_makes_no_ed25519(path, monkeypatch, tmp_path):
    flag = tmp_path / "fips"
    flag.write_bytes(b"1\n")
    monkeypatch.setattr(private_keys, "FIPS_FLAG", str(flag))
    assert run(path)["type"] == "ecdsa"


RACER = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import keypair
from ansible_collections.latchkey.ssh.plugins.module_utils._host import keypair as files
if sys.argv[3] == "unlocked":
    import contextlib
    files.locked = lambda path: contextlib.nullcontext()
sys.stdin.readline()
result = keypair.ensure({"path": sys.argv[2], "comment": "raced"}, check_mode=False)
print(result["fingerprint"], "private_key" in [step["kind"] for step in result["changes"]])
"""


@makes_keys
@needs_keygen
@pytest.mark.skipif(sys.version_info < (3, 7), reason="contextlib.nullcontext")
@pytest.mark.parametrize("lock", ["locked", "unlocked"])
def test_racing_processes_end_with_one_pair(path, root, lock):
    """The name is taken by link(2), so one key wins even where the file system knows no locks."""
    words = [sys.executable, "-c", RACER, os.path.join(root, ".collections"), path, lock]
    racers = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for unused in range(6)]
    for racer in racers:
        racer.stdin.write(b"go\n")
        racer.stdin.flush()
    said = [racer.communicate()[0].split() for racer in racers]
    assert len({line[0] for line in said}) == 1
    assert [line[1] for line in said].count(b"True") == 1
    assert keygen("-y", "-P", "", "-f", path).strip() == content(path + ".pub").decode().strip()
    assert sorted(os.listdir(os.path.dirname(path))) == ["id", "id.pub"]


@makes_keys
@pytest.mark.parametrize("refused", [1, 95])
def test_a_file_system_without_hard_links_works_too(path, monkeypatch, refused):
    def link(*_args, **_kwargs):
        raise OSError(refused, "no links here")

    monkeypatch.setattr(os, "link", link)
    assert run(path)["changed"]
    assert mode(path) == 0o600
    assert not files.create_private(path, b"other", 0o600)
    assert sorted(os.listdir(os.path.dirname(path))) == ["id", "id.pub"]


@makes_keys
def test_no_file_with_a_private_key_is_ever_open_to_others(path):
    """Somebody watches the directory all the while; umask is 0."""
    room, seen, stop = os.path.dirname(path), [], threading.Event()

    def watch():
        while not stop.is_set():
            for name in os.listdir(room):
                try:
                    with open(os.path.join(room, name), "rb") as stream:
                        opened = os.fstat(stream.fileno()).st_mode & 0o077 and b"PRIVATE" in stream.read()
                    seen.append((name, bool(opened)))
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for number in range(30):
            run(path, force=True, comment=str(number))
    finally:
        stop.set()
        watcher.join()
    assert len(seen) > 30
    assert not [name for name, opened in seen if opened]


@makes_keys
def test_a_full_disk_leaves_the_old_key(path, monkeypatch):
    run(path)
    before = tree(path)

    def fsync(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(HostError) as caught:
        run(path, force=True)
    assert "No space left" in str(caught.value)
    assert tree(path) == before


@makes_keys
def test_the_public_half_is_one_line_that_our_own_reader_takes(path):
    result = run(path, comment="a b  c")
    assert parse_public_key(content(path + ".pub").decode(), "pub").text == result["public_key"]
