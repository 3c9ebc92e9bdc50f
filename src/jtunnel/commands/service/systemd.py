"""The login service of a systemd user manager: its unit, filled in, started and asked about."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
from collections.abc import Mapping
from typing import Final

from jtunnel.client import login_service
from jtunnel.client.login_service import UNIT
from jtunnel.commands.service.manager_call import call, run
from jtunnel.commands.service.shipped import read_shipped
from jtunnel.errors import ControlError

#: What older managers would complain about → the systemd that has it.
_SINCE: Final = {"RestartSteps": 254, "RestartMaxDelaySec": 254}
#: systemd takes no such path for ExecStart=, whatever the quoting.
_IMPOSSIBLE: Final = "\"'\\\x7f" + "".join(map(chr, range(32)))
#: A stop and a start, each with the time that the unit gives it.
_RENEW_S: Final = 80.0


#: Where systemd is installed, but does not run: a container, or WSL as it was once set up.
_ABSENT: Final = (
    "systemd does not run on this machine (in WSL: systemd=true in /etc/wsl.conf), so nothing starts the "
    "daemon at login; have your login script call: jtunnel up --all --no-wait"
)


class Systemd:
    """The unit `jtunneld.service` of this user; `reachable` tells whether a user manager answers."""

    name: Final = f"the systemd user unit {UNIT}"
    logs: Final = f"journalctl --user -u {UNIT}"

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._overrides = login_service.overrides(environ)
        self._environ = login_service.manager_environ(environ)
        asked = run("systemctl", "--user", "show", "--property=UnitPath,Version", environ=self._environ)
        facts = dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
        self.reachable = asked.returncode == 0 and "UnitPath" in facts
        self.absent = "" if self.reachable or is_booted() else _ABSENT
        self.file = _place(login_service.unit_files(environ), facts.get("UnitPath", "").split())
        self._version = facts.get("Version") or self._systemctl("--version").removeprefix("systemd ")

    def content(self, program: str) -> str:
        """The shipped unit with `program` and the directories of this environment filled in."""
        if wrong := set(program) & set(_IMPOSSIBLE):
            raise ControlError(
                "daemon-failed",
                f"systemd starts no program whose path has a {min(wrong)!r} in it: {program}",
                "install jtunnel elsewhere",
            )
        lines: list[str] = []
        for line in read_shipped("systemd", UNIT).splitlines():
            if line == "@ENVIRONMENT@":
                lines += login_service.environment_lines(self._overrides)
            elif self._major() >= _SINCE.get(line.partition("=")[0], 0):
                lines.append(line.replace("@JTUNNELD@", login_service.quote(program)))
        return "\n".join(lines) + "\n"

    def load(self) -> None:
        """Have the manager read the changed file."""
        if self.reachable:
            self._systemctl("daemon-reload")

    def enable(self) -> None:
        """From now on started at login; without a manager, the link it would make is made."""
        self._systemctl("enable", UNIT)

    def is_enabled(self) -> bool:
        """Whether it is started at login."""
        asked = run("systemctl", "--user", "is-enabled", UNIT, environ=self._offline())
        return asked.stdout.strip() == "enabled"

    def pid(self) -> int | None:
        """The main process that the manager looks after."""
        if not self.reachable:
            return None
        pid = self._systemctl("show", "--property=MainPID", "--value", UNIT).strip()
        return int(pid) if pid.isdecimal() and int(pid) else None

    def restart(self) -> None:
        """End it if it runs, start it, and wait until it is ready."""
        self._systemctl("restart", UNIT, timeout_s=_RENEW_S)

    def remove(self) -> None:
        """Stop it, and leave nothing of it."""
        # What is not there cannot be stopped or disabled, and need not be.
        if self.reachable:
            run("systemctl", "--user", "stop", UNIT, environ=self._environ, timeout_s=_RENEW_S)
            if pid := self.pid():
                raise ControlError(
                    "daemon-failed", f"the daemon (pid {pid}) does not end", f"see: {self.logs}"
                )
        run("systemctl", "--user", "disable", UNIT, environ=self._offline())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.file)
        if self.reachable:
            self._systemctl("daemon-reload")
            # Its last failure is of no interest any more; there may have been none.
            run("systemctl", "--user", "reset-failed", UNIT, environ=self._environ)

    def _systemctl(self, *words: str, timeout_s: float = 30.0) -> str:
        return call("systemctl", "--user", *words, environ=self._offline(), timeout_s=timeout_s)

    def _offline(self) -> Mapping[str, str]:
        return self._environ if self.reachable else {**self._environ, "SYSTEMD_OFFLINE": "1"}

    def _major(self) -> int:
        digits = re.match(r"\d+", self._version)
        return int(digits[0]) if digits else 0


def find_systemctl(environ: Mapping[str, str]) -> bool:
    """Whether this system has systemd, whether or not it runs now."""
    return shutil.which("systemctl", path=environ.get("PATH")) is not None


def is_booted(mark: str = "/run/systemd/system") -> bool:
    """Whether systemd runs this machine: sd_booted(3) looks for the same directory."""
    return os.path.isdir(mark)


def lingers() -> bool:
    """Whether the user manager, and so the daemon, runs without a login (loginctl(1), enable-linger)."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return False
    return os.path.exists(os.path.join("/var/lib/systemd/linger", name))


def _place(usual: list[str], searched: list[str]) -> str:
    """The file's path: the user's own of the directories that the manager searches, else the usual one."""
    for directory in searched:
        if directory.endswith("/systemd/user"):
            return os.path.join(directory, UNIT)
    return usual[0]
