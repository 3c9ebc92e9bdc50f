# Finds the program, its environment and versions, the directory, and what else a start depends on.
# Expects $program, $others (more names, or ''), $root, $port ('' for any), $environment_name, $distributions (names
# of Python distributions, or ''), $versions (Python that tells theirs), $python, $conda_env and $venv (at most the
# first counts, each may be ''), $hooks_s, and what shells.sh wants.

# interpreter_of FILE: sets $interpreter to the Python that runs this script, or to ''.
interpreter_of() {
    interpreter=''
    case ${1##*/} in python*) interpreter=$1 && return ;; esac
    i_first='' i_second=''
    { IFS= read -r i_first && IFS= read -r i_second; } 2>/dev/null <"$1"
    case $i_first in
    '#!'*/env' python'*) interpreter=$(command -v "${i_first##* }") ;;
    '#!'*python*) interpreter=${i_first#??} interpreter=${interpreter# } interpreter=${interpreter%% *} ;;
    '#!/bin/sh') # pip writes this form where the path is too long or has spaces
        interpreter=${i_second#*exec\' }
        case $interpreter in
        \"*) interpreter=${interpreter#?} interpreter=${interpreter%%\"*} ;;
        *) interpreter=${interpreter%% *} ;;
        esac ;;
    esac
    [ -x "$interpreter" ] || interpreter=${1%/*}/python
    [ -x "$interpreter" ] || interpreter=''
}

# What a kind of service says of the program that was found, which $interpreter runs.
say_special() {
    :
}

# read_versions: sets $found_versions to what $interpreter knows of the distributions, without what its start-up
# files print.
read_versions() {
    found_versions=''
    [ -z "$interpreter" ] || [ -z "$distributions" ] ||
        found_versions=$(cd / && "$interpreter" -c "$versions" $distributions 2>/dev/null |
            grep '^version [^ ]* [0-9][^ ]*$')
}

say_program() {
    say program "$1"
    say interpreter "$interpreter"
    case ${prefix:-$interpreter} in
    */bin/*) say environment "${interpreter%/bin/*}" ;;
    ?*) say environment "$prefix" ;;
    esac
    [ -z "$found_versions" ] || say "$found_versions"
    say_special
}

# try_names: a name on the PATH, and of several one that brings what is wanted, as far as its Python can tell.
try_names() {
    for t_name in "$program" $others; do
        case $t_name in '~/'*) t_name=$HOME/${t_name#'~/'} ;; esac
        t_found=$(command -v "$t_name") || continue
        case $t_found in /*) ;; *) continue ;; esac
        interpreter_of "$t_found"
        read_versions
        [ -n "$found_versions" ] || [ -z "$others" ] || [ -z "$interpreter" ] || continue
        say_program "$t_found"
        return 0
    done
    return 1
}

in_usual_places() (
    IFS='
'
    u_path=''
    for u_dir in $(usual_directories); do u_path=$u_path$u_dir:; done
    unset IFS
    PATH=$u_path$PATH
    try_names
)

# search: the program, wherever it is found first. What was kept of a shell in which it was not, goes.
search() {
    in_environment try_names && return
    s_path=$(in_environment eval 'say "$PATH"')
    if [ -z "$setup_sh" ]; then
        ask_shell "${SHELL:-/bin/sh}" -l && in_environment try_names && return
        s_path=$(in_environment eval 'say "$PATH"')
        if reads_more; then
            ask_shell "${SHELL:-/bin/sh}" -l -i && in_environment try_names && return
        fi
        s_others=$(other_shells)
        for s_other in zsh fish bash tcsh; do
            s_words=$(say "$s_others" | grep "^$s_other ")
            [ "$s_other" != "${SHELL##*/}" ] && [ -n "$s_words" ] && command -v "$s_other" >/dev/null || continue
            ask_shell $s_words && in_environment try_names && return
        done
        true >"$environment"
        add_variables
    elif [ "$s_family" = sh ] && reads_more; then
        # The program may be on the PATH of interactive shells only, whose start-up files the lines did not need.
        cp "$environment" "$environment.first"
        setup_in -l -i && add_variables && in_environment try_names && { rm -f "$environment.first"; return; }
        mv -f "$environment.first" "$environment"
    fi
    in_environment in_usual_places || {
        say missing "${SHELL:-/bin/sh}" "$s_path"
        return 1
    }
}

