# Starts Jupyter as its user would by hand, and waits until it has its runtime file or has ended.
# Expects $arguments (quoted words), $root, $seconds, $interpreter, $reset (Python) and $environment_name (what
# prepare.sh may have left).

# run_detached ENVIRONMENT LOG DIRECTORY HOME WORD…: becomes the server. All is in the positional parameters,
# since the environment that is read may hold any name.
run_detached() {
    exec >>"$2" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    [ ! -s "$1" ] || . "$1"
    rm -f "$1"
    [ -d "$HOME" ] || HOME=$4
    cd "$3" || exit
    shift 4
    unset JUPYTER_TOKEN JUPYTER_TOKEN_FILE
    if command -v setsid >/dev/null; then exec setsid nohup "$@"; else exec nohup "$@"; fi
}

has_runtime_file() {
    runtime_dirs | while IFS= read -r h_dir; do
        [ ! -s "$h_dir/jpserver-$pid.json" ] && [ ! -s "$h_dir/nbserver-$pid.json" ] || say yes
    done | grep -q .
}

main() {
    usual_umask=$(umask)
    umask 077
    choose_run_dir
    # Not among our logs: the server is not one of ours. It is added to, since it may be an older server's, too.
    log=$HOME/jupyter.log
    true >>"$log" || { say failed "cannot write $log"; return; }
    # Without a password, Jupyter prints its token there.
    [ ! -O "$log" ] || chmod go-rwx "$log"
    umask "$usual_umask"
    say log "$log"
    eval "set -- $arguments"
    # A background process of some shells ignores SIGINT, and kernels and terminals would inherit that.
    set -- "$interpreter" -c "$reset" "$@"
    run_detached "$run/$environment_name" "$log" "$root" "$HOME" "$@" &
    pid=$!
    process_facts "$pid"
    started=$p_start
    left=$((seconds * 5))
    while is_running "$pid" "$started" && ! has_runtime_file && [ "$left" -gt 0 ]; do
        left=$((left - 1))
        nap
    done
    if is_running "$pid" "$started" && has_runtime_file; then
        say started "$pid"
    else
        say text "$(tail -n 60 "$log" 2>/dev/null | hex)"
    fi
}
