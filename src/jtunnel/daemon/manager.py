"""What the user wants: which profiles there are and which tunnels are up, by commands from outside.

What *is* belongs to the tunnels; the board shows it.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from jtunnel.config.load import SHORTEST_PROFILE, load_config
from jtunnel.config.profile import Config, Profile
from jtunnel.daemon.board import Board
from jtunnel.daemon.ports import Ports
from jtunnel.errors import ConfigError, JTunnelError
from jtunnel.link.registry import Links
from jtunnel.machine.watch import Watch
from jtunnel.ssh.prompts import Question
from jtunnel.status import TunnelStatus
from jtunnel.tunnel.life import Tunnel
from jtunnel.tunnel.report import report_tunnel
from jtunnel.tunnel.waiting_page import render

_log = logging.getLogger(__name__)

#: Puts a question about the named tunnel to a person.
AskAbout = Callable[[str, Question], Coroutine[Any, Any, str | None]]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reread config changed, by profile name."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    unchanged: list[str]


class Manager:
    """All tunnels of the daemon and which of them are wanted."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        config: Config,
        environ: Mapping[str, str],
        board: Board,
        ports: Ports,
        watch: Watch,
    ) -> None:
        self._tasks = tasks
        self._environ = environ
        self._board = board
        self._ports = ports
        self._links = Links(tasks, environ, watch)
        self._config = config
        self._config_mark = _file_mark(config.path)
        self._reloading = asyncio.Lock()
        self._tunnels: dict[str, Tunnel] = {}
        self._wanted: set[str] = set()
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._make_tunnels()

    @property
    def names(self) -> list[str]:
        """All profiles, in the config's order."""
        return list(self._tunnels)

    def start_automatic(self) -> None:
        """Bring up the tunnels whose profile says `autostart = true`."""
        for name, tunnel in self._tunnels.items():
            if tunnel.profile.autostart is True:
                self._wanted.add(name)
                self._start(name)

    def select(self, names: Sequence[str], tags: Sequence[str] = (), *, every: bool = False) -> list[str]:
        """The profiles that a command means, in the config's order.

        Without any word it means the only one there is. Raises ConfigError.
        """
        if not self._tunnels:
            raise self._which()
        for name in names:
            self.tunnel(name)
        if not (names or tags or every):
            if len(self._tunnels) == 1:
                return self.names
            raise self._which()
        chosen = [
            name
            for name, tunnel in self._tunnels.items()
            if every or name in names or set(tags) & set(tunnel.profile.tags)
        ]
        if not chosen:
            what = f"no profile has the tag {' or '.join(tags)}" if tags else "there are no profiles"
            raise ConfigError("unknown-profile", what, f"see {self._config.path}")
        return chosen

    def tunnel(self, name: str) -> Tunnel:
        """The tunnel of a profile; raises ConfigError for an unknown name, with the nearest."""
        try:
            return self._tunnels[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._tunnels, n=1)
            advice = (
                f"did you mean {near[0]}?" if near else f"there are: {', '.join(self._tunnels) or 'none'}"
            )
            raise ConfigError(
                "unknown-profile", f"no profile {name!r} in {self._config.path}", advice
            ) from None

    async def up(self, names: Sequence[str], *, may_start: bool = True) -> None:
        """Want these tunnels up; one that waits or is blocked tries again at once.

        Without `may_start`, a server that is gone is not replaced.
        """
        self._wanted.update(names)
        for name in names:
            if name in self._lives:
                self._tunnels[name].wake(may_start=may_start)
                await self._tunnels[name].prove()
        await self._start_wanted(names)

    async def down(self, names: Sequence[str]) -> None:
        """Drop these tunnels; returns when their listeners are closed."""
        self._wanted.difference_update(names)
        await self._end(names)

    async def restart(self, names: Sequence[str]) -> list[str]:
        """Drop and renew the links of these tunnels; return the other tunnels that share them."""
        links = {link for name in names if (link := self._tunnels[name].link)}
        others = [
            name for name, tunnel in self._tunnels.items() if tunnel.link in links and name not in names
        ]
        for link in links:
            link.restart()
        await self.up(names, may_start=False)
        return others

    @contextmanager
    def attended(self, names: Sequence[str], ask: AskAbout) -> Iterator[None]:
        """Let `ask` answer what these tunnels' connections want to know while the block runs."""
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(self._tunnels[name].desk.attended_by(partial(ask, name)))
            yield

    async def refresh(self) -> None:
        """Reread the config where its file is another than the one last read; raises ConfigError."""
        if _file_mark(self._config.path) != self._config_mark:
            await self.reload()

    async def reload(self) -> Reloaded:
        """Reread the config; tunnels whose profile did not change are untouched.

        Raises ConfigError, and the old config stays.
        """
        # One after another: what a second caller would read meanwhile is half the old state.
        async with self._reloading:
            return await self._reload()

    async def _reload(self) -> Reloaded:
        mark = _file_mark(self._config.path)
        try:
            config = load_config(self._config.path, self._environ)
        except ConfigError as error:
            self._board.config_problem = error.problem
            self._board.changes.notify()
            raise
        old, new = self._config.profiles, config.profiles
        result = Reloaded(
            added=[name for name in new if name not in old],
            removed=[name for name in old if name not in new],
            changed=[name for name in new if name in old and new[name] != old[name]],
            unchanged=[name for name in new if old.get(name) == new[name]],
        )
        await self._end([*result.removed, *result.changed])
        self._wanted.difference_update(result.removed)
        self._wanted.update(name for name in result.added if new[name].autostart is True)
        for name in (*result.removed, *result.changed):
            del self._tunnels[name]
        self._config, self._config_mark = config, mark
        self._board.config_problem = None
        self._make_tunnels()
        await self._start_wanted([*result.changed, *result.added])
        _log.info("read %s: %d profile%s", config.path, len(new), "" if len(new) == 1 else "s")
        return result

    async def close(self) -> None:
        """Drop every tunnel, all at once."""
        await self.down(list(self._lives))

    async def _end(self, names: Sequence[str]) -> None:
        """End the lives of these tunnels, whether they are wanted or not."""
        lives = {name: self._lives[name] for name in names if name in self._lives}
        for life in lives.values():
            life.cancel()
        if lives:
            await asyncio.wait(lives.values())
        for name, life in lives.items():
            if self._lives.get(name) is life:
                del self._lives[name]
        self._board.changes.notify()

    async def _start_wanted(self, names: Sequence[str]) -> None:
        """Start those that are wanted and have no life, once a life that is just ending has ended."""
        for name in names:
            while (life := self._lives.get(name)) is not None and life.cancelling():
                await asyncio.wait([life])
                if self._lives.get(name) is life:
                    del self._lives[name]
            if name in self._wanted and name in self._tunnels and name not in self._lives:
                self._start(name)

    def _start(self, name: str) -> None:
        self._lives[name] = self._tasks.create_task(self._tunnels[name].run())
        self._board.changes.notify()

    def _make_tunnels(self) -> None:
        """One tunnel for each profile, in the config's order, keeping those that are there."""
        profiles = self._config.profiles
        taken = {
            profile.jupyter.local_port
            for profile in profiles.values()
            if profile.jupyter and isinstance(profile.jupyter.local_port, int)
        }
        self._tunnels = {
            name: self._tunnels.get(name) or self._make_tunnel(profile, taken)
            for name, profile in profiles.items()
        }
        self._board.post({name: partial(self._report, name) for name in self._tunnels})

    def _make_tunnel(self, profile: Profile, taken: set[int]) -> Tunnel:
        port: int | None = None
        if profile.jupyter:
            wanted = profile.jupyter.local_port
            port = wanted if isinstance(wanted, int) else self._ports.port_for(profile.name, taken)
        return Tunnel(
            profile,
            self._links,
            port,
            changed=self._board.changes.notify,
            page=lambda: render(self._report(profile.name)),
        )

    def _report(self, name: str) -> TunnelStatus:
        return report_tunnel(self._tunnels[name], wanted=name in self._wanted)

    def _which(self) -> JTunnelError:
        if not self._tunnels:
            return ConfigError(
                "unknown-profile",
                f"there are no profiles in {self._config.path}",
                f"write one there, for a host you name in ssh: {SHORTEST_PROFILE}",
            )
        return ConfigError("usage", "no profile is named", f"name one, or --all: {', '.join(self._tunnels)}")


def _file_mark(path: str) -> tuple[int, int, int] | None:
    """What tells one version of a file from another."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
