"""The life of one tunnel: open its listeners, wait for the link, find or start the server, prove, serve.

It ends only by being cancelled. A failure that a person must mend stops it until `wake`; what the
link does about lost connections is the link's affair.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Final

from jtunnel.address import TcpAddress
from jtunnel.changes import Changes, first_of
from jtunnel.config.profile import Forward, Profile
from jtunnel.errors import ChannelError, JTunnelError, ListenerError, ServerError
from jtunnel.forward.held import Room
from jtunnel.forward.listener import Listener
from jtunnel.jupyter.record import node_names
from jtunnel.jupyter.server import ElsewhereError
from jtunnel.link.life import Link, end_if_cancelled
from jtunnel.link.phase import Blocked, Serving, Waiting
from jtunnel.link.registry import Links
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.prompts import Desk
from jtunnel.status import State
from jtunnel.tunnel.gates import Gates
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
from jtunnel.tunnel.story import Story
from jtunnel.tunnel.targets import try_target
from jtunnel.tunnel.ways import Ways

#: Seconds before a connection that failed in use, and may be fine, is used again.
_SECOND_LOOK_S: Final = 1.0
#: Seconds in which the far side opens a channel for a waiting connection, at least.
_CHANNEL_TIMEOUT_S: Final = 10.0
#: Seconds that a server may take that is asked because a person waits.
_PROVE_TIMEOUT_S: Final = 5.0


class Tunnel:
    """One profile that is looked after. `changed` is called whenever its status is another."""

    def __init__(
        self,
        profile: Profile,
        links: Links,
        jupyter_port: int | None,
        *,
        changed: Callable[[], None],
        page: Callable[[], bytes],
    ) -> None:
        self.profile = profile
        self.phase: Phase = Down()
        self.since = datetime.now(UTC)
        self.reconnects = 0
        self.desk = Desk()
        self.link: Link | None = None
        self.server = ServerLife(profile.name, profile.jupyter, profile.host) if profile.jupyter else None
        self._room = Room()
        self.listeners = {forward.name: self._listener(forward) for forward in _local(profile)}
        self.jupyter_port = jupyter_port or 0
        self.jupyter_listener: Listener | None = None
        if self.server:
            self.jupyter_listener = self._listener(
                Forward("jupyter", "local", TcpAddress("", self.jupyter_port), None),
                page if profile.waiting_page else None,
            )
        self._links = links
        self._changed = changed
        self._gates = Gates(self._all_listeners())
        self._ways = Ways(profile)
        self._used: Connection | None = None
        self._woken = asyncio.Event()
        self._steps = Changes()
        self._was_up = False
        self._state: State = "down"
        self._story = Story(profile.name, self._all_listeners())
        self._log = logging.LoggerAdapter(logging.getLogger(__name__), {"tunnel": profile.name})

    def _listener(self, forward: Forward, page: Callable[[], bytes] | None = None) -> Listener:
        profile = self.profile
        # A channel that does not open may mean a dead link: its keepalive has to find that out first.
        patience_s = profile.keepalive_interval_s * (profile.keepalive_count + 1)
        return Listener(
            forward.name,
            forward.listen,
            hold_s=profile.hold_s,
            changed=self._listener_changed,
            page=page,
            room=self._room,
            open_timeout_s=max(_CHANNEL_TIMEOUT_S, patience_s + _SECOND_LOOK_S),
        )

    @property
    def connection(self) -> Connection | None:
        """The connection, where it answers."""
        phase = self.link.phase if self.link else None
        return phase.connection if isinstance(phase, Serving) else None

    @property
    def state(self) -> tuple[State, JTunnelError | None]:
        """What a person sees, and the problem behind it."""
        link_phase = self.link.phase if self.link else None
        if not self._ways.is_proven and not isinstance(link_phase, Serving):
            # Whether this way leads anywhere is not yet the person's affair.
            return derive_state(self.phase, None)
        is_new = isinstance(link_phase, Serving) and link_phase.connection is not self._used
        # What was proven over another connection is not proven over this one.
        phase = Linking() if is_new and not isinstance(self.phase, Down | Stopped) else self.phase
        return derive_state(phase, link_phase)

    def wake(self, *, may_start: bool = True) -> None:
        """A person wants it: try again at once whatever it waits for, and start a server if need be."""
        self._woken.set()
        self._ways.allow()
        if self.server and may_start and not isinstance(self.phase, Up):
            is_elsewhere = isinstance(self.phase, Stopped) and isinstance(self.phase.error, ElsewhereError)
            self.server.allow_start(here=is_elsewhere)
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
            async with asyncio.timeout(_PROVE_TIMEOUT_S):
                await self.server.check(connection)
        except (ServerError, ChannelError, TimeoutError):
            self.server.allow_start()
            self.server.doubt(connection)
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
                    async with self._links.lease(self._ways.destination, self.desk, owner=owner) as link:
                        self.link = link
                        await self._live_on(link)
        finally:
            self.link = self._used = None
            self._ways.forget()
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
        """Use one connection of a link after another; return when another way is to be taken."""
        try:
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(self._follow_link(link))
                endings = [
                    tasks.create_task(ending)
                    for ending in (self._use_all(link), link.wait_moved(), self._ways.wait_moved())
                ]
                await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
                for task in (following, *endings):
                    task.cancel()
        finally:
            self._used = None
            self._gates.hold_every()
            link.hasten(self, waits=False)

    async def _use_all(self, link: Link) -> None:
        await self._use(await link.serving(), link)
        while True:
            connection = await link.serving()
            # Others may share it by an alias that still leads there, while this one's does not.
            if not await self._links.is_still_for(link, self._ways.destination):
                return
            await self._use(connection, link)

    async def _follow_link(self, link: Link) -> None:
        seen = -1
        while True:
            seen = await link.changes.wait(seen)
            self._hasten()
            if not self._ways.is_proven and isinstance(link.phase, Waiting | Blocked):
                self._ways.give_up()
            self._report()

    async def _use(self, connection: Connection, link: Link) -> None:
        """Work on one connection until it is lost."""
        self._used = connection
        if self._was_up:
            self.reconnects += 1
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(self._serve(connection, link))
            while await self._gates.hold_while_suspected(connection, link):
                self._report()
                if self.jupyter_listener:
                    # It may have gone meanwhile: `up` says that it answers.
                    self.jupyter_listener.failed.set()
            work.cancel()
        self._log.info(
            "the connection is given up: what was open over it is reset"
            if connection.is_lost
            else "another connection takes over: what is open over the old one has some seconds to answer"
        )
        # It may have been lost before the work had begun.
        if not isinstance(self.phase, Stopped | Linking):
            self._enter(Linking())

    async def _serve(self, connection: Connection, link: Link) -> None:
        for forward in _local(self.profile):
            assert forward.target is not None
            self._gates.open(self.listeners[forward.name], connection, link, forward.target)
        while True:
            try:
                if isinstance(self.phase, Stopped):
                    await self._stop(self.phase.error)
                await self._prove_targets(connection, link)
                while True:
                    await self._bring_up(connection, link)
                    await self._stay_up(connection, link)
            except (ServerError, ChannelError) as error:
                if link.suspects(connection):
                    # Over a connection that does not answer, silence says nothing of the server.
                    await link.changes.until(lambda: not link.suspects(connection))
                    continue
                if self._goes_elsewhere(error, link):
                    await asyncio.Event().wait()
                if error.kind == "connection-lost":
                    link.suspect(error.message, connection)
                    await asyncio.sleep(_SECOND_LOOK_S)
                else:
                    await self._stop(error)

    def _goes_elsewhere(self, error: JTunnelError, link: Link) -> bool:
        """Whether another link is taken, to the node that the server lives on."""
        if not isinstance(error, ElsewhereError) or link.resolved is None:
            return False
        # What a record says may be anything; only what can be a host's name is connected to.
        is_new = self._ways.go_to(node_names((error.node, *error.names)), link.resolved.user)
        if is_new:
            self._log.info("%s: going there", error.message)
        return is_new

    async def _prove_target(
        self, connection: Connection, link: Link, forward: Forward
    ) -> ChannelError | None:
        """Try one target; what is said over a connection that does not answer is said anew."""
        while True:
            slow = asyncio.get_running_loop().call_later(
                _SECOND_LOOK_S, link.suspect, "a stream does not open", connection
            )
            try:
                refusal = await try_target(connection, forward, self.listeners[forward.name])
            finally:
                slow.cancel()
            if not link.suspects(connection):
                return refusal
            await link.changes.until(lambda: not link.suspects(connection))

    async def _prove_targets(self, connection: Connection, link: Link) -> None:
        """Try the target of each forward: one that is forbidden is found before anything is started."""
        self._enter(Proving())
        async with asyncio.TaskGroup() as tasks:
            trials = [
                tasks.create_task(self._prove_target(connection, link, forward))
                for forward in _local(self.profile)
            ]
        for trial in trials:
            if (refusal := trial.result()) is not None:
                raise refusal

    async def _bring_up(self, connection: Connection, link: Link) -> None:
        if self.server and self.jupyter_listener:
            self._enter(Searching())
            target = await self.server.bring_up(
                connection, lambda step: self._enter(Starting(step)), self._changed
            )
            self.jupyter_listener.problem = None
            self._gates.open(self.jupyter_listener, connection, link, target)
        self._was_up = self._ways.is_proven = True
        self._enter(Up())

    async def _stay_up(self, connection: Connection, link: Link) -> None:
        """Return when Jupyter has stopped answering; without Jupyter, never."""
        if self.server and self.jupyter_listener:
            await first_of(
                self.server.wait_failed(connection, self.jupyter_listener, self._changed),
                self.server.wait_doubted(connection),
            )
            # Over a connection that does not answer nobody does.
            await link.changes.until(lambda: not link.suspects(connection))
            self._gates.hold(self.jupyter_listener)
        else:
            await asyncio.Event().wait()

    async def _stop(self, error: JTunnelError) -> None:
        """Be blocked until a person asks again."""
        if not isinstance(self.phase, Stopped):
            self._woken.clear()
            self._enter(Stopped(error))
        if self.jupyter_listener and error.kind == "server-gone":
            # JupyterLab must see that its kernels are gone, not wait for them.
            self._gates.refuse(self.jupyter_listener)
        await self._woken.wait()
        if self.jupyter_listener:
            self._gates.hold(self.jupyter_listener)

    def _all_listeners(self) -> list[Listener]:
        first = [self.jupyter_listener] if self.jupyter_listener else []
        return [*first, *self.listeners.values()]

    def _enter(self, phase: Phase) -> None:
        check_step(self.phase, phase)
        self.phase = phase
        self._steps.notify()
        self._report()

    def _listener_changed(self) -> None:
        self._hasten()
        self._changed()

    def _hasten(self) -> None:
        """Tell the link whether anybody waits for it here."""
        if self.link is not None:
            waits = not isinstance(self.link.phase, Serving) and any(
                listener.stats.held for listener in self._all_listeners()
            )
            self.link.hasten(self, waits=waits)

    def _report(self) -> None:
        """Note a change of state, with its time, in the log; tell the board in any case."""
        state, error = self.state
        now = datetime.now(UTC)
        if state != self._state:
            self._state, self.since = state, now
        # Those who waited are served a moment later, and belong to the story.
        if not (state == "up" and self._gates.are_held):
            self._story.tell(state, error, now)
        self._changed()


def _local(profile: Profile) -> list[Forward]:
    return [forward for forward in profile.forwards if forward.kind == "local"]
