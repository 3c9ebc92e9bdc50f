# Finds the program, its environment and versions, the directory, and what else a start depends on.
# Expects $program, $others (more names, or ''), $root, $port ('' for any), $environment_name,
# $nonce and $versions (Python).

# ask_shell ARGUMENT…: the environment that a login shell makes, kept in $environment until launch.sh.
# The line that it is fed means the same to sh, csh and fish; all that rc files print is dropped, and
# those that read standard input get the empty lines.
ask_shell() {
    a_session=$(command -v setsid)
    printf '\n\n\n\n\n\n\n\n%s\n' "exec /bin/sh -c 'echo; echo begin-$nonce; export -p; echo end-$nonce'" |
        $a_session "${SHELL:-/bin/sh}" "$@" >"$environment.raw" 2>/dev/null &
    a_pid=$!
    a_left=75
    while process_facts "$a_pid" && [ "$a_left" -gt 0 ]; do
        a_left=$((a_left - 1))
        nap
    done
    kill -KILL "${a_session:+-}$a_pid" 2>/dev/null
    sed -n "/^begin-$nonce\$/,/^end-$nonce\$/p" "$environment.raw" | grep -v "^[a-z]*-$nonce\$" >"$environment"
    rm -f "$environment.raw"
    [ -s "$environment" ]
}

# interpreter_of FILE: sets $interpreter to the Python that runs this script, or to ''.
interpreter_of() {
    interpreter=''
    case ${1##*/} in python*) interpreter=$1 && return ;; esac
    i_first='' i_second=''
    { IFS= read -r i_first && IFS= read -r i_second; } 2>/dev/null <"$1"
    case $i_first in
    '#!'*/env' python'*) interpreter=$(command -v "${i_first##* }") ;;
    '#!'*python*) interpreter=${i_first#??} interpreter=${interpreter# } interpreter=${interpreter%% *} ;;
    '#!/bin/sh') # pip writes this form where the path is too long or has spaces
        interpreter=${i_second#*exec\' }
        case $interpreter in
        \"*) interpreter=${interpreter#?} interpreter=${interpreter%%\"*} ;;
        *) interpreter=${interpreter%% *} ;;
        esac ;;
    esac
    [ -x "$interpreter" ] || interpreter=${1%/*}/python
    [ -x "$interpreter" ] || interpreter=''
}

# say_settings: the directory of a Jupyter config file that sets tornado_settings.
say_settings() (
    set -f
    IFS=:
    set -- "$root" "${JUPYTER_CONFIG_DIR:-$HOME/.jupyter}" "${XDG_CONFIG_HOME:-$HOME/.config}/jupyter" \
        "$HOME/Library/Application Support/Jupyter" "$HOME/.local/etc/jupyter" "${interpreter%/bin/*}/etc/jupyter" \
        /usr/local/etc/jupyter /etc/jupyter $JUPYTER_CONFIG_PATH
    set +f
    unset IFS
    for s_dir in "$@"; do
        grep -q -s -e '^[^#]*tornado_settings' "$s_dir"/jupyter*config.py "$s_dir"/jupyter*config.json \
            "$s_dir"/jupyter*config.d/*.json && say tornado_settings "$s_dir" && return
    done
)

# try_names PLACE: a name that is found and that brings a Jupyter, as far as its Python can tell.
try_names() {
    for t_name in "$program" $others; do
        case $t_name in '~/'*) t_name=$HOME/${t_name#'~/'} ;; esac
        t_found=$(command -v "$t_name") || continue
        case $t_found in /*) ;; *) continue ;; esac
        interpreter_of "$t_found"
        t_versions=''
        if [ -n "$interpreter" ]; then
            t_versions=$(cd / && "$interpreter" -c "$versions" 2>/dev/null)
            [ -n "$t_versions" ] || [ -z "$others" ] || continue
        fi
        say program "$t_found"
        say place "$1"
        say interpreter "$interpreter"
        [ -z "$t_versions" ] || say "$t_versions"
        say_settings
        return 0
    done
    return 1
}

in_login_environment() (
    # What is read may hold any name, ours too.
    set -- "$program" "$others" "$versions" "$root"
    . "$environment"
    program=$1 others=$2 versions=$3 root=$4
    try_names login
)

in_usual_places() (
    for u_dir in "$HOME/.local" "$HOME/miniforge3" "$HOME/mambaforge" "$HOME/micromamba" "$HOME/miniconda3" \
        "$HOME/anaconda3" /opt/conda /opt/homebrew /usr/local; do
        PATH=$u_dir/bin:$PATH
    done
    try_names usual
)

find_program() {
    try_names path && return
    ask_shell -l && in_login_environment && return
    # Most rc files give up early unless the shell is interactive, before what conda wrote there. csh and
    # fish read theirs anyway, and a shell that did not come back in time will not do so now.
    case $a_left${SHELL##*/} in
    0* | *csh | *fish) ;;
    *) ask_shell -l -i && in_login_environment && return ;;
    esac
    rm -f "$environment"
    in_usual_places || say missing "${SHELL:-/bin/sh}" "$PATH"
}

# say_port_owner PORT: whose process listens there, and which one where that can be seen.
say_port_owner() {
    if [ -r "$proc/net/tcp" ]; then
        o_port=$(printf %04X "$1")
        set -- $(cat "$proc/net/tcp" "$proc/net/tcp6" 2>/dev/null |
            while read -r _ l_local _ l_state _ _ _ l_uid _ l_inode _; do
                case $l_state$l_local in 0A*:"$o_port") say "$l_uid" "$l_inode" ;; esac
            done)
        [ -n "$1" ] || return
        o_pid=$(for o_dir in "$proc"/[0-9]*; do
            [ -O "$o_dir" ] && ls -l "$o_dir/fd" 2>/dev/null | grep -q "socket:.$2]" && say "${o_dir##*/}" && break
        done)
        say taken "$(id -nu "$1" 2>/dev/null || say "uid $1")" "${o_pid:--}"
    elif command -v lsof >/dev/null; then
        o_pid=$(lsof -nP -w -t -iTCP:"$1" -sTCP:LISTEN | sed 1q)
        [ -z "$o_pid" ] || say taken $(ps -o user= -p "$o_pid") "$o_pid"
    fi
}

main() {
    umask 077
    make_state_dir
    choose_run_dir
    environment=$run/$environment_name
    find "$run" -name '*.env*' -mmin +60 -exec rm -f {} + 2>/dev/null
    expand_root
    say_machine
    say run "$run_kind" "$run"
    say_names
    say shell "${SHELL:-/bin/sh}"
    # Not for good: sshd's configuration may have changed since.
    [ -z "$(find "$refusal" -prune -mtime -7 2>/dev/null)" ] || say sockets refused
    [ -d "$root" ] && [ -x "$root" ] || { say no_root "$root"; return; }
    say root "$root"
    taken=''
    [ -z "$port" ] || taken=$(say_port_owner "$port")
    [ -z "$taken" ] || { say "$taken"; return; }
    find_program
    say_listeners
}
