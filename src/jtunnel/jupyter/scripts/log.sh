# The last $lines lines of the server's log, at most 400,000 bytes.

main() {
    say_machine
    [ ! -r "$log" ] || say text "$(tail -n "$lines" "$log" | tail -c 400000 | hex)"
}
