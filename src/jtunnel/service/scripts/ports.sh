# Who listens where.

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
