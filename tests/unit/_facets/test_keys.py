# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facet keys without a machine: from what an account has and what was asked to the changes between them."""

import base64
import collections
import contextlib
import struct

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._errors import LatchkeyError, Malformed, Refused, Unsupported
from ansible_collections.latchkey.ssh.plugins.module_utils._facets import keyrings, keys
from ansible_collections.latchkey.ssh.plugins.module_utils._facets.change import NARROW, WIDEN
from ansible_collections.latchkey.ssh.plugins.module_utils._host import accounts, fences, files, home_files, key_command
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import version

UID = 1001
ALICE = accounts.Account("alice", UID, UID, "/home/alice", "/bin/bash")
PATH = "/home/alice/.ssh/authorized_keys"
SECOND = "/home/alice/.ssh/authorized_keys2"


def string(data):
    return struct.pack(">I", len(data)) + data


def line(number, comment=""):
    """Return a public key that ssh would read, different for each number."""
    blob = string(b"ssh-ed25519") + string(bytes([number]) * 32)
    return " ".join(["ssh-ed25519", base64.b64encode(blob).decode()] + ([comment] if comment else []))


def rsa(bits):
    modulus = b"\0" + b"\xf1" + b"\x01" * (bits // 8 - 1)
    blob = string(b"ssh-rsa") + string(b"\x01\x00\x01") + string(modulus)
    return "ssh-rsa " + base64.b64encode(blob).decode()


K1, K2, K3 = line(1), line(2), line(3)


def home_file(data, mode=0o600, uid=UID, path=PATH, dir_mode=0o700, home_mode=0o700, dir_uid=UID, with_dir=True):
    """Return a key file as ``home_files.read`` tells it; ``data`` None is a file that is not there."""
    kind = "missing" if data is None else "file"
    state = files.FileState(path, kind, data or b"", mode if data is not None else 0, uid, uid)
    directories = [files.FileState("/home/alice", "dir", b"", home_mode, UID, UID)]
    if with_dir:
        directories.append(files.FileState("/home/alice/.ssh", "dir", b"", dir_mode, dir_uid, dir_uid))
    return home_files.HomeFile(state, tuple(directories))


def outside(data, mode=0o644, path="/etc/ssh/keys/alice"):
    kind = "missing" if data is None else "file"
    above = tuple(files.FileState(one, "dir", b"", 0o755) for one in ("/", "/etc", "/etc/ssh", "/etc/ssh/keys"))
    state = files.FileState(path, kind, data or b"", mode if data is not None else 0, 0, 0)
    return home_files.HomeFile(state, above, outside=True)


def plan(found, wishes, strict=True, sshd=version.EL9):
    """Return the changes for alice; ``wishes`` are parameters of accounts."""
    desired = keys.Desired.from_params({"accounts": [dict({"user": "alice"}, **wish) for wish in wishes]})
    ring = keyrings.Keyring(ALICE, tuple(found), strict, False)
    return keys.plan(desired, keys.Current(sshd, {"alice": ring}))


def text(*lines):
    return "".join(one + "\n" for one in lines).encode()


def brief(changes):
    return [(change.phase, change.kind, change.path, oct(change.mode)) for change in changes]


WIDEN_FILE = (WIDEN, "file", PATH, "0o600")


# ---- from there to here ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before, wishes, after",
    [
        ([], [{"key": [K1]}], [K1]),
        ([K2], [{"key": [K1]}], [K2, K1]),
        (["# mine", "", K2 + " two"], [{"key": [K1 + " one"]}], ["# mine", "", K2 + " two", K1 + " one"]),
        ([], [{"key": [K1, K2]}, {"key": [K3]}], [K1, K2, K3]),
        ([], [{"key": [K1 + "\n" + K2 + "\n"]}], [K1, K2]),
        # What is there with options of its own stays, where none are asked for.
        (['from="192.0.2.1" ' + K2], [{"key": [K1]}], ['from="192.0.2.1" ' + K2, K1]),
        ([], [{"key": [K1], "key_options": "restrict,pty"}], ["restrict,pty " + K1]),
        # A line that sshd passes over does not count as there.
        (["no-such-option " + K1], [{"key": [K1]}], ["no-such-option " + K1, K1]),
        (["#" + K1], [{"key": [K1]}], ["#" + K1, K1]),
    ],
)
def test_additions_widen(before, wishes, after):
    changes = plan([home_file(text(*before))], wishes)
    assert brief(changes) == [WIDEN_FILE]
    assert (changes[0].before, changes[0].after, changes[0].existed) == (text(*before), text(*after), True)
    assert plan([home_file(changes[0].after)], wishes) == []


