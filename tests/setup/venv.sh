#!/bin/sh
# venv.sh DIRECTORY [PYTHON]: a virtual environment with jtunnel in it, editable, from any Python >= 3.11.
# Installs no tools for development and no JupyterLab: the Makefile does.
set -eu

directory=$1
wanted=${2:-}

fits='import sys; sys.exit(sys.version_info < (3, 11))'
whole='import ensurepip, venv'

python=
without_venv=
for candidate in ${wanted:-python3 python3.14 python3.13 python3.12 python3.11}; do
    "$candidate" -c "$fits" 2>/dev/null || continue
    if "$candidate" -c "$whole" 2>/dev/null; then
        python=$candidate
        break
    fi
    without_venv=$candidate
done

if [ -z "$python" ] && [ -n "$without_venv" ]; then
    # Debian ships venv apart from its Python.
    version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    packages="python3-venv python$version-venv"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $packages" >&2
        log=$(mktemp)
        # shellcheck disable=SC2086  # a list of words
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $packages; } >"$log" 2>&1 || {
            cat "$log" >&2
            exit 1
        }
        rm -f "$log"
        python=$without_venv
    else
        echo "$without_venv has no venv module; install it: sudo apt-get install -y $packages" >&2
        exit 1
    fi
fi
if [ -z "$python" ]; then
    found=$("${wanted:-python3}" --version 2>/dev/null) || found='not found'
    echo "jtunnel needs Python 3.11 or newer (${wanted:-python3}: $found);" \
        "install one and name it: make PYTHON=/path/to/python3.13" >&2
    exit 1
fi

# A tree that was moved or copied has scripts that start the old place's Python.
if [ -e "$directory/bin/pip" ] && ! grep -qF "$PWD/$directory/bin/python" "$directory/bin/pip"; then
    rm -rf "$directory"
fi
if ! "$directory/bin/python" -c "$fits" 2>/dev/null; then
    echo "making $directory with $("$python" --version)"
    "$python" -m venv --clear "$directory"
fi
# Dependency groups, which hold the tools, need pip 25.1.
if ! "$directory/bin/python" -m pip install --help | grep -q -- --group; then
    "$directory/bin/python" -m pip install -qq --disable-pip-version-check --upgrade 'pip>=25.1'
fi
echo "installing jtunnel into $directory"
"$directory/bin/python" -m pip install -qq --disable-pip-version-check --editable .
