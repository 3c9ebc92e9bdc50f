# The sshd process that serves this connection, and the end of the one that served an earlier one of ours.
# POSIX sh; works without /proc too. Expects $task (note or end) and, to end one, $node, $pid and $started.
# shellcheck disable=SC2154  # these

unset boot here proc uid
proc=${jtunnel_proc:-/proc}
uid=$(id -u)
here=$(uname -n)
boot=-
[ ! -r "$proc/sys/kernel/random/boot_id" ] || read -r boot <"$proc/sys/kernel/random/boot_id"

# facts PID: sets p_name, p_parent and p_start; fails, and sets no parent, where this user runs no such process.
facts() {
    p_name='' p_parent='' p_start='' p_uid=''
    case $1 in '' | *[!0-9]* | 0 | 1) return 1 ;; esac
    if [ -d "$proc/self" ]; then
        p_line=$(cat "$proc/$1/stat" 2>/dev/null) && [ -n "$p_line" ] || return 1
        while read -r p_word p_value _; do
            [ "$p_word" != Uid: ] || p_uid=$p_value
        done 2>/dev/null <"$proc/$1/status"
        p_name=${p_line#*'('}
        p_name=${p_name%')'*}
        # shellcheck disable=SC2086  # a list of words
        set -- ${p_line##*') '}
        case $1 in Z | X | '') return 1 ;; esac
        p_parent=$2
        p_start=${20}@$boot
    else
        # shellcheck disable=SC2046  # a list of words
        set -- $(LC_ALL=C TZ=UTC0 ps -o stat= -o uid= -o ppid= -o lstart= -o comm= -p "$1" 2>/dev/null)
        case $1 in Z* | '') return 1 ;; esac
        p_uid=$2 p_parent=$3 p_start=$4_$5_$6_$7_$8 p_name=${9##*/}
    fi
    [ "$p_uid" = "$uid" ] || { p_parent='' && return 1; }
}

# is_sshd PID: a process of sshd's that runs as this user, and thus serves one connection of theirs.
is_sshd() {
    facts "$1" && case $p_name in sshd*) ;; *) return 1 ;; esac
}

# find_own: sets own to the nearest such process above this shell; a login shell may be in between.
find_own() {
    own=$PPID
    until is_sshd "$own"; do
        own=$p_parent
        [ -n "$own" ] || return 1
    done
}

is_it() {
    is_sshd "$pid" && [ "$p_start" = "$started" ]
}

# wait_end TIMES: until that very process has ended.
wait_end() {
    w_left=$1
    while is_it; do
        [ "$w_left" -gt 0 ] || return 1
        w_left=$((w_left - 1))
        sleep 0.1 2>/dev/null || sleep 1
    done
}

note() {
    find_own && echo "session $own $p_start $here"
}

end() {
    [ "$node" = "$here" ] && is_it || return 0
    find_own && [ "$own" != "$pid" ] || return 0
    is_it && kill -TERM "$pid" 2>/dev/null || return 0
    wait_end 20 || { is_it && kill -KILL "$pid" 2>/dev/null; wait_end 10; } && echo ended
}

main() {
    case $task in note) note ;; end) end ;; esac
}
