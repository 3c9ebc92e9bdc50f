# What every script needs: names of places, and facts about processes, sockets and files, one a line.
# Only make_state_dir and choose_run_dir make anything. POSIX sh; works without /proc too. Expects $key, a file name.

unset node state run record adopted preferred log token_file refusal boot
proc=${jtunnel_proc:-/proc}
uid=$(id -u)
# fish 3 without a locale hands letters that are not ASCII on in pieces.
[ -d "$HOME" ] || eval "HOME=~$(id -un)"
node=$(uname -n)
state=${XDG_DATA_HOME:-$HOME/.local/share}/jtunnel
run=/tmp/jtunnel-$uid
record=$state/$key@$node.json
adopted=$state/$key@$node.adopted
preferred=$state/$key@$node.preferred
log=$state/$key@$node.log
token_file=$state/$key.token
refusal=$state/no-sockets@$node
boot=-
[ ! -r "$proc/sys/kernel/random/boot_id" ] || read -r boot <"$proc/sys/kernel/random/boot_id"

say() {
    printf '%s\n' "$*"
}

# Bytes on standard input as one line of hexadecimal digits, whatever they are.
hex() {
    od -An -v -tx1 | tr -d ' \n'
}

# A fraction of a second where sleep(1) knows fractions.
nap() {
    sleep 0.2 2>/dev/null || sleep 1
}

# process_facts PID: sets p_start and p_uid; fails where no such process runs (a zombie does not).
# The start time is in clock ticks since a named boot, or as ps tells it.
process_facts() {
    p_start='' p_uid=''
    case $1 in '' | *[!0-9]*) return 1 ;; esac
    if [ -d "$proc/self" ]; then
        [ -d "$proc/$1" ] && p_line=$(cat "$proc/$1/stat" 2>/dev/null) || return 1
        while read -r p_word p_value _; do
            [ "$p_word" != Uid: ] || p_uid=$p_value
        done 2>/dev/null <"$proc/$1/status"
        # It may have ended between the two files.
        [ -n "$p_uid" ] || return 1
        set -- ${p_line##*\) }
        case $1 in Z | X | '') return 1 ;; esac
        p_start=${20}@$boot
    else
        kill -0 "$1" 2>/dev/null || return 1
        set -- $(LC_ALL=C TZ=UTC0 ps -o stat= -o uid= -o lstart= -p "$1" 2>/dev/null)
        case $1 in Z* | '') return 1 ;; esac
        p_uid=$2
        shift 2
        p_start=$(IFS=_ && printf %s "$*")
    fi
}

# is_running PID START: the very process, and not another one that got its number.
is_running() {
    process_facts "$1" && [ "$p_start" = "$2" ] && [ "$p_uid" = "$uid" ]
}

say_process() {
    process_facts "$1" && say process "$1" "$p_start" "$p_uid"
}

# field NAME: a number or plain string of our own record, which has one member a line.
field() {
    sed -n 's/^ *"'"$1"'": "\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\1/p' "$record" 2>/dev/null
}

recorded_runs() {
    [ -f "$record" ] && is_running "$(field pid)" "$(field started)"
}

