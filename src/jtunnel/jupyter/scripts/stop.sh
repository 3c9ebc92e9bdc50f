# Ends one process: waits, then TERM, then KILL, each time only if it is still the very same one.
# Expects $pid, $started, $host, $sock ('' for TCP), $grace, the seconds to wait before TERM,
# and $group: 1 if its whole process group is ours to end, as that of a start that failed.

# wait_for_end SECONDS
wait_for_end() {
    w_left=$(($1 * 5))
    while is_running "$pid" "$started"; do
        [ "$w_left" -gt 0 ] || return 1
        w_left=$((w_left - 1))
        nap
    done
}

signal_it() {
    [ -n "$group" ] && kill "-$1" "-$pid" 2>/dev/null || kill "-$1" "$pid" 2>/dev/null
}

end_it() {
    wait_for_end "$grace" && return
    signal_it TERM
    wait_for_end 10 && return
    signal_it KILL
    wait_for_end 5
}

main() {
    [ "$node" = "$host" ] || { say elsewhere "$node"; return; }
    end_it || { say alive; return; }
    if [ -n "$sock" ] && [ -S "$sock" ] && [ -O "$sock" ]; then rm -f "$sock"; fi
    [ "$(field pid) $(field started)" != "$pid $started" ] || rm -f "$record"
    say ended
}
