# Puts $content in place of the state record, unless that has meanwhile become another process's; and $secret
# ('' for none), the token of an adopted server that wrote down none itself, beside it. Expects $pid and $started,
# those which the record may name, and $replace (1: whichever it names).

keep_secret() {
    [ -n "$secret" ] || { rm -f "$adopted"; return; }
    printf '%s\n' "$pid $started" "$secret" >"$adopted.$$" && mv -f "$adopted.$$" "$adopted"
}

main() {
    umask 077
    if [ -z "$replace" ] && recorded_runs && [ "$(field pid) $(field started)" != "$pid $started" ]; then
        say other
        return
    fi
    make_state_dir || return
    printf '%s\n' "$content" >"$record.$$" && keep_secret && mv -f "$record.$$" "$record" && say written
    rm -f "$record.$$" "$adopted.$$"
}
