"""The login service of macOS: a launchd agent, filled in and put in place, started and asked about."""

from __future__ import annotations

import contextlib
import os
import plistlib
import re
import time
from collections.abc import Mapping
from subprocess import CompletedProcess
from typing import Any, Final

from jtunnel import paths
from jtunnel.client import login_service
from jtunnel.client.login_service import LABEL
from jtunnel.commands.service.manager_call import call, run
from jtunnel.commands.service.shipped import read_shipped
from jtunnel.errors import ControlError

#: How long an agent may take to end: what its file gives it, and a little.
_END_S: Final = 15.0
_POLL_S: Final = 0.1
_AGAIN_S: Final = 1.0


class Launchd:
    """The agent of this user; `reachable` tells whether there is a graphical session to run it in."""

    name: Final = f"the launchd agent {LABEL}"
    absent: Final = ""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._domain = f"gui/{os.getuid()}"
        self._target = f"{self._domain}/{LABEL}"
        self.file = login_service.agent_file(environ)
        self.reachable = run("launchctl", "print", self._domain, environ=environ).returncode == 0
        self.logs = f"cat {self._log_directory()}/launchd.log"

    def content(self, program: str) -> str:
        """The shipped agent with `program` and the directories of this environment filled in."""
        agent = _fill(
            plistlib.loads(read_shipped("launchd", f"{LABEL}.plist").encode()),
            {"@JTUNNELD@": program, "@STATE@": self._log_directory()},
        )
        agent["EnvironmentVariables"] |= login_service.overrides(self._environ)
        return plistlib.dumps(agent, sort_keys=False).decode()

    def load(self) -> None:
        """Have launchd read the changed file: the agent is taken out, and put in again by `restart`."""
        self._unload()

    def enable(self) -> None:
        """From now on started at login."""
        # launchd makes the log, but not its directory.
        os.makedirs(self._log_directory(), mode=0o700, exist_ok=True)
        if self.reachable:
            call("launchctl", "enable", self._target, environ=self._environ)

    def is_enabled(self) -> bool:
        """Whether it is started at login: launchd keeps only what is not."""
        asked = run("launchctl", "print-disabled", self._domain, environ=self._environ).stdout
        found = re.search(rf'"{re.escape(LABEL)}" => (\w+)', asked)
        return os.path.exists(self.file) and (found is None or found[1] not in ("true", "disabled"))

    def pid(self) -> int | None:
        """The process that launchd looks after."""
        found = re.search(r"^\s*pid = (\d+)", self._print().stdout, re.MULTILINE)
        return int(found[1]) if found else None

    def restart(self) -> None:
        """End it if it runs, and start it."""
        if self._print().returncode:
            # RunAtLoad starts it.
            self._bootstrap()
        else:
            call("launchctl", "kickstart", "-k", self._target, environ=self._environ)

    def remove(self) -> None:
        """Stop it, and leave nothing of it."""
        self._unload()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.file)

    def _print(self) -> CompletedProcess[str]:
        return run("launchctl", "print", self._target, environ=self._environ)

    def _bootstrap(self) -> None:
        command = ("launchctl", "bootstrap", self._domain, self.file)
        if run(*command, environ=self._environ).returncode:
            # As while an agent that it replaces has not quite gone, which is errno 5.
            time.sleep(_AGAIN_S)
            call(*command, environ=self._environ)

    def _unload(self) -> None:
        """`bootout` returns before the agent has ended."""
        if not self.reachable or self._print().returncode:
            return
        run("launchctl", "bootout", self._target, environ=self._environ)
        give_up_at = time.monotonic() + _END_S
        while not self._print().returncode:
            if time.monotonic() > give_up_at:
                raise ControlError(
                    "daemon-failed", f"{self.name} does not end", "try again, or log out and in"
                )
            time.sleep(_POLL_S)

    def _log_directory(self) -> str:
        return os.path.abspath(paths.state_dir(self._environ))


def _fill(value: Any, words: Mapping[str, str]) -> Any:
    """A plist's value with words in its texts replaced; as data, so that nothing needs escaping."""
    if isinstance(value, dict):
        return {key: _fill(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, words) for inner in value]
    if isinstance(value, str):
        for word, replacement in words.items():
            value = value.replace(word, replacement)
    return value