# choose: sets $prefix and $interpreter to the wanted environment's; says why there is none.
choose() {
    interpreter=''
    prefix=$(in_environment wanted_prefix)
    if [ -n "$python" ]; then
        interpreter=$python
        case $interpreter in '~/'*) interpreter=$HOME/${interpreter#'~/'} ;; esac
    else
        case $prefix$conda_env in
        */*) ;;
        *) [ -n "$setup_sh" ] || choose_by_shell ;;
        esac
        [ -n "$prefix" ] || {
            say no_conda "$conda_env"
            in_environment conda_prefixes | sed 's/^/conda /'
            return 1
        }
        interpreter=$prefix/bin/python
    fi
    [ -f "$interpreter" ] && [ -x "$interpreter" ] || {
        say no_python "$interpreter"
        return 1
    }
}

# choose_by_shell: only a login shell may know where conda is.
choose_by_shell() {
    ask_shell "${SHELL:-/bin/sh}" -l && prefix=$(in_environment wanted_prefix)
    if [ -z "$prefix" ] && reads_more; then
        ask_shell "${SHELL:-/bin/sh}" -l -i && prefix=$(in_environment wanted_prefix)
    fi
}

# conda_name: what conda calls the environment.
conda_name() {
    case $python$conda_env:$prefix in
    [!/~]*) say "$conda_env" ;;
    */envs/*) say "${prefix##*/}" ;;
    *) if [ -d "$prefix/envs" ]; then say base; else say "$prefix"; fi ;;
    esac
}

# activate: the environment as a user has it who has activated it.
activate() {
    a_bin=${interpreter%/*}
    {
        say 'unset PYTHONHOME'
        case $a_bin in /usr/bin | /bin) ;; *) say "export PATH=$(quoted "$a_bin"):\"\$PATH\"" ;; esac
        if [ -d "$prefix/conda-meta" ] || { [ -z "$python" ] && [ -n "$conda_env" ]; }; then
            say "unset VIRTUAL_ENV; export CONDA_PREFIX=$(quoted "$prefix") CONDA_SHLVL=1" \
                "CONDA_DEFAULT_ENV=$(quoted "$(conda_name)")"
        elif [ -f "$prefix/pyvenv.cfg" ]; then
            say "unset CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_SHLVL; export VIRTUAL_ENV=$(quoted "$prefix")"
        fi
    } >>"$environment"
    run_hooks
    add_variables
}

# run_hooks: what packages do when a conda environment is activated, each for itself, all within $hooks_s. They are
# written for bash; one that fails or hangs is left out.
run_hooks() {
    h_bash=$(command -v bash) || return 0
    h_left=$hooks_s
    for h_file in "$prefix"/etc/conda/activate.d/*.sh; do
        [ -f "$h_file" ] && [ "$h_left" -gt 0 ] || continue
        ask "$h_left" '' /bin/sh -c '[ ! -s "$1" ] || . "$1"
exec "$2" -c '\''. "$1" >/dev/null 2>&1
exec /bin/sh -c "echo; echo begin-$2; export -p; echo end-$2"'\'' bash "$3" "$4"' sh "$environment" "$h_bash" "$h_file" "$nonce"
        h_left=$((a_left / 5))
        keep_asked
        drop_asked
    done
}

# use_chosen: the program in the chosen environment; where several will do, whatever its Python can run.
use_chosen() {
    if [ -n "$others" ]; then
        read_versions
        [ -z "$found_versions" ] || { say_program "$interpreter"; return 0; }
    else
        c_interpreter=$interpreter
        case $program in python | python3)
            say_program "$interpreter"
            return 0 ;;
        esac
        try_names || in_usual_places && return
        interpreter=$c_interpreter
    fi
    say lacking "$interpreter"
    return 1
}

find_program() {
    true >"$environment"
    if [ -n "$setup_sh" ]; then run_setup || return; fi
    add_variables
    case $python$conda_env$venv in
    '') search ;;
    *) choose && activate && in_environment use_chosen ;;
    esac
}

main() {
    umask 077
    choose_run_dir
    environment=$run/$environment_name
    find "$run" -name '*.env*' -mmin +60 -exec rm -f {} + 2>/dev/null
    expand_root
    say_machine
    say run "$run_kind" "$run"
    say_names
    # Not for good: sshd's configuration may have changed since.
    [ -z "$(find "$refusal" -prune -mtime -7 2>/dev/null)" ] || say sockets refused
    [ -d "$root" ] && [ -x "$root" ] || { say no_root "$root"; return; }
    say root "$root"
    taken=''
    [ -z "$port" ] || taken=$(say_port_owner "$port")
    [ -z "$taken" ] || { say "$taken"; return; }
    find_program && [ -s "$environment" ] || rm -f "$environment"
    say_listeners
}
