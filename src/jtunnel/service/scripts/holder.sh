# Who listens at a port or Unix socket of this node, and the facts that a search wants besides. Changes nothing.
# Expects $root, $pid and $started ('' or a process to wait for), $port and $sock (one of them, or both ''), and
# $seconds to wait until somebody listens there or that process has ended.

# inodes: those of the sockets that listen there.
inodes() {
    if [ -n "$port" ]; then
        i_port=$(printf %04X "$port")
        cat "$proc/net/tcp" "$proc/net/tcp6" 2>/dev/null | while read -r _ i_local _ i_state _ _ _ _ _ i_inode _; do
            case $i_state$i_local in 0A*:"$i_port") say "$i_inode" ;; esac
        done
    elif [ -n "$sock" ]; then
        # Flag 10000 is a listener's.
        while read -r _ _ _ i_flags _ _ i_inode i_path; do
            [ "$i_path" != "$sock" ] || [ "$i_flags" != 00010000 ] || say "$i_inode"
        done 2>/dev/null <"$proc/net/unix"
    fi
}

# holders: our own processes that hold one of those sockets, the first that began first.
holders() {
    if [ -r "$proc/net/tcp" ]; then
        h_inodes=$(inodes)
        [ -n "$h_inodes" ] || return
        # One ls for all processes, since there may be thousands; those of others it cannot read.
        ls -l "$proc"/[0-9]*/fd 2>/dev/null | awk -v inodes="$h_inodes" '
            BEGIN { count = split(inodes, list); for (i = 1; i <= count; i++) wanted["socket:[" list[i] "]"] }
            /:$/ && $1 ~ "/fd:$" { pid = $1; sub("/fd:$", "", pid); sub(".*/", "", pid) }
            $NF in wanted { print pid }' | sort -un
    elif [ -n "$port" ]; then
        lsof -nP -w -t -a -u "$uid" -iTCP:"$port" -sTCP:LISTEN 2>/dev/null
    elif [ -n "$sock" ]; then
        lsof -w -t -a -u "$uid" "$sock" 2>/dev/null
    fi
}

listens() {
    if [ -r "$proc/net/tcp" ]; then inodes | grep -q .; else holders | grep -q .; fi
}

# A worker may hold its parent's socket; the parent is the server.
say_holder() {
    o_pids=$(holders | sort -n)
    for o_pid in $o_pids; do
        o_parent=$(ps -o ppid= -p "$o_pid" 2>/dev/null | tr -d ' ')
        case "
$o_pids
" in *"
$o_parent
"*) continue ;; esac
        process_facts "$o_pid" && [ "$p_uid" = "$uid" ] && say holder "$o_pid" && say process "$o_pid" "$p_start" "$p_uid"
    done
}

# remains: of the process group that it began some process runs, though it has ended itself: a start script's server.
remains() {
    [ -n "$pid" ] && kill -0 "-$pid" 2>/dev/null &&
        ps -A -o pgid= -o stat= 2>/dev/null | awk -v group="$pid" '$1 == group && $2 !~ /^[ZX]/ { lives = 1 } END { exit !lives }'
}

# waits: it may come to listen. What puts itself into the background ends without a word, a moment before it listens.
waits() {
    is_running "$pid" "$started" || remains && return
    [ -n "$pid" ] && [ "$silent" -gt 0 ] && [ ! -s "$log" ] || return 1
    silent=$((silent - 1))
}

main() {
    expand_root
    case $sock in '~/'*) sock=$HOME/${sock#'~/'} ;; esac
    left=$((seconds * 5))
    silent=25
    while [ "$left" -gt 0 ] && ! listens && waits; do
        left=$((left - 1))
        nap
    done
    say_machine
    say root "$root"
    say_record
    ! remains || say remains
    say_process "$pid" || [ -z "$pid" ] || say text "$(tail -n 60 "$log" 2>/dev/null | hex)"
    recorded_runs || {
        say_names
        say_other_records
    }
    say_listeners
    [ -z "$sock" ] || {
        say sock "$sock"
        say_socket "$sock"
    }
    say_holder
}
