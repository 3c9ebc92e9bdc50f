#!/bin/sh
# jupyter.sh [current|lab3|notebook6]: a Jupyter of the tests' remote side, of today or as old hosts have it. Made
# once for each set of requirements, in a place that any user can read and run, apart from jtunnel's own
# environment. Prints its bin directory.
set -eu
umask 022

fail() {
    echo "$1" >&2
    exit 1
}

kind=${1:-current}
case $kind in
current) requirements='jupyterlab>=4,<5 ipykernel>=6,<8' ;;
# The last before jupyter_server 2, and the last of the classic notebook, without any lab.
lab3) requirements='jupyter_server==1.24.0 jupyterlab>=3.6,<4 ipykernel>=6,<7 pyzmq<28 tornado<7' ;;
notebook6) requirements='notebook==6.5.7 ipykernel>=6,<7 pyzmq<28 tornado<7' ;;
*) fail "there is no $kind: current, lab3 or notebook6" ;;
esac

usable() { # PYTHON: can whoever will run the server use it?
    if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
        setpriv --reuid=65534 --regid=65534 --clear-groups "$1" -c 'import ensurepip, venv' 2>/dev/null
    else
        "$1" -c 'import ensurepip, venv' 2>/dev/null
    fi
}

python=
for candidate in /usr/bin/python3 /usr/local/bin/python3 "$(command -v python3)"; do
    if usable "$candidate"; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail 'no Python with venv that every user can run; install it: sudo apt-get install -y python3-venv'

if [ "$(id -u)" = 0 ]; then
    cache=/var/tmp/jtunnel-tests-0
else
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/jtunnel-tests
fi
mkdir -p "$cache"
# /var/tmp is everyone's: another user may have made the directory first.
if [ ! -O "$cache" ] || [ -L "$cache" ]; then
    fail "$cache belongs to somebody else; remove it"
fi

key=$(printf '%s %s' "$requirements" "$("$python" -VV)" | cksum | cut -d ' ' -f 1)
directory=$cache/jupyter-$key
if command -v flock >/dev/null; then
    exec 9>"$directory.lock"
    flock 9
fi
if [ ! -e "$directory/complete" ]; then
    echo "making the tests' Jupyter ($kind) in $directory" >&2
    rm -rf "$directory"
    "$python" -m venv "$directory" >&2
    # shellcheck disable=SC2086  # a list of words
    "$directory/bin/python" -m pip install -qq --disable-pip-version-check $requirements >&2
    touch "$directory/complete"
fi
echo "$directory/bin"
