"""Somebody in the machine with jtunnel, whose tunnel leads to another account there. Installs no service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Final, cast

from jtunnel.status import StatusDocument, TunnelStatus
from tests.support.keys import make_key
from tests.support.login_machine.login import Login, Person
from tests.support.login_machine.machine import LoginMachine

#: The profile, and a Host alias in ~/.ssh/config.
NAME: Final = "gpu"
ALIAS: Final = "box"
UNIT: Final = "jtunneld.service"
UP_TIMEOUT_S: Final = 20.0


class TunnelUser:
    """A person who has jtunnel where pipx puts it, and one profile, which starts by itself."""

    def __init__(self, person: Person, far: Person) -> None:
        self.person = person
        # All accounts of the machine share its ports.
        self.port = person.uid
        self._far = far
        self._give_program()
        self._give_host()
        self.configure()

    @property
    def machine(self) -> LoginMachine:
        """Where both live."""
        return self.person.machine

    @property
    def program(self) -> str:
        """The command that this person types."""
        return os.path.join(self.person.home, ".local/bin/jtunnel")

    def configure(self, more: str = "", *, autostart: bool = True) -> None:
        """Write the config anew, with `more` behind the profile."""
        self.person.write(
            ".config/jtunnel/config.toml",
            f'[profiles.{NAME}]\nhost = "{ALIAS}"\nautostart = {json.dumps(autostart)}\n'
            f'forwards = ["{self.port}:127.0.0.1:22"]\n{more}',
        )

    def run(self, login: Login, *words: str) -> str:
        """Run `jtunnel`, which has to succeed; the answer is what it says to standard output and error."""
        ended = self.try_run(login, *words)
        said = ended.stdout + ended.stderr
        assert ended.returncode == 0, (
            f"jtunnel {words} exits {ended.returncode}: {said}\n{self.person.journal()}"
        )
        return said

    def try_run(self, login: Login, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `jtunnel`; any exit code is an answer."""
        return login.try_run(self.program, *words)

    def status(self, login: Login) -> StatusDocument:
        """What `status --json` prints."""
        return cast(StatusDocument, json.loads(self.try_run(login, "status", "--json").stdout))

    def tunnel(self, login: Login, name: str = NAME) -> TunnelStatus:
        """One tunnel of the status."""
        return next(tunnel for tunnel in self.status(login)["tunnels"] if tunnel["name"] == name)

    def wait_up(self, login: Login, name: str = NAME) -> None:
        """Block until the tunnel is up, without asking for it; then check that bytes go through."""
        login.wait_for(f"{self.program} status {name} >/dev/null 2>&1", UP_TIMEOUT_S)
        if name == NAME:
            reading = f"exec 3<>/dev/tcp/127.0.0.1/{self.port}; head -c 4 <&3"
            assert login.run("timeout", "10", "bash", "-c", reading) == "SSH-"

    def service(self, login: Login) -> dict[str, str]:
        """The unit's properties, as its manager tells them."""
        told = login.run("systemctl", "--user", "show", UNIT)
        return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)

    def drop_in(self, login: Login, text: str) -> None:
        """Change the installed unit by a drop-in, and restart the daemon with it."""
        self.person.write(f".config/systemd/user/{UNIT}.d/test.conf", f"[Service]\n{text}\n")
        login.run("systemctl", "--user", "daemon-reload")
        login.run("systemctl", "--user", "restart", UNIT)

    def _give_program(self) -> None:
        for name in ("jtunnel", "jtunneld"):
            shim = os.path.join(self.person.home, ".local/bin", name)
            self.person.without_session("install", "-d", os.path.dirname(shim))
            self.person.without_session("ln", "-s", os.path.join(sys.prefix, "bin", name), shim)

    def _give_host(self) -> None:
        key = make_key(self.machine.shared, f"tunnel-{self.person.name}")
        self._far.authorize(key)
        with open(key.path) as file:
            self.person.write(".ssh/id_ed25519", file.read())
        self.person.write(".ssh/known_hosts", self.machine.host_key.known_hosts_line("127.0.0.1", 22))
        self.person.write(".ssh/config", f"Host {ALIAS}\n  HostName 127.0.0.1\n  User {self._far.name}\n")
