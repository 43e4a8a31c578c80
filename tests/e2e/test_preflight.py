# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would lock somebody out is refused before anything is changed, in plain words, as far as it can be seen before.

Several causes to a host, since a run tells all of them at once; each is made for real, on the host or in the inventory.
"""

import struct
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from live import GATEWAY, OPERATOR, Farm, Host, differences, each
from runs import Controller, Result

NAMES = ("e2e-pre-9", "e2e-pre-10")
# Accounts of operators: each has a key, sudo without a password, and one thing wrong with it.
WRONG = ("ended", "aged", "shellless", "open", "keyless", "ruleless", "sealed", "failed", "barred", "denied")
PEOPLE = """
for name in {names}; do
    useradd -m -s /bin/bash -p '*' $name
    install -d -m 700 -o $name /home/$name/.ssh
    printf '%s\\n' '{key}' > /home/$name/.ssh/authorized_keys
    chown $name: /home/$name/.ssh/authorized_keys; chmod 600 /home/$name/.ssh/authorized_keys
    printf '%s ALL=(ALL) NOPASSWD: ALL\\n' $name > /etc/sudoers.d/$name; chmod 440 /etc/sudoers.d/$name
done
"""
ACCOUNTS = """
chage -E 1 ended
chage -d 0 aged
usermod -s /bin/zsh-is-not-here shellless
chmod 777 /home/open
rm /home/keyless/.ssh/authorized_keys
rm /etc/sudoers.d/ruleless
for name in sealed failed; do printf '%s ALL=(ALL) ALL\\n' $name > /etc/sudoers.d/$name; done
usermod -p '!' sealed
usermod -p "$(getent shadow admin | cut -d: -f2)" failed
sed -i '1a auth required pam_faillock.so preauth deny=3' /etc/pam.d/sudo
sed -i '/^account.*pam_nologin/a account required pam_access.so' /etc/pam.d/sshd
printf -- '-:barred:ALL\\n' >> /etc/security/access.conf
"""
# Written, and not read by sshd yet: it will be with the reload that the plan makes.
PENDING = "Port 2222\nHostKey /etc/ssh/ssh_host_rsa_key\n"
SERVER = f"""
printf '{PENDING}' > /etc/ssh/sshd_config.d/10-pending.conf
mkdir -p /etc/systemd/system/sockets.target.wants
ln -s /usr/lib/systemd/system/sshd.socket /etc/systemd/system/sockets.target.wants/sshd.socket
mkdir -p /var/lib/rpm /run/fail2ban; touch /var/lib/rpm/.rpm.lock /run/fail2ban/fail2ban.sock
printf '#!/bin/sh\\nprintf "These are ignored:\\n|- 127.0.0.0/8\\n"\\n' > /usr/bin/fail2ban-client
printf '#!/bin/sh\\necho "Current configuration is not valid."; exit 4\\n' > /usr/bin/authselect
chmod 755 /usr/bin/fail2ban-client /usr/bin/authselect
"""
HOLD = "import fcntl,time; f=open('/var/lib/rpm/.rpm.lock','w'); fcntl.lockf(f,2); open('/run/held','w'); "
HOLD += "time.sleep(900)"
ROOT = """
usermod -p "!$(getent shadow admin | cut -d: -f2)" sealed
touch /etc/nologin
printf 'UsePAM no\\nPerSourcePenalties authfail:60 min:15\\n' > /etc/ssh/sshd_config.d/01-pending.conf
rm -f /etc/ssh/sshd_config.d/*exempt*
"""


class Story(NamedTuple):
    """One run with what is wrong with accounts, one with what is wrong with the server, and the hosts around them."""

    hosts: list[Host]
    runs: dict[str, Result]
    trees: dict[str, dict[str, str]]
    again: dict[str, dict[str, str]]


def forbidden(desk: Controller, nine: Host, ten: Host) -> dict[str, dict[str, Any]]:
    """Return what the inventory says about the host of each run."""
    key = str(desk.home / "keys" / "operator")
    settings = {"MaxSessions": 0, "LoginGraceTime": 2, "MaxAuthTries": 2, "MaxStartups": "1:30:1"}
    settings.update(Ciphers="aes256-ctr", AllowTcpForwarding=False)
    public = (desk.home / "keys" / "operator.pub").read_text(encoding="ascii").strip()
    return {
        "accounts": {
            nine.name: {
                "harden_key": key,
                "harden_operators": list(WRONG),
                "harden_sshd_settings": {"DenyUsers": "denied"},
            }
        },
        "server": {
            nine.name: {
                "harden_key": key,
                "harden_sshd_settings": settings,
                "ansible_ssh_common_args": "-o Ciphers=aes128-ctr",
            }
        },
        "root": {
            ten.name: {
                "harden_key": key,
                "ansible_user": "root",
                "ansible_become": False,
                "harden_operators": ["sealed"],
                "harden_sshd_settings": {"PermitRootLogin": "no"},
                "harden_accounts": [{"user": "root", "key": [public], "key_options": 'from="10.9.0.0/16"'}],
            }
        },
    }


def behind(desk: Controller, nine: Host, changes: dict[str, dict[str, Any]]) -> Any:
    """Return an inventory in which three more hosts, which are not run on, are reached through this one."""
    folder = desk.inventory([nine], changes)
    jump = f"-J {OPERATOR}@{nine.address}"
    lines = [f"inner{number} ansible_host=10.99.0.{number} ansible_ssh_common_args='{jump}'\n" for number in (1, 2, 3)]
    (folder / "inner.ini").write_text("[inner]\n" + "".join(lines), encoding="ascii")
    return folder


@pytest.fixture(scope="module")
def story(farm: Farm) -> Iterator[Story]:
    desk = Controller()
    nine, ten = farm.fresh(f"{NAMES[0]}=9", f"{NAMES[1]}=10")
    key = desk.key()
    public = key.with_suffix(".pub").read_text(encoding="ascii").strip()
    changes = forbidden(desk, nine, ten)
    nine.authorize(OPERATOR, public)
    nine.root(PEOPLE.format(names=" ".join(WRONG), key=public) + ACCOUNTS)
    tally = struct.pack("=52sHHQ", b"x", 0, 1, int(time.time()))
    nine.root("mkdir -p /var/run/faillock; cat > /var/run/faillock/failed", stdin=tally * 3)
    ten.authorize("root", public)
    ten.root(PEOPLE.format(names="sealed", key=public) + ROOT)
    desk.known_hosts(nine, ten)
    only_ed25519(desk)
    runs, trees, again = {}, {}, {}

    def run(name: str, host: Host, inventory: Any, *more: str) -> None:
        trees[name] = host.tree()
        runs[name] = desk.run(inventory, "--limit", host.name, *more)
        again[name] = host.tree()

    run("accounts", nine, desk.inventory([nine], changes["accounts"]))
    nine.root(
        SERVER + f'systemd-run --quiet --unit=holds python3 -c "{HOLD}"; until [ -e /run/held ]; do sleep 0.05; done'
    )
    desk.agent(*(desk.key(f"keys/other{number}") for number in (1, 2, 3)))
    run("server", nine, behind(desk, nine, changes["server"]), "--forks", "5")
    run("root", ten, desk.inventory([ten], changes["root"]))
    yield Story([nine, ten], runs, trees, again)
    desk.close()
    farm.drop(*NAMES)


def only_ed25519(desk: Controller) -> None:
    path = desk.home / ".ssh" / "known_hosts"
    lines = path.read_text(encoding="ascii").splitlines()
    path.write_text("".join(f"{line}\n" for line in lines if " ssh-ed25519 " in line), encoding="ascii")


@pytest.mark.parametrize("name", ["accounts", "server", "root"])
def test_it_is_refused_and_nothing_has_changed(story: Story, name: str) -> None:
    run, host = story.runs[name], story.hosts[1 if name == "root" else 0]
    assert run.rc != 0 and run.record(host)["status"] == "refused", run.out
    assert not differences(story.trees[name], story.again[name])
    assert "skip_reason" in run.of(host, "transaction")


@pytest.mark.parametrize(
    "words",
    [
        "the account ended has expired, and keys do not open it any more. run `chage -E -1 ended`",
        "the password of aged is too old, or has to be changed, and that ends its key logins as well",
        "the shell /bin/zsh-is-not-here of shellless starts no session: it is missing",
        "sshd does not open the keys of open: bad ownership or modes for directory /home/open",
        "the operator keyless would have no key",
        "no rule of sudo lets ruleless become root",
        "sudo asks sealed for the password of sealed, which is locked",
        "faillock takes no password of failed after 3 failures, and sudo asks for one",
        f"pam_access keeps barred out (from {GATEWAY}): `-:barred:ALL`",
        f"DenyUsers keeps denied out (from {GATEWAY})",
    ],
)
def test_what_is_wrong_with_accounts(story: Story, words: str) -> None:
    said = story.runs["accounts"].refused(story.hosts[0])
    assert words in said, said.replace("; ", "\n")


def test_each_account_has_one_thing_wrong(story: Story) -> None:
    said = story.runs["accounts"].of(story.hosts[0], "plan")["refused"]
    assert len(said) == len(WRONG), said


@pytest.mark.parametrize(
    "words",
    [
        "MaxSessions 0 lets no session of admin run",
        "LoginGraceTime 2 ends a login that takes longer",
        "offers 3 other keys first, and MaxAuthTries 2 ends the login before the right one",
        "MaxStartups takes 1 of the up to 3 logins that this run makes at once",
        "would have no Ciphers in common: sshd would take aes256-ctr",
        "AllowTcpForwarding no would cut off the hosts that are reached through this one as admin: inner1, inner2,",
        "any more, where this login came in, but on [::]:2222, 0.0.0.0:2222",
        "sshd shows none of the host keys by which the controller knows this host",
        "sshd.socket starts sshd at the next boot",
        "packages are being changed right now (/var/lib/rpm/.rpm.lock is locked by process",
    ],
)
def test_what_is_wrong_with_the_server_and_between_it_and_the_client(story: Story, words: str) -> None:
    said = story.runs["server"].refused(story.hosts[0])
    assert words in said, said.replace("; ", "\n")


@pytest.mark.parametrize(
    "words",
    [
        "sshd listens on port 2222 as well, which it does not yet",
        f"fail2ban watches logins here, and would ban {GATEWAY} after a few that fail",
        "authselect did not make the PAM files as they are: /etc/pam.d",
    ],
)
def test_what_is_only_told(story: Story, words: str) -> None:
    run = story.runs["server"]
    assert any(words in warning for warning in run.record(story.hosts[0])["warnings"]) and words in run.words, run.out


@pytest.mark.parametrize(
    "words",
    [
        f"PermitRootLogin no keeps root out (from {GATEWAY})",
        "would not open root: line 1: not from a permitted host",
        "/etc/nologin is there and keeps sealed out, as everybody but root",
        "the password of sealed is locked, and with UsePAM no that keeps its keys out as well",
    ],
)
def test_what_is_wrong_where_root_connects(story: Story, words: str) -> None:
    said = story.runs["root"].refused(story.hosts[1])
    assert words in said, said.replace("; ", "\n")


def test_penalties_are_told_where_sshd_has_them(story: Story) -> None:
    warnings = story.runs["root"].record(story.hosts[1])["warnings"]
    assert any(f"one failed login bans {GATEWAY} for 60 s" in warning for warning in warnings), story.runs["root"].out


SOCKET = """
printf '[Socket]\\nListenStream=22\\nAccept=yes\\n' > /etc/systemd/system/sshd.socket
printf '[Service]\\nExecStart=-/usr/sbin/sshd -i\\nStandardInput=socket\\n' > /etc/systemd/system/sshd@.service
rm -f /etc/nologin /etc/ssh/sshd_config.d/01-pending.conf
systemctl daemon-reload; systemctl stop sshd.service; systemctl start sshd.socket
"""


def test_an_sshd_that_a_socket_starts_is_refused(story: Story, controller: Controller) -> None:
    host = story.hosts[1]
    host.root(SOCKET)
    key = controller.key()
    host.authorize(OPERATOR, key.with_suffix(".pub").read_text())
    before = host.tree()
    run = controller.run(controller.inventory([host], {host.name: {"harden_key": str(key)}}))
    assert "started by a socket" in run.refused(host) and "disable --now sshd.socket" in run.refused(host), run.out
    assert not differences(before, host.tree())


def test_a_host_where_all_that_is_put_right_goes_on(farm: Farm, controller: Controller, story: Story) -> None:
    """The same host in its start state, with operators, a jump through it and an agent: nothing is refused."""
    (host,) = farm.fresh(f"{NAMES[0]}=9")
    key = controller.key()
    public = key.with_suffix(".pub").read_text(encoding="ascii").strip()
    host.root(PEOPLE.format(names="fine", key=public))
    controller.agent(*(controller.key(f"keys/other{number}") for number in (1, 2, 3)))
    changes = {host.name: {"harden_key": str(key), "harden_operators": ["fine"]}}
    controller.known_hosts(host)
    only_ed25519(controller)
    run = controller.run(behind(controller, host, changes), "--limit", host.name)
    assert run.status(host) == "changed" and run.record(host)["warnings"] == [], run.out
    assert each(lambda user: host.login(user, key=key).ok, [OPERATOR, "fine"]) == [True, True]
