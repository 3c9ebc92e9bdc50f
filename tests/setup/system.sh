#!/bin/sh
# The programs that tests and benchmarks run beside jtunnel: installed as root on Debian and Ubuntu, else named.
# Starts no service. Fails only where sshd or its client is missing: other tests name the program they lack.
set -eu

PATH=$PATH:/usr/sbin:/sbin
export PATH

missing=
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || missing="$missing $2"
}

need sshd openssh-server
need ssh openssh-client
need chromium chromium
need dash dash
need tcsh tcsh
need fish fish
need ksh ksh
need autossh autossh
need zsh zsh
need tmux tmux
# The man page is looked at as every system does.
need groff groff-base
need mandoc mandoc
need man man-db
# What goes through forwards: a SOCKS client, and a real server behind a Unix socket.
need curl curl
need psql postgresql-client
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$missing postgresql"
need busybox busybox
if [ "$(uname)" = Linux ]; then
    need ip iproute2
    # The unit file is held against systemd's own view of it.
    need systemd-analyze systemd
    need systemctl systemd
    if [ "$(id -u)" = 0 ]; then
        # The outage lab: NAT between network namespaces, and a small library that lets clocks jump.
        need nft nftables
        need conntrack conntrack
        need cc gcc
        [ -e /usr/include/time.h ] || missing="$missing libc6-dev"
        # The login machine: a whole systemd in namespaces, with logind, user managers and PAM.
        need pgrep procps
        [ -x /lib/systemd/systemd ] || missing="$missing systemd"
        [ -e /usr/share/pam-configs/systemd ] || missing="$missing libpam-systemd"
        [ -e /usr/lib/systemd/user/dbus.socket ] || missing="$missing dbus dbus-user-session"
    fi
    # The tests' JupyterLab runs as another user, who may not be able to reach any other Python.
    [ "$(id -u)" != 0 ] || /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing"
    # Where there is no policy, installing openssh-server would start it.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    apt-get update -qq >"$log" 2>&1 || cat "$log" >&2
    for package in $missing; do
        # One by one: a distribution that lacks one of them still gets the others.
        apt-get install -y -qq --no-install-recommends "$package" >"$log" 2>&1 || {
            echo "$package could not be installed:" >&2
            tail -n 5 "$log" >&2
        }
    done
    rm -f "$log"
elif command -v apt-get >/dev/null; then
    echo "the tests lack some programs; install them: sudo apt-get install -y --no-install-recommends$missing" >&2
elif command -v brew >/dev/null; then
    echo "the tests lack some programs; install what Homebrew has of them:$missing" >&2
else
    echo "the tests lack some programs; install what your system calls:$missing" >&2
fi

if ! command -v sshd >/dev/null || ! command -v ssh >/dev/null; then
    echo "without OpenSSH's sshd and ssh the tests cannot run" >&2
    exit 1
fi
