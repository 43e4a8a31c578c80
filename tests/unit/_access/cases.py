# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models that have a cause, and models beside them that have not: one of each for every cause of the table."""

import base64
import collections
import struct

from ansible_collections.latchkey.ssh.plugins.module_utils._access import model
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh import version
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.authorized_keys import AuthorizedKeys
from ansible_collections.latchkey.ssh.plugins.module_utils._openssh.keys import parse_public_key

DAY = 86400
NOW = 20000 * DAY + 3600


def blob(*parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def ed25519(number):
    data = blob(b"ssh-ed25519", bytes([number]) * 32)
    return parse_public_key("ssh-ed25519 " + base64.b64encode(data).decode(), "test")


def rsa(bits):
    modulus = b"\x00" + b"\xff" * (bits // 8)
    data = blob(b"ssh-rsa", b"\x01\x00\x01", modulus)
    return parse_public_key("ssh-rsa " + base64.b64encode(data).decode(), "test")


K1, K2, H1, H2 = ed25519(1), ed25519(2), ed25519(101), ed25519(102)
R1, R2 = rsa(1024), rsa(2048)


def document(text):
    return AuthorizedKeys.parse(text.encode(), version.EL9)


def file(text, **more):
    return model.KeyFile("/home/ops/.ssh/authorized_keys", document(text), **more)


def lines(*keys):
    return "".join(key.text + "\n" for key in keys)


SERVER = model.Server(version.EL9, {}, "192.0.2.7", NOW)
OPS = model.Account("ops", 1001, ("ops", "wheel"), {}, {}, "client.example.com", key_files=(file(lines(K1)),))
CLIENT = model.Client("ops", K1)
SHADOW = model.Shadow("usable", 19990, 99999)

Case = collections.namedtuple("Case", "cause severity server account client")


def case(cause, severity=model.REFUSE, server=None, account=None, client=None, after=None, planned=None):
    """Return a model that differs from one without any cause as said; ``severity`` None: it has not the cause."""
    server = dict(server or {}, **({"planned": planned} if planned else {}))
    account = dict(account or {}, **({"after": after} if after else {}))
    return Case(cause, severity, SERVER._replace(**server), OPS._replace(**account), CLIENT._replace(**(client or {})))


def key_lines(text, **more):
    return {"key_files": (file(text, **more),)}


def shadow(**fields):
    return {"shadow": SHADOW._replace(**fields)}


def host_keys(*keys, problem=""):
    return {"host_keys": tuple(model.HostKey("/etc/ssh/host%d" % n, key, problem) for n, key in enumerate(keys))}


def stack(*modules):
    lines = [model.PamLine("pam_unix.so"), model.PamLine("pam_nologin.so")]
    return {"account_stack": tuple(lines + [model.PamLine(name) for name in modules])}


ROOT = {"name": "root", "uid": 0, "groups": ("root",)}
OF_ROOT = {"user": "root"}
ELSE = {"user": "someone-else"}
BEHIND = model.Behind("db", "ops", "10.0.0.9", 22)
JUMPED = {"behind": (BEHIND,)}
LISTENS = ("0.0.0.0:22", "[::]:22")
AT22 = {"session": ("198.51.100.1", 22)}
UNIX_ONLY = (model.PamLine("pam_unix.so"),)
KEEPS_AGE = (model.PamLine("pam_unix.so", ("no_pass_expiry",)),)
STOPS_SELF = {"authorizedkeysfile": (".ssh/authorized_keys",), "forcecommand": ("none",)}
ASKS = model.Sudo(True, "ops", SHADOW)
LOCKED = SHADOW._replace(password="locked")
FROM_ELSEWHERE = {"authorizedkeyscommand": ("/usr/bin/some",)}
WARN = model.WARN
PENALTIES = "crash:90 authfail:5 noauth:1 max:600 min:15"
NO_ADDRESS = {"before": STOPS_SELF}

RESTRICTED_ALREADY = dict(key_lines("restrict " + lines(K1)), today=(document("restrict " + lines(K1)),))

OF_ACCOUNTS = [
    case("shell", account={"shell": "/bin/zsh", "shell_problem": "it is missing"}),
    case("shell", None),
    case("listed", after={"allowusers": ("bob", "carol")}),
    case("listed", after={"allowusers": ("ops@10.0.0.0/8",)}),
    case("listed", after={"allowusers": ("ops@10.0.0.1/8",)}),
    case("listed", after={"denyusers": ("ops",)}),
    case("listed", after={"denyusers": ("*@10.0.0.1/8",)}),
    case("listed", after={"allowgroups": ("staff", "admins")}),
    case("listed", after={"denygroups": ("wh?el",)}),
    case("listed", None, after={"allowusers": ("bob", "op*")}),
    case("listed", None, after={"allowusers": ("ops@192.0.2.0/24",)}),
    case("listed", None, after={"allowusers": ("ops@*.example.com",)}),
    case("listed", None, after={"denyusers": ("*@10.0.0.0/8",)}),
    case("listed", None, after={"allowgroups": ("wheel",)}),
    case("root", after={"permitrootlogin": ("no",)}, account=ROOT, client=OF_ROOT),
    case("root", after={"permitrootlogin": ("forced-commands-only",)}, account=ROOT, client=OF_ROOT),
    case("root", None, after={"permitrootlogin": ("without-password",)}, account=ROOT, client=OF_ROOT),
    case("root", None, after={"permitrootlogin": ("no",)}),
    case("methods", after={"pubkeyauthentication": ("no",)}),
    case("methods", after={"authenticationmethods": ("publickey,password",)}),
    case("methods", after={"authenticationmethods": ("password",)}),
    case("methods", None, after={"authenticationmethods": ("publickey,password publickey",)}),
    case("methods", None, after={"authenticationmethods": ("publickey",)}),
    case("moved", after=dict(STOPS_SELF, authorizedkeysfile=("/etc/ssh/keys/%u",)), account=NO_ADDRESS),
    case("moved", after=dict(STOPS_SELF, forcecommand=("/bin/true",)), account=NO_ADDRESS),
    case("moved", after=dict(STOPS_SELF, chrootdirectory=("/srv",)), account=NO_ADDRESS),
    case("moved", None, after=STOPS_SELF, account=NO_ADDRESS),
    case("locked", planned={"usepam": ("no",)}, account=shadow(password="locked")),
    case("locked", None, planned={"usepam": ("yes",)}, account=shadow(password="locked")),
    case("locked", None, planned={"usepam": ("no",)}, account=shadow(password="none")),
    case("expired", account=shadow(expires=20000)),
    case("expired", account=shadow(expires=20000), planned={"usepam": ("no",)}),
    case("expired", account=shadow(changed=0)),
    case("expired", account=shadow(changed=19940, longest=60)),
    case("expired", account=dict(shadow(changed=19940, longest=60), **ROOT), client=OF_ROOT),
    case("expired", WARN, account=shadow(changed=19945, longest=60)),
    case("expired", WARN, account=shadow(expires=20010)),
    case("expired", None, account=shadow()),
    case("expired", None, account=shadow(changed=19985, longest=60)),
    case("expired", None, account=shadow(changed=-1, longest=60)),
    case("expired", None, account=shadow(changed=19940, longest=60), planned={"usepam": ("no",)}),
    case("expired", None, account=shadow(changed=0), server={"account_stack": KEEPS_AGE}),
    case("expired", None, account=shadow(changed=0), server={"account_stack": ()}),
    case("expired", None, account=shadow(expires=20015)),
    case("expired", None, account=dict(shadow(expires=20000, changed=0), came_in=True)),
    case("expired", WARN, account=dict(shadow(changed=19945, longest=60), came_in=True)),
    case("nologin", server={"nologin": "/run/nologin"}),
    case("nologin", server={"nologin": "/etc/nologin"}, planned={"usepam": ("no",)}),
    case("nologin", server=dict(stack(), nologin="/run/nologin")),
    case("nologin", None, server={"nologin": "/run/nologin"}, account=ROOT, client=OF_ROOT),
    case("nologin", None, server={"nologin": "/run/nologin"}, planned={"usepam": ("no",)}),
    case("nologin", None, server={"nologin": "/run/nologin"}, account={"came_in": True}),
    case("nologin", None, server={"nologin": "/run/nologin", "account_stack": UNIX_ONLY}),
    case("access", server=dict(stack("pam_access.so"), access_rules=("-:ALL EXCEPT root:ALL",))),
    case("access", None, server=dict(stack("pam_access.so"), access_rules=("+:ops:ALL", "-:ALL:ALL"))),
    case("access", None, server=dict(stack("pam_access.so"), access_rules=("-:ALL:ALL",)), account={"came_in": True}),
    case("access", None, server=dict(stack(), access_rules=("-:ALL:ALL",))),
    case("names", WARN, after={"usedns": ("yes",), "allowusers": ("ops@*.example.com",)}),
    case("names", WARN, after={"usedns": ("yes",)}, account=key_lines('from="*.example.com" ' + lines(K1))),
    case("names", None, after={"usedns": ("yes",), "allowusers": ("ops@192.0.2.0/24", "ops@fe80::*")}),
    case("names", None, after={"usedns": ("no",), "allowusers": ("ops", "ops@client.example.com")}),
]
OF_KEYS = [
    case("key_type", after={"pubkeyacceptedalgorithms": ("rsa-sha2-512",)}),
    case("key_type", after={"pubkeyacceptedkeytypes": ("ssh-rsa",)}),
    case("key_type", client={"key": R1}, account=key_lines(lines(R1)), after={"requiredrsasize": ("2048",)}),
    case("key_type", client={"key": R2, "minimum_rsa_bits": 3072}, account=key_lines(lines(R2))),
    case("key_type", client={"key_algorithms": ("rsa-sha2-256",)}),
    case("key_type", client={"key": R2, "key_algorithms": ("rsa-sha2-512",)}, account=key_lines(lines(R2)),
         after={"pubkeyacceptedalgorithms": ("ssh-rsa,rsa-sha2-256",)}),
    case("key_type", server={"fips": True}),
    case("key_type", None, server={"fips": True}, client={"key": R2}, account=key_lines(lines(R2))),
    case("key_type", None, after={"pubkeyacceptedalgorithms": ("ssh-ed25519,rsa-sha2-256",)},
         client={"key_algorithms": ("ssh-ed25519",), "minimum_rsa_bits": 4096}),
    case("key", account=key_lines("")),
    case("key", account=key_lines(lines(K2))),
    case("key", account=key_lines('from="10.9.0.0/16" ' + lines(K1))),
    case("key", account=key_lines('expiry-time="20200101" ' + lines(K1))),
    case("key", account=key_lines('command="/bin/true" ' + lines(K1))),
    case("key", account=key_lines("bad-option " + lines(K1))),
    case("key", account=key_lines('from="10.9.0.0/16" ' + lines(K1)), after=FROM_ELSEWHERE),
    case("key", None, account=key_lines("bad-option " + lines(K1) + lines(K1))),
    case("key", None, account=key_lines('from="192.0.2.0/24" ' + lines(K1))),
    case("key", None, account=dict(key_lines('command="/w" ' + lines(K1)),
                                   today=(document('command="/w" ' + lines(K1)),))),
    case("key", None, account=key_lines(""), after=FROM_ELSEWHERE),
    case("key", None, account=key_lines(""), after={"trustedusercakeys": ("/etc/ssh/ca",)}),
    case("key", None, account={"key_files": None}),
    case("key", None, account=key_lines(""), client=ELSE),
    case("no_key", account=key_lines(""), client=ELSE),
    case("no_key", account=key_lines('expiry-time="20200101" ' + lines(K1)), client=ELSE),
    case("no_key", None, account=key_lines(lines(K2)), client=ELSE),
    case("no_key", None, account=dict(key_lines(""), listed=(K2,)), client=ELSE),
    case("no_key", None, account=key_lines(""), after={"trustedusercakeys": ("/etc/ssh/ca",)}, client=ELSE),
    case("no_key", None, account={"key_files": None}, client=ELSE),
    case("strict_modes", account=key_lines(lines(K1), problem="bad ownership or modes for directory /home/ops")),
    case("strict_modes", account=key_lines(lines(K2), problem="bad modes"), client=ELSE),
    case("strict_modes", None, account=key_lines(lines(K2), problem="bad modes")),
    case("strict_modes", None, account={"key_files": (file(lines(K1)), file(lines(K1), problem="bad modes"))}),
    case("label", WARN, account=key_lines(lines(K1), label=("admin_home_t", "ssh_home_t"))),
    case("label", None),
    case("sudo_rule", account={"sudo": model.Sudo(False)}),
    case("sudo_rule", None, account={"sudo": model.Sudo(True)}),
    case("sudo_rule", None, account=dict(ROOT, sudo=model.Sudo(False)), client=OF_ROOT),
    case("sudo_password", account={"sudo": ASKS._replace(shadow=LOCKED)}),
    case("sudo_password", account={"sudo": model.Sudo(True, "root", SHADOW._replace(password="none"))}),
    case("sudo_password", account={"sudo": model.Sudo(True, "root", SHADOW._replace(changed=0))}),
    case("sudo_password", account={"sudo": model.Sudo(True, "root", SHADOW._replace(longest=5))}),
    case("sudo_password", None, account={"sudo": ASKS}),
    case("sudo_password", None, account={"sudo": ASKS._replace(shadow=None)}),
    case("sudo_password", None, account={"sudo": ASKS._replace(shadow=SHADOW._replace(changed=0))}),
    case("sudo_password", None, account={"sudo": model.Sudo(True, "", LOCKED)}),
    case("faillock", account={"sudo": ASKS, "failures": model.Failures(3, NOW - 60)}),
    case("faillock", account={"sudo": ASKS, "failures": model.Failures(3, NOW - 6000, unlock_after=0)}),
    case("faillock", None, account={"sudo": ASKS, "failures": model.Failures(3, NOW - 601)}),
    case("faillock", None, account={"sudo": ASKS, "failures": model.Failures(2, NOW - 60)}),
    case("faillock", None, account={"sudo": model.Sudo(True), "failures": model.Failures(3, NOW - 60)}),
    case("tries", after={"maxauthtries": ("2",)}, client={"earlier": 2}),
    case("tries", client={"earlier": 6}),
    case("tries", after={"maxauthtries": ("2",)}, client={"earlier": 2, "alone": True}),
    case("tries", WARN, client={"earlier": 6, "alone": True}),
    case("tries", WARN, after={"maxauthtries": ("2",)}, account={"before": {"maxauthtries": ("2",)}},
         client={"earlier": 2, "alone": True}),
    case("tries", None, after={"maxauthtries": ("2",)}, client={"earlier": 1}),
    case("tries", None, after={"maxauthtries": ("2",)}, client={"earlier": 9, "user": "someone-else"}),
    case("sessions", after={"maxsessions": ("0",)}),
    case("sessions", WARN, after={"maxsessions": ("1",)}),
    case("sessions", WARN, after={"maxsessions": ("4",)}, client={"forks": 5}),
    case("sessions", None, after={"maxsessions": ("5",)}, client={"forks": 5}),
    case("sessions", None, after={"maxsessions": ("2",)}, client={"forks": 1}),
    case("sessions", None, after={"maxsessions": ("10",)}, client={"forks": 50}),
    case("forwarding", after={"allowtcpforwarding": ("no",)}, client=JUMPED),
    case("forwarding", after={"allowtcpforwarding": ("remote",)}, client=JUMPED),
    case("forwarding", after={"disableforwarding": ("yes",)}, client=JUMPED),
    case("forwarding", after={"permitopen": ("none",)}, client=JUMPED),
    case("forwarding", after={"permitopen": ("10.0.0.9:2222 10.0.0.8:22",)}, client=JUMPED),
    case("forwarding", account=key_lines("restrict " + lines(K1)), client=JUMPED),
    case("forwarding", account=key_lines("no-port-forwarding " + lines(K1)), client=JUMPED),
    case("forwarding", None, account=key_lines("restrict,port-forwarding " + lines(K1)), client=JUMPED),
    case("forwarding", None, account=key_lines("restrict " + lines(K1))),
    case("forwarding", None, account=RESTRICTED_ALREADY, client=JUMPED),
    case("forwarding", None, after={"allowtcpforwarding": ("local",), "permitopen": ("any",)}, client=JUMPED),
    case("forwarding", None, after={"permitopen": ("10.0.0.8:22 10.0.0.*:*",)}, client=JUMPED),
    case("forwarding", None, after={"allowtcpforwarding": ("no",)}),
    case("forwarding", None, after={"allowtcpforwarding": ("no",)}, client={"behind": (BEHIND._replace(user="bob"),)}),
]
OF_HOSTS = [
    case("listen", planned={"listenaddress": ("0.0.0.0:2222", "[::]:2222")}, server=AT22),
    case("listen", planned={"listenaddress": ("[::]:22",)}, server=AT22),
    case("listen", planned={"listenaddress": ("127.0.0.1:22",)}, server=AT22),
    case("listen", planned={"listenaddress": ("0.0.0.0:22",)}, server={"session": ("2001:db8::1", 22)}),
    case("listen", None, planned={"listenaddress": LISTENS}, server=AT22),
    case("listen", None, planned={"listenaddress": LISTENS}, server={"session": ("2001:db8::1", 22)}),
    case("listen", None, planned={"listenaddress": ("198.51.100.1:22 rdomain blue",)}, server=AT22),
    case("listen", None, planned={"listenaddress": ("127.0.0.1:22",)}),
    case("new_port", WARN, planned={"listenaddress": LISTENS + ("0.0.0.0:2222",)},
         server={"listening": (("0.0.0.0", 22),)}),
    case("new_port", None, planned={"listenaddress": LISTENS}, server={"listening": (("0.0.0.0", 22),)}),
    case("foreign_address", WARN, planned={"listenaddress": ("192.0.2.99:22", "0.0.0.0:22")},
         server={"addresses": ("198.51.100.1",)}),
    case("foreign_address", None, planned={"listenaddress": ("198.51.100.1:22", "[2001:db8::1]:22", "[::]:22")},
         server={"addresses": ("198.51.100.1", "2001:db8:0::1")}),
    case("socket", server={"socket": "sshd.socket"}),
    case("socket", None),
    case("host_keys", server=host_keys(H2), client={"known": (H1.fingerprint,)}),
    case("host_keys", server=host_keys(H1, problem="others may read it"), client={"known": (H1.fingerprint,)}),
    case("host_keys", None, server=host_keys(H2, H1), client={"known": (H1.fingerprint,)}),
    case("host_keys", None, server=host_keys(H2)),
    case("host_keys", None, server=host_keys(H2, None), client={"known": (H1.fingerprint,)}),
    case("host_keys", None, client={"known": (H1.fingerprint,)}),
    case("host_key_files", WARN, server=host_keys(H1, problem="mode 0644 lets others read it")),
    case("host_key_files", None, server=host_keys(H1)),
    case("algorithms", planned={"kexalgorithms": ("a,b",)}, client={"kex": ("c",)}),
    case("algorithms", planned={"ciphers": ("a,b",)}, client={"ciphers": ("c",)}),
    case("algorithms", planned={"ciphers": ("aes128-ctr",), "macs": ("a",)},
         client={"ciphers": ("aes128-ctr",), "macs": ("b",)}),
    case("algorithms", planned={"hostkeyalgorithms": ("ssh-ed25519,rsa-sha2-512",)}, server=host_keys(R2),
         client={"host_key_algorithms": ("ssh-ed25519", "rsa-sha2-256")}),
    case("algorithms", None, planned={"kexalgorithms": ("a,b",)}, client={"kex": ("c", "b")}),
    case("algorithms", None, planned={"ciphers": ("aes128-ctr,aes256-gcm@openssh.com",), "macs": ("a",)},
         client={"ciphers": ("aes256-gcm@openssh.com", "aes128-ctr"), "macs": ("b",)}),
    case("algorithms", None, planned={"hostkeyalgorithms": ("ssh-ed25519,rsa-sha2-512",)}, server=host_keys(R2),
         client={"host_key_algorithms": ("rsa-sha2-512",)}),
    case("algorithms", None, planned={"hostkeyalgorithms": ("ssh-ed25519",)}, server=host_keys(R2, None),
         client={"host_key_algorithms": ("ssh-ed25519",)}),
    case("algorithms", None, planned={"hostkeyalgorithms": ("a",)}, client={"host_key_algorithms": ("a",)}),
    case("algorithms", None, planned={"kexalgorithms": ("a,b",)}),
    case("startups", planned={"maxstartups": ("1:30:2",)}, client={"forks": 5, "behind": (BEHIND,) * 3}),
    case("startups", planned={"persourcemaxstartups": ("2",)}, client={"forks": 5, "behind": (BEHIND,) * 3}),
    case("startups", WARN, planned={"maxstartups": ("2:30:10",)}, client={"forks": 5, "behind": (BEHIND,) * 3}),
    case("startups", planned={"maxstartups": ("2:100:10",)}, client={"forks": 5, "behind": (BEHIND,) * 3}),
    case("startups", None, planned={"maxstartups": ("1:30:2",)}, client={"forks": 50}),
    case("startups", None, planned={"maxstartups": ("10:30:100",), "persourcemaxstartups": ("none",)},
         client={"forks": 5, "behind": (BEHIND,) * 30}),
    case("penalties", WARN, planned={"persourcepenalties": ("authfail:60 min:15",)}),
    case("penalties", WARN, planned={"persourcepenalties": ("authfail:5 noauth:20 min:15",)}),
    case("penalties", None, planned={"persourcepenalties": (PENALTIES,)}),
    case("penalties", None, planned={"persourcepenalties": ("no",)}),
    case("penalties", None, planned={"persourcepenalties": ("authfail:60 min:15",),
                                     "persourcepenaltyexemptlist": ("10.0.0.1,192.0.2.0/24",)}),
    case("fail2ban", WARN, server={"ignored": ("127.0.0.1/8", "::1")}),
    case("fail2ban", None, server={"ignored": ("192.0.2.0/24",)}),
    case("fail2ban", None),
    case("grace", planned={"logingracetime": ("4",)}),
    case("grace", WARN, planned={"logingracetime": ("19",)}),
    case("grace", None, planned={"logingracetime": ("20",)}),
    case("grace", None, planned={"logingracetime": ("0",)}),
    case("updating", server={"updating": "/var/lib/rpm/.rpm.lock"}),
    case("updating", None),
    case("newer", server={"newer": "/usr/sbin/sshd"}),
    case("newer", None),
    case("authselect", WARN, server={"authselect": "/etc/pam.d/system-auth"}),
    case("authselect", None),
]
CASES = OF_ACCOUNTS + OF_KEYS + OF_HOSTS
