# Remembers for this node that its sshd does not forward to Unix sockets.

main() {
    umask 077
    : >"$refusal"
}
