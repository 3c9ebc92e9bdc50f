# Looks after the socket file of a remote forward, at $place. sshd leaves it behind when a connection ends, and
# then does not listen there again. What is not certainly a dead socket of this account stays.
# POSIX sh, but for -O, which every shell has. Expects $task and $place.
# shellcheck disable=SC2154,SC3067  # these

main() {
    case $task in
        guard) chmod 600 "$place" && echo guarded ;;
        remove) remove ;;
        clear) explain || remove ;;
    esac
}

# Say why no socket can be made there, unless a dead one is the reason.
explain() {
    parent=${place%/*}
    [ -n "$parent" ] || parent=/
    if [ -h "$place" ] || { [ -e "$place" ] && [ ! -S "$place" ]; }; then
        echo other
    elif [ -e "$place" ]; then
        return 1
    elif [ ! -d "$parent" ]; then
        echo no-directory
    elif [ ! -w "$parent" ] || [ ! -x "$parent" ]; then
        echo read-only
    else
        echo absent
    fi
}

remove() {
    [ -S "$place" ] && [ ! -h "$place" ] || return
    if [ ! -r /proc/net/unix ]; then
        # A channel that is refused is no proof: sshd refuses them all where AllowStreamLocalForwarding is `remote`.
        echo unsure
    elif is_served; then
        echo alive
    elif [ -O "$place" ] && rm -f "$place" && [ ! -e "$place" ]; then
        echo removed
    else
        echo foreign
    fi
}

# Whether a program of this machine listens there (proc(5)).
is_served() {
    while read -r _ _ _ flags _ _ _ name; do
        if [ "$flags" = 00010000 ] && [ "$name" = "$place" ]; then
            return 0
        fi
    done </proc/net/unix
    return 1
}
