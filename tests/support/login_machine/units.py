"""The system units of the machine: what it boots to, and its sshd. Text only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: By file name, as they stand in /etc/systemd/system.
UNITS: Final[Mapping[str, str]] = {
    "default.target": """\
[Unit]
Description=A machine that people log in to
Requires=basic.target dbus.socket systemd-logind.service systemd-user-sessions.service ssh.service
After=basic.target dbus.socket systemd-logind.service systemd-user-sessions.service ssh.service
""",
    "ssh.service": """\
[Unit]
Description=OpenSSH with PAM
After=systemd-user-sessions.service

[Service]
Type=notify
RuntimeDirectory=sshd
RuntimeDirectoryMode=0755
ExecStart=/usr/sbin/sshd -D -e -f /run/host/sshd_config
KillMode=process
""",
}

SSHD_CONFIG: Final = """\
ListenAddress 127.0.0.1
HostKey /run/host/host_key
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitUserRC no
PrintMotd no
PidFile none
LogLevel VERBOSE
"""
