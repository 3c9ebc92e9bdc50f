"""All links of the daemon: one for each destination that somebody uses, shared where it may be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from jtunnel.errors import LinkError
from jtunnel.link.life import Link
from jtunnel.machine.watch import Watch
from jtunnel.ssh.destination import Destination, Resolved
from jtunnel.ssh.dialer import Dialer
from jtunnel.ssh.prompts import Desk


@dataclass(slots=True)
class _Entry:
    link: Link
    task: asyncio.Task[None]
    users: int = 0


class Links:
    """Lends links; a link lives while it has users."""

    def __init__(self, tasks: asyncio.TaskGroup, environ: Mapping[str, str], watch: Watch) -> None:
        self._tasks = tasks
        self._environ = environ
        self._watch = watch
        self._dialer = Dialer()
        self._entries: dict[tuple[object, ...], _Entry] = {}

    async def is_still_for(self, link: Link, destination: Destination) -> bool:
        """Whether ssh_config(5), as it is now, still sends a destination over this link."""
        try:
            resolved = await self._dialer.resolve(destination, self._environ)
        except LinkError:
            return True
        return link.resolved is None or link.resolved.key == resolved.key

    @asynccontextmanager
    async def lease(
        self, destination: Destination, desk: Desk, *, owner: str | None = None
    ) -> AsyncIterator[Link]:
        """Lend the link to a destination for as long as the block runs.

        Destinations whose effective connection and trust options are all equal get the same link,
        unless `owner` names who wants one alone. Questions of the link go to `desk` too.
        """
        resolved: Resolved | None = None
        # The link itself reports an ssh_config that cannot be read, and reads it again.
        with contextlib.suppress(LinkError):
            resolved = await self._dialer.resolve(destination, self._environ)
        key = (owner, *resolved.key) if resolved else (owner, destination)
        entry = self._entries.get(key)
        if entry is None or entry.link.moved:
            link = Link(destination, resolved, self._environ, self.lease, self._watch, self._dialer)
            entry = self._entries[key] = _Entry(link, self._tasks.create_task(link.run()))
        entry.users += 1
        try:
            with entry.link.desk.passing_to(desk):
                yield entry.link
        finally:
            entry.users -= 1
            if not entry.users:
                # A user who comes while this one ends gets a new link, not a dying one.
                if self._entries.get(key) is entry:
                    del self._entries[key]
                entry.task.cancel()
                await asyncio.wait([entry.task])
