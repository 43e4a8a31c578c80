# Helpers of all start states; every host gets `always_before_boot` first.

# put PATH MODE < text: write a root-owned file.
put() {
    mkdir -p "$(dirname "$1")"
    cat > "$1"
    chmod "$2" "$1"
}

# drop_in NAME < text: a file in sshd_config.d (0600 in a 0700 directory, as AlmaLinux has it).
drop_in() {
    if [ ! -d /etc/ssh/sshd_config.d ]; then mkdir -m 700 /etc/ssh/sshd_config.d; fi
    put "/etc/ssh/sshd_config.d/$1" 600
}

# authorize USER 'KEY LINE': as ssh-copy-id leaves it.
authorize() {
    home=$(getent passwd "$1" | cut -d: -f6)
    mkdir -p "$home/.ssh"
    printf '%s\n' "$2" >> "$home/.ssh/authorized_keys"
    chmod 700 "$home/.ssh"
    chmod 600 "$home/.ssh/authorized_keys"
    chown -R "$1:" "$home/.ssh"
}

# account NAME PASSWORD: an ordinary account that can log in by password.
account() {
    useradd -m "$1"
    printf '%s:%s\n' "$1" "$2" | chpasswd -c SHA512
}

# Tests log in often and wrongly on purpose: on sshd 9.8 and newer the tester would be locked out by penalties.
# The name sorts last, so it is no obstacle to anybody's first-value-wins settings.
exempt_tester() {
    if [ "$GEN" = 10 ]; then echo "PerSourcePenaltyExemptList $TESTER" | drop_in 99-test-exempt.conf; fi
}
