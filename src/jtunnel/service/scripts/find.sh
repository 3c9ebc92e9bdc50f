# All that find() wants to know, in one go. Changes nothing. Expects $root, $pid ('' or that of a process to
# look up besides), $python, $conda_env and $venv (the wanted environment, with places.sh) and $away (1: the
# records that other nodes have, too).

# say_prefix: the wanted environment, with symbolic links followed and not.
say_prefix() (
    w_prefix=$(wanted_prefix) && [ -n "$w_prefix" ] || return 0
    say prefix_wanted "$w_prefix"
    cd "$w_prefix" 2>/dev/null && say prefix_wanted "$(pwd -P)"
)

# say_away: the newest records of all profiles on other nodes that share this home.
say_away() {
    ls -t "$state"/*@*.json 2>/dev/null | head -n 32 | while IFS= read -r w_file; do
        w_name=${w_file##*/}
        case $w_name in *@"$node".json) ;; *) say away "${w_name%%@*}" "$(hex <"$w_file")" ;; esac
    done
}

main() {
    expand_root
    say_machine
    say root "$root"
    say root "$(cd "$root" 2>/dev/null && pwd -P)"
    say root_home "$HOME"
    say root_home "$(cd "$HOME" 2>/dev/null && pwd -P)"
    say_record
    say_process "$pid"
    recorded_runs || {
        say_names
        say_other_records
    }
    [ -z "$python$conda_env$venv" ] || say_prefix
    [ -z "$away" ] || say_away
    say_more
    say_listeners
}
