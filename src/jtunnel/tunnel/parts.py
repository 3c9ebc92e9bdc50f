"""One forward of a tunnel, from opening its listening side to its trial: failures stay its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from jtunnel.address import Address
from jtunnel.config.profile import Forward
from jtunnel.errors import ChannelError, JTunnelError, ListenerError, problem_error
from jtunnel.forward.listener import Listener
from jtunnel.forward.remote_forward import RemoteForward
from jtunnel.forward.streams import ListenerStats
from jtunnel.link.life import Link
from jtunnel.ssh.connection import Connection
from jtunnel.status import Problem
from jtunnel.tunnel.gates import Gates
from jtunnel.tunnel.phase import Trouble
from jtunnel.tunnel.targets import try_target

#: Seconds before a connection that failed in use, and may be fine, is used again.
SECOND_LOOK_S: Final = 1.0


class Part(Protocol):
    """What a tunnel knows of any of its forwards."""

    forward: Forward

    @property
    def address(self) -> Address:
        """Where it listens, with the real port where that is known."""

    @property
    def listening(self) -> bool:
        """Whether connections are accepted there."""

    @property
    def stats(self) -> ListenerStats:
        """The counts as they are now."""

    @property
    def problem(self) -> Problem | None:
        """Its own problem, which may be no trouble for the tunnel."""

    @property
    def failure(self) -> JTunnelError | None:
        """Why there is no listening side on this machine."""

    @property
    def trouble(self) -> Trouble | None:
        """What it keeps a tunnel from being `up` for."""

    @property
    def retry_at(self) -> datetime | None:
        """When it is tried again by itself; UTC."""

    @property
    def is_opened(self) -> bool:
        """Whether its side on this machine listens or has failed."""

    @property
    def is_tried(self) -> bool:
        """Whether it is known how it fares over the present connection."""

    async def live(self) -> None:
        """Keep its side on this machine open until cancelled."""

    def begin(self, tasks: asyncio.TaskGroup, gates: Gates, connection: Connection, link: Link) -> None:
        """Work over this connection, as a task of that group."""

    def end(self) -> None:
        """Work over no connection any more."""

    def again(self) -> None:
        """Try again what has failed."""

    def reset(self) -> None:
        """Know of no failure any more: the tunnel is down."""


class LocalPart:
    """A local or dynamic forward, or Jupyter's: what arrives here is taken to the far side."""

    def __init__(
        self, forward: Forward, listener: Listener, *, is_served: bool, changed: Callable[[], None]
    ) -> None:
        self.forward = forward
        self.listener = listener
        self._is_served = is_served
        self._changed = changed
        self._work: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._open_gate: Callable[[], None] | None = None
        self.failure: JTunnelError | None = None
        self._refusal: JTunnelError | None = None
        self._binds_again = self._tries_again = False
        # Jupyter's listener needs no trial: the tunnel asks its server.
        self.is_tried = is_served

    @property
    def address(self) -> Address:
        return self.listener.address

    @property
    def listening(self) -> bool:
        return self.listener.listening

    @property
    def stats(self) -> ListenerStats:
        return self.listener.stats

    @property
    def problem(self) -> Problem | None:
        return self.failure.problem if self.failure else self.listener.problem

    @property
    def trouble(self) -> Trouble | None:
        error = self.failure or self._refusal
        if self.forward.temporary:
            # Whoever has just asked for it is told; the tunnel has what its profile says.
            return None
        if error is not None:
            return "blocked", error
        return ("connecting", None) if self._binds_again or self._tries_again else None

    @property
    def retry_at(self) -> datetime | None:
        return None

    @property
    def is_opened(self) -> bool:
        return self.listening or self.failure is not None

    async def live(self) -> None:
        while True:
            try:
                async with self.listener:
                    if self._open_gate:
                        self._open_gate()
                    self._settle(None)
                    await asyncio.Event().wait()
            except ListenerError as error:
                self._settle(error)
                self._asked.clear()
                await self._asked.wait()

    def _settle(self, failure: ListenerError | None) -> None:
        self.failure = failure
        self.listener.problem = None
        self._binds_again = False
        self._changed()

    def begin(self, tasks: asyncio.TaskGroup, gates: Gates, connection: Connection, link: Link) -> None:
        if not self._is_served:
            self.is_tried = False
            self._work = tasks.create_task(self._serve(gates, connection, link))

    def end(self) -> None:
        if self._work:
            self._work.cancel()

    def again(self) -> None:
        self._binds_again = self._binds_again or self.failure is not None
        self._tries_again = self._tries_again or self._refusal is not None
        self.failure = self._refusal = None
        self._asked.set()

    def reset(self) -> None:
        self.failure = self._refusal = None
        self._binds_again = self._tries_again = False
        self.is_tried = self._is_served
        self.listener.problem = None

    async def _serve(self, gates: Gates, connection: Connection, link: Link) -> None:
        """Open the gate, and try the target: once, and again when a person asks after a refusal."""
        gate = partial(gates.open, self.listener, connection, link, self.forward.target)
        try:
            # Where the far side is this machine, the target may be this very listener: to serve the trial
            # would begin another, and so on.
            if not connection.is_local:
                self._open(gate)
            while True:
                if self.forward.target is not None:
                    self._refusal = await self._try(connection, link)
                if self._open_gate is None:
                    # By the second answer what the trial had opened over there is closed.
                    await connection.question()
                    await connection.question()
                    self._open(gate)
                self.is_tried, self._tries_again = True, False
                self._changed()
                if not self._refusal:
                    await asyncio.Event().wait()
                self._asked.clear()
                await self._asked.wait()
        finally:
            self._open_gate = None

    def _open(self, gate: Callable[[], None]) -> None:
        """Open the gate now, and again whenever the listener is opened late."""
        self._open_gate = gate
        gate()

    async def _try(self, connection: Connection, link: Link) -> ChannelError | None:
        """Try the target; what is said over a connection that does not answer is said anew."""
        while True:
            slow = asyncio.get_running_loop().call_later(
                SECOND_LOOK_S, link.suspect, "a stream does not open", connection
            )
            try:
                refusal = await try_target(connection, self.forward, self.listener)
            finally:
                slow.cancel()
            if link.suspects(connection):
                await link.changes.until(lambda: not link.suspects(connection))
            elif refusal and refusal.kind == "connection-lost":
                link.suspect(refusal.message, connection)
                await asyncio.sleep(SECOND_LOOK_S)
            else:
                return refusal


