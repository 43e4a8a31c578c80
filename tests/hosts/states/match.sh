# about: a Match at the end of the main file gives one user (legacy) passwords back
before_boot() {
    account legacy Legacy-Password-3
    cat >> /etc/ssh/sshd_config <<'END'

# the old backup job cannot do keys yet
Match User legacy
    PasswordAuthentication yes
END
}
