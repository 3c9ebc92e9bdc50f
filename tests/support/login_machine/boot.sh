#!/bin/sh
# boot.sh DIRECTORY TREE...: become the PID 1 of a machine over this system's files, in a mount namespace of its own.
# What it writes goes to memory. The TREEs are shown as they are, read-only. READY=1 comes to DIRECTORY/host/notify.
set -eu

directory=$1
shift

if [ -z "${BOOT_INSIDE:-}" ]; then
    # A cgroup of its own is the root of the machine's.
    mount -t cgroup2 cgroup2 "$directory/cgroup"
    mkdir "$directory/cgroup/${directory##*/}"
    echo $$ >"$directory/cgroup/${directory##*/}/cgroup.procs"
    umount "$directory/cgroup"
    export BOOT_INSIDE=yes
    exec unshare --pid --cgroup --uts --ipc --net --fork --kill-child sh "$0" "$directory" "$@"
fi

fresh() { # PATH MODE: an empty directory in place of what is there
    mkdir -p "$root/$1"
    mount -t tmpfs -o "mode=$2" tmpfs "$root/$1"
}

ip link set lo up
root=$directory/root
mount -t tmpfs tmpfs "$directory/layers"
mkdir "$directory/layers/upper" "$directory/layers/work"
mount -t overlay overlay "$root" \
    -o "lowerdir=/,upperdir=$directory/layers/upper,workdir=$directory/layers/work"

mount -t proc proc "$root/proc"
# Most kernel variables are not of a namespace but of the whole system.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"

fresh dev 755
for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# No unit that this system has enabled, no account's home, no log and no left-over of its.
for path in run etc/systemd/system etc/systemd/user var/log home; do
    fresh "$path" 755
done
for path in dev/shm tmp var/tmp; do
    fresh "$path" 1777
done
# Debian keeps the journal, and so everybody may read what is theirs of it.
mkdir "$root/run/host" "$root/run/old" "$root/var/log/journal"
mount --bind "$directory/host" "$root/run/host"

# An overlay must not be changed below; and everybody has to find the way to a tree.
for tree in "$@"; do
    mkdir -p "$root$tree"
    mount --bind "$tree" "$root$tree"
    mount -o remount,bind,ro "$root$tree"
    parent=${tree%/*}
    while [ -n "$parent" ]; do
        chmod a+rx "$root$parent"
        parent=${parent%/*}
    done
done

cp "$directory"/units/* "$root/etc/systemd/system"
# What would reach beyond the machine, or is of no use in it.
for unit in dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
    sys-fs-fuse-connections.mount systemd-journald-audit.socket systemd-sysusers.service; do
    ln -s /dev/null "$root/etc/systemd/system/$unit"
done
mkdir "$root/etc/systemd/logind.conf.d"
# A user manager ends with the last session, not ten seconds later.
printf '[Login]\nUserStopDelaySec=0\n' >"$root/etc/systemd/logind.conf.d/lab.conf"

cd "$root"
pivot_root . run/old
umount -l /run/old
rmdir /run/old
exec env -i container=jtunnel-test NOTIFY_SOCKET=/run/host/notify PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set -sys_module,-sys_rawio,-sys_time,-syslog,-sys_tty_config \
    /lib/systemd/systemd --system --log-target=journal --show-status=no </dev/null
