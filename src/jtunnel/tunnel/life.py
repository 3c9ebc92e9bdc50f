"""The life of one tunnel: open its forwards, wait for the link, find or start the server, prove, serve.

It ends only by being cancelled. A failure that a person must mend stops it until `wake`; what the
link does about lost connections is the link's affair, what a forward does about its own is the forward's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from jtunnel.changes import Changes, first_of
from jtunnel.config.profile import Profile
from jtunnel.errors import ChannelError, JTunnelError, ServerError
from jtunnel.link.life import Link, end_if_cancelled
from jtunnel.link.phase import Blocked, Serving, Waiting
from jtunnel.link.registry import Links
from jtunnel.service.record import node_names
from jtunnel.service.server import ElsewhereError
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.destination import Destination
from jtunnel.ssh.prompts import Desk
from jtunnel.status import State
from jtunnel.tunnel.demand import Demand
from jtunnel.tunnel.forwards import Forwards, are_alike
from jtunnel.tunnel.kinds import server_life
from jtunnel.tunnel.news import News
from jtunnel.tunnel.parts import SECOND_LOOK_S
from jtunnel.tunnel.phase import (
    Down,
    Linking,
    Phase,
    Proving,
    Resting,
    Searching,
    Starting,
    Stopped,
    Up,
    check_step,
    derive_state,
)
from jtunnel.tunnel.transition import Transition
from jtunnel.tunnel.ways import Ways

#: Seconds that a server may take that is asked because a person waits.
_PROVE_TIMEOUT_S: Final = 5.0

_GIVEN_UP: Final = "the connection is given up: what was open over it is reset"
_TAKEN_OVER: Final = "another connection takes over: what is open over the old one has some seconds to answer"


class Tunnel:
    """One profile that is looked after. `changed` is called whenever its status is another."""

    def __init__(
        self,
        profile: Profile,
        links: Links,
        server_port: int,
        *,
        changed: Callable[[], None],
        page: Callable[[], bytes],
        tell: Callable[[Profile, Transition], None],
    ) -> None:
        self.profile = profile
        self.phase: Phase = Down()
        self.reconnects = 0
        self.desk = Desk()
        self.link: Link | None = None
        self.server = server_life(profile)
        self.server_port = server_port
        self.forwards = Forwards(profile, server_port, changed=self._report, traffic=self._traffic, page=page)
        self._demand = Demand(
            profile, self.forwards, is_coming=lambda: self.state[0] in ("connecting", "starting")
        )
        self._links = links
        self._changed = changed
        self._ways = Ways(profile)
        self._used: Connection | None = None
        self._last_used: Connection | None = None
        self._woken = asyncio.Event()
        self._renewed = asyncio.Event()
        self._steps = Changes()
        self._was_up = False
        self._setback: ChannelError | None = None
        self.news = News(profile.name, tell, self.forwards.count)
        self._log = logging.LoggerAdapter(logging.getLogger(__name__), {"tunnel": profile.name})

    @property
    def connection(self) -> Connection | None:
        """The connection, where it answers."""
        phase = self.link.phase if self.link else None
        return phase.connection if isinstance(phase, Serving) else None

    @property
    def destination(self) -> Destination:
        """Where its link leads now."""
        return self._ways.destination

    @property
    def is_resting(self) -> bool:
        """Whether it is on-demand, and nobody uses it now."""
        return isinstance(self.phase, Resting)

    @property
    def state(self) -> tuple[State, JTunnelError | None]:
        """What a person sees, and the problem behind it."""
        link_phase = self.link.phase if self.link else None
        if not self._ways.is_proven and not isinstance(link_phase, Serving):
            # Whether this way leads anywhere is not yet the person's affair.
            return derive_state(self.phase, None)
        is_new = isinstance(link_phase, Serving) and link_phase.connection is not self._used
        # What was proven over another connection is not proven over this one.
        phase = self.phase if not is_new or isinstance(self.phase, Down | Resting | Stopped) else Linking()
        if isinstance(phase, Up) and self.server and not self.server.current and not self.forwards.trouble:
            phase = Linking()  # its port was opened late, and the server is not yet looked for
        return derive_state(phase, link_phase, self.forwards.trouble, self._setback)

    def wake(self, *, may_start: bool = True) -> None:
        """A person wants it: try again at once whatever it waits for, and start a server if need be."""
        self._demand.call()
        self._woken.set()
        self._ways.allow()
        if self.server and may_start and not isinstance(self.phase, Up):
            is_elsewhere = isinstance(self.phase, Stopped) and isinstance(self.phase.error, ElsewhereError)
            self.server.allow_start(here=is_elsewhere)
        if self.link:
            self.link.retry_now()
        self.forwards.again()
        if isinstance(self.phase, Stopped | Resting):
            self._enter(Linking())

    def can_become(self, profile: Profile) -> bool:
        """Whether `become` takes this profile; else another tunnel has to take this one's place."""
        return are_alike(self.profile, profile)

    async def become(self, profile: Profile, server_port: int) -> None:
        """Take on an edited profile; what is the same in it goes on untouched."""
        old, self.profile, self.server_port = self.profile, profile, server_port
        if profile.served != old.served:
            self.server = server_life(profile)
            self._renewed.set()
        if self._ways.follow(profile, anew=profile.share != old.share) and self.server:
            self.server.forget()
        await self.forwards.converge(profile, server_port)
        self._demand.follow(profile)
        is_edited = (profile.served, profile.forwards) != (old.served, old.forwards)
        if is_edited and isinstance(self.phase, Stopped):
            # What a person had to do may be just this.
            self._woken.set()
            self._enter(Linking())
        self._report()

    async def prove(self) -> None:
        """Where it is up with a server, ask that again: `up` says that it answers, now."""
        connection, server = self.connection, self.server
        if not (isinstance(self.phase, Up) and connection and server and server.current):
            return
        try:
            async with asyncio.timeout(_PROVE_TIMEOUT_S):
                await server.check(connection)
        except (ServerError, ChannelError, TimeoutError):
            server.allow_start()
            server.doubt(connection)
            await self._steps.until(lambda: not isinstance(self.phase, Up))

    async def change_server(self, connection: Connection, *, end_present: bool) -> None:
        """End the present server and start another, or just look anew; returns when that has begun."""
        assert self.server is not None
        # Where its port is taken, it is up with its other forwards, and nothing begins.
        serves = isinstance(self.phase, Up) and self.server.current is not None
        if not end_present:
            self.server.forget()
        (self.server.renew if end_present else self.server.doubt)(connection)
        self._woken.set()
        await self._steps.until(lambda: not (serves and isinstance(self.phase, Up)))

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
            async with self.forwards:
                while failure := await self.forwards.wait_opened():
                    await self._stop(failure)
                while True:
                    if self._demand.rests:
                        await self._rest()
                    # One that becomes on-demand while it is used is used until it is idle.
                    self._demand.call()
                    if not isinstance(self.phase, Linking):
                        self._enter(Linking())
                    await self._connect()
        finally:
            self.link = self._used = self._last_used = None
            self._was_up = False
            self._demand.end()
            self._ways.forget()
            if self.server:
                self.server.forget()
            if not isinstance(self.phase, Down):
                self._enter(Down())

    async def _rest(self) -> None:
        """Hold the listeners open without a link until somebody comes."""
        self.link, self._was_up = None, False
        self._enter(Resting())
        await self._demand.wait_called()

    async def _connect(self) -> None:
        """Use one link until another is to be used, or none."""
        destination = self.destination
        owner = None if self.profile.share else self.profile.name
        async with self._links.lease(destination, self.desk, owner=owner) as link:
            self.link = link
            if destination == self._ways.destination:
                await self._live_on(link)

    async def _live_on(self, link: Link) -> None:
        """Use one connection of a link after another; return when another way is to be taken, or none."""
        try:
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(self._follow_link(link))
                calls = (self._use_all(link), link.wait_moved(), self._ways.wait_moved(), self._wait_idle())
                endings = [tasks.create_task(call) for call in calls]
                await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
                for task in (following, *endings):
                    task.cancel()
        finally:
            self._used = None
            self.forwards.gates.hold_every()
            link.hasten(self, waits=False)

    async def _wait_idle(self) -> None:
        idle_s = await self._demand.wait_idle()
        self._log.info("not used for %g s: no connection until the next use", idle_s)

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
        if self._was_up and connection is not self._last_used:
            self.reconnects += 1
        self._used = self._last_used = connection
        async with asyncio.TaskGroup() as tasks:
            works = [
                tasks.create_task(self.forwards.serve(connection, link)),
                tasks.create_task(self._serve_all(connection, link)),
            ]
            while await self.forwards.gates.hold_while_suspected(connection, link):
                self._report()
                if self.forwards.served:
                    # It may have gone meanwhile: `up` says that it answers.
                    self.forwards.served.listener.failed.set()
            for work in works:
                work.cancel()
        self._log.info("%s", _GIVEN_UP if connection.is_lost else _TAKEN_OVER)
        # It may have been lost before the work had begun.
        if not isinstance(self.phase, Stopped | Linking):
            self._enter(Linking())

    async def _serve_all(self, connection: Connection, link: Link) -> None:
        """Serve, and begin anew whenever the profile has another server."""
        while True:
            self._renewed.clear()
            await first_of(self._serve(connection, link), self._renewed.wait())
            if not isinstance(self.phase, Linking):
                self._enter(Linking())

    async def _serve(self, connection: Connection, link: Link) -> None:
        while True:
            try:
                if isinstance(self.phase, Stopped):
                    await self._stop(self.phase.error)
                self._enter(Proving())
                await self.forwards.wait_tried()
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
                self._setback = error if isinstance(error, ChannelError) and error.reason == "slow" else None
                if error.kind == "connection-lost":
                    link.suspect(error.message, connection)
                    await asyncio.sleep(SECOND_LOOK_S)
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

    async def _bring_up(self, connection: Connection, link: Link) -> None:
        server, part = self.server, self.forwards.served
        if server and part and part.listening:
            self._enter(Searching())
            target = await server.bring_up(
                connection, lambda step: self._enter(Starting(step)), self._changed
            )
            part.listener.problem = None
            self.forwards.gates.open(part.listener, connection, link, target)
        self._was_up, self._ways.is_proven, self._setback = True, True, None
        self._enter(Up())

    async def _stay_up(self, connection: Connection, link: Link) -> None:
        """Return when Jupyter has stopped answering or can be reached at last; without Jupyter, never."""
        server, part = self.server, self.forwards.served
        if server is None or part is None:
            await asyncio.Event().wait()
        elif server.current is None:
            # Its port was taken; the other forwards are up.
            await self.forwards.changes.until(lambda: part.listening)
        else:
            await first_of(
                server.wait_failed(connection, part.listener, self._changed),
                server.wait_doubted(connection),
            )
            # Over a connection that does not answer nobody does.
            await link.changes.until(lambda: not link.suspects(connection))
            self.forwards.gates.hold(part.listener)

    async def _stop(self, error: JTunnelError) -> None:
        """Be blocked until a person asks again."""
        if not isinstance(self.phase, Stopped):
            self._woken.clear()
            self._enter(Stopped(error))
        part = self.forwards.served
        if part and error.kind == "server-gone":
            # JupyterLab must see that its kernels are gone, not wait for them.
            self.forwards.gates.refuse(part.listener)
        await self._woken.wait()
        if part:
            self.forwards.gates.hold(part.listener)

    def _enter(self, phase: Phase) -> None:
        check_step(self.phase, phase)
        self.phase = phase
        self._steps.notify()
        self._report()

    def _traffic(self) -> None:
        """A connection to a listener came, went or waits."""
        self._hasten()
        self._changed()

    def _hasten(self) -> None:
        """Tell the link whether anybody waits for it here."""
        if self.link is not None:
            waits = not isinstance(self.link.phase, Serving) and self.forwards.awaits
            self.link.hasten(self, waits=waits)

    def _report(self) -> None:
        """Tell of a change of state; and the board in any case."""
        state, error = self.state
        url = self.server.url(self.server_port, token=False) if self.server else None
        # Those who waited are served a moment later, and belong to the story.
        settled = not (state == "up" and self.forwards.gates.are_held)
        if self.news.tell(self.profile, state, error, url, settled=settled):
            self.forwards.traffic.notify()
        self._changed()
