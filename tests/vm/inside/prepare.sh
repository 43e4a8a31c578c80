#!/bin/sh
# Run once in the root of a new image, after tests/hosts/inside/prepare.sh: what a machine of its own has and a container
# has not. ROOT_KEY is the tester's public key.
set -eu

own_kernel() {
    # The containers' script masked what must not touch the kernel that they share. This kernel is our own.
    find /etc/systemd/system -maxdepth 1 -type l -lname /dev/null -delete
    for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
        logrotate.timer man-db.timer getty@tty1.service systemd-networkd-wait-online.service selinux-autorelabel-mark.service; do
        ln -sf /dev/null "/etc/systemd/system/$unit"
    done
    for unit in systemd-networkd auditd; do
        ln -sf "/usr/lib/systemd/system/$unit.service" "/etc/systemd/system/multi-user.target.wants/$unit.service"
    done
    echo alma10 > /etc/hostname
    printf '127.0.0.1 localhost\n127.0.1.1 alma10\n' > /etc/hosts
}

disks() {
    # rsyslog's working directory; a container's rsyslog gets by with /.
    mkdir -p /var/lib/rsyslog
    printf '%s\n' '/dev/vda / ext4 defaults 0 1' '/dev/vdb /var ext4 defaults 0 2' > /etc/fstab
}

network() {
    # The addresses of qemu's user network never change, so nothing has to wait for a lease.
    printf '%s\n' '[Match]' 'Name=eth0' '[Network]' 'Address=10.0.2.15/24' 'Gateway=10.0.2.2' 'DNS=10.0.2.3' \
        'LinkLocalAddressing=no' 'IPv6AcceptRA=no' > /etc/systemd/network/eth0.network
}

way_in() {
    # Host keys belong to the image: a tester knows them before the first boot.
    for type in rsa ecdsa ed25519; do /usr/libexec/openssh/sshd-keygen $type; done
    mkdir -p /root/.ssh
    printf '%s\n' "$ROOT_KEY" > /root/.ssh/authorized_keys
    chmod 700 /root/.ssh
    chmod 600 /root/.ssh/authorized_keys
    printf 'PerSourcePenaltyExemptList 10.0.2.2\n' > /etc/ssh/sshd_config.d/99-test-exempt.conf
    chmod 600 /etc/ssh/sshd_config.d/99-test-exempt.conf
    ln -sf /usr/lib/systemd/system/test-exec.service /etc/systemd/system/multi-user.target.wants/test-exec.service
}

selinux() {
    sed -i 's/^SELINUX=.*/SELINUX=enforcing/' /etc/selinux/config
    semodule -n -s default -i /tmp/level.cil
    rm /tmp/level.cil
}

own_kernel
disks
network
way_in
selinux
