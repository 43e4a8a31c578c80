#!/bin/sh
# Run once in the root of a new image, after rootfs/ has been copied over it. GEN is 8, 9 or 10, KIND almalinux or standin.
# Everything that turns a Debian user land into something laid out like AlmaLinux and is more than a file is here.
set -eu
GEN=$1 KIND=$2

level_debian() {
    # Names: what AlmaLinux looks for must be there, what only Debian has must not.
    rm -f /etc/debian_version /etc/os-release
    ln -s ../usr/lib/os-release /etc/os-release
    ln -sf almalinux-release /etc/redhat-release
    ln -sf almalinux-release /etc/system-release
    mkdir -p /usr/libexec/openssh
    ln -sf /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server
    if [ -d /usr/lib/locale/C.utf8 ] || [ -d /usr/lib/locale/C.UTF-8 ]; then echo 'LANG=C.UTF-8' > /etc/locale.conf; fi

    # Debian's ssh units and the listeners that systemd makes by itself give way to units shaped like AlmaLinux's.
    for unit in ssh.service ssh.socket ssh@.service sshd-keygen.service; do
        rm -f "/usr/lib/systemd/system/$unit" "/lib/systemd/system/$unit" "/etc/systemd/system/$unit"
        rm -rf "/etc/systemd/system/$unit.wants" "/etc/systemd/system/multi-user.target.wants/$unit"
    done
    rm -rf /etc/systemd/system/sshd.service /etc/systemd/system/sshd.service.wants /etc/systemd/system/sshd@.service.wants
    rm -f /usr/lib/systemd/system-generators/systemd-ssh-generator /etc/rsyslog.d/* /etc/init.d/ssh
    rm -f /etc/ssh/ssh_host_* /etc/ssh/ssh_config.d/* /var/log/*.log
    if [ "$GEN" = 8 ]; then rm -rf /etc/ssh/sshd_config.d; fi

    # EL's names of accounts and defaults of useradd.
    if [ "$GEN" != 10 ]; then groupadd -r ssh_keys; fi
    sed -i -e 's/^#\?HOME_MODE.*//' -e 's/^UMASK.*/UMASK 022/' /etc/login.defs
    echo 'HOME_MODE 0700' >> /etc/login.defs
    sed -i -e 's/^SHELL=.*/SHELL=\/bin\/bash/' /etc/default/useradd
}

# AlmaLinux 8 has one Python, /usr/libexec/platform-python 3.6. Debian's own stays for firewalld, out of sight of Ansible.
level_python_8() {
    private=/usr/lib/debian-python
    mkdir -p $private
    mv /usr/bin/python3.9 $private/python3.9
    sed -i "1s|^#! */usr/bin/python3|#!$private/python3.9|" /usr/sbin/firewalld /usr/bin/firewall-cmd \
        /usr/bin/firewall-offline-cmd
    rm -f /usr/bin/python3 /usr/bin/py3clean /usr/bin/py3compile /usr/bin/py3versions /usr/bin/pydoc3* /usr/bin/pygettext3*
    if [ -x /opt/py36/bin/python3.6 ]; then
        ln -sf /opt/py36/bin/python3.6 /usr/libexec/platform-python
    else
        ln -sf $private/python3.9 /usr/libexec/platform-python
    fi
}

accounts() {
    getent group wheel >/dev/null || groupadd -g 10 wheel 2>/dev/null || groupadd -r wheel
    useradd -m -u 1000 -G wheel -c 'The operator' admin
    useradd -m -u 1001 -c 'An ordinary user' alice
    printf 'root:%s\nadmin:%s\nalice:%s\n' "$ROOT_PASSWORD" "$ADMIN_PASSWORD" "$ALICE_PASSWORD" | chpasswd -c SHA512
}

modes() {
    chmod 600 /etc/ssh/sshd_config
    if [ -d /etc/ssh/sshd_config.d ]; then chmod 700 /etc/ssh/sshd_config.d; chmod 600 /etc/ssh/sshd_config.d/*; fi
    chmod 640 /etc/sysconfig/sshd
    chmod 440 /etc/sudoers
    # Debian's sudo marks the home of a user whose group is called admin; AlmaLinux's does not.
    if [ "$GEN" != 8 ]; then echo 'Defaults !admin_flag' > /etc/sudoers.d/no-admin-flag; chmod 440 /etc/sudoers.d/no-admin-flag; fi
    chmod 550 /root
}

units() {
    # A privileged container shares the machine's kernel: nothing in it may set sysctls, modules or devices.
    for unit in systemd-sysctl.service systemd-modules-load.service systemd-binfmt.service systemd-remount-fs.service \
        proc-sys-fs-binfmt_misc.automount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
        sys-fs-fuse-connections.mount dev-hugepages.mount kmod-static-nodes.service systemd-tmpfiles-setup-dev.service \
        systemd-tmpfiles-setup-dev-early.service systemd-udevd.service systemd-random-seed.service \
        systemd-firstboot.service getty.target console-getty.service systemd-vconsole-setup.service \
        apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer logrotate.timer \
        dnf-makecache.timer motd-news.timer; do
        ln -sf /dev/null "/etc/systemd/system/$unit"
    done
    wants=/etc/systemd/system/multi-user.target.wants
    mkdir -p $wants
    for unit in sshd rsyslog firewalld; do ln -sf "/usr/lib/systemd/system/$unit.service" "$wants/$unit.service"; done
    ln -sf /usr/lib/systemd/system/multi-user.target /etc/systemd/system/default.target
    : > /etc/machine-id
}

if [ "$KIND" = standin ]; then
    level_debian
    if [ "$GEN" = 8 ]; then level_python_8; else ln -sf /usr/bin/python3 /usr/libexec/platform-python; fi
fi
accounts
if [ "$KIND" = standin ]; then modes; fi
units
