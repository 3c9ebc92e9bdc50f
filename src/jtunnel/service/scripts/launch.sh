# Starts one detached process under a lock; its record is there before it begins. Of what it starts, this knows
# only how that is told its token. Expects $arguments (quoted words), $environment_name (what prepare.sh may have
# left), $interpreter ('' if unknown), $reset (Python), $root, $token, $token_name (JUPYTER_TOKEN_FILE,
# JUPYTER_TOKEN, or '' for none), $content (the record, without its first lines), $passed_over ("PID START" of a
# recorded process that does not count), $here (1 where a person prefers this node to another that has a server
# of this profile, or '').

# take_lock: a symbolic link is made at once or not at all, and its text names the holder.
take_lock() {
    process_facts $$
    k_mine=$$:$p_start
    k_left=100
    k_failed=0
    until why=$(LC_ALL=C ln -s "$k_mine" "$lock" 2>&1); do
        if [ -h "$lock" ]; then
            holder_runs || break_lock
        else
            k_failed=$((k_failed + 1))
        fi
        k_left=$((k_left - 1))
        [ "$k_left" -gt 0 ] || { say locked "$lock"; return 1; }
        [ "$k_failed" -lt 5 ] || { fail "$lock"; return 1; }
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

# fail PATH: it cannot be written, for the reason that ends the first line of $why.
fail() {
    why=${why%%
*}
    say failed "cannot write $1"
    say why "${why##*: }"
}

# put FILE TEXT: written whole, or not at all.
put() {
    printf '%s\n' "$2" >"$1.$$" && [ "$(cat "$1.$$")" = "$2" ] && mv -f "$1.$$" "$1" && return
    rm -f "$1.$$"
    return 1
} 2>/dev/null

# A home without room would fail the server later, which could not even say so in its log.
has_room() {
    why=$(LC_ALL=C && export LC_ALL && make_state_dir 2>&1) &&
        why=$(LC_ALL=C dd if=/dev/zero of="$state/$key.$$" bs=65536 count=1 2>&1)
    h_status=$?
    rm -f "$state/$key.$$" 2>/dev/null
    return $h_status
}

# The token is made once, and kept: browsers and other laptops know it.
keep_token() {
    [ ! -s "$token_file" ] || return 0
    printf %s "$token" >"$token_file.$$" && [ "$(wc -c <"$token_file.$$")" -eq "${#token}" ] &&
        { ln "$token_file.$$" "$token_file" || [ -s "$token_file" ] || mv "$token_file.$$" "$token_file"; }
    k_status=$?
    rm -f "$token_file.$$"
    return $k_status
} 2>/dev/null

# find_scope: sets $scope to the program that takes a process out of the login where systemd would end it with that
# (logind.conf(5)); fails where the user's own systemd would end then, too.
find_scope() {
    scope=''
    grep -q '/session-[^/]*\.scope' "$proc/self/cgroup" 2>/dev/null || return 0
    s_user=$(id -un)
    s_rules=$(loginctl show-session -p KillUserProcesses -p KillOnlyUsers -p KillExcludeUsers 2>/dev/null)
    s_only='' s_exclude='' s_kill=no
    while IFS='=' read -r s_name s_value; do
        case $s_name in
        KillUserProcesses) s_kill=$s_value ;;
        KillOnlyUsers) s_only=$s_value ;;
        KillExcludeUsers) s_exclude=$s_value ;;
        esac
    done <<EOT
$s_rules
EOT
    [ "$s_kill" = yes ] || return 0
    case " $s_exclude " in *" $s_user "*) return 0 ;; esac
    case " $s_only " in '  ' | *" $s_user "*) ;; *) return 0 ;; esac
    [ "$(loginctl show-user "$uid" -p Linger 2>/dev/null)" = Linger=yes ] && scope=$(command -v systemd-run)
}

# What a kind of service does besides, just before its server begins.
before_launch() {
    :
}

# run_detached ENVIRONMENT LOG DIRECTORY UMASK TOKEN_NAME TOKEN STATE UID BIN WORD…: writes the record of itself, says
# so, and becomes the server. All is in the positional parameters, since the environment that is read may hold
# any name.
run_detached() {
    # $$ is the number of the shell that this one comes from.
    sh -c 'echo "$PPID"' >"$record.$$" && read -r d_pid <"$record.$$" && process_facts "$d_pid" &&
        put "$record" "$(printf '{\n "pid": %s,\n "started": "%s",\n%s' "$d_pid" "$p_start" "$content")" || exit
    say "$d_pid" "$p_start"
    trap '' HUP
    exec >"$2" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    [ ! -s "$1" ] || . "$1"
    rm -f "$1"
    cd "$3" || exit
    unset JUPYTER_TOKEN JUPYTER_TOKEN_FILE
    [ -z "$5" ] || export "$5=$6"
    before_launch "$7" "$8"
    umask "$4"
    [ -n "$XDG_RUNTIME_DIR" ] || [ ! -S "/run/user/$8/bus" ] || export "XDG_RUNTIME_DIR=/run/user/$8"
    [ -z "$9" ] || export "PATH=$9:$PATH"
    shift 9
    exec "$@"
}

# detach WORD…: sets $l_told to the number and start time of the server. A pipe tells when its record is there,
# for it is written by the process itself: whoever ends this script, none is left that nobody knows of.
detach() {
    l_bin=${1%/*}
    # A background process of some shells ignores SIGINT, and kernels and terminals would inherit that.
    [ -z "$interpreter" ] || set -- "$interpreter" -c "$reset" "$@"
    ! command -v nohup >/dev/null || set -- nohup "$@"
    ! command -v setsid >/dev/null || set -- setsid "$@"
    [ -z "$scope" ] || set -- "$scope" --user --scope --quiet -- "$@"
    l_token=$token_file
    [ "$token_name" != JUPYTER_TOKEN ] || l_token=$(cat "$token_file")
    l_told=$(run_detached "$environment" "$log" "$root" "$usual_umask" "$token_name" "$l_token" "$state" "$uid" \
        "$l_bin" "$@" 2>/dev/null &)
}

begin() {
    l_socket=$(field sock)
    [ ! -S "$l_socket" ] || [ ! -O "$l_socket" ] || recorded_runs || rm -f "$l_socket"
    find_scope || { say ends_at_logout; return; }
    l_had_token=''
    [ ! -s "$token_file" ] || l_had_token=1
    why=''
    [ -z "$token_name" ] || keep_token || { fail "$token_file"; return; }
    [ ! -s "$log" ] || mv -f "$log" "$log.1"
    if { true >"$log"; } 2>/dev/null; then
        eval "set -- $arguments"
        detach "$@"
    fi
    if [ -n "$l_told" ]; then
        [ -z "$here" ] || true >"$preferred"
        say launched "$l_told"
    else
        rm -f "$log" "$record.$$"
        [ -n "$l_had_token" ] || rm -f "$token_file"
        fail "$record"
    fi
}

begin_or_attach() {
    has_room || { fail "$state"; return; }
    lock=$run/jupyter-$key@$node.lock
    take_lock || return
    if recorded_runs && [ "$(field pid) $(field started)" != "$passed_over" ]; then
        say attached
    else
        begin
    fi
    say_record
    rm -f "$lock"
}

main() {
    l_told=''
    usual_umask=$(umask)
    umask 077
    choose_run_dir 2>/dev/null
    environment=$run/$environment_name
    begin_or_attach
    [ -n "$l_told" ] || rm -f "$environment"
}
