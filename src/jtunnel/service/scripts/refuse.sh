# Remembers for this node that its sshd does not forward to Unix sockets.

main() {
    umask 077
    # Not `:`, which would end the shell where it cannot be written.
    make_state_dir && true >"$refusal"
}
