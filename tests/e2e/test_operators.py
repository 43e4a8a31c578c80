# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further operators: each proven by a login of its own, predicted where its key is elsewhere, refused without one."""

from typing import Any

import pytest
from live import OPERATOR, Farm, Host
from runs import Controller

SUDO = "printf 'alice ALL=(ALL) NOPASSWD: ALL\\n' > /etc/sudoers.d/alice; chmod 440 /etc/sudoers.d/alice"


@pytest.fixture(scope="module")
def host(farm: Farm) -> Host:
    made = farm.fresh("e2e-9=9")[0]
    made.root(SUDO)
    return made


def wishes(desk: Controller, host: Host, key: str, alice: str = "") -> Any:
    accounts = [{"user": "alice", "key": [alice]}] if alice else []
    return desk.inventory(
        [host], {host.name: {"harden_key": key, "harden_operators": ["alice"], "harden_accounts": accounts}}
    )


def test_an_operator_without_any_key_is_refused(host: Host, controller: Controller) -> None:
    run = controller.run(wishes(controller, host, str(controller.key())))
    assert run.rc != 0 and "alice" in run.refused(host), run.out
    assert host.sshd()["passwordauthentication"] == "yes"


def test_an_operator_whose_key_is_elsewhere_is_predicted(host: Host, controller: Controller) -> None:
    key, elsewhere = controller.key(), controller.key("elsewhere")
    run = controller.run(wishes(controller, host, str(key), elsewhere.with_suffix(".pub").read_text()), "--check")
    assert run.rc == 0, run.out
    host.authorize(OPERATOR, key.with_suffix(".pub").read_text())
    host.authorize("alice", elsewhere.with_suffix(".pub").read_text())
    run = controller.run(wishes(controller, host, str(key), elsewhere.with_suffix(".pub").read_text()))
    assert run.rc == 0, run.out
    assert run.record(host)["predicted"] == ["alice"]
    assert [proof["operator"] for proof in run.record(host)["proven"]] == [OPERATOR]
    assert host.login("alice", key=elsewhere).ok


def test_an_operator_is_proven_by_one_login_of_its_own(host: Host, controller: Controller) -> None:
    key = controller.key()
    public = key.with_suffix(".pub").read_text()
    host.authorize(OPERATOR, public)
    assert controller.run(wishes(controller, host, str(key), public)).rc == 0
    before = host.accepted()
    run = controller.run(wishes(controller, host, str(key), public))
    assert run.status(host) == "unchanged", run.out
    assert [proof["operator"] for proof in run.record(host)["proven"]] == [OPERATOR, "alice"]
    assert sorted(host.accepted()[len(before) :]) == [(OPERATOR, "publickey"), ("alice", "publickey")]


def test_an_operator_without_sudo_is_refused(host: Host, controller: Controller) -> None:
    host.root("rm /etc/sudoers.d/alice")
    key = controller.key()
    public = key.with_suffix(".pub").read_text()
    host.authorize(OPERATOR, public)
    run = controller.run(wishes(controller, host, str(key), public))
    assert run.rc != 0 and "alice" in run.refused(host) and "sudo" in run.refused(host), run.out