class RemotePart:
    """A remote forward: what arrives over there is taken to a target on this side."""

    def __init__(self, forward: Forward, remote: RemoteForward) -> None:
        self.forward = forward
        self.remote = remote
        self._work: asyncio.Task[None] | None = None
        self._has_begun = self._tries_again = False

    @property
    def address(self) -> Address:
        return self.remote.address

    @property
    def listening(self) -> bool:
        return self.remote.listening

    @property
    def stats(self) -> ListenerStats:
        return self.remote.stats

    @property
    def problem(self) -> Problem | None:
        return self.remote.problem

    @property
    def failure(self) -> JTunnelError | None:
        return None

    @property
    def trouble(self) -> Trouble | None:
        remote = self.remote
        if remote.listening or self._work is None or self.forward.temporary:
            return None
        if remote.problem is None:
            return ("connecting", None) if self._tries_again else None
        return ("blocked" if remote.given_up else "retrying"), problem_error(remote.problem)

    @property
    def retry_at(self) -> datetime | None:
        return self.remote.retry_at

    @property
    def is_opened(self) -> bool:
        return True

    @property
    def is_tried(self) -> bool:
        return self._has_begun and self.remote.is_settled

    async def live(self) -> None:
        await asyncio.Event().wait()

    def begin(self, tasks: asyncio.TaskGroup, gates: Gates, connection: Connection, link: Link) -> None:
        self._has_begun = self._tries_again = False
        self._work = tasks.create_task(self._serve(connection))

    async def _serve(self, connection: Connection) -> None:
        self._has_begun = True
        await self.remote.run(connection)

    def end(self) -> None:
        if self._work:
            self._work.cancel()

    def again(self) -> None:
        self._tries_again = self.trouble is not None
        self.remote.again()

    def reset(self) -> None:
        self._work = None
        self.remote.reset()
