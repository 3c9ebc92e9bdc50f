"""The thin client: blocking, stdlib only. It asks the daemon and prints what it says."""
