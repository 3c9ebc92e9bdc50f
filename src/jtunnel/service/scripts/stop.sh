# Ends one process: waits, then TERM, then KILL, each time only if it is still the very same one, and removes what it
# leaves. Expects $pid, $started, $host, $sock ('' for TCP), $needle (how a runtime file names our socket or port),
# $grace, the seconds to wait before TERM, and $group: 1 if its whole process group is ours to end, as that of a
# start that failed.

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

# group_lives: what the process began in its group outlives it. Where another process has its number by now, the group
# is that one's; one that has ended, and was not asked for its status, is none.
group_lives() {
    kill -0 "-$pid" 2>/dev/null && ! process_facts "$pid" &&
        ps -A -o pgid= -o stat= 2>/dev/null | awk -v group="$pid" '$1 == group && $2 !~ /^[ZX]/ { lives = 1 } END { exit !lives }'
}

end_group() {
    g_left=50
    while group_lives; do
        [ "$g_left" -gt 0 ] || { kill -KILL "-$pid" 2>/dev/null; return; }
        g_left=$((g_left - 1))
        nap
    done
}

end_it() {
    # A group whose first process ended long ago may be another's.
    is_running "$pid" "$started" || return 0
    end_process && [ -n "$group" ] && { end_group; return 0; }
    ! is_running "$pid" "$started"
}

end_process() {
    wait_for_end "$grace" && return
    signal_it TERM
    wait_for_end 10 && return
    signal_it KILL
    wait_for_end 5
}

# What a kind of service looks up besides while its process may live, and removes once that has ended.
before_end() {
    :
}

after_end() {
    :
}

# Other profiles may have adopted it, too.
remove_records() {
    for record in "$state"/*@"$node".json; do
        [ "$(field pid) $(field started)" != "$pid $started" ] || rm -f "$record" "${record%.json}.adopted"
    done
}

main() {
    [ "$node" = "$host" ] || { say elsewhere "$node"; return; }
    before_end
    end_it || { say alive; return; }
    # Another process may have its number by now, and files of its own.
    process_facts "$pid" || after_end
    if [ -n "$sock" ] && [ -S "$sock" ] && [ -O "$sock" ]; then rm -f "$sock"; fi
    remove_records
    say ended
}
