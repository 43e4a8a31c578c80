# about: a run of ours died between write and reload: sshd -T says passwords are off, the running sshd takes them
# The texts in data/ are what the module sshd_config writes; on 8 an Include stands above the main file's first directive.
# inventory: test_identity=BUILD/keys/operator
after_boot() {
    authorize "$OPERATOR" "$OPERATOR_KEY"
    if [ "$GEN" = 8 ]; then
        printf '%s\n' "$DATA_latchkey_drop_in_8_conf" | drop_in 00-00-latchkey.conf
        chmod 700 /etc/ssh/sshd_config.d
        sed -i '0,/^HostKey/s,^HostKey,Include /etc/ssh/sshd_config.d/00-00-latchkey.conf\nHostKey,' /etc/ssh/sshd_config
    else
        printf '%s\n' "$DATA_latchkey_drop_in_conf" | drop_in 00-00-latchkey.conf
    fi
}
