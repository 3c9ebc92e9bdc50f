"""The background service: one process, its control socket, and what the user wants."""
