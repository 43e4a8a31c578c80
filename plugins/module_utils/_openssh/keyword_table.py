# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One row per sshd_config keyword: which release knows it, where it may stand, what a second line does. Pure data.

Sources: servconf.c ``keywords[]`` of the releases 8.0 to 10.4, Red Hat's patches to 8.0p1 and 8.7p1, Debian's to 9.2p1;
repetition was measured on those binaries. What Red Hat added to 8.7 is taken for known to its later releases too.
"""

from typing import NamedTuple, Optional, Tuple

Release = Tuple[int, int]

ALWAYS = (0, 0)
NEVER = (99, 0)


class Row(NamedTuple):
    """What is known about one spelling of a keyword; releases are (major, minor).

    Attributes:
        kind: how its arguments are read; the key of a reader in ``directives``.
        match: from when on it may stand in a Match block.
        repeat: what a second line does: first (it is passed over), last, append, parts, by-name or each.
        first: from when on ``repeat`` is first.
        since: from when on upstream knows it; ``redhat`` and ``debian`` where their patches differ.
        until: the last release this row is about.
        target: the keyword it is another spelling of.
    """

    name: str
    kind: str
    match: Release = NEVER
    repeat: str = "first"
    first: Release = NEVER
    since: Release = ALWAYS
    redhat: Optional[Release] = None
    debian: Optional[Release] = None
    until: Release = NEVER
    target: str = ""


def _alias(name: str, target: str, match: Release = NEVER, since: Release = ALWAYS) -> Row:
    return Row(name, "alias", match, since=since, target=target)


def _redhat(name: str, kind: str, match: Release = NEVER) -> Row:
    return Row(name, kind, match, since=NEVER, redhat=ALWAYS)


def _gss_patch(name: str, kind: str) -> Row:
    # Red Hat and Debian carry the same GSSAPI key exchange patch.
    return Row(name, kind, since=NEVER, redhat=ALWAYS, debian=ALWAYS)


ROWS = (
    Row("AcceptEnv", "acceptenv", ALWAYS, "append"),
    Row("AddressFamily", "addressfamily"),
    Row("AllowAgentForwarding", "flag", ALWAYS),
    Row("AllowGroups", "groups", ALWAYS, "append"),
    Row("AllowStreamLocalForwarding", "forwarding", ALWAYS),
    Row("AllowTcpForwarding", "forwarding", ALWAYS),
    Row("AllowUsers", "users", ALWAYS, "append"),
    Row("AuthenticationMethods", "authmethods", ALWAYS),
    Row("AuthorizedKeysCommand", "command", ALWAYS),
    Row("AuthorizedKeysCommandUser", "word", ALWAYS),
    Row("AuthorizedKeysFile", "keyfiles", ALWAYS),
    Row("AuthorizedPrincipalsCommand", "command", ALWAYS),
    Row("AuthorizedPrincipalsCommandUser", "word", ALWAYS),
    Row("AuthorizedPrincipalsFile", "tildefile", ALWAYS),
    Row("Banner", "filename", ALWAYS),
    Row("CASignatureAlgorithms", "keyalgorithms", ALWAYS),
    Row("ChallengeResponseAuthentication", "flag", until=(8, 6)),
    _alias("ChallengeResponseAuthentication", "KbdInteractiveAuthentication", ALWAYS, since=(8, 7)),
    Row("ChannelTimeout", "channeltimeout", ALWAYS, since=(9, 2)),
    Row("ChrootDirectory", "word", ALWAYS),
    Row("Ciphers", "ciphers"),
    Row("ClientAliveCountMax", "int", ALWAYS),
    Row("ClientAliveInterval", "time", ALWAYS),
    Row("Compression", "compression"),
    Row("DebianBanner", "flag", since=NEVER, debian=ALWAYS),
    Row("DenyGroups", "groups", ALWAYS, "append"),
    Row("DenyUsers", "users", ALWAYS, "append"),
    Row("DisableForwarding", "flag", ALWAYS),
    _alias("DSAAuthentication", "PubkeyAuthentication"),
    Row("ExposeAuthInfo", "flag", ALWAYS),
    Row("FingerprintHash", "fingerprinthash", repeat="last"),
    Row("ForceCommand", "rawline", ALWAYS),
    Row("GatewayPorts", "gatewayports", ALWAYS),
    Row("GSSAPIAuthentication", "flag", ALWAYS),
    Row("GSSAPICleanupCredentials", "flag"),
    Row("GSSAPICleanupCreds", "alias", since=NEVER, redhat=ALWAYS, debian=ALWAYS, target="GSSAPICleanupCredentials"),
    Row("GSSAPIDelegateCredentials", "flag", since=(10, 3)),
    _redhat("GSSAPIEnablek5users", "flag", ALWAYS),
    _gss_patch("GSSAPIKexAlgorithms", "gsskex"),
    _gss_patch("GSSAPIKeyExchange", "flag"),
    _gss_patch("GSSAPIStoreCredentialsOnRekey", "flag"),
    Row("GSSAPIStrictAcceptorCheck", "flag"),
    _gss_patch("GSSAPIUseSessionCredCache", "unsupported"),
    _gss_patch("GSSUseSessionCCache", "unsupported"),
    Row("HostbasedAcceptedAlgorithms", "keyalgorithms", ALWAYS, since=(8, 5)),
    Row("HostbasedAcceptedKeyTypes", "keyalgorithms", ALWAYS, until=(8, 4)),
    _alias("HostbasedAcceptedKeyTypes", "HostbasedAcceptedAlgorithms", ALWAYS, since=(8, 5)),
    Row("HostbasedAuthentication", "flag", ALWAYS),
    Row("HostbasedUsesNameFromPacketOnly", "flag", ALWAYS),
    Row("HostCertificate", "hostfile", repeat="append"),
    _alias("HostDSAKey", "HostKey"),
    Row("HostKey", "hostfile", repeat="append"),
    Row("HostKeyAgent", "agent"),
    Row("HostKeyAlgorithms", "keyalgorithms"),
    Row("IgnoreRhosts", "ignorerhosts", (8, 3)),
    Row("IgnoreUserKnownHosts", "flag"),
    Row("Include", "include", ALWAYS, "each", since=(8, 2), redhat=(8, 0)),
    Row("IPQoS", "ipqos", ALWAYS, "last", (10, 3)),
    Row("KbdInteractiveAuthentication", "flag", ALWAYS),
    _alias("KeepAlive", "TCPKeepAlive"),
    Row("KerberosAuthentication", "flag", ALWAYS),
    Row("KerberosGetAFSToken", "unsupported"),
    Row("KerberosOrLocalPasswd", "flag"),
    Row("KerberosTicketCleanup", "flag"),
    _redhat("KerberosUniqueCCache", "flag"),
    _redhat("KerberosUseKuserok", "flag", ALWAYS),
    Row("KexAlgorithms", "kexalgorithms"),
    Row("ListenAddress", "listenaddress", repeat="append"),
    Row("LoginGraceTime", "time"),
    Row("LogLevel", "loglevel", ALWAYS),
    Row("LogVerbose", "logverbose", ALWAYS, since=(8, 5)),
    Row("MACs", "macs"),
    Row("Match", "match", ALWAYS, "each"),
    Row("MaxAuthTries", "int", ALWAYS),
    Row("MaxSessions", "int", ALWAYS),
    Row("MaxStartups", "maxstartups", NEVER, "last", (10, 1)),
    Row("ModuliFile", "filename", since=(8, 6)),
    Row("PAMServiceName", "word", ALWAYS, since=(9, 8)),
    Row("PasswordAuthentication", "flag", ALWAYS),
    Row("PermitEmptyPasswords", "flag", ALWAYS),
    Row("PermitListen", "permitlisten", ALWAYS),
    Row("PermitOpen", "permitopen", ALWAYS),
    Row("PermitRootLogin", "permitrootlogin", ALWAYS),
    Row("PermitTTY", "flag", ALWAYS),
    Row("PermitTunnel", "tunnel", ALWAYS),
    Row("PermitUserEnvironment", "userenvironment"),
    Row("PermitUserRC", "flag", ALWAYS),
    Row("PerSourceMaxStartups", "persourcemaxstartups", NEVER, "last", (9, 5), since=(8, 5)),
    Row("PerSourceNetBlockSize", "netblocksize", NEVER, "last", (10, 1), since=(8, 5)),
    Row("PerSourcePenalties", "penalties", repeat="parts", since=(9, 8)),
    Row("PerSourcePenaltyExemptList", "addresslist", since=(9, 8)),
    Row("PidFile", "filename"),
    Row("Port", "port", repeat="append"),
    Row("PrintLastLog", "flag"),
    Row("PrintMotd", "flag"),
    Row("PubkeyAcceptedAlgorithms", "keyalgorithms", ALWAYS, since=(8, 5)),
    Row("PubkeyAcceptedKeyTypes", "keyalgorithms", ALWAYS, until=(8, 4)),
    _alias("PubkeyAcceptedKeyTypes", "PubkeyAcceptedAlgorithms", ALWAYS, since=(8, 5)),
    Row("PubkeyAuthentication", "flag", ALWAYS),
    Row("PubkeyAuthOptions", "pubkeyauthoptions", ALWAYS, since=(8, 2)),
    Row("RDomain", "rdomain", ALWAYS),
    Row("RefuseConnection", "flag", ALWAYS, since=(9, 9)),
    Row("RekeyLimit", "rekeylimit", ALWAYS, "parts"),
    Row("RequiredRSASize", "int", ALWAYS, since=(9, 1), redhat=(8, 7)),
    Row("RevokedKeys", "filename", ALWAYS),
    Row("RSAMinSize", "alias", ALWAYS, since=NEVER, redhat=(8, 7), target="RequiredRSASize"),
    Row("SecurityKeyProvider", "skprovider", since=(8, 2)),
    Row("SetEnv", "setenv", ALWAYS),
    Row("SKeyAuthentication", "deprecated", until=(8, 6)),
    _alias("SKeyAuthentication", "KbdInteractiveAuthentication", ALWAYS, since=(8, 7)),
    Row("SshdAuthPath", "filename", since=(10, 0)),
    Row("SshdSessionPath", "filename", since=(9, 8)),
    Row("StreamLocalBindMask", "bindmask", ALWAYS, "last", (10, 1)),
    Row("StreamLocalBindUnlink", "flag", ALWAYS),
    Row("StrictModes", "flag"),
    Row("Subsystem", "subsystem", (9, 5), "by-name", NEVER),
    Row("SyslogFacility", "facility"),
    Row("TCPKeepAlive", "flag"),
    Row("TrustedUserCAKeys", "filename", ALWAYS),
    Row("UnusedConnectionTimeout", "idletime", ALWAYS, since=(9, 2)),
    Row("UseDNS", "flag"),
    Row("UsePAM", "flag"),
    Row("VersionAddendum", "addendum"),
    Row("X11DisplayOffset", "int", ALWAYS),
    Row("X11Forwarding", "flag", ALWAYS),
    _redhat("X11MaxDisplays", "int", ALWAYS),
    Row("X11UseLocalhost", "flag", ALWAYS),
    Row("XAuthLocation", "filename"),
    # Accepted without effect.
    Row("AFSTokenPassing", "unsupported"),
    Row("AuthorizedKeysFile2", "deprecated", ALWAYS),
    Row("CheckMail", "deprecated"),
    Row("KerberosTgtPassing", "unsupported"),
    Row("KeyRegenerationInterval", "deprecated"),
    Row("PAMAuthenticationViaKbdInt", "deprecated", until=(10, 3)),
    Row("Protocol", "ignored"),
    Row("ReverseMappingCheck", "deprecated"),
    Row("RHostsAuthentication", "deprecated"),
    Row("RhostsRSAAuthentication", "deprecated", ALWAYS),
    Row("RSAAuthentication", "deprecated", ALWAYS),
    Row("ServerKeyBits", "deprecated"),
    Row("UseLogin", "deprecated"),
    Row("UsePrivilegeSeparation", "deprecated"),
    Row("VerifyReverseMapping", "deprecated"),
)
