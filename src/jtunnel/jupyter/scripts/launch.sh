# Starts one detached process under a lock, and writes its record; knows nothing of Jupyter but how it
# is told its token. Expects $arguments (quoted words), $environment_name (what prepare.sh may have left),
# $interpreter ('' if unknown), $reset (Python), $root, $token, $token_name (JUPYTER_TOKEN_FILE or JUPYTER_TOKEN), $content (the record, without its
# first lines), $passed_over ("PID START" of a recorded process that does not count), $here (1 where a person
# prefers this node to another that has a server of this profile, or '').

# take_lock: a symbolic link is made at once or not at all, and its text names the holder.
take_lock() {
    process_facts $$
    k_mine=$$:$p_start
    k_left=100
    until ln -s "$k_mine" "$lock" 2>/dev/null; do
        [ "$k_left" -gt 0 ] || return 1
        k_left=$((k_left - 1))
        holder_runs || break_lock
        nap
    done
}

holder_runs() {
    k_holder=$(readlink "$lock") && is_running "${k_holder%%:*}" "${k_holder#*:}"
}

# Only one breaks a lock at a time, and looks again: the lock may be a new one by then.
break_lock() {
    [ -z "$(find "$lock.breaker" -prune -mmin +1 2>/dev/null)" ] || rmdir "$lock.breaker"
    mkdir "$lock.breaker" 2>/dev/null || return
    holder_runs || rm -f "$lock"
    rmdir "$lock.breaker"
}

# The token is made once, and kept: browsers and other laptops know it.
keep_token() {
    [ ! -s "$token_file" ] || return 0
    printf %s "$token" >"$token_file.$$" && [ "$(wc -c <"$token_file.$$")" -eq "${#token}" ] &&
        { ln "$token_file.$$" "$token_file" 2>/dev/null || [ -s "$token_file" ] || mv "$token_file.$$" "$token_file"; }
    k_status=$?
    rm -f "$token_file.$$"
    return $k_status
}

# run_detached ENVIRONMENT LOG DIRECTORY UMASK TOKEN_NAME TOKEN INTERPRETER RESET WORD…: becomes the
# server. All is in the positional parameters, since the environment that is read may hold any name.
run_detached() {
    exec >"$2" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    [ ! -s "$1" ] || . "$1"
    rm -f "$1"
    cd "$3" || exit
    umask "$4"
    unset JUPYTER_TOKEN JUPYTER_TOKEN_FILE
    export "$5=$6"
    export "PATH=${9%/*}:$PATH"
    # A background process of some shells ignores SIGINT, and kernels and terminals would inherit that.
    if [ -n "$7" ]; then
        d_interpreter=$7 d_reset=$8
        shift 8
        set -- "$d_interpreter" -c "$d_reset" "$@"
    else
        shift 8
    fi
    if command -v setsid >/dev/null; then exec setsid nohup "$@"; else exec nohup "$@"; fi
}

begin() {
    l_socket=$(field sock)
    [ ! -S "$l_socket" ] || [ ! -O "$l_socket" ] || recorded_runs || rm -f "$l_socket"
    keep_token || { say failed "cannot write $token_file"; return; }
    [ ! -s "$log" ] || mv -f "$log" "$log.1"
    { : >"$log"; } 2>/dev/null || { say failed "cannot write $log"; return; }
    if [ "$token_name" = JUPYTER_TOKEN ]; then l_token=$(cat "$token_file"); else l_token=$token_file; fi
    eval "set -- $arguments"
    run_detached "$environment" "$log" "$root" "$usual_umask" "$token_name" "$l_token" "$interpreter" "$reset" "$@" &
    l_pid=$!
    process_facts "$l_pid"
    if printf '{\n "pid": %s,\n "started": "%s",\n%s\n' "$l_pid" "$p_start" "$content" >"$record.$$" &&
        mv -f "$record.$$" "$record"; then
        [ -z "$here" ] || : >"$preferred"
        say launched "$l_pid" "$p_start"
    else
        kill -KILL "$l_pid"
        l_pid=''
        rm -f "$record.$$"
        say failed "cannot write $record"
    fi
}

begin_or_attach() {
    make_state_dir || { say failed "cannot write $state"; return; }
    lock=$run/jupyter-$key@$node.lock
    take_lock || { say locked "$lock"; return; }
    if recorded_runs && [ "$(field pid) $(field started)" != "$passed_over" ]; then
        say attached
    else
        begin
    fi
    say_record
    rm -f "$lock"
}

main() {
    l_pid=''
    usual_umask=$(umask)
    umask 077
    choose_run_dir
    environment=$run/$environment_name
    begin_or_attach
    [ -n "$l_pid" ] || rm -f "$environment"
}
