# about: sudo asks for no password
# inventory: ansible_become_password=
before_boot() {
    exempt_tester
    echo "$OPERATOR ALL=(ALL) NOPASSWD: ALL" | put /etc/sudoers.d/operator 440
}
