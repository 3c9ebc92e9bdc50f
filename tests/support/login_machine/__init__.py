"""A whole machine to log in to: systemd as PID 1, logind, an sshd with PAM, user managers. Linux, as root.

It runs over this system's files in namespaces of its own, and writes to memory: nothing outside changes.
"""
