# Says who listens at $port.

main() {
    say_machine
    say_port_owner "$port"
}
