# The name of another user of this node. Expects $other, a uid.

main() {
    say user "$(id -nu "$other" 2>/dev/null || say "uid $other")"
}