@pytest.mark.parametrize(
    "before, wishes",
    [
        ([K1], [{"key": [K1]}]),
        ([K1 + " other comment"], [{"key": [K1 + " comment"]}]),
        (['from="192.0.2.1" ' + K1], [{"key": [K1]}]),
        (["restrict,pty " + K1], [{"key": [K1], "key_options": "restrict,pty"}]),
        ([K2], [{"key": [K1], "state": "absent"}]),
        ([], [{"key": [K1], "state": "absent"}]),
    ],
)
def test_what_is_right_stays(before, wishes):
    assert plan([home_file(text(*before))], wishes) == []


@pytest.mark.parametrize(
    "before, wishes, after",
    [
        ([K1, K2], [{"key": [K1], "state": "absent"}], [K2]),
        ([K1, "from=\"192.0.2.1\" " + K1 + " x", K2], [{"key": [K1], "state": "absent"}], [K2]),
        (["no-such-option " + K1, K2], [{"key": [K1], "state": "absent"}], [K2]),
        # Options that come new take something away.
        ([K1], [{"key": [K1], "key_options": 'from="192.0.2.1"'}], ['from="192.0.2.1" ' + K1]),
    ],
)
def test_what_takes_a_line_away_narrows(before, wishes, after):
    changes = plan([home_file(text(*before))], wishes)
    assert brief(changes) == [(NARROW, "file", PATH, "0o600")]
    assert changes[0].after == text(*after)
    assert plan([home_file(changes[0].after)], wishes) == []


def test_a_new_key_comes_before_an_old_one_goes():
    """One change that did both would take the old key away before the new one was seen to work."""
    wishes = [{"key": [K1], "state": "absent"}, {"key": [K2]}]
    changes = plan([home_file(text(K1))], wishes)
    assert [(change.phase, change.before, change.after) for change in changes] == [
        (WIDEN, text(K1), text(K1, K2)),
        (NARROW, text(K1, K2), text(K2)),
    ]
    assert plan([home_file(text(K2))], wishes) == []


def test_options_that_are_asked_for_leave_no_line_without_them():
    """sshd takes the first line that lets in: a second one without options would undo the first one's."""
    wishes = [{"key": [K1], "key_options": 'from="192.0.2.1"'}]
    for before in (text(K1, K1 + " again"), text('from="192.0.2.1" ' + K1, K1)):
        changes = plan([home_file(before)], wishes)
        assert changes[-1].phase == NARROW
        assert changes[-1].after.splitlines()[0].startswith(b'from="192.0.2.1" ssh-ed25519')
        assert len(changes[-1].after.splitlines()) == 1


def test_foreign_bytes_stay():
    odd = b"\xff\xfe not a key\r\n\0\n   # indented\n" + K2.encode() + b" no end"
    changes = plan([home_file(odd)], [{"key": [K1]}])
    assert changes[0].after == odd + b"\n" + text(K1)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_made_for_the_account_alone():
    changes = plan([home_file(None, with_dir=False)], [{"key": [K1]}])
    assert brief(changes) == [(WIDEN, "directory", "/home/alice/.ssh", "0o700"), WIDEN_FILE]
    assert [(change.account, change.owner) for change in changes] == [("alice", "alice")] * 2
    assert not changes[1].existed


