"""All forwards of one tunnel: kept by value as the profile changes, each alive or failed on its own.

Jupyter's listener is one of them; when its gate opens is for the tunnel to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Final

from jtunnel.address import TcpAddress
from jtunnel.changes import Changes
from jtunnel.config.profile import Forward, Profile
from jtunnel.errors import JTunnelError
from jtunnel.forward.held import Room
from jtunnel.forward.listener import Listener
from jtunnel.forward.remote_forward import RemoteForward
from jtunnel.link.life import Link
from jtunnel.ssh.connection import Connection
from jtunnel.tunnel.gates import Gates
from jtunnel.tunnel.parts import LocalPart, Part, RemotePart
from jtunnel.tunnel.phase import Trouble

#: Seconds in which the far side opens a channel for a waiting connection, at least.
_CHANNEL_TIMEOUT_S: Final = 10.0
#: Seconds beyond the keepalive's, in which a dead link is found out.
_AFTER_KEEPALIVE_S: Final = 1.0


class Forwards:
    """`async with` it to open them all and close them again; `serve` works on one connection.

    `changed` is called, and `changes` counts, whenever one has opened, failed or was tried; `traffic` the
    same, often, whenever a connection came or went. `page` renders the waiting page.
    """

    def __init__(
        self,
        profile: Profile,
        port: int,
        *,
        changed: Callable[[], None],
        traffic: Callable[[], None],
        page: Callable[[], bytes],
    ) -> None:
        self.changes = Changes()
        self.traffic = Changes()
        self.gates = Gates()
        self._tell_changed = changed
        self._tell_traffic = traffic
        self._page = page
        self._room = Room()
        self._retired = (0, 0, 0)
        self._parts: dict[Forward, Part] = {}
        self._lives: dict[Forward, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._used: tuple[asyncio.TaskGroup, Connection, Link] | None = None
        self.served: LocalPart | None = None
        self._arrange(profile, port)

    def __iter__(self) -> Iterator[Part]:
        """In the profile's order, Jupyter's first."""
        return iter(self._parts.values())

    @property
    def listeners(self) -> list[Listener]:
        """Those on this machine."""
        return [part.listener for part in self if isinstance(part, LocalPart)]

    @property
    def is_busy(self) -> bool:
        """Whether anybody uses one of them now, or waits to."""
        return any(stats.active or stats.held for stats in (part.stats for part in self))

    @property
    def awaits(self) -> bool:
        """Whether anybody waits for a connection."""
        return any(part.stats.held for part in self)

    @property
    def accepted(self) -> int:
        """How many connections there have been on this machine."""
        return self._retired[2] + sum(listener.stats.accepted for listener in self.listeners)

    @property
    def trouble(self) -> Trouble | None:
        """What keeps a tunnel from being `up` where all else is."""
        troubles = [trouble for part in self if (trouble := part.trouble)]
        order = ("blocked", "retrying", "connecting")
        return min(troubles, key=lambda trouble: order.index(trouble[0]), default=None)

    @property
    def retry_at(self) -> datetime | None:
        """When the next one is tried again by itself; UTC."""
        return min((part.retry_at for part in self if part.retry_at), default=None)

    def count(self) -> tuple[int, int]:
        """How many that waited were served, and how many open connections were cut, so far."""
        stats = [listener.stats for listener in self.listeners]
        served, cut, _ = self._retired
        return served + sum(each.served_held for each in stats), cut + sum(each.cut for each in stats)

    async def __aenter__(self) -> Forwards:
        self._group = await asyncio.TaskGroup().__aenter__()
        for key, part in self._parts.items():
            self._start(key, part)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        assert group is not None
        lives = list(self._lives.values())
        self._lives.clear()
        for life in lives:
            life.cancel()
        await group.__aexit__(kind, error, trace)
        for part in self:
            part.reset()

    async def wait_opened(self) -> JTunnelError | None:
        """Wait until each local one listens or has failed; the first failure where none listens."""
        await self.changes.until(lambda: all(part.is_opened for part in self))
        failures = [part.failure for part in self if part.failure]
        return failures[0] if failures and len(failures) == len(self._parts) else None

    async def wait_tried(self) -> None:
        """Wait until each is open, or has failed, and was tried over the connection that is served."""
        await self.changes.until(lambda: all(part.is_opened and part.is_tried for part in self))

    async def wait_known(self, name: str) -> None:
        """Wait until the one of that name listens or has failed and, over a connection, was tried."""

        def is_known() -> bool:
            parts = [part for part in self if part.forward.name == name]
            return all(part.is_opened and (part.is_tried or not self._used) for part in parts)

        await self.changes.until(is_known)

    def again(self) -> None:
        """A person asks: what failed is tried again."""
        for part in self:
            part.again()

    async def serve(self, connection: Connection, link: Link) -> None:
        """Work on one connection until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            try:
                self._used = tasks, connection, link
                for part in self:
                    part.begin(tasks, self.gates, connection, link)
                await asyncio.Event().wait()
            finally:
                # Before the group ends: while a place is given back, no part may begin in it any more.
                self._used = None

    async def converge(self, profile: Profile, port: int) -> None:
        """Close what the profile does not have any more, open what is new, and leave the rest alone."""
        gone, new = self._arrange(profile, port)
        for key, part in gone.items():
            part.end()
            if life := self._lives.pop(key, None):
                life.cancel()
                await asyncio.wait([life])
            part.reset()
            if isinstance(part, LocalPart):
                self.gates.forget(part.listener)
                stats = part.listener.stats
                served, cut, accepted = self._retired
                self._retired = served + stats.served_held, cut + stats.cut, accepted + stats.accepted
        if self._group is not None:
            for key in new:
                self._start(key, self._parts[key])
        self._changed()

    def _start(self, key: Forward, part: Part) -> None:
        assert self._group is not None
        self._lives[key] = self._group.create_task(part.live())
        if self._used:
            part.begin(self._used[0], self.gates, *self._used[1:])

    def _arrange(self, profile: Profile, port: int) -> tuple[dict[Forward, Part], list[Forward]]:
        """Make the parts that the profile has, keeping those that are there; return the old and the new."""
        before = self._parts
        self._parts = {}
        self.served = None
        if profile.served:
            key = Forward(profile.served[0], "local", TcpAddress("", port), None)
            kept = before.get(key)
            self.served = kept if isinstance(kept, LocalPart) else self._local(key, profile, is_served=True)
            self._parts[key] = self.served
        for forward in profile.forwards:
            part = self._parts[forward] = before.get(forward) or self._make(forward, profile)
            # One that was added by hand may be the config's by now.
            part.forward = forward
        gone = {key: part for key, part in before.items() if key not in self._parts}
        return gone, [key for key in self._parts if key not in before]

    def _make(self, forward: Forward, profile: Profile) -> Part:
        if forward.kind != "remote":
            return self._local(forward, profile)
        assert forward.target is not None
        return RemotePart(
            forward,
            RemoteForward(forward.name, forward.listen, forward.target, changed=self._remote_changed),
        )

    def _local(self, forward: Forward, profile: Profile, *, is_served: bool = False) -> LocalPart:
        # A channel that does not open may mean a dead link: its keepalive has to find that out first.
        patience_s = profile.keepalive_interval_s * (profile.keepalive_count + 1)
        listener = Listener(
            forward.name,
            forward.listen,
            hold_s=profile.hold_s,
            changed=self._traffic,
            page=self._page if is_served and profile.waiting_page and profile.has_pages else None,
            room=self._room,
            open_timeout_s=max(_CHANNEL_TIMEOUT_S, patience_s + _AFTER_KEEPALIVE_S),
            dynamic=forward.kind == "dynamic",
        )
        return LocalPart(forward, listener, is_served=is_served, changed=self._changed)

    def _changed(self) -> None:
        self.changes.notify()
        self._tell_changed()

    def _remote_changed(self) -> None:
        self.traffic.notify()
        self._changed()

    def _traffic(self) -> None:
        self.traffic.notify()
        self._tell_traffic()


def are_alike(old: Profile, new: Profile) -> bool:
    """Whether listeners made for one profile will do for the other: what they were made with stays."""
    has_other_pages = bool(old.service and new.service) and old.has_pages != new.has_pages
    return (old.hold_s, old.waiting_page) == (new.hold_s, new.waiting_page) and not has_other_pages
