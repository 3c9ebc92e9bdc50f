# What scripts need to know of Jupyter: where its files are, and its runtime files.

# jupyter_processes: those of ours whose words name a Jupyter, but for kernels, one pid a line. One grep looks at
# all processes, however many run here; its own words do not match.
jupyter_processes() {
    [ -d "$proc/self" ] || return 0
    set -- $(grep -l -s -z -E -e 'jupyte[r]|noteboo[k]|nbclassi[c]' "$proc"/[0-9]*/cmdline)
    [ $# -eq 0 ] || set -- $(grep -L -s -z -E -e 'ipykerne[l]|kernel-[^/]*\.json' "$@")
    for j_file in "$@"; do
        j_dir=${j_file%/cmdline}
        [ ! -O "$j_dir" ] || say "${j_dir##*/}"
    done
}

# look_at PID: by a process's environment and words, sets $e_dirs (where it may keep its runtime files, one a line),
# $e_prefix (its Python's environment, by the name that it was called by: a venv's is a link), $e_home and $e_words.
look_at() {
    e_dirs='' e_prefix='' e_other='' e_home='' e_before='' e_count=0 e_words=''
    if [ ! -d "$proc/self" ]; then
        e_words=$(ps -o command= -p "$1" 2>/dev/null) && e_words=${e_words%% *}
        case $e_words in /*/bin/*) e_prefix=${e_words%/bin/*} ;; esac
        return 0
    fi
    set -f -- "$1" "$IFS"
    IFS='
'
    for e_line in $(tr '\0\n' '\n ' 2>/dev/null <"$proc/$1/environ"); do
        case $e_line in
        HOME=?*) e_home=${e_line#*=} && e_dir "$1" "$e_home/.local/share/jupyter/runtime" ;;
        JUPYTER_RUNTIME_DIR=?*) e_dir "$1" "${e_line#*=}" ;;
        JUPYTER_DATA_DIR=?*) e_dir "$1" "${e_line#*=}/runtime" ;;
        XDG_DATA_HOME=?*) e_dir "$1" "${e_line#*=}/jupyter/runtime" ;;
        XDG_RUNTIME_DIR=?*) e_dir "$1" "${e_line#*=}/jupyter" ;;
        VIRTUAL_ENV=/*) e_other=${e_line#*=} ;;
        CONDA_PREFIX=/*) e_other=${e_other:-${e_line#*=}} ;;
        esac
    done
    e_words=$(tr '\0\n' '\n ' 2>/dev/null <"$proc/$1/cmdline")
    for e_line in $e_words; do
        e_count=$((e_count + 1))
        case $e_count$e_line in [12]/*/bin/*) e_prefix=${e_prefix:-${e_line%/bin/*}} ;; esac
        case $e_before$e_line in
        --*.runtime_dir=?*) e_dir "$1" "${e_line#*=}" ;;
        --*.runtime_dir?*) e_dir "$1" "$e_line" ;;
        esac
        case $e_line in --*.runtime_dir) e_before=$e_line ;; *) e_before='' ;; esac
    done
    e_prefix=${e_prefix:-$e_other}
    IFS=$2
    set +f
}

e_dir() {
    case $2 in
    /*) e_dirs="$e_dirs$2
" ;;
    *) e_dirs="$e_dirs$proc/$1/cwd/$2
" ;;
    esac
}

# runtime_dirs DIRS: where the Jupyters of all years and platforms keep their runtime files, and DIRS (one a line);
# those that exist, each once.
runtime_dirs() {
    {
        for r_dir in "$JUPYTER_RUNTIME_DIR" "${JUPYTER_DATA_DIR:+$JUPYTER_DATA_DIR/runtime}" \
            "${XDG_DATA_HOME:+$XDG_DATA_HOME/jupyter/runtime}" "$HOME/.local/share/jupyter/runtime" \
            "${XDG_RUNTIME_DIR:-/run/user/$uid}/jupyter" "$HOME/Library/Jupyter/runtime" \
            "$HOME/Library/Application Support/Jupyter/runtime" "$state/runtime" "$1"; do
            say "$r_dir"
        done
    } | LC_ALL=C sort -u | while IFS= read -r r_dir; do
        [ -z "$r_dir" ] || [ ! -d "$r_dir" ] || say "$r_dir"
    done
}

# Where Jupyter reads its config from, one a line: for a server in $root that $interpreter (a Python) runs.
config_dirs() {
    say "$root"
    say "${JUPYTER_CONFIG_DIR:-$HOME/.jupyter}"
    say "${XDG_CONFIG_HOME:-$HOME/.config}/jupyter"
    say "$HOME/Library/Application Support/Jupyter"
    say "$HOME/.local/etc/jupyter"
    case $interpreter in */bin/*) say "${interpreter%/bin/*}/etc/jupyter" ;; esac
    say /usr/local/etc/jupyter
    say /etc/jupyter
    [ -z "$JUPYTER_CONFIG_PATH" ] || say "$JUPYTER_CONFIG_PATH" | tr : '\n'
}

# say_runtime_files DIRS: those of processes that live here and are ours, in the usual places and in DIRS (one a line).
# Others are passed over, never deleted: they may belong to another node that shares this home.
say_runtime_files() {
    runtime_dirs "$1" | while IFS= read -r f_dir; do
        for f_file in "$f_dir"/jpserver-*.json "$f_dir"/nbserver-*.json; do
            f_pid=${f_file##*server-}
            f_pid=${f_pid%.json}
            process_facts "$f_pid" && [ "$p_uid" = "$uid" ] && [ -f "$f_file" ] && [ -r "$f_file" ] && [ -O "$f_file" ] ||
                continue
            f_name=${f_file##*/}
            f_time=$(stat -c %Y "$f_file" 2>/dev/null || stat -f %m "$f_file" 2>/dev/null)
            say runtime "$f_pid" "$p_start" "${f_name%%server-*}" "${f_time:--}" \
                "$(dd bs=65536 count=1 2>/dev/null <"$f_file" | hex)" "$f_file"
            f_sock=$(sed -n 's/.*"sock": *"\([^"]*\)".*/\1/p' "$f_file")
            [ -z "$f_sock" ] || say_socket "$f_sock"
        done
    done
}

