# Puts $content in place of the state record, unless that has meanwhile become another process's.
# Expects $pid and $started, those which the record may name.

main() {
    umask 077
    if recorded_runs && [ "$(field pid) $(field started)" != "$pid $started" ]; then
        say other
        return
    fi
    make_state_dir || return
    printf '%s\n' "$content" >"$record.$$" && mv -f "$record.$$" "$record" && say written
    rm -f "$record.$$"
}
