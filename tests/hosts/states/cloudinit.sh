# about: cloud-init with ssh_pwauth: yes has been here
before_boot() {
    if [ "$GEN" = 8 ]; then
        # Without an Include of sshd_config.d cloud-init edits the main file: it changes the keyword where it stands and
        # appends it where it does not. Here the image's builder had commented it out.
        sed -i 's/^PasswordAuthentication yes$/#&/' /etc/ssh/sshd_config
        echo 'PasswordAuthentication yes' >> /etc/ssh/sshd_config
    else
        echo 'PasswordAuthentication yes' | drop_in 50-cloud-init.conf
    fi
}
