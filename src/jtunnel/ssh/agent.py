"""Which SSH agent a login uses. Looked for at each login: it may have started after the daemon.

IdentityAgent of ssh_config(5) stands alone, as in ssh(1). Else the daemon's own SSH_AUTH_SOCK, the one that
the service manager knows by now, and the known places; the first that lists a key, else the first that
answers: an empty agent, which many systems start unasked, must not hide the one that a person fills.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncssh

from jtunnel import paths

_log = logging.getLogger(__name__)

#: IdentityAgent where there is to be no agent, and where only the variable is to be looked at.
NO_AGENT: Final = "none"
VARIABLE: Final = "SSH_AUTH_SOCK"
#: Seconds for the answer of an agent that was named, of the service manager, and of any other agent: one
#: after the other they fit into a login's time.
_NAMED_TIMEOUT_S: Final = 3.0
_MANAGER_TIMEOUT_S: Final = 1.0
_OTHER_TIMEOUT_S: Final = 1.5
#: Seconds for which the service manager's answer, and what an agent lists while a login is blocked, is kept.
_MANAGER_FRESH_S: Final = 15.0
_LISTING_FRESH_S: Final = 4.0
#: By `$JTUNNEL_SERVICE`, what asks the service manager for its environment.
_MANAGER_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "systemd": ("systemctl", "--user", "show-environment"),
    "launchd": ("launchctl", "getenv", VARIABLE),
}
#: Below $XDG_RUNTIME_DIR: Debian's and Arch's units, gcr 4, GNOME Keyring, GnuPG.
_RUNTIME_PLACES: Final = (
    "ssh-agent.socket",
    "openssh_agent",
    "gcr/ssh",
    "keyring/ssh",
    "gnupg/S.gpg-agent.ssh",
)
_HOME_PLACES: Final = ("~/.1password/agent.sock",)


@dataclass(frozen=True, slots=True)
class FoundAgent:
    """An agent that answers: its socket, in words who named it, and how many keys it lists (locked: none)."""

    path: str
    source: str
    keys: int


class OpenAgent:
    """A connection to an agent, and the keys that it lists; they sign for as long as it is open."""

    def __init__(
        self, path: str, source: str, client: asyncssh.SSHAgentClient, keys: Sequence[asyncssh.SSHKeyPair]
    ) -> None:
        self.path = path
        self.source = source
        self.keys = list(keys)
        self._client = client

    def close(self) -> None:
        """Hang up."""
        self._client.close()


class Agents:
    """Finds agents; one for the daemon, as it remembers what the service manager said."""

    def __init__(self) -> None:
        self._manager_said: str | None = None
        self._manager_asked_at: float | None = None
        self._asking_manager = asyncio.Lock()
        self._listings: dict[str | None, tuple[float, frozenset[bytes]]] = {}
        self._listing = asyncio.Lock()

    async def open(self, named: str | None, environ: Mapping[str, str]) -> OpenAgent | None:
        """The agent for a login; `named` is IdentityAgent: a path, NO_AGENT, VARIABLE, or None.

        None where none answers. Takes milliseconds, and at most some seconds where one hangs.
        """
        opened: list[OpenAgent] = []
        chosen: OpenAgent | None = None
        try:
            if named not in (None, NO_AGENT, VARIABLE):
                await _try_open(named, "IdentityAgent", opened, _NAMED_TIMEOUT_S)
            elif named != NO_AGENT:
                await self._open_candidates(named, environ, opened)
            chosen = max(opened, key=lambda agent: bool(agent.keys), default=None)
            return chosen
        finally:
            for agent in opened:
                if agent is not chosen:
                    agent.close()

    async def list_keys(self, named: str | None, environ: Mapping[str, str]) -> frozenset[bytes]:
        """The public halves of the keys that `open` would find, a few seconds old at most."""
        now = asyncio.get_running_loop().time
        # Many logins may wait for the same agent.
        async with self._listing:
            if (known := self._listings.get(named)) and now() - known[0] < _LISTING_FRESH_S:
                return known[1]
            agent = await self.open(named, environ)
            keys: frozenset[bytes] = frozenset()
            if agent is not None:
                keys = frozenset(pair.public_data for pair in agent.keys)
                agent.close()
            self._listings[named] = (now(), keys)
            return keys

    async def _open_candidates(
        self, named: str | None, environ: Mapping[str, str], opened: list[OpenAgent]
    ) -> None:
        """Open one after another until one lists a key, the known places all at once."""
        own = environ.get(VARIABLE)
        await _try_open(own, VARIABLE, opened, _NAMED_TIMEOUT_S)
        if any(agent.keys for agent in opened):
            return
        managers = await self._ask_manager(environ)
        if managers != own:
            await _try_open(managers, f"the service manager's {VARIABLE}", opened)
        if named == VARIABLE or any(agent.keys for agent in opened):
            return
        places = [place for place in _known_places(environ) if place not in (own, managers)]
        found: list[list[OpenAgent]] = [[] for _ in places]
        try:
            async with asyncio.TaskGroup() as tasks:
                for place, into in zip(places, found, strict=True):
                    tasks.create_task(_try_open(place, "a known place", into))
        finally:
            for agents in found:
                opened += agents

    async def _ask_manager(self, environ: Mapping[str, str]) -> str | None:
        """SSH_AUTH_SOCK as the service manager that started the daemon knows it now."""
        command = _MANAGER_COMMANDS.get(environ.get("JTUNNEL_SERVICE", ""))
        if command is None:
            return None
        now = asyncio.get_running_loop().time
        async with self._asking_manager:
            if self._manager_asked_at is None or now() - self._manager_asked_at >= _MANAGER_FRESH_S:
                self._manager_said = _variable_in(await _output(command, environ))
                self._manager_asked_at = now()
            return self._manager_said


async def find_agent(environ: Mapping[str, str]) -> FoundAgent | None:
    """The agent that a daemon with this environment finds where ssh_config(5) names none."""
    agent = await Agents().open(None, environ)
    if agent is None:
        return None
    agent.close()
    return FoundAgent(agent.path, agent.source, len(agent.keys))


async def _try_open(
    path: str | None, source: str, opened: list[OpenAgent], timeout_s: float = _OTHER_TIMEOUT_S
) -> None:
    """Add the agent at `path`, if one answers there."""
    if not path or not _is_socket_for_us(path):
        return
    client: asyncssh.SSHAgentClient | None = None
    try:
        async with asyncio.timeout(timeout_s):
            client = await asyncssh.connect_agent(path)
            keys = await client.get_keys()
            opened.append(OpenAgent(path, source, client, keys))
            client = None
    except (OSError, asyncssh.Error, ValueError) as error:
        _log.info("agent %s does not answer: %s", path, type(error).__name__)
    finally:
        if client is not None:
            client.close()


def _is_socket_for_us(path: str) -> bool:
    """Whether there is a socket of our account's or the system's; root may use anybody's."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and (status.st_uid in (os.geteuid(), 0) or os.geteuid() == 0)


def _known_places(environ: Mapping[str, str]) -> list[str]:
    runtime = environ.get("XDG_RUNTIME_DIR")
    below_runtime = [os.path.join(runtime, place) for place in _RUNTIME_PLACES] if runtime else []
    return below_runtime + [paths.expand(place, environ) for place in _HOME_PLACES]


async def _output(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """What a command prints; nothing where it fails or takes too long."""
    process: asyncio.subprocess.Process | None = None
    try:
        async with asyncio.timeout(_MANAGER_TIMEOUT_S):
            process = await asyncio.create_subprocess_exec(
                *command,
                env=environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            output, _ = await process.communicate()
            return output.decode(errors="replace")
    except OSError as error:
        _log.info("`%s` says nothing: %s", " ".join(command), type(error).__name__)
        return ""
    finally:
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _variable_in(output: str) -> str | None:
    """The variable's value in systemctl's list of assignments, or launchctl's bare value."""
    for line in output.splitlines():
        name, is_assignment, value = line.partition("=")
        if is_assignment and name == VARIABLE:
            return value
        if not is_assignment and line.startswith("/"):
            return line
    return None
