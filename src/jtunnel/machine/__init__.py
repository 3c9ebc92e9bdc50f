"""What happens to this machine: it sleeps and wakes, networks come and go. Knows nothing of SSH."""
