"""Start at login: the daemon under systemd or launchd."""
