# about: bob logged in yesterday by password, sftpjob today by sftp and password from another address, old never
# The lines in sshd's log are its own: bob really logs in, then the line in /var/log/secure is dated back by a day and the
# journal forgets it (as after a reboot); sftpjob's login is a real one from another address of the tester.
# login: bob Bob-Password-3
# login-later: sftpjob Job-Password-4
before_boot() {
    account bob Bob-Password-3
    account sftpjob Job-Password-4
    account old Old-Password-5
}

after_boot() {
    wait_for 'session closed for user bob'
    dated=$(sed "s/^... .. \(.*\)/$(date -d yesterday '+%b %e') \1/" /var/log/secure)
    # In place: rsyslog has the file open.
    printf '%s\n' "$dated" > /var/log/secure
    journalctl -q --sync
    journalctl -q --rotate
    journalctl -q --vacuum-time=1s
    for record in /var/log/wtmp /var/log/lastlog; do if [ -e $record ]; then : > $record; fi; done
}

wait_for() {
    tries=0
    until grep -q "$1" /var/log/secure; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ]; then echo "nothing like '$1' in /var/log/secure" >&2; exit 1; fi
        sleep 0.1
    done
}
