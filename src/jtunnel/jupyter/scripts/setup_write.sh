# Has Python write files, all of them or none. Expects $interpreter, $program (Python) and $order (JSON).

main() {
    say_machine
    say answer "$(printf %s "$order" | "$interpreter" -c "$program" 2>/dev/null)"
}
