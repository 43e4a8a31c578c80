# about: sudo asks the operator for another password (root's) than the login does
# inventory: ansible_become_password=Root-Password-0
before_boot() {
    echo "Defaults:$OPERATOR rootpw" | put /etc/sudoers.d/operator 440
}
