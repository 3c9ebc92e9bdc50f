"""The login service, as far as every client needs it: whether one is installed for its files, and its start.

Installing, removing and looking at it is `commands.service`'s.
"""

from __future__ import annotations

import os
import subprocess
import sys

from jtunnel import paths
from jtunnel.client import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

UNIT: Final = "jtunneld.service"
LABEL: Final = "jtunnel.jtunneld"
#: What a service manager tells the process that it starts; not meant for what that starts in turn.
MANAGERS_VARIABLES: Final = ("JTUNNEL_SERVICE", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
#: A start is done when the daemon is ready; it may first wait for another one's end.
START_S: Final = 30.0
_PATHS: Final = ("JTUNNEL_CONFIG", "JTUNNEL_RUNTIME_DIR", "JTUNNEL_STATE_DIR")
#: Further variables that name a place of files → what they are without being set, below the home directory.
_BASES: Final[Mapping[str, str]] = {"XDG_CONFIG_HOME": ".config", "XDG_STATE_HOME": ".local/state"}
PLACES: Final = (*_PATHS, *_BASES)


def overrides(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that put jtunnel's files elsewhere, as absolute paths: a service has to have the same."""
    found = {name: os.path.abspath(environ[name]) for name in _PATHS if environ.get(name)}
    for name, usual in _BASES.items():
        base = environ.get(name)
        # On macOS no value of them means the same as none.
        if base and (sys.platform == "darwin" or base != os.path.join(paths.home(environ), usual)):
            found[name] = os.path.abspath(base)
    return found


def environment_lines(variables: Mapping[str, str]) -> list[str]:
    """A unit's lines that set these variables, quoted as systemd.syntax(7) and systemd.unit(5) want it."""
    return [f'Environment="{name}={quote(value)}"' for name, value in sorted(variables.items())]


def quote(text: str) -> str:
    """`text` as it stands between double quotes in a unit file; `%` would begin a specifier."""
    escapes = {"\\": "\\\\", '"': '\\"', "%": "%%", "\n": "\\n"}
    return "".join(escapes.get(character, character) for character in text)


def unit_files(environ: Mapping[str, str]) -> list[str]:
    """Where the unit may be: the shell and the service manager need not have the same XDG_CONFIG_HOME."""
    usual = os.path.join(paths.home(environ), ".config")
    bases = dict.fromkeys([environ.get("XDG_CONFIG_HOME") or usual, usual])
    return [os.path.join(base, "systemd", "user", UNIT) for base in bases]


def agent_file(environ: Mapping[str, str]) -> str:
    """Where the launchd agent is."""
    return os.path.join(paths.home(environ), "Library", "LaunchAgents", f"{LABEL}.plist")


def manager_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that finds the user's service manager, also from a session that has none of its own."""
    usual = f"/run/user/{os.getuid()}"
    if not environ.get("XDG_RUNTIME_DIR") and os.path.isdir(usual):
        return {**environ, "XDG_RUNTIME_DIR": usual}
    return dict(environ)


def serves(environ: Mapping[str, str]) -> bool:
    """Whether a service is installed whose daemon uses the same directories as this client."""
    if sys.platform == "darwin":
        return _agent_serves(agent_file(environ), environ)
    return any(_unit_serves(path, environ) for path in unit_files(environ))


def start(environ: Mapping[str, str]) -> bool:
    """Have the service manager start the daemon.

    False where no service is installed for these directories, its manager is out of reach, or the start
    failed, which is said.
    """
    if not serves(environ):
        return False
    if sys.platform == "darwin":
        domain = f"gui/{os.getuid()}"
        return _runs(["launchctl", "kickstart", f"{domain}/{LABEL}"], environ) or _runs(
            ["launchctl", "bootstrap", domain, agent_file(environ)], environ
        )
    environ = manager_environ(environ)
    if not os.path.exists(os.path.join(environ.get("XDG_RUNTIME_DIR", ""), "systemd", "private")):
        return False
    if _runs(["systemctl", "--user", "start", UNIT], environ):
        return True
    terminal.say(f"{UNIT} does not start, so the daemon is started by hand; see: journalctl --user -u {UNIT}")
    return False


def _unit_serves(path: str, environ: Mapping[str, str]) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return False
    # What the shipped file itself sets has no quotes.
    return [line for line in lines if line.startswith('Environment="')] == environment_lines(
        overrides(environ)
    )


def _agent_serves(path: str, environ: Mapping[str, str]) -> bool:
    import plistlib

    try:
        with open(path, "rb") as file:
            given = plistlib.load(file)["EnvironmentVariables"]
    except (OSError, ValueError, KeyError):
        return False
    wanted = overrides(environ)
    return all(given.get(name) == wanted.get(name) for name in PLACES)


def _runs(command: Iterable[str], environ: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(
            list(command),
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=START_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
