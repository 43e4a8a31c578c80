# about: sudo asks the operator for no password
# inventory: ansible_become_password=
before_boot() {
    echo "$OPERATOR ALL=(ALL) NOPASSWD: ALL" | put /etc/sudoers.d/operator 440
}
