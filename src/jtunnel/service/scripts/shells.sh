# The environment of a start, as a file of sh commands, $environment: what a login shell makes, with the profile's
# setup lines and variables. Expects $environment, $nonce, $variables (`export` lines), and $setup_sh, $setup_csh
# and $setup_fish: what to feed a shell of that family, or ''; $setup_s: the seconds that it may take.

# What stays ours when an environment is read, which may hold any name.
ours='proc uid node boot state run run_kind environment nonce program others root distributions versions variables
    python conda_env venv prefix interpreter'

quoted() {
    printf '%s\n' "$1" | sed -e "s/'/'\\\\''/g" -e "1s/^/'/" -e "\$s/\$/'/"
}

# in_environment WORD…: calls a function in $environment.
in_environment() (
    set -- "$(for i_name in $ours; do
        eval "i_value=\$$i_name"
        say "$i_name=$(quoted "$i_value")"
    done)" "$@"
    . "$environment" 2>/dev/null
    eval "$1"
    shift
    "$@"
)

# knows_utf8: whether the locale does, or is not ours to say; fish names one that it has not got.
knows_utf8() {
    [ -n "$LC_ALL" ] && return
    case $(locale charmap 2>/dev/null) in UTF-8 | utf-8 | utf8 | '') ;; *) return 1 ;; esac
}

# ask SECONDS TEXT WORD…: runs a program that is fed TEXT, in a session of its own; $a_left is 0 where it had to be
# ended. All that it prints is in $environment.raw and $environment.err.
ask() {
    a_left=$(($1 * 5)) a_text=$2
    shift 2
    a_session=$(command -v setsid)
    printf %s "$a_text" | (
        # fish 3 without a locale does not even find a home with letters that are not ASCII.
        knows_utf8 || { LC_CTYPE=C.UTF-8 && export LC_CTYPE; }
        exec $a_session "$@"
    ) >"$environment.raw" 2>"$environment.err" &
    a_pid=$!
    while process_facts "$a_pid" && [ "$a_left" -gt 0 ]; do
        a_left=$((a_left - 1))
        nap
    done
    kill -KILL "${a_session:+-}$a_pid" 2>/dev/null
}

# keep_asked: what was asked for becomes $environment, if it came.
keep_asked() {
    sed -n "/^begin-$nonce\$/,/^end-$nonce\$/p" "$environment.raw" | grep -v "^[a-z]*-$nonce\$" >"$environment.new"
    if [ -s "$environment.new" ]; then
        {
            # A word for what a shell may have made of it, and for what we have asked it with.
            say "[ -d \"\$HOME\" ] || HOME=$(quoted "$HOME")"
            knows_utf8 || say '[ "$LC_CTYPE" != C.UTF-8 ] || unset LC_CTYPE'
        } >>"$environment.new"
        mv -f "$environment.new" "$environment"
    else
        rm -f "$environment.new"
        return 1
    fi
}

drop_asked() {
    rm -f "$environment.raw" "$environment.err" "$environment.new"
}

# add_variables: those of the profile win over what was found.
add_variables() {
    [ -z "$variables" ] || say "$variables" >>"$environment"
}

# ask_shell SHELL ARGUMENT…: the environment that a login shell makes. The line that it is fed means the same to sh,
# csh and fish; all that rc files print is dropped, and those that read standard input get the empty lines.
ask_shell() {
    ask 15 "








exec /bin/sh -c 'echo; echo begin-$nonce; export -p; echo end-$nonce'
" "$@"
    keep_asked
    a_status=$?
    drop_asked
    [ "$a_status" -eq 0 ] && add_variables
}

# reads_more: an interactive shell may read more than a login shell does. Most rc files give up early unless the shell
# is interactive, before what conda wrote there. csh and fish read theirs anyway, and a shell that did not come back
# in time will not do so now.
reads_more() {
    case $a_left${SHELL##*/} in
    0* | *[!z]csh | *fish) return 1 ;;
    esac
}

# other_shells: those that a start-up file of the login shell may go on with where there is a terminal, one a line.
other_shells() {
    [ ! -f "$HOME/.zshrc" ] || say zsh -l -i
    [ ! -f "${XDG_CONFIG_HOME:-$HOME/.config}/fish/config.fish" ] || say fish -l
    [ ! -f "$HOME/.bashrc" ] || say bash -l -i
    [ ! -f "$HOME/.tcshrc" ] && [ ! -f "$HOME/.cshrc" ] || say tcsh -l
}

# run_setup: the environment after the profile's setup lines; says why there is none.
run_setup() {
    case ${SHELL##*/} in
    *csh) set -- csh sh fish ;;
    *fish) set -- fish sh csh ;;
    *) set -- sh csh fish ;;
    esac
    # A start-up file may have gone on with a shell of another family.
    for s_family in "$@"; do
        eval "s_text=\$setup_$s_family"
        setup_in -l && return
        [ "$s_steps" -eq 0 ] && [ "$a_left" -gt 0 ] || break
    done
    if [ "$s_steps" -gt 0 ] && [ "$s_family" = sh ] && reads_more; then
        s_first=$s_problem s_first_status=$s_status
        setup_in -l -i && return
        # What only interactive shells know of was not found, and then the second word counts.
        [ "$s_steps" -gt 0 ] && [ "$s_first_status" = 127 ] || s_problem=$s_first
    fi
    say "$s_problem"
    return 1
}

# setup_in ARGUMENT…: $s_steps is how many lines came to their end, and one for the shell itself. Sets $s_problem.
setup_in() {
    # An interactive bash would write what it reads among the errors.
    case ${SHELL##*/} in bash) set -- --noediting "$@" ;; esac
    ask "$setup_s" "$s_text" "${SHELL:-/bin/sh}" "$@"
    s_steps=$(grep -c "^step-$nonce [0-9]* 0\$" "$environment.raw")
    s_status=$(sed -n "s/^step-$nonce $s_steps \([0-9]*\)\$/\1/p" "$environment.raw")
    # The line's last word on its errors.
    s_said=$(sed -n "/^step-$nonce $((s_steps - 1))\$/,/^step-$nonce $s_steps\$/p" "$environment.err" | grep -v "^step-$nonce" |
        grep '[^[:space:]]' | tail -n 1)
    s_kind=failed
    [ "$a_left" -gt 0 ] || s_kind=hangs
    s_problem="setup $s_kind $s_steps ${SHELL:-/bin/sh}
setup_said $s_said"
    keep_asked
    s_kept=$?
    drop_asked
    return "$s_kept"
}
