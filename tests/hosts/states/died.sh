# about: a run of ours died between write and reload: sshd -T says passwords are off, the running sshd takes them
# The texts in data/ are what the module sshd_config writes; the first line of the main file on 8 is its Include.
# inventory: test_identity=BUILD/keys/operator
after_boot() {
    authorize "$OPERATOR" "$OPERATOR_KEY"
    printf '%s\n' "$DATA_latchkey_drop_in_conf" | drop_in 00-00-latchkey.conf
    if [ "$GEN" = 8 ]; then
        { printf '%s\n' "$DATA_latchkey_include_conf"; cat /etc/ssh/sshd_config; } > /etc/ssh/sshd_config.new
        cat /etc/ssh/sshd_config.new > /etc/ssh/sshd_config
        rm /etc/ssh/sshd_config.new
    fi
}
