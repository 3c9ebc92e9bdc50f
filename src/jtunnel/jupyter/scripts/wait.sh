# Waits until a starting server has its runtime file, has ended, or $seconds are over; then the facts.
# Expects $pid, $started, $needle (how a runtime file names our socket or port) and $sock ('' for TCP).

has_runtime_file() {
    look_at "$pid"
    runtime_dirs "$e_dirs" | while IFS= read -r h_dir; do
        for h_file in "$h_dir"/jpserver-*.json "$h_dir"/nbserver-*.json; do
            # Where others can write, a pipe may stand there.
            [ -f "$h_file" ] && [ -O "$h_file" ] && grep -q -s -F -e "$needle" "$h_file" && say "$h_file"
        done
    done | while IFS= read -r h_file; do
        h_pid=${h_file##*server-}
        process_facts "${h_pid%.json}" && [ "$p_uid" = "$uid" ] && say "$h_pid"
    done | grep -q .
}

main() {
    left=$((seconds * 5))
    while is_running "$pid" "$started" && [ "$left" -gt 0 ] && ! has_runtime_file; do
        left=$((left - 1))
        nap
    done
    say_machine
    say_record
    say_process "$pid" || say text "$(tail -n 60 "$log" 2>/dev/null | hex)"
    look_at "$pid"
    say_runtime_files "$e_dirs"
    if [ -n "$sock" ]; then say_socket "$sock"; else say_listeners; fi
}