@pytest.mark.parametrize("mode, kept", [(0o600, 0o600), (0o644, 0o644), (0o400, 0o400), (0o666, 0o644)])
def test_the_mode_of_a_file_stays_as_far_as_sshd_allows(mode, kept):
    changes = plan([home_file(text(K2), mode=mode)], [{"key": [K1]}])
    assert [change.mode for change in changes if change.kind == "file"] == [kept]


def test_a_key_in_another_file_of_sshds_is_there():
    found = [home_file(text(K2)), home_file(text(K1), path=SECOND)]
    assert plan(found, [{"key": [K1]}]) == []


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_but_not_in_one_that_strict_modes_shuts(mode):
    found = [home_file(text(K2)), home_file(text(K1), path=SECOND, mode=mode)]
    assert brief(plan(found, [{"key": [K1]}])) == [WIDEN_FILE]
    assert plan(found, [{"key": [K1]}], strict=False) == []


def test_absent_means_every_file_of_sshds():
    found = [home_file(text(K2)), home_file(text(K1, K3), path=SECOND)]
    changes = plan(found, [{"key": [K1], "state": "absent"}])
    assert brief(changes) == [(NARROW, "file", SECOND, "0o600")]
    assert changes[0].after == text(K3)


def test_a_host_without_key_files_is_refused():
    with pytest.raises(Refused) as caught:
        plan([], [{"key": [K1]}])
    assert caught.value.where == "alice" and "AuthorizedKeysFile none" in caught.value.reason


def test_files_outside_homes_belong_to_root():
    changes = plan([outside(None)], [{"key": [K1]}])
    assert brief(changes) == [(WIDEN, "file", "/etc/ssh/keys/alice", "0o644")]
    assert (changes[0].owner, changes[0].account) == ("root", "")
    changes = plan([outside(text(K2), mode=0o640)], [{"key": [K1]}])
    assert changes[0].mode == 0o640 and changes[0].existed


@pytest.mark.parametrize(
    "values, paths",
    [
        ((".ssh/authorized_keys",), ["/home/alice/.ssh/authorized_keys"]),
        ((".ssh/authorized_keys .ssh/authorized_keys2",), [PATH, SECOND]),
        (("/etc/ssh/keys/%u",), ["/etc/ssh/keys/alice"]),
        (("%h/k", "/k/%U"), ["/home/alice/k", "/k/1001"]),
        (("/k/%%h",), ["/k/%h"]),
        (("/k/%%%u",), ["/k/%alice"]),
        (("none",), []),
        (("None",), []),
        ((), []),
    ],
)
def test_key_file_paths(values, paths):
    assert keyrings.paths(values, ALICE) == paths


def test_a_home_with_a_percent_sign_is_taken_as_it_is():
    odd = ALICE._replace(home="/home/%u/")
    assert keyrings.paths(("%h/k", "k"), odd)[1] == "/home/%u/k"
    assert keyrings.paths(("%h/k",), odd)[0].replace("//", "/") == "/home/%u/k"


# ---- StrictModes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoiled, expected",
    [
        ({"mode": 0o664}, [(WIDEN, "mode", PATH, "0o644")]),
        ({"dir_mode": 0o775}, [(WIDEN, "mode", "/home/alice/.ssh", "0o755")]),
        ({"dir_mode": 0o777, "mode": 0o666}, [(WIDEN, "mode", "/home/alice/.ssh", "0o755"),
                                              (WIDEN, "mode", PATH, "0o644")]),
    ],
)
def test_modes_of_their_own_are_repaired(spoiled, expected):
    found = home_file(text(K1), **spoiled)
    assert brief(plan([found], [{"key": [K1]}])) == expected
    assert plan([found], [{"key": [K1]}], strict=False) == []


def test_a_directory_is_repaired_before_a_file_in_it_is_written():
    changes = plan([home_file(text(K2), mode=0o666, dir_mode=0o777)], [{"key": [K1]}])
    assert brief(changes) == [(WIDEN, "mode", "/home/alice/.ssh", "0o755"), (WIDEN, "file", PATH, "0o644")]