# say_clock: the time now, in seconds since 1970 and in ticks since the boot, by which starts become times.
say_clock() {
    c_line=$(cat "$proc/self/stat" 2>/dev/null)
    set -- ${c_line##*\) }
    say clock "$(date +%s)" "${20:--}" "$(getconf CLK_TCK 2>/dev/null || say 100)"
}

# say_server PID: its words, the directory of its Python environment, its home if that is not ours, where its
# output goes, and the sockets that it holds ($v_held: those of all), as far as that can be seen.
say_server() {
    say_process "$1" || return 0
    look_at "$1"
    [ -z "$e_prefix" ] || say prefix "$1" "$e_prefix"
    [ -z "$e_prefix" ] || say real_prefix "$1" "$(cd "$e_prefix" 2>/dev/null && pwd -P)"
    [ -z "$e_home" ] || [ "$e_home" -ef "$HOME" ] || say home "$1" "$e_home"
    v_log=$(log_of "$1") && say output "$1" "$v_log"
    [ -n "$e_words" ] && say "$e_words" | while IFS= read -r v_word; do say word "$1" "$v_word"; done
    [ -r "$proc/$1/fd" ] || return 0
    v_sockets=$(ls -l "$proc/$1/fd" 2>/dev/null | sed -n 's/.*-> socket:\[\([0-9]*\)\]$/\1/p')
    say holds "$1" $v_sockets
    v_held="$v_held$(say $v_sockets) "
}

# say_unix_sockets: those that the processes hold and listen on, by the kernel's numbers.
say_unix_sockets() {
    [ -r "$proc/net/unix" ] || return 0
    sed -n 's/^[^ ]* [0-9A-F]* [0-9A-F]* 00010000 0001 01 *\([0-9]* \/.*\)/\1/p' "$proc/net/unix" |
        while read -r u_inode u_path; do
            case $v_held in *" $u_inode "*) say unix "$u_inode" "$u_path" && say_socket "$u_path" ;; esac
        done
}

# say_kept: which servers are whose here: the records of all profiles on this node.
say_kept() {
    for k_file in "$state"/*@"$node".json; do
        k_name=${k_file##*/}
        [ ! -f "$k_file" ] || say kept "${k_name%@"$node".json}" "$(hex <"$k_file")"
    done
}

say_more() {
    m_pids=$(jupyter_processes)
    m_dirs=''
    for m_pid in $m_pids; do
        look_at "$m_pid"
        m_dirs=$m_dirs$e_dirs
    done
    m_files=$(say_runtime_files "$m_dirs")
    say "$m_files"
    say_clock
    v_held=' '
    for m_pid in $( { say "$m_pids" && say "$m_files" | sed -n 's/^runtime \([0-9]*\) .*/\1/p'; } | sort -u); do
        say_server "$m_pid"
    done
    say_unix_sockets
    say_kept
}
