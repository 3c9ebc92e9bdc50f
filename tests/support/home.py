"""A home directory of a test's own: its environment, its ~/.ssh and its jtunnel config. Starts nothing.

OpenSSH's ssh takes `~` from the account and not from $HOME, so it is always called with `-F` and whole paths.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence

from tests.support import processes
from tests.support.keys import Key

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


class Home:
    """A private home; `env` is a whole environment for child processes, and theirs to change."""

    def __init__(self) -> None:
        # Short, and not below TMPDIR: a Unix socket's path ends at 103 bytes on macOS.
        self.path = tempfile.mkdtemp(prefix="jt-", dir="/tmp")
        self.ssh_dir = os.path.join(self.path, ".ssh")
        self.ssh_config = os.path.join(self.ssh_dir, "config")
        self.known_hosts = os.path.join(self.ssh_dir, "known_hosts")
        self.config_file = os.path.join(self.path, "config.toml")
        self.state_dir = os.path.join(self.path, "state")
        self.runtime_dir = os.path.join(self.path, "run")
        os.mkdir(self.ssh_dir, 0o700)
        self.env = {
            "HOME": self.path,
            "PATH": f"{os.path.join(sys.prefix, 'bin')}:{SYSTEM_PATH}",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": self.path,
            "JTUNNEL_CONFIG": self.config_file,
            "JTUNNEL_STATE_DIR": self.state_dir,
            "JTUNNEL_RUNTIME_DIR": self.runtime_dir,
            processes.MARK: os.environ[processes.MARK],
        }

    def add_host(
        self,
        alias: str,
        *,
        port: int,
        user: str,
        identity: Key | None,
        host_key: Key | None,
        host: str = "127.0.0.1",
        options: Mapping[str, str | Sequence[str]] | None = None,
    ) -> None:
        """Append a Host block to ~/.ssh/config, and the host's key, if given, to known_hosts."""
        settings: dict[str, str | Sequence[str]] = {
            "HostName": host,
            "Port": str(port),
            "User": user,
            "UserKnownHostsFile": self.known_hosts,
        }
        if identity is not None:
            settings |= {"IdentityFile": identity.path, "IdentitiesOnly": "yes"}
        settings |= options or {}
        with open(self.ssh_config, "a") as file:
            file.write(f"Host {alias}\n")
            for name, values in settings.items():
                several = [values] if isinstance(values, str) else values
                file.writelines(f"  {name} {value}\n" for value in several)
        if host_key is not None:
            self.trust(host_key, port=port, host=host)

    def trust(self, host_key: Key, *, port: int, host: str = "127.0.0.1") -> None:
        """Append a host's key to known_hosts."""
        with open(self.known_hosts, "a") as file:
            file.write(host_key.known_hosts_line(host, port))

    def ssh(self, alias: str, *command: str, options: Sequence[str] = (), batch: bool = True) -> list[str]:
        """The argument list that logs in with OpenSSH's own client, in batch mode without questions."""
        fixed = ("-F", self.ssh_config, "-o", "GlobalKnownHostsFile=/dev/null")
        questions = ("-o", f"BatchMode={'yes' if batch else 'no'}")
        return ["ssh", *fixed, *questions, *options, alias, *command]

    def write_config(self, toml: str) -> None:
        """Write jtunnel's config.toml."""
        with open(self.config_file, "w") as file:
            file.write(toml)

    def remove(self) -> None:
        """Remove it and all that is in it."""
        shutil.rmtree(self.path)
