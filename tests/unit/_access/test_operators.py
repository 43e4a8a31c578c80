# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which settings keep every key of an operator out."""

import pytest
from ansible_collections.latchkey.ssh.plugins.module_utils._access import operators

ALICE = operators.Operator("alice", 1001, ("alice", "wheel"), "client.example.com", "192.0.2.7")
ROOT = ALICE._replace(name="root", uid=0, groups=("root",))


@pytest.mark.parametrize(
    "answer, who, words",
    [
        ({}, ALICE, None),
        ({"authenticationmethods": ("publickey",)}, ALICE, None),
        ({"authenticationmethods": ("publickey,password publickey",)}, ALICE, None),
        ({"authenticationmethods": ("publickey,password",)}, ALICE, "asks alice for more than a key"),
        ({"authenticationmethods": ("password",)}, ALICE, "asks alice for more than a key"),
        ({"pubkeyauthentication": ("no",)}, ALICE, "PubkeyAuthentication no"),
        ({"allowusers": ("bob", "al*")}, ALICE, None),
        ({"allowusers": ("bob", "carol")}, ALICE, "AllowUsers bob carol keeps alice out"),
        ({"allowusers": ("alice@192.0.2.0/24",)}, ALICE, None),
        ({"allowusers": ("alice@*.example.com",)}, ALICE, None),
        ({"allowusers": ("alice@10.0.0.0/8",)}, ALICE, "AllowUsers"),
        ({"allowusers": ("alice@10.0.0.1/8",)}, ALICE, "AllowUsers"),
        ({"denyusers": ("alice",)}, ALICE, "DenyUsers"),
        ({"denyusers": ("*@10.0.0.0/8",)}, ALICE, None),
        ({"denyusers": ("*@10.0.0.1/8",)}, ALICE, "DenyUsers"),
        ({"allowgroups": ("wheel",)}, ALICE, None),
        ({"allowgroups": ("staff", "ops")}, ALICE, "AllowGroups staff ops"),
        ({"denygroups": ("wh?el",)}, ALICE, "DenyGroups"),
        ({"permitrootlogin": ("no",)}, ALICE, None),
        ({"permitrootlogin": ("no",)}, ROOT, "PermitRootLogin no"),
        ({"permitrootlogin": ("forced-commands-only",)}, ROOT, "PermitRootLogin forced-commands-only"),
        ({"permitrootlogin": ("without-password",)}, ROOT, None),
    ],
)
def test_what_keeps_an_operator_out(answer, who, words):
    found = operators.problem(answer, who)
    assert found is None if words is None else words in str(found) and found.where == who.name


@pytest.mark.parametrize(
    "answer, key_type, words",
    [
        ({}, "ssh-ed25519", None),
        ({"pubkeyacceptedalgorithms": ("ssh-ed25519,rsa-sha2-256",)}, "ssh-rsa", None),
        ({"pubkeyacceptedalgorithms": ("ssh-rsa",)}, "ssh-dss", "PubkeyAcceptedAlgorithms leaves out ssh-dss"),
        ({"pubkeyacceptedkeytypes": ("ssh-ed25519",)}, "ssh-rsa", "PubkeyAcceptedKeyTypes leaves out ssh-rsa"),
    ],
)
def test_types_of_keys(answer, key_type, words):
    assert operators.key_type_problem(answer, key_type) == words