@pytest.mark.parametrize(
    "spoiled, where",
    [({"home_mode": 0o775}, "/home/alice"), ({"dir_mode": 0o777, "dir_uid": 0}, "/home/alice/.ssh")],
)
def test_what_is_not_ours_to_repair_is_refused(spoiled, where):
    with pytest.raises(Refused) as caught:
        plan([home_file(text(K1), **spoiled)], [{"key": [K1]}])
    assert caught.value.where == where and caught.value.remedy == "run `chmod go-w %s`" % where
    assert plan([home_file(text(K1), **spoiled)], [{"key": [K1]}], strict=False) == []


def test_taking_a_key_away_asks_for_no_modes():
    """A key that sshd ignores for now opens the account again as soon as somebody repairs a mode."""
    changes = plan([home_file(text(K1, K2), home_mode=0o777)], [{"key": [K1], "state": "absent"}])
    assert brief(changes) == [(NARROW, "file", PATH, "0o600")]


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wish, kind, words",
    [
        ({"key": []}, Malformed, "no key is given for alice"),
        ({"key": ["  \n"]}, Malformed, "no key is given for alice"),
        ({"key": ["garbage"]}, Malformed, "accounts[0] (alice).key[0]"),
        ({"key": [K1, "-----BEGIN OPENSSH PRIVATE KEY-----"]}, Malformed, "this is a private key"),
        ({"key": ["restrict " + K1]}, Malformed, "own field"),
        ({"key": [K1], "key_options": "no-such"}, LatchkeyError, "no-such"),
        ({"key": [rsa(512)]}, Refused, "too short"),
    ],
)
def test_wrong_wishes_name_their_field(wish, kind, words):
    with pytest.raises(kind) as caught:
        plan([home_file(None)], [wish])
    assert words in str(caught.value)


def test_keys_that_this_sshd_does_not_know():
    """Security keys came with 8.2: AlmaLinux 8 has 8.0."""
    point = b"\x04" + b"\x01" * 64
    blob = string(b"sk-ecdsa-sha2-nistp256@openssh.com") + string(b"nistp256") + string(point) + string(b"ssh:")
    blob = string(b"sk-ssh-ed25519@openssh.com") + string(b"\x01" * 32) + string(b"ssh:")
    key = "sk-ssh-ed25519@openssh.com " + base64.b64encode(blob).decode()
    assert brief(plan([home_file(None)], [{"key": [key]}], sshd=version.EL9)) == [WIDEN_FILE]
    with pytest.raises((Refused, Unsupported)) as caught:
        plan([home_file(None)], [{"key": [key]}], sshd=version.EL8)
    assert "8.2" in str(caught.value)


def test_parameters():
    one = keys.Desired.from_params({"user": "alice", "key": [K1], "accounts": None, "state": "present"})
    assert [(wish.user, wish.present, wish.options) for wish in one.wishes] == [("alice", True, "")]
    assert keys.Desired.from_params({"user": "alice", "key": K1}).wishes[0].keys == one.wishes[0].keys
    both = keys.Desired.from_params({"user": "bob", "key": [K1], "accounts": [{"user": "alice", "key": [K2]}]})
    assert [wish.user for wish in both.wishes] == ["alice", "bob"]
    with pytest.raises(Malformed) as caught:
        keys.Desired.from_params({"accounts": []})
    assert "no account is named" in caught.value.reason


def test_each_account_is_planned_once_in_the_order_given():
    bob = ALICE._replace(name="bob", home="/home/alice")
    desired = keys.Desired.from_params({"accounts": [
        {"user": "bob", "key": [K1]}, {"user": "alice", "key": [K1]}, {"user": "bob", "key": [K2]}]})
    rings = {name: keyrings.Keyring(account, (home_file(b""),), True, False)
             for name, account in (("alice", ALICE), ("bob", bob))}
    changes = keys.plan(desired, keys.Current(version.EL9, rings))
    assert [(change.account, change.after) for change in changes] == [("bob", text(K1, K2)), ("alice", text(K1))]