# say_socket PATH: modes and owners of a Unix socket and of its directory, unless it goes meanwhile. A relative
# path leads nowhere from here.
say_socket() {
    case $1 in /*) [ -S "$1" ] || return 0 ;; *) return 0 ;; esac
    s_path=$1
    set -- $(LC_ALL=C ls -ldn "$s_path" 2>/dev/null)
    s_mode=$1 s_owner=$3
    set -- $(LC_ALL=C ls -ldn "${s_path%/*}/" 2>/dev/null)
    [ -z "$s_owner" ] || [ -z "$3" ] || say socket "$s_mode" "$s_owner" "$1" "$3" "$s_path"
}

# say_names: what else this node is called: its full name, for which DNS may take its time, and the address
# that the login came to, as sshd tells it.
say_names() {
    set -- $SSH_CONNECTION
    [ -z "$3" ] || say name "$3"
    # Elsewhere -f may be taken for a name to give the machine.
    case $(uname) in Linux | Darwin | *BSD) ;; *) return ;; esac
    command -v hostname >/dev/null || return
    n_full=$(
        hostname -f 2>/dev/null &
        n_left=10
        while process_facts $! && [ "$n_left" -gt 0 ]; do
            n_left=$((n_left - 1))
            nap
        done
        kill -KILL $! 2>/dev/null
    )
    [ -z "$n_full" ] || [ "$n_full" = "$node" ] || say name "$n_full"
}

# Every listening TCP port, its owner's uid and the kernel's number of the socket; where only lsof can tell, those of this user.
say_listeners() {
    if [ -r "$proc/net/tcp" ]; then
        say listeners proc
        cat "$proc/net/tcp" "$proc/net/tcp6" 2>/dev/null | grep ' 0A ' |
            while read -r _ l_local _ l_state _ _ _ l_uid _ l_inode _; do
                [ "$l_state" != 0A ] || say listen "$l_local" "$l_uid" "$l_inode"
            done
    elif command -v lsof >/dev/null; then
        say listeners lsof
        lsof -nP -w -a -u "$uid" -iTCP -sTCP:LISTEN -Fn 2>/dev/null | sed -n 's/^n/lsof /p'
    fi
}

# log_of PID: the regular file of ours where its errors or, if they go elsewhere, its output is written;
# fails where there is none. $o_path is what to read, which works for a deleted file too.
log_of() {
    o_path='' o_name=''
    if [ -d "$proc/self" ]; then
        for o_path in "$proc/$1/fd/2" "$proc/$1/fd/1"; do
            [ -f "$o_path" ] && [ -O "$o_path" ] && [ -r "$o_path" ] && o_name=$(readlink "$o_path") && break
        done
    elif command -v lsof >/dev/null; then
        for o_fd in 2 1; do
            o_name=$(lsof -nP -w -a -p "$1" -d "$o_fd" -Fn 2>/dev/null | sed -n 's/^n//p')
            [ -f "$o_name" ] && [ -O "$o_name" ] && [ -r "$o_name" ] && o_path=$o_name && break
            o_name=''
        done
    fi
    [ -n "$o_name" ] && say "$o_name"
}

# What a kind of service says besides; its own common.sh may put another in place of it.
say_more() {
    :
}

say_machine() {
    say node "$node"
    say boot "$boot"
    say uid "$uid"
    say log "$log"
}

say_record() {
    [ ! -f "$token_file" ] || say token "$(hex <"$token_file")"
    [ -f "$record" ] || return 0
    say record "$(hex <"$record")"
    [ ! -f "$adopted" ] || say adopted "$(hex <"$adopted")"
    say_process "$(field pid)"
    r_sock=$(field sock)
    [ -z "$r_sock" ] || say_socket "$r_sock"
}

# say_other_records: those of this profile on other nodes that share this home, the newest first; not those
# that are older than the record of this node, or than the day a person preferred this node.
say_other_records() {
    ls -t "$state/$key"@*.json "$preferred" 2>/dev/null | head -n 8 | (
        o_own=$record
        while IFS= read -r record && [ "$record" != "$o_own" ] && [ "$record" != "$preferred" ]; do
            say other "$(hex <"$record")"
            say_process "$(field pid)"
        done
    )
}

# expand_root: makes $root absolute; `~` is the remote home, and where other relative paths begin.
expand_root() {
    case $root in
    '~') root=$HOME ;;
    '~/'*) root=$HOME/${root#'~/'} ;;
    /*) ;;
    *) root=$HOME/$root ;;
    esac
}

make_state_dir() {
    mkdir -p "$state" && chmod 700 "$state"
}

# choose_run_dir: makes the 0700 directory for lock and sockets, on local disk. Where somebody else has
# taken that name, a directory of the home serves for the lock, and $run_kind says that it is no place
# for sockets.
choose_run_dir() {
    run_kind=local
    (umask 077 && mkdir "$run") 2>/dev/null
    set -- $(LC_ALL=C ls -ldn "$run" 2>/dev/null)
    case $1 in
    d*) [ "$3" = "$uid" ] && chmod 700 "$run" && return ;;
    esac
    run_kind=home
    run=$state/run@$node
    (umask 077 && mkdir -p "$run")
}
