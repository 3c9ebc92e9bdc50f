"""What the user wants: which profiles there are and which tunnels are up, by commands from outside.

What *is* belongs to the tunnels; the board shows it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from jtunnel.config.load import load_config
from jtunnel.config.profile import Config, Forward, Profile
from jtunnel.daemon import selection
from jtunnel.daemon.board import Board
from jtunnel.daemon.ports import Ports
from jtunnel.daemon.temporary import Temporary
from jtunnel.daemon.visits import visit
from jtunnel.daemon.wanted import Wanted
from jtunnel.errors import ConfigError, problem_error
from jtunnel.link.registry import Links
from jtunnel.machine.watch import Watch
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.prompts import Question
from jtunnel.status import ForwardKind, TunnelStatus
from jtunnel.telling.teller import Teller
from jtunnel.tunnel.life import Tunnel
from jtunnel.tunnel.report import report_tunnel
from jtunnel.tunnel.waiting_page import render

_log = logging.getLogger(__name__)

#: Puts a question about the named tunnel to a person.
AskAbout = Callable[[str, Question], Coroutine[Any, Any, str | None]]
#: What tells one version of a file from another; None where there is none.
Mark = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reread config changed, by profile name."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    unchanged: list[str]


@dataclass(frozen=True, slots=True)
class Records:
    """What the daemon keeps from one run to the next."""

    ports: Ports
    wanted: Wanted
    teller: Teller


class Manager:
    """All tunnels of the daemon and which of them are wanted."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        config: Config,
        environ: Mapping[str, str],
        board: Board,
        records: Records,
        watch: Watch,
    ) -> None:
        self._tasks = tasks
        self._environ = environ
        self._board = board
        self._records = records
        self._links = Links(tasks, environ, watch)
        self._config = config
        #: The file as it was when last read, be it in vain.
        self.config_mark: Mark = self.look_at_config()
        self._read_mark = self.config_mark
        self._reloading = asyncio.Lock()
        self._temporary = Temporary(environ)
        self._temporary.restore(config.profiles, records.wanted.forwards)
        self._renamed: dict[str, str] = {}
        self._tunnels: dict[str, Tunnel] = {}
        self._wanted: set[str] = set()
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._make_tunnels()

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """All profiles as they are looked after, in the config's order."""
        return {name: tunnel.profile for name, tunnel in self._tunnels.items()}

    @property
    def watches_config(self) -> bool:
        """Whether the config is to be reread by itself."""
        return self._config.watch_config

    def start_automatic(self) -> None:
        """Bring up what was wanted by hand, and what the config says where nobody said otherwise."""
        for name, tunnel in self._tunnels.items():
            by_hand = self._records.wanted.get(name)
            if tunnel.profile.autostart if by_hand is None else by_hand:
                self._wanted.add(name)
                self._start(name)

    def select(self, names: Sequence[str], tags: Sequence[str] = (), *, every: bool = False) -> list[str]:
        """The profiles that a command means; raises ConfigError. See `selection.select`."""
        if not self._tunnels and (problem := self._board.config_problem):
            raise problem_error(problem)
        return selection.select(self.profiles, self._config.path, names, tags, every=every)

    def tunnel(self, name: str) -> Tunnel:
        """The tunnel of a profile; raises ConfigError for an unknown name, with the nearest."""
        try:
            return self._tunnels[name]
        except KeyError:
            raise selection.unknown(name, self._tunnels, self._config.path) from None

    async def up(self, names: Sequence[str], *, may_start: bool = True) -> None:
        """Want these tunnels up; one that waits or is blocked tries again at once.

        Without `may_start`, a server that is gone is not replaced.
        """
        self._wanted.update(names)
        self._records.wanted.note(names, up=True)
        for name in names:
            # A life that is just ending would forget the call.
            await self._wait_ended(name)
            # Also of one that does not live yet: an on-demand tunnel is called for now.
            if name in self._wanted and name in self._tunnels:
                self._tunnels[name].wake(may_start=may_start)
        await self._start_wanted(names)
        for name in names if may_start else ():
            # Over a connection that has just been dropped, nothing is proven.
            if name in self._lives:
                await self._tunnels[name].prove()

    async def down(self, names: Sequence[str]) -> None:
        """Drop these tunnels because a person said so; returns when their listeners are closed."""
        self._records.wanted.note(names, up=False)
        await self._drop(names)

    async def restart(self, names: Sequence[str]) -> list[str]:
        """Drop and renew the links of these tunnels; return the other tunnels that share them."""
        # A reload may have taken one out since it was named.
        tunnels = [self._tunnels[name] for name in names if name in self._tunnels]
        links = {tunnel.link for tunnel in tunnels if tunnel.link}
        others = [
            name for name, tunnel in self._tunnels.items() if tunnel.link in links and name not in names
        ]
        for link in links:
            link.restart()
        await self.up(names, may_start=False)
        return others

    async def add_forward(self, name: str, spec: str, kind: ForwardKind, label: str | None) -> Forward:
        """Add a forward to a tunnel for as long as that is wanted. Raises ConfigError `usage`."""
        async with self._reloading:
            profile = self.tunnel(name).profile
            others = [other for key, other in self.profiles.items() if key != name]
            forward = self._temporary.add(profile, others, spec, kind, label)
            self._records.wanted.note_forwards(self._temporary.added)
            await self._become(name)
        return forward

    async def remove_forwards(self, name: str, spec: str | None) -> list[str]:
        """Take one of those away again, or all; return their names. Raises ConfigError `usage`."""
        async with self._reloading:
            removed = self._temporary.remove(self.tunnel(name).profile, spec)
            if removed:
                self._records.wanted.note_forwards(self._temporary.added)
                await self._become(name)
        return removed

    def note_rename(self, name: str, to: str) -> None:
        """The next config has the profile by another name; all that is kept for it goes along."""
        self.tunnel(name)
        if to in self._tunnels:
            raise ConfigError("usage", f"there is a profile {to} already", "choose another name")
        self._renamed[to] = name

    @contextmanager
    def attended(self, names: Sequence[str], ask: AskAbout) -> Iterator[None]:
        """Let `ask` answer what these tunnels' connections want to know while the block runs."""
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(self._tunnels[name].desk.attended_by(partial(ask, name)))
            yield

    def visit(self, name: str) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection to where a tunnel leads, whether it is up or not. See `visits.visit`."""
        return visit(self._links, self.tunnel(name))

    def look_at_config(self) -> Mark:
        """What the config file looks like now."""
        try:
            stat = os.stat(self._config.path)
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    async def refresh(self) -> None:
        """Reread the config where its file is another than the one last read; raises ConfigError."""
        if self._board.config_problem or self.look_at_config() != self._read_mark:
            await self.reload()

    async def reload(self) -> Reloaded:
        """Reread the config; tunnels whose profile did not change are untouched.

        Raises ConfigError, and the old config stays.
        """
        # One after another: what a second caller would read meanwhile is half the old state.
        async with self._reloading:
            return await self._reload()

    async def close(self) -> None:
        """End every tunnel, all at once; they are wanted again when the next daemon starts."""
        await self._end(list(self._lives))

    async def _reload(self) -> Reloaded:
        mark = self.config_mark = self.look_at_config()
        try:
            config = load_config(self._config.path, self._environ)
        except ConfigError as error:
            self._board.config_problem = error.problem
            self._board.changes.notify()
            raise
        self._read_mark = mark
        old, new = self._config.profiles, config.profiles
        result = Reloaded(
            added=[name for name in new if name not in old],
            removed=[name for name in old if name not in new],
            changed=[name for name in new if name in old and new[name] != old[name]],
            unchanged=[name for name in new if old.get(name) == new[name]],
        )
        self._config = config
        self._follow_renames(result)
        # A daemon that started with a broken config gets to know its profiles now.
        kept = self._records.wanted.forwards
        self._temporary.restore(new, {name: kept[name] for name in result.added if name in kept})
        await self._drop(result.removed)
        self._records.wanted.forget(result.removed)
        for name in result.removed:
            del self._tunnels[name]
        fresh = await self._change(result.changed)
        self._wanted.update(name for name in result.added if self._is_automatic(new[name]))
        self._make_tunnels()
        await self._start_wanted([*fresh, *result.added])
        self._records.wanted.note_forwards(self._temporary.added)
        self._board.config_problem = None
        self._board.changes.notify()
        _log.info("read %s: %d profile%s", config.path, len(new), "" if len(new) == 1 else "s")
        return result

    def _is_automatic(self, profile: Profile) -> bool:
        by_hand = self._records.wanted.get(profile.name)
        return bool(profile.autostart) if by_hand is None else by_hand

    def _follow_renames(self, result: Reloaded) -> None:
        """What is kept for a profile that has another name now goes along."""
        for new, old in list(self._renamed.items()):
            if new in result.added and old in result.removed:
                self._records.ports.rename(old, new)
                self._records.teller.rename(old, new)
                self._temporary.rename(old, new)
                self._records.wanted.rename(old, new)
                if old in self._wanted:
                    self._wanted.add(new)
                del self._renamed[new]

    async def _change(self, names: Sequence[str]) -> list[str]:
        """Have tunnels take on their edited profiles; return those that need a new tunnel."""
        fresh: list[str] = []
        for name in names:
            edited, before = self._config.profiles[name], self._tunnels[name].profile
            rested = self._tunnels[name].is_resting
            if self._tunnels[name].can_become(edited):
                await self._become(name)
            else:
                await self._end([name])
                del self._tunnels[name]
                fresh.append(name)
            self._arm(name, before, edited, rested=rested)
        return fresh

    def _arm(self, name: str, before: Profile, edited: Profile, *, rested: bool) -> None:
        """An on-demand tunnel listens as soon as its profile says so, and no longer than that."""
        if before.autostart == edited.autostart:
            return
        if edited.autostart and self._records.wanted.get(name) is False:
            # The edit is the later wish.
            self._records.wanted.forget([name])
        if self._records.wanted.get(name) is not None:
            return
        if edited.autostart == "on-demand":
            self._wanted.add(name)
            if name in self._tunnels and name not in self._lives:
                self._start(name)
        elif rested and not edited.autostart:
            self._wanted.discard(name)
            if name in self._lives:
                self._lives[name].cancel()

    async def _become(self, name: str) -> None:
        profile = self._temporary.extend(self._config.profiles[name])
        await self._tunnels[name].become(profile, self._port(profile))
        self._board.changes.notify()

    async def _drop(self, names: Sequence[str]) -> None:
        self._wanted.difference_update(names)
        await self._end(names)
        with_forwards = self._temporary.forget(names)
        self._records.wanted.note_forwards(self._temporary.added)
        for name in with_forwards:
            if name in self._tunnels and name in self._config.profiles:
                await self._become(name)

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
            await self._wait_ended(name)
            if name in self._wanted and name in self._tunnels and name not in self._lives:
                self._start(name)

    async def _wait_ended(self, name: str) -> None:
        """Wait for a life that is just ending."""
        while (life := self._lives.get(name)) is not None and life.cancelling():
            await asyncio.wait([life])
            if self._lives.get(name) is life:
                del self._lives[name]

    def _start(self, name: str) -> None:
        self._lives[name] = self._tasks.create_task(self._tunnels[name].run())
        self._board.changes.notify()

    def _make_tunnels(self) -> None:
        """One tunnel for each profile, in the config's order, keeping those that are there."""
        self._tunnels = {
            name: self._tunnels.get(name) or self._make_tunnel(self._temporary.extend(profile))
            for name, profile in self._config.profiles.items()
        }
        self._board.post({name: partial(self._report, name) for name in self._tunnels})

    def _make_tunnel(self, profile: Profile) -> Tunnel:
        return Tunnel(
            profile,
            self._links,
            self._port(profile),
            changed=self._board.changes.notify,
            page=lambda: render(self._report(profile.name)),
            tell=self._records.teller.tell,
        )

    def _port(self, profile: Profile) -> int:
        """The local port of a profile's remote server; 0 where it has none."""
        if profile.served is None:
            return 0
        if isinstance(wanted := profile.served[1].local_port, int):
            return wanted
        others = (other.served[1].local_port for other in self._config.profiles.values() if other.served)
        return self._records.ports.port_for(profile.name, {port for port in others if isinstance(port, int)})

    def _report(self, name: str) -> TunnelStatus:
        tunnel = self._tunnels[name]
        return report_tunnel(tunnel, wanted=name in self._wanted and not tunnel.is_resting)
