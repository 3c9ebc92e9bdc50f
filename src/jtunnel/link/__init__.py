"""The life of one SSH connection: connect, serve, lose, wait, again."""
