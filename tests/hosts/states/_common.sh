# Helpers of all start states. Before the boot every host gets `exempt_tester; before_boot`.

before_boot() { :; }

# Tests log in often, and wrongly on purpose: sshd 9.8 and newer would lock the tester out. The name sorts last, so that it
# cannot win over anybody's setting.
exempt_tester() {
    if [ "$GEN" = 10 ]; then echo "PerSourcePenaltyExemptList $TESTER" | drop_in 99-test-exempt.conf; fi
}

# put PATH MODE < text: write a root-owned file.
put() {
    mkdir -p "$(dirname "$1")"
    cat > "$1"
    chmod "$2" "$1"
}

# drop_in NAME < text: a file in sshd_config.d (0600 in a 0700 directory, as AlmaLinux has them).
drop_in() {
    if [ ! -d /etc/ssh/sshd_config.d ]; then mkdir -m 700 /etc/ssh/sshd_config.d; fi
    put "/etc/ssh/sshd_config.d/$1" 600
}

# account NAME PASSWORD: an ordinary account that can log in by password.
account() {
    useradd -m "$1"
    printf '%s:%s\n' "$1" "$2" | chpasswd -c SHA512
}

# authorize NAME 'KEY LINE': as ssh-copy-id leaves it.
authorize() {
    home=$(getent passwd "$1" | cut -d: -f6)
    mkdir -p "$home/.ssh"
    printf '%s\n' "$2" >> "$home/.ssh/authorized_keys"
    chmod 700 "$home/.ssh"
    chmod 600 "$home/.ssh/authorized_keys"
    chown -R "$1:" "$home/.ssh"
}
