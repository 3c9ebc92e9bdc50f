# Asks the Python that runs Jupyter for its configuration, and this node for its ports; changes nothing but
# that what prepare.sh kept of the environment goes. Expects $interpreter, $program (Python), $question (JSON),
# $root and $environment_name.

ask() (
    # What is read may hold any name, ours too.
    set -- "$run/$environment_name" "$root" "$question" "$interpreter" "$program" "$state" "$HOME"
    [ ! -s "$1" ] || . "$1"
    # Some shells hand on a name with letters that are not ASCII twice encoded.
    [ -d "$HOME" ] || HOME=$7
    rm -f "$1"
    cd "$2" || cd /
    printf %s "$3" | "$4" -c "$5" "$6"
) 2>/dev/null

main() {
    choose_run_dir
    expand_root
    say_machine
    say_listeners
    say reserved "$(cat "$proc/sys/net/ipv4/ip_unprivileged_port_start" 2>/dev/null)"
    say passing $(cat "$proc/sys/net/ipv4/ip_local_port_range" 2>/dev/null)
    say state "$state"
    say answer "$(ask)"
}
