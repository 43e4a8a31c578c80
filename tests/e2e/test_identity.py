# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which key logs in: each source in its order, keys that cannot serve a run without a person, and keys that are made.

Hosts are looked at in check mode; several names of one host differ in what their inventory says about keys.
"""

import base64
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import OPERATOR, Farm, Host
from runs import Controller, Result

FIND = """
- hosts: all
  gather_facts: false
  tasks:
    - latchkey.ssh.operator_key:
        key: "{{ harden_key | default('') }}"
        create: "{{ harden_key_create | default('true') }}"
        type: "{{ harden_key_type | default('auto') }}"
        size: "{{ harden_key_size | default(0) }}"
        comment: "{{ harden_key_comment | default('') }}"
        passphrase: "{{ harden_key_passphrase | default('') }}"
"""


class Alias:
    """A further name of a host in the inventory."""

    def __init__(self, name: str, host: Host) -> None:
        self.name, self.variables = name, host.variables


@pytest.fixture(scope="module")
def host(farm: Farm) -> Host:
    return farm.fresh("e2e-9=9")[0]


def fingerprint(key: Path) -> str:
    said = subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], capture_output=True, text=True, check=True).stdout
    return said.split()[1]


def inventory(controller: Controller, host: Host, names: dict[str, dict[str, Any]]) -> Path:
    return controller.inventory([Alias(name, host) for name in names], names)


def find(controller: Controller, host: Host, names: dict[str, dict[str, Any]], *arguments: str) -> Result:
    """Run the action operator_key alone; it needs no connection."""
    return controller.run(inventory(controller, host, names), *arguments, playbook=controller.play(FIND))


def identity(run: Result, name: str) -> dict[str, Any]:
    found = run.of(name, "operator_key")
    assert found.get("identity"), run.out
    return found["identity"]


@pytest.fixture
def opened(host: Host, controller: Controller) -> Iterator[dict[str, Path]]:
    """Give a controller three keys in different places, all of which open the host."""
    keys = {name: controller.key(name) for name in ("keys/named", "keys/file", ".ssh/id_ed25519")}
    for key in keys.values():
        host.authorize(OPERATOR, Path(f"{key}.pub").read_text(encoding="ascii"))
    yield {name.split("/")[-1]: key for name, key in keys.items()}
    host.root(f"rm -rf /home/{OPERATOR}/.ssh")


@pytest.mark.parametrize("core", ["2.16", "new"])
def test_each_source_in_its_order(host: Host, controller: Controller, opened: dict[str, Path], core: str) -> None:
    """What is named here wins over what Ansible is told, and that over what ssh finds by itself."""
    names = {
        "harden-key": {"harden_key": str(opened["named"]), "ansible_ssh_private_key_file": str(opened["file"])},
        "file": {"ansible_ssh_private_key_file": str(opened["file"])},
        "default": {},
    }
    expected = {"harden-key": ("harden_key", "named"), "file": ("private_key_file", "file")}
    expected["default"] = ("default", "id_ed25519")
    if core == "new":
        # ansible_ssh_private_key came with core 2.19, which puts it into an agent of its own where it may start one.
        names["text"] = {"ansible_ssh_private_key": opened["file"].read_text(encoding="ascii")}
        expected["text"] = ("private_key", "file")
    run = controller.run(inventory(controller, host, names), "--check", core=core, ANSIBLE_SSH_AGENT="auto")
    for name, (source, key) in expected.items():
        assert identity(run, name)["source"] == source, run.out
        assert run.status(name) == "would change", run.out
        (proof,) = run.record(name)["proven"]
        assert proof["proven"] and proof["fingerprint"] == fingerprint(opened[key]), (name, run)


def test_a_key_as_text_needs_the_agent_of_ansible(host: Host, controller: Controller) -> None:
    text = controller.key().read_text(encoding="ascii")
    run = controller.run(inventory(controller, host, {"text": {"ansible_ssh_private_key": text}}))
    assert "ansible_ssh_private_key" in run.refused("text") and "ANSIBLE_SSH_AGENT=auto" in run.refused("text"), run.out


@pytest.mark.parametrize("core", ["2.16", "new"])
def test_the_agent_comes_before_default_files(
    host: Host, controller: Controller, opened: dict[str, Path], core: str
) -> None:
    controller.agent(opened["named"])
    run = controller.run(inventory(controller, host, {"agent": {}}), "--check", core=core)
    assert identity(run, "agent")["source"] == "agent", run.out
    (proof,) = run.record("agent")["proven"]
    assert proof["proven"] and proof["fingerprint"] == fingerprint(opened["named"]), run.out


def test_default_files_in_order_and_strong_enough(host: Host, controller: Controller) -> None:
    weak = controller.key(".ssh/id_rsa", "-t", "rsa", "-b", "1024")
    run = find(controller, host, {"weak": {"harden_key_create": "false"}})
    assert "may be made" in str(run.of("weak", "operator_key")["refused"]), run.out
    for ending in ("", ".pub"):
        os.unlink(f"{weak}{ending}")
    strong = controller.key(".ssh/id_rsa", "-t", "rsa", "-b", "2048")
    assert identity(find(controller, host, {"rsa": {}}), "rsa")["fingerprint"] == fingerprint(strong)
    ecdsa = controller.key(".ssh/id_ecdsa", "-t", "ecdsa")
    assert identity(find(controller, host, {"ecdsa": {}}), "ecdsa")["fingerprint"] == fingerprint(ecdsa)


def test_made_once_for_twenty_forks(host: Host, controller: Controller) -> None:
    names: dict[str, dict[str, Any]] = {f"n{number}": {} for number in range(20)}
    run = find(controller, host, names, "--forks", "20")
    found = [run.of(name, "operator_key") for name in names]
    assert sum(one["changed"] for one in found) == 1, run.out
    key = controller.home / ".ssh" / "id_ed25519"
    assert {one["identity"]["fingerprint"] for one in found} == {fingerprint(key)}
    assert key.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in key.parent.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_a_job_does_not_make_the_key_that_dies_with_it(host: Host, controller: Controller) -> None:
    before = host.logins()
    run = controller.run(inventory(controller, host, {"ci": {}}), CI="true")
    reason = run.refused("ci")
    assert run.rc != 0 and "CI is set" in reason and "harden_key_create: true" in reason, run.out
    assert list((controller.home / ".ssh").iterdir()) == []
    assert host.logins() == before


def security_key(path: Path) -> Path:
    """Write the private file of a key on a token (openssh-key-v1, PROTOCOL.u2f of OpenSSH); nobody holds the token."""

    def text(*parts: bytes) -> bytes:
        return b"".join(struct.pack(">I", len(part)) + part for part in parts)

    kind, point = b"sk-ssh-ed25519@openssh.com", bytes(range(32))
    public = text(kind, point, b"ssh:")
    secret = b"\1\2\3\4" * 2 + public + b"\1" + text(b"handle", b"", b"token")
    secret += bytes(range(1, 1 + -len(secret) % 8))
    whole = b"openssh-key-v1\0" + text(b"none", b"none", b"") + struct.pack(">I", 1) + text(public, secret)
    encoded = base64.encodebytes(whole).decode()
    path.write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{encoded}-----END OPENSSH PRIVATE KEY-----\n")
    Path(f"{path}.pub").write_text(f"{kind.decode()} {base64.b64encode(public).decode()} token\n")
    path.chmod(0o600)
    return path


def test_keys_that_cannot_serve_are_refused_before_anything(host: Host, controller: Controller) -> None:
    """Each by what is wrong with it and what to do; nobody has knocked at the host."""
    encrypted = controller.key("keys/encrypted", passphrase="secret words")
    readable = controller.key("keys/readable")
    readable.chmod(0o644)
    short = controller.key("keys/short", "-t", "rsa", "-b", "1024")
    public = Path(f"{controller.key('keys/held')}.pub")
    cases = {
        "encrypted": (encrypted, ("passphrase", f"ssh-add {encrypted}")),
        "touch": (security_key(controller.home / "keys" / "token"), ("touch", "harden_key")),
        "readable": (readable, ("others can read", f"chmod 600 {readable}")),
        "short": (short, ("1024 bits", "harden_key")),
        "public": (public, ("agent", "ssh-add")),
        "missing": (controller.home / "keys" / "missing", ("no key", "harden_key_create: true")),
        "no-key": (controller.path / "passwd", ("no private key", "harden_key")),
    }
    (controller.path / "passwd").chmod(0o600)
    names = {name: {"harden_key": str(path), "harden_key_create": "false"} for name, (path, _words) in cases.items()}
    before = host.logins()
    run = controller.run(inventory(controller, host, names))
    for name, (path, words) in cases.items():
        reason = run.refused(name)
        assert all(word in reason for word in (str(path), *words)), (name, reason)
    assert host.logins() == before


def test_type_size_and_comment(host: Host, controller: Controller) -> None:
    names = {
        "rsa": {"harden_key_type": "rsa", "harden_key_size": 3072, "harden_key_comment": "ops team"},
        "ecdsa": {"harden_key_type": "ecdsa"},
        "ed25519": {"harden_key_type": "ed25519"},
    }
    for name, values in names.items():
        values["harden_key"] = str(controller.home / "keys" / name)
    run = find(controller, host, names)
    said = {}
    for name, values in names.items():
        assert identity(run, name)["source"] == "made", run.out
        shown = subprocess.run(["ssh-keygen", "-lf", values["harden_key"]], capture_output=True, text=True, check=True)
        said[name] = shown.stdout
    assert said["rsa"].startswith("3072 ") and " ops team (RSA)" in said["rsa"]
    assert "(ECDSA)" in said["ecdsa"] and "(ED25519)" in said["ed25519"]


def test_a_passphrase_goes_into_the_agent_and_nowhere_else(host: Host, controller: Controller) -> None:
    words = "correct horse battery"
    path = controller.home / "keys" / "operator"
    wanted = {"pass": {"harden_key": str(path), "harden_key_passphrase": words, "harden_key_create": "true"}}
    run = controller.run(inventory(controller, host, wanted))
    assert run.rc != 0 and "agent" in run.refused("pass") and not path.exists(), run.out
    controller.agent()
    run = controller.run(inventory(controller, host, wanted), "-vvv", "--diff")
    assert run.status("pass") == "changed", run.out
    assert words not in run.out
    held = subprocess.run(
        ["ssh-add", "-l"], env=controller.environment, capture_output=True, text=True, check=True
    ).stdout
    assert fingerprint(path) in held
    opened = subprocess.run(["ssh-keygen", "-y", "-P", "", "-f", path], capture_output=True, check=False)
    assert opened.returncode != 0, "the key has no passphrase"
