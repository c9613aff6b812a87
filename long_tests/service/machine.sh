#!/usr/bin/env bash
# The first process of new namespaces: makes a root directory, in which files of this machine can be changed without effect on
# it, and becomes systemd. Arguments: an empty directory, then directories with a second path each, as SOURCE=PATH.
set -euo pipefail
umask 022
work=$1
shift
mount -t tmpfs -o mode=0755 machine "$work"
mkdir "$work/changes" "$work/work" "$work/root"
mount -t overlay -o "lowerdir=/,upperdir=$work/changes,workdir=$work/work" machine "$work/root"
cd "$work/root"
for pair in "$@"; do
    mkdir -p ".${pair#*=}"
    mount --bind "${pair%%=*}" ".${pair#*=}"
done
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=0755 dev dev
cp -a /dev/full /dev/null /dev/random /dev/tty /dev/urandom /dev/zero dev/
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=0755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mkdir run/before
pivot_root . run/before
umount -l /run/before
# systemd expects that mounts propagate to the services.
mount --make-rshared /
# Only these units, and none of this machine.
mount -t tmpfs -o mode=0755 units /etc/systemd/system
for name in sysinit basic sockets network-online shutdown umount; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$name" > "/etc/systemd/system/$name.target"
done
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin container=test SYSTEMD_UNIT_PATH=/etc/systemd/system \
    SYSTEMD_GENERATOR_PATH=/none SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/none /lib/systemd/systemd --system --unit=basic.target
