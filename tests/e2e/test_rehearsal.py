# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration is tried by a real login before it is applied: who gets in, who does not, and nothing stays."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import FULL, GATEWAY, OPERATOR, PASSWORDS, Farm, Host
from runs import Controller

HERE = Path(__file__).resolve().parent
# The newest core has no modules for the Python of generation 8.
KINDS = [(8, "2.16"), *([(9, "2.16")] if FULL else []), (9, "new"), (10, "new")]
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - latchkey.ssh.operator_key: {{key: "{key}", create: false}}
      register: known
    - rehearsal_probe:
        identity: "{{{{ known.identity }}}}"
        by_key: {by_key}
        candidates: {candidates}
      become: true
"""
LEFT = (
    "systemctl list-units --all --no-legend --plain '*latchkey*'; systemctl list-unit-files --no-legend '*latchkey*'; "
    "find /run/latchkey /run/latchkey-* /run/systemd/system -name '*rehearsal*' -o -name '*latchkey-*' 2> /dev/null; "
    "ps -A -o args= | grep 'latchkey/[r]ehearsal' || true"
)


class Desk(NamedTuple):
    """A controller whose key opens a host."""

    host: Host
    control: Controller
    key: str
    core: str

    def run(self, *candidates: Any, by_key: bool = True, **changes: Any) -> dict[str, Any]:
        """Rehearse candidates (what stands before the main file, or more) and return what came out."""
        inventory = self.control.inventory([self.host], {self.host.name: changes})
        asked = [{"first": one} if isinstance(one, str) else one for one in candidates]
        text = PLAY.format(key=self.key, by_key=str(by_key).lower(), candidates=json.dumps(asked))
        path = self.control.play(text)
        run = self.control.run(
            inventory,
            core=self.core,
            playbook=path,
            ANSIBLE_ACTION_PLUGINS=str(HERE / "actions"),
            ANSIBLE_LIBRARY=str(HERE / "library"),
        )
        found = [one["result"] for one in run.tasks if one["action"] == "rehearsal_probe"]
        assert found, run.out
        return found[-1]

    def each(self, *candidates: Any, **more: Any) -> list[dict[str, Any]]:
        """Rehearse candidates and return what became of each."""
        done = self.run(*candidates, **more)
        assert len(done["rehearsals"]) == len(candidates), done
        return done["rehearsals"]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "-".join(map(str, kind)))
def open_host(request: pytest.FixtureRequest, farm: Farm) -> Iterator[Desk]:
    yield from opened(farm, *request.param)


@pytest.fixture(scope="module", params=KINDS if FULL else KINDS[-1:], ids=lambda kind: "-".join(map(str, kind)))
def one_host(request: pytest.FixtureRequest, farm: Farm) -> Iterator[Desk]:
    """Return a host of the newest generation alone, unless the full matrix is asked for."""
    yield from opened(farm, *request.param)


def opened(farm: Farm, generation: int, core: str) -> Iterator[Desk]:
    control = Controller()
    (host,) = farm.fresh(f"rh-{generation}={generation}")
    key = control.key()
    host.authorize(OPERATOR, key.with_suffix(".pub").read_text())
    yield Desk(host, control, str(key), core)
    control.close()


def accepted_since(host: Host, before: Sequence[Any]) -> list[tuple[str, str]]:
    return host.accepted()[len(before) :]


def test_a_good_candidate_lets_the_operator_in_and_become_root(open_host: Desk) -> None:
    """The stock host asks for a sudo password. Nothing is left, and nothing in /etc or a home was touched."""
    host = open_host.host
    tree, before = host.tree(), host.accepted()
    (done,) = open_host.each("PasswordAuthentication no\nKbdInteractiveAuthentication no")
    assert done["record"] == {"operator": OPERATOR, "rehearsed": True, "why": ""}, done
    assert accepted_since(host, before) == [(OPERATOR, "publickey")] * 2
    assert host.tree() == tree
    assert host.root(LEFT) == ""
    assert host.login(password=PASSWORDS[OPERATOR]).ok


REFUSED = {
    "AllowUsers nobody": "not allowed because not listed in AllowUsers",
    f"DenyUsers {OPERATOR}": "not allowed because listed in DenyUsers",
    "PubkeyAuthentication no": "does not let",
    "AuthorizedKeysFile /etc/ssh/keys/%u": "does not let",
    "AuthenticationMethods publickey,password": "does not let",
    "ForceCommand /bin/true": "lets admin in, but: the nonce did not come back",
    "HostKey /root/other_host_key": "shows a host key that is not known here",
}


def test_a_candidate_that_lets_nobody_in_is_refused(open_host: Desk) -> None:
    host = open_host.host
    host.root("rm -f /root/other_host_key*; ssh-keygen -q -t ed25519 -N '' -f /root/other_host_key")
    before = host.accepted()
    done = dict(zip(REFUSED, open_host.each(*REFUSED), strict=True))
    assert not [one for one in done.values() if "record" in one], done
    assert not [text for text, words in REFUSED.items() if words not in done[text]["refused"]], done
    assert set(accepted_since(host, before)) == {(OPERATOR, "publickey")}
    assert host.root(LEFT) == ""


def test_what_cannot_be_tried_is_no_refusal(one_host: Desk) -> None:
    """A configuration that sshd does not take is for `sshd -t` to refuse; a stage may have ended."""
    bad, late, cut = one_host.each(
        "NoSuchKeyword yes", {"first": "", "ended": True}, {"first": "ForceCommand sleep 20", "seconds": 10}
    )
    assert bad["record"]["rehearsed"] is False and "no sshd answered" in bad["record"]["why"], bad
    assert late["record"]["rehearsed"] is False and "socket could not be reached" in late["record"]["why"], late
    assert cut["record"]["rehearsed"] is False and "time on the host was over" in cut["record"]["why"], cut


def test_conditions_on_the_address_make_no_false_refusal(open_host: Desk) -> None:
    elsewhere = "Match Address 198.51.100.0/24\nPubkeyAuthentication no\nMatch all"
    ours = f"Match Address {GATEWAY}\nPasswordAuthentication no\nMatch all"
    user = f"AllowUsers {OPERATOR}@{GATEWAY} root"
    strict = f"Match Address *,!{GATEWAY}\nPubkeyAuthentication no\nMatch all"
    done = [one["record"] for one in open_host.each(elsewhere, ours, user, strict)]
    assert done[0] == {"operator": OPERATOR, "rehearsed": True, "why": ""}
    assert done[1]["rehearsed"] is True and "address" in done[1]["why"] and "passwordauth" in done[1]["why"], done
    assert done[2]["rehearsed"] is False and "address" in done[2]["why"] and "allowusers" in done[2]["why"], done
    assert done[3]["rehearsed"] is True, "an address that is not known matches no list"


def test_a_key_for_one_address_makes_no_false_refusal(one_host: Desk) -> None:
    host, path = one_host.host, f"/home/{OPERATOR}/.ssh/authorized_keys"
    host.root(f"cp -p {path} /root/kept; sed -i 's/^/from=\"{GATEWAY}\" /' {path}")
    try:
        (done,) = one_host.each("")
    finally:
        host.root(f"cp -p /root/kept {path}")
    assert done["record"]["rehearsed"] is False and "address" in done["record"]["why"], done
    assert "not from a permitted host" in done["record"]["why"], done


def test_pam_that_asks_for_the_address_makes_no_false_refusal(one_host: Desk) -> None:
    host = one_host.host
    host.root(
        "cp -p /etc/pam.d/sshd /root/pam; cp -p /etc/security/access.conf /root/access; "
        "sed -i '0,/^account/s//account required pam_access.so\\naccount/' /etc/pam.d/sshd; "
        f"echo '-:{OPERATOR}:ALL EXCEPT {GATEWAY}' >> /etc/security/access.conf"
    )
    try:
        (done,) = one_host.each("")
    finally:
        host.root("mv /root/pam /etc/pam.d/sshd; mv /root/access /etc/security/access.conf")
    assert done["record"]["rehearsed"] is False and "address" in done["record"]["why"], done


def test_a_host_that_takes_no_keys_yet(open_host: Desk) -> None:
    """The old way in is a password; the candidate is what takes keys at last."""
    path = "/etc/ssh/sshd_config"
    open_host.host.root(f"cp -p {path} /root/kept; sed -i '1i PubkeyAuthentication no' {path}; systemctl reload sshd")
    try:
        good, bad = open_host.each("PubkeyAuthentication yes", "", by_key=False, ansible_password=PASSWORDS[OPERATOR])
    finally:
        open_host.host.root(f"mv /root/kept {path}; systemctl reload sshd")
    assert good["record"]["rehearsed"] is True, good
    assert "does not let" in bad["refused"], bad


def test_further_operators_are_rehearsed_over_the_same_connection(one_host: Desk) -> None:
    host = one_host.host
    host.root("printf 'alice ALL=(ALL) NOPASSWD: ALL\\n' > /etc/sudoers.d/alice; chmod 440 /etc/sudoers.d/alice")
    host.authorize("alice", Path(f"{one_host.key}.pub").read_text())
    other = {"first": f"AllowUsers {OPERATOR}", "user": "alice"}
    good, bad = one_host.each({"first": "", "user": "alice"}, other)
    assert good["record"] == {"operator": "alice", "rehearsed": True, "why": ""}, good
    assert "alice not allowed" in bad["refused"], bad


def test_a_controller_that_dies_leaves_nothing_for_long(open_host: Desk) -> None:
    """Somebody is still connected to the stage when its time is over."""
    host, seconds = open_host.host, 4
    (done,) = open_host.each({"seconds": seconds, "only_stage": True, "leave": True})
    began = time.monotonic()
    assert done["stage"]["why"] == "" and "latchkey-rehearsal.socket" in host.root(LEFT), done
    script = 'import socket,time; s=socket.socket(1); s.connect("/run/latchkey-rehearsal.sock"); time.sleep(60)'
    python = "p=/usr/libexec/platform-python; [ -x $p ] || p=/usr/bin/python3; exec $p -c"
    host.root(f"runuser -u {OPERATOR} -- sh -c '{python} \"$1\"' sh '{script}' > /dev/null 2>&1 &")
    while host.root(LEFT):
        assert time.monotonic() - began < seconds + 5, host.root(LEFT)
        time.sleep(0.2)
    assert host.root("systemctl is-system-running || true").strip() == "running"


def test_nobody_else_reaches_the_stage(one_host: Desk) -> None:
    host = one_host.host
    one_host.each({"seconds": 20, "only_stage": True, "leave": True})
    script = 'import socket; socket.socket(1).connect("/run/latchkey-rehearsal.sock"); print(1)'
    python = "p=/usr/libexec/platform-python; [ -x $p ] || p=/usr/bin/python3; exec $p -c"
    tried = {
        user: host.root(f"runuser -u {user} -- sh -c '{python} \"$1\"' sh '{script}' 2>&1 || true")
        for user in ("alice", OPERATOR)
    }
    assert "Permission denied" in tried["alice"] and tried[OPERATOR].strip() == "1", tried
    assert host.root("systemctl stop latchkey-rehearsal-end.service") == host.root(LEFT) == ""


def test_through_a_bastion(farm: Farm, controller: Controller) -> None:
    host, bastion = farm.fresh("rh-9=9", "rh-10=10")
    key = controller.key()
    for one in (host, bastion):
        one.authorize(OPERATOR, key.with_suffix(".pub").read_text())
    controller.known_hosts(host, bastion)
    config = controller.path / "config"
    config.write_text(
        f"Host bastion\n HostName {bastion.address}\n User {OPERATOR}\n IdentityFile {key}\n", encoding="utf-8"
    )
    common = f"{host.variables['ansible_ssh_common_args']} -F {config} -o ProxyJump=bastion"
    desk = Desk(host, controller, str(key), "new")
    seen = bastion.accepted()
    good, bad = desk.each("", "AllowUsers nobody", ansible_ssh_common_args=common)
    assert good["record"]["rehearsed"] is True and "AllowUsers" in bad["refused"], (good, bad)
    # One connection through the bastion carries everything.
    assert accepted_since(bastion, seen) == [(OPERATOR, "publickey")]


def test_refused_rehearsals_cost_no_penalty(farm: Farm, controller: Controller) -> None:
    """sshd 9.8 and newer stop talking to an address after a few failed logins; these have no address."""
    (host,) = farm.fresh("rh-penalties=10:penalties")
    key = controller.key()
    host.authorize(OPERATOR, key.with_suffix(".pub").read_text())
    desk = Desk(host, controller, str(key), "new")
    done = desk.each(*["AllowUsers nobody", "PubkeyAuthentication no"] * 6)
    assert all("refused" in one for one in done), done
    assert host.login(key=key).ok
    assert "penalty" not in host.root("journalctl -q --no-pager | grep -i 'penalt.*drop' || true")
    farm.drop(host.name)
