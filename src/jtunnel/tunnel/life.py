"""The life of one tunnel: open its listeners, wait for the link, find or start the server, prove, serve.

It ends only by being cancelled. A failure that a person must mend stops it until `wake`; what the
link does about lost connections is the link's affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Final

from jtunnel.address import TcpAddress
from jtunnel.changes import Changes
from jtunnel.config.profile import Forward, Profile
from jtunnel.errors import ChannelError, JTunnelError, ListenerError, ServerError
from jtunnel.forward.listener import Listener
from jtunnel.link.life import Link, end_if_cancelled
from jtunnel.link.registry import Links
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.destination import Destination
from jtunnel.ssh.prompts import Desk
from jtunnel.tunnel.phase import (
    Down,
    Linking,
    Phase,
    Proving,
    Searching,
    Starting,
    Stopped,
    Up,
    check_step,
    derive_state,
)
from jtunnel.tunnel.server import ServerLife
from jtunnel.tunnel.targets import try_target

#: Seconds before a connection that failed in use, and may be fine, is used again.
_SECOND_LOOK_S: Final = 1.0
#: Seconds in which the far side opens a channel for a waiting connection, at least.
_CHANNEL_TIMEOUT_S: Final = 10.0
_PROVE_TIMEOUT_S: Final = 20.0


class Tunnel:
    """One profile that is looked after. `changed` is called whenever its status is another."""

    def __init__(
        self, profile: Profile, links: Links, jupyter_port: int | None, changed: Callable[[], None]
    ) -> None:
        self.profile = profile
        self.phase: Phase = Down()
        self.since = datetime.now(UTC)
        self.reconnects = 0
        self.desk = Desk()
        self.link: Link | None = None
        self.server = ServerLife(profile.name, profile.jupyter) if profile.jupyter else None
        self.listeners = {forward.name: self._listener(forward) for forward in _local(profile)}
        self.jupyter_port = jupyter_port or 0
        self.jupyter_listener: Listener | None = None
        if self.server:
            self.jupyter_listener = self._listener(
                Forward("jupyter", "local", TcpAddress("", self.jupyter_port), None)
            )
        self._links = links
        self._changed = changed
        self._woken = asyncio.Event()
        self._steps = Changes()
        self._was_up = False
        self._state = derive_state(self.phase, None)
        self._log = logging.LoggerAdapter(logging.getLogger(__name__), {"tunnel": profile.name})

    def _listener(self, forward: Forward) -> Listener:
        profile = self.profile
        # A channel that does not open may mean a dead link: its keepalive has to find that out first.
        patience_s = profile.keepalive_interval_s * (profile.keepalive_count + 1)
        return Listener(
            forward.name,
            forward.listen,
            hold_s=profile.hold_s,
            changed=lambda: self._changed(),
            open_timeout_s=max(_CHANNEL_TIMEOUT_S, patience_s + _SECOND_LOOK_S),
        )

    @property
    def destination(self) -> Destination:
        """What the profile says of its connection."""
        profile = self.profile
        return Destination(
            host=profile.host,
            user=profile.user,
            port=profile.port,
            identity_files=profile.identity_files,
            jump=profile.jump,
            known_hosts=profile.known_hosts,
            ssh_config=profile.ssh_config,
            keepalive_interval_s=profile.keepalive_interval_s,
            keepalive_count=profile.keepalive_count,
        )

    @property
    def connection(self) -> Connection | None:
        """The live connection, for commands that a person asked for."""
        phase = self.link.phase if self.link else None
        return getattr(phase, "connection", None)

    def wake(self) -> None:
        """A person wants it: try again at once whatever it waits for, and start a server if need be."""
        self._woken.set()
        if self.server and not isinstance(self.phase, Up):
            self.server.allow_start()
        if self.link:
            self.link.retry_now()
        if isinstance(self.phase, Stopped):
            self._enter(Linking())

    async def prove(self) -> None:
        """Where it is up with a server, ask that again: `up` says that it answers, now."""
        connection = self.connection
        if not (isinstance(self.phase, Up) and connection and self.server and self.jupyter_listener):
            return
        try:
            await self.server.check(connection)
        except (ServerError, ChannelError):
            self.server.allow_start()
            self.jupyter_listener.failed.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROVE_TIMEOUT_S):
                    await self._steps.until(lambda: not isinstance(self.phase, Up))

    async def run(self) -> None:
        """Live until cancelled; a bug of ours blocks this tunnel and no other."""
        while True:
            try:
                await self._live()
            except Exception:  # noqa: BLE001  (a bug here must not end the other tunnels)
                self._log.exception("the tunnel failed")
                end_if_cancelled()
                self._woken.clear()
                advice = f"see `jtunnel logs {self.profile.name}`, then bring it up again"
                self._enter(Stopped(JTunnelError("internal", "a bug in jtunnel ended this tunnel", advice)))
                await self._woken.wait()

    async def _live(self) -> None:
        """One life; at its end the listeners are closed and the link is given back."""
        try:
            async with AsyncExitStack() as stack:
                await self._open_listeners(stack)
                owner = None if self.profile.share else self.profile.name
                while True:
                    async with self._links.lease(self.destination, self.desk, owner=owner) as link:
                        self.link = link
                        await self._live_on(link)
        finally:
            self.link = None
            if self.server:
                self.server.forget()
            for listener in self._all_listeners():
                listener.problem = None
            if not isinstance(self.phase, Down):
                self._enter(Down())

    async def _open_listeners(self, stack: AsyncExitStack) -> None:
        waiting = list(self._all_listeners())
        while True:
            errors: list[ListenerError] = []
            for listener in list(waiting):
                try:
                    await stack.enter_async_context(listener)
                except ListenerError as error:
                    errors.append(error)
                else:
                    waiting.remove(listener)
            if not errors:
                if not isinstance(self.phase, Linking):
                    self._enter(Linking())
                return
            await self._stop(errors[0])

    async def _live_on(self, link: Link) -> None:
        """Use one connection of a link after another; return when ssh_config leads elsewhere now."""
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._follow_link(link))
            endings = [tasks.create_task(self._use_all(link)), tasks.create_task(link.wait_moved())]
            await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
            for task in (following, *endings):
                task.cancel()

    async def _use_all(self, link: Link) -> None:
        await self._use(await link.serving(), link)
        while True:
            connection = await link.serving()
            # Others may share it by an alias that still leads there, while this one's does not.
            if not await self._links.is_still_for(link, self.destination):
                return
            await self._use(connection, link)

    async def _follow_link(self, link: Link) -> None:
        seen = -1
        while True:
            seen = await link.changes.wait(seen)
            self._report()

    async def _use(self, connection: Connection, link: Link) -> None:
        """Work on one connection until it is lost."""
        if self._was_up:
            self.reconnects += 1
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(self._serve(connection, link))
            await link.left(connection)
            work.cancel()
        for listener in self._all_listeners():
            listener.hold()
        if not isinstance(self.phase, Stopped):
            self._enter(Linking())

    async def _serve(self, connection: Connection, link: Link) -> None:
        for forward in _local(self.profile):
            assert forward.target is not None
            self.listeners[forward.name].serve(functools.partial(connection.open, forward.target))
        while True:
            try:
                if isinstance(self.phase, Stopped):
                    await self._stop(self.phase.error)
                await self._prove_targets(connection)
                while True:
                    await self._bring_up(connection)
                    await self._stay_up(connection)
            except (ServerError, ChannelError) as error:
                if error.kind == "connection-lost":
                    link.suspect(error.message)
                    await asyncio.sleep(_SECOND_LOOK_S)
                else:
                    await self._stop(error)

    async def _prove_targets(self, connection: Connection) -> None:
        """Try the target of each forward: one that is forbidden is found before anything is started."""
        self._enter(Proving())
        async with asyncio.TaskGroup() as tasks:
            trials = [
                tasks.create_task(try_target(connection, forward, self.listeners[forward.name]))
                for forward in _local(self.profile)
            ]
        for trial in trials:
            if (refusal := trial.result()) is not None:
                raise refusal

    async def _bring_up(self, connection: Connection) -> None:
        if self.server and self.jupyter_listener:
            self._enter(Searching())
            target = await self.server.bring_up(
                connection, lambda step: self._enter(Starting(step)), self._changed
            )
            self.jupyter_listener.problem = None
            self.jupyter_listener.serve(functools.partial(connection.open, target))
        self._was_up = True
        self._enter(Up())

    async def _stay_up(self, connection: Connection) -> None:
        """Return when Jupyter has stopped answering; without Jupyter, never."""
        if self.server and self.jupyter_listener:
            await self.server.wait_failed(connection, self.jupyter_listener, self._changed)
            self.jupyter_listener.hold()
        else:
            await asyncio.Event().wait()

    async def _stop(self, error: JTunnelError) -> None:
        """Be blocked until a person asks again."""
        if not isinstance(self.phase, Stopped):
            self._woken.clear()
            self._enter(Stopped(error))
        if self.jupyter_listener and error.kind == "server-gone":
            # JupyterLab must see that its kernels are gone, not wait for them.
            self.jupyter_listener.refuse()
        await self._woken.wait()
        if self.jupyter_listener:
            self.jupyter_listener.hold()

    def _all_listeners(self) -> list[Listener]:
        first = [self.jupyter_listener] if self.jupyter_listener else []
        return [*first, *self.listeners.values()]

    def _enter(self, phase: Phase) -> None:
        check_step(self.phase, phase)
        self.phase = phase
        self._steps.notify()
        self._report()

    def _report(self) -> None:
        """Note a change of state, with its time, in the log; tell the board in any case."""
        state, error = derive_state(self.phase, self.link.phase if self.link else None)
        if state != self._state[0]:
            self.since = datetime.now(UTC)
        if (state, error and error.message) != (self._state[0], self._state[1] and self._state[1].message):
            level = logging.WARNING if state == "blocked" else logging.INFO
            self._log.log(level, "%s%s", state, f": {error}" if error else "")
        self._state = (state, error)
        self._changed()


def _local(profile: Profile) -> list[Forward]:
    return [forward for forward in profile.forwards if forward.kind == "local"]
