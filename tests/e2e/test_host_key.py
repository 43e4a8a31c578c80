# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""First contact: no password, and no other attempt to log in, goes to a host whose key is not known.

The tests follow each other on one stock host, which the last but one of them hardens.
"""

import subprocess
from collections.abc import Iterator

import pytest
from live import OPERATOR, PASSWORDS, Farm, Host
from runs import Controller

# Whatever the shell says: it is not what harden_host_key says.
SWITCHED_OFF = {"ANSIBLE_HOST_KEY_CHECKING": "False", "ANSIBLE_SSH_HOST_KEY_CHECKING": "False"}
UNKNOWN = {"ansible_ssh_common_args": None}
RUNS = [("new", {}), ("new", SWITCHED_OFF), ("2.16", SWITCHED_OFF)]


@pytest.fixture(scope="module")
def host(farm: Farm) -> Host:
    return farm.fresh("e2e-9=9")[0]


def fingerprints(host: Host) -> list[str]:
    return host.root("for f in /etc/ssh/ssh_host_*.pub; do ssh-keygen -lf $f | cut -d' ' -f2; done").split()


@pytest.mark.parametrize(("core", "environment"), RUNS)
def test_an_unknown_host_gets_no_attempt(
    host: Host, controller: Controller, core: str, environment: dict[str, str]
) -> None:
    inventory = controller.inventory([host], {host.name: {**UNKNOWN, "harden_key": str(controller.key())}})
    before = host.logins()
    run = controller.run(inventory, core=core, **environment)
    assert run.rc != 0
    reason = run.refused(host)
    assert "host key" in reason and "known" in reason and "harden_host_key" in reason, run.out
    assert host.logins() == before
    assert not (controller.home / ".ssh" / "known_hosts").exists()


def test_switched_off_in_the_inventory_is_not_heeded_either(host: Host, controller: Controller) -> None:
    loose = {
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
        "ansible_host_key_checking": False,
        "harden_key": str(controller.key()),
    }
    before = host.logins()
    run = controller.run(controller.inventory([host], {host.name: loose}))
    assert "host key" in run.refused(host), run.out
    assert host.logins() == before


def test_a_pinned_fingerprint_lets_in(host: Host, controller: Controller) -> None:
    wanted = {**UNKNOWN, "harden_key": str(controller.key()), "harden_host_key": fingerprints(host)}
    run = controller.run(controller.inventory([host], {host.name: wanted}), "--check")
    assert run.status(host) == "would change", run.out
    assert not (controller.home / ".ssh" / "known_hosts").exists()


def test_another_fingerprint_gets_no_attempt(host: Host, controller: Controller) -> None:
    """Even where known_hosts holds the host's key: what is pinned alone counts."""
    wanted = {"harden_key": str(controller.key()), "harden_host_key": "SHA256:" + "A" * 43}
    before = host.logins()
    run = controller.run(controller.inventory([host], {host.name: wanted}))
    assert "host key" in run.refused(host), run.out
    assert host.logins() == before


@pytest.fixture
def impostor(host: Host) -> Iterator[Host]:
    """Put another sshd with another key at the host's address; it writes down whatever a client tries."""
    host.root(
        "systemctl stop sshd; ssh-keygen -q -t ed25519 -N '' -f /run/impostor; "
        "/usr/sbin/sshd -f /dev/null -h /run/impostor -o LogLevel=DEBUG1 -o UsePAM=yes -E /run/impostor.log "
        "-o PidFile=/run/impostor.pid"
    )
    yield host
    host.root("kill $(cat /run/impostor.pid); rm /run/impostor*; systemctl start sshd")


def test_an_impostor_sees_no_attempt(impostor: Host, controller: Controller) -> None:
    for name, (core, environment) in enumerate(RUNS):
        key = controller.key(f"keys/operator{name}")
        run = controller.run(controller.inventory([impostor]), "-e", f"harden_key={key}", core=core, **environment)
        reason = run.refused(impostor)
        assert run.rc != 0 and "host key" in reason, run.out
    log = impostor.root("cat /run/impostor.log")
    assert log.count("Connection from") >= len(RUNS), "nobody has come to the impostor: the test shows nothing"
    assert "userauth-request" not in log and OPERATOR not in log, log
    # The same log does show an attempt when one is made.
    controller.popen(
        ["ssh", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes", f"{OPERATOR}@{impostor.address}", "true"]
    ).communicate()
    assert "userauth-request for user admin" in impostor.root("cat /run/impostor.log")


def test_accept_new_in_check_mode_writes_nothing(host: Host, controller: Controller) -> None:
    wanted = {**UNKNOWN, "harden_key": str(controller.key()), "harden_host_key": "accept_new"}
    run = controller.run(controller.inventory([host], {host.name: wanted}), "--check")
    assert run.status(host) == "would change", run.out
    assert run.record(host)["accepted_host_key"].split()[-1] in fingerprints(host)
    assert not (controller.home / ".ssh" / "known_hosts").exists()


def test_accept_new_keeps_and_reports_the_key(host: Host, controller: Controller) -> None:
    """The first run takes the key that it sees, says which, and from then on the host has to show it."""
    wanted = {**UNKNOWN, "harden_key": str(controller.key()), "harden_host_key": "accept_new"}
    run = controller.run(controller.inventory([host], {host.name: wanted}))
    assert run.status(host) == "changed", run.out
    accepted = run.record(host)["accepted_host_key"].split()[-1]
    assert accepted in fingerprints(host) and accepted in run.words
    # Names may be hashed in it (HashKnownHosts).
    known = str(controller.home / ".ssh" / "known_hosts")
    assert subprocess.run(["ssh-keygen", "-F", host.address, "-f", known], check=False).returncode == 0
    again = controller.run(controller.inventory([host], {host.name: {**wanted, "harden_host_key": "strict"}}))
    assert again.status(host) == "unchanged", again.out
    assert host.login(password=PASSWORDS[OPERATOR]).refused_by("publickey")


def test_accept_new_does_not_take_a_changed_key(impostor: Host, controller: Controller) -> None:
    controller.known_hosts(impostor)
    wanted = {**UNKNOWN, "harden_key": str(controller.key()), "harden_host_key": "accept_new"}
    run = controller.run(controller.inventory([impostor], {impostor.name: wanted}))
    assert "known_hosts has another" in run.refused(impostor), run.out
    assert "userauth-request" not in impostor.root("cat /run/impostor.log")
