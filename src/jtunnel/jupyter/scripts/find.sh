# All that find() wants to know, in one go. Changes nothing. Expects $root and $pid ('' or that of a process to
# look up besides).

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
    say_runtime_files
    say_listeners
}