# ---- accepted --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found, strict, count",
    [
        ([home_file(text(K1, "# x", "bad", K2))], True, 2),
        ([home_file(None)], True, 0),
        ([home_file(text(K1), mode=0o666)], True, 0),
        ([home_file(text(K1), mode=0o666)], False, 1),
        ([home_file(text(K1), home_mode=0o777)], True, 0),
        ([home_file(text(K1)), home_file(text(K2), path=SECOND)], True, 2),
        ([outside(text(K1))], True, 1),
        ([], True, 0),
    ],
)
def test_keys_that_sshd_takes_today(found, strict, count):
    ring = keyrings.Keyring(ALICE, tuple(found), strict, False)
    assert len(keyrings.accepted(ring, version.EL9)) == count


def test_a_key_of_a_certificate_authority_lets_nobody_in_by_itself():
    ring = keyrings.Keyring(ALICE, (home_file(text("cert-authority " + K1)),), True, False)
    assert keyrings.accepted(ring, version.EL9) == []


# ---- apply -----------------------------------------------------------------------------------------------------------


class FakeHost:
    fence = fences.Fence()

    def account(self, name):
        return ALICE._replace(name=name)


def test_each_kind_of_change_goes_to_the_right_hands(monkeypatch):
    done = []
    monkeypatch.setattr(home_files, "replace", lambda a, path, data, mode: done.append(("home", a.name, path, mode)))
    monkeypatch.setattr(home_files, "set_mode", lambda a, path, mode: done.append(("mode", a.name, path, mode)))
    monkeypatch.setattr(files, "replace", lambda path, data, mode: done.append(("root", path, mode)))
    changes = plan([home_file(text(K2), dir_mode=0o775)], [{"key": [K1]}]) + plan([outside(None)], [{"key": [K1]}])
    made = []
    keys.apply(changes, WIDEN, FakeHost(), made)
    keys.apply(changes, NARROW, FakeHost(), made)
    assert made == changes
    assert done == [
        ("mode", "alice", "/home/alice/.ssh", 0o755),
        ("home", "alice", PATH, 0o600),
        ("root", "/etc/ssh/keys/alice", 0o644),
    ]


def test_every_write_passes_the_fence_first(monkeypatch):
    done = []

    class Fence(fences.Fence):
        @contextlib.contextmanager
        def writing(self, path, after, account=None):
            done.append(("fence", path, after, account and account.name))
            yield

    class Host(FakeHost):
        fence = Fence()

    for module, name in ((home_files, "replace"), (home_files, "set_mode"), (files, "replace")):
        monkeypatch.setattr(module, name, lambda *given: done.append("write"))
    changes = plan([home_file(text(K2), dir_mode=0o775)], [{"key": [K1]}]) + plan([outside(None)], [{"key": [K1]}])
    keys.apply(changes, WIDEN, Host(), [])
    keys.apply(changes, NARROW, Host(), [])
    assert done == [
        ("fence", "/home/alice/.ssh", None, "alice"), "write",
        ("fence", PATH, text(K2, K1), "alice"), "write",
        ("fence", "/etc/ssh/keys/alice", text(K1), None), "write",
    ]


def test_one_key_may_have_several_sets_of_options():
    wishes = [{"key": [K1], "key_options": 'from="192.0.2.1"'}, {"key": [K1], "key_options": 'from="192.0.2.2",no-pty'}]
    changes = plan([home_file(text(K1, K2))], wishes)
    assert changes[-1].after == text('from="192.0.2.1" ' + K1, K2, 'no-pty,from="192.0.2.2" ' + K1)
    assert plan([home_file(changes[-1].after)], wishes) == []


def test_certificate_authorities_are_left_to_others():
    with pytest.raises(Unsupported, match="certificate authorities"):
        plan([home_file(None)], [{"key": [K1], "key_options": "cert-authority"}])


