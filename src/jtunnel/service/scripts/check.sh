# Is it still the same process, and whose is the socket it listens on? Expects $pid and $sock ('' for TCP).

main() {
    say_machine
    say_process "$pid"
    if [ -n "$sock" ]; then say_socket "$sock"; else say_listeners; fi
}
