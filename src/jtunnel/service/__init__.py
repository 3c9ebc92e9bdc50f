"""A process that serves on the remote: found, started, proven whose it is, ended. Knows a Remote, not SSH."""
