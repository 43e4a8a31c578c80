# about: enrolled in an IPA domain: GSSAPI, ChallengeResponse, AuthorizedKeysCommand; the account ada is in no /etc/passwd
# inventory: test_identity=BUILD/keys/ipa
# There is no IPA server: NSS answers from libnss-extrausers, the keys command from a file, the keytab is an empty one.
before_boot() {
    if [ "$GEN" = 8 ]; then
        # ipa-client-install on 8 edits the main file.
        sed -i 's/^ChallengeResponseAuthentication no$/ChallengeResponseAuthentication yes/' /etc/ssh/sshd_config
        ipa_settings | grep -v -e ChallengeResponse -e GSSAPI -e UsePAM >> /etc/ssh/sshd_config
    else
        { echo '# IPA-related configuration changes to sshd_config'; echo; ipa_settings; } | drop_in 04-ipa.conf
    fi
    ada_in_nss_only
    keys_command
    printf '\005\002' | put /etc/krb5.keytab 600
}

ipa_settings() {
    cat <<'END'
PubkeyAuthentication yes
KerberosAuthentication no
GSSAPIAuthentication yes
UsePAM yes
ChallengeResponseAuthentication yes
AuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys
AuthorizedKeysCommandUser nobody
END
}

ada_in_nss_only() {
    sed -i 's/^\(passwd\|group\|shadow\):.*/& extrausers/' /etc/nsswitch.conf
    useradd -m -u 70001 ada
    echo 'ada:Ada-Password-3' | chpasswd -c SHA512
    mkdir -p /var/lib/extrausers
    for table in passwd group shadow; do
        grep '^ada:' "/etc/$table" > "/var/lib/extrausers/$table"
        sed -i '/^ada:/d' "/etc/$table"
    done
    sed -i '/^ada:/d' /etc/gshadow /etc/subuid /etc/subgid 2>/dev/null || true
    chmod 640 /var/lib/extrausers/shadow
    rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-
}

keys_command() {
    echo "$IPA_KEY" | put /usr/share/ipa-test/ada 644
    put /usr/bin/sss_ssh_authorizedkeys 755 <<'END'
#!/bin/sh
# sshd passes the user's name; print the keys that the directory has for it.
if [ -r "/usr/share/ipa-test/$1" ]; then cat "/usr/share/ipa-test/$1"; fi
END
}
