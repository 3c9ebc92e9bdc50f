# Ends one process: waits, then TERM, then KILL, each time only if it is still the very same one.
# Expects $pid, $started, $host, $sock ('' for TCP) and $grace, the seconds to wait before TERM.

# wait_for_end SECONDS
wait_for_end() {
    w_left=$(($1 * 5))
    while is_running "$pid" "$started"; do
        [ "$w_left" -gt 0 ] || return 1
        w_left=$((w_left - 1))
        nap
    done
}

end_it() {
    wait_for_end "$grace" && return
    kill -TERM "$pid" 2>/dev/null
    wait_for_end 10 && return
    kill -KILL "$pid" 2>/dev/null
    wait_for_end 5
}

main() {
    [ "$node" = "$host" ] || { say elsewhere "$node"; return; }
    end_it || { say alive; return; }
    if [ -n "$sock" ] && [ -S "$sock" ] && [ -O "$sock" ]; then rm -f "$sock"; fi
    [ "$(field pid) $(field started)" != "$pid $started" ] || rm -f "$record"
    say ended
}