def test_one_key_cannot_be_wanted_present_and_absent():
    with pytest.raises(Malformed) as caught:
        plan([home_file(b"")], [{"key": [K1, K2]}, {"key": [K1 + " other"], "state": "absent"}])
    assert "of alice is wanted present and absent" in caught.value.reason


@pytest.mark.parametrize(
    "found, where",
    [
        (home_file(text(K2), dir_uid=0), "/home/alice/.ssh"),
        (home_file(text(K2), dir_mode=0o500), "/home/alice/.ssh"),
        (outside(None, path="/etc/ssh/keys/no/alice"), "/etc/ssh/keys/no"),
    ],
)
def test_a_directory_that_could_not_be_written_is_refused_before(found, where):
    with pytest.raises(Refused) as caught:
        plan([found], [{"key": [K1]}])
    assert caught.value.where == where
    assert plan([found], [{"key": [K3], "state": "absent"}]) == []


def test_outside_homes_modes_are_not_repaired_and_count():
    with pytest.raises(Refused) as caught:
        plan([outside(text(K1), mode=0o664)], [{"key": [K1]}])
    assert caught.value.where == "/etc/ssh/keys/alice"
    ring = keyrings.Keyring(ALICE, (outside(text(K1), mode=0o664),), True, 0)
    assert keyrings.accepted(ring, version.EL9) == []


@pytest.mark.parametrize(
    "value, own",
    [
        ("/etc/ssh/authorized_keys", False),
        (".ssh/authorized_keys /etc/ssh/%%u", False),
        ("/etc/ssh/%u .ssh/k", True),
        ("/k/%U", True),
        ("%h/k", True),
        ("none", True),
    ],
)
def test_one_file_for_everybody_is_refused(monkeypatch, value, own):
    monkeypatch.setattr(keyrings, "_look", lambda account, path: outside(None))

    class Host:
        def effective(self, account):
            return {"authorizedkeysfile": (value,)}

    if own:
        assert keyrings.look(Host(), ALICE).account == ALICE
    else:
        with pytest.raises(Refused, match="one file for all accounts"):
            keyrings.look(Host(), ALICE)


def test_keys_that_a_command_grants_all_the_same_are_named(monkeypatch):
    class Host(FakeHost):
        sshd = collections.namedtuple("Sshd", "version")(version.EL9)

        def effective(self, account):
            return {"authorizedkeyscommand": ("/usr/bin/keys",)}

    monkeypatch.setattr(key_command, "output", lambda answer, account: text(K1, "cert-authority " + K2))
    desired = keys.Desired.from_params({"accounts": [
        {"user": "alice", "key": [K1, K2], "state": "absent"}, {"user": "bob", "key": [K1]}]})
    (found,) = keys.still_granted(desired, Host())
    assert "of alice is still granted by AuthorizedKeysCommand /usr/bin/keys" in found


# ---- break-glass keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["absent", "present"])
@pytest.mark.parametrize("named", ["key", "fingerprint"])
def test_a_break_glass_key_is_not_withdrawn(state, named):
    """However it is named; and it may be given like any other."""
    fingerprint = keys.break_glass({"break_glass_keys": [K2]})[0]
    params = {
        "accounts": [{"user": "alice", "key": [K1, K2], "state": state}],
        "break_glass_keys": [K2 if named == "key" else fingerprint],
    }
    if state == "present":
        assert keys.Desired.from_params(params)
        return
    with pytest.raises(Refused, match="the break-glass key SHA256:.* shall be withdrawn") as raised:
        keys.Desired.from_params(params)
    assert "harden_break_glass_keys" in raised.value.remedy


def test_a_break_glass_key_that_cannot_be_read_is_named():
    with pytest.raises(Malformed) as raised:
        keys.break_glass({"break_glass_keys": [K1, "ssh-ed25519 nonsense"]})
    assert raised.value.where.startswith("break_glass_keys[1]")
