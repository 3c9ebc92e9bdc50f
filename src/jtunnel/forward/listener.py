"""One local forward: a listener that outlives connections, and the gate that its arrivals wait at.

The gate holds them, lets them through to an `Opener`, or refuses them; whoever owns the listener
moves it. The listener opens no far side itself and decides nothing about the connection behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType

from jtunnel.address import Address, TcpAddress
from jtunnel.errors import ChannelError, JTunnelError
from jtunnel.forward.acceptor import Acceptor
from jtunnel.forward.binding import Binding, bind
from jtunnel.forward.greeting import Greetings, grant, refuse
from jtunnel.forward.held import Arrival, HeldConnections, Room, still_there
from jtunnel.forward.lookout import Lookout
from jtunnel.forward.peer import hung_up, reset
from jtunnel.forward.streams import ListenerStats, Streams
from jtunnel.remote import Opener
from jtunnel.status import Problem

#: Seconds that a navigation waits for the far side before it is shown the page.
PAGE_AFTER_S = 2.0
#: Seconds in which the owner moves the gate after a connection was lost; a channel may hear it first.
_GATE_GRACE_S = 1.0
#: Seconds in which far ends are closed, and those that are just opening finish, before exit.
_CLOSE_S = 2.0

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Opening:
    """A far side that is being opened for an arrival; `gate_moved` is set once the gate has moved since."""

    arrival: Arrival
    opener: Opener
    gate_moved: asyncio.Event
    began_at: float


class Listener:
    """`async with` it to bind and accept. Starts at hold.

    `hold_s` is how long an arrival waits before it is reset (0: not at all). `changed` is called
    often, whenever `stats`, `problem` or `listening` has changed; it must be quick. `room` is what
    it shares with the profile's other listeners. `page` renders a whole HTTP response, which a
    browser's navigation gets that cannot be served for a while; over Unix sockets none comes. A
    `dynamic` one is a SOCKS proxy: its arrivals say where they want to go before they come to the gate.
    Entering raises ListenerError (`port-in-use`).
    """

    def __init__(
        self,
        name: str,
        listen: Address,
        *,
        hold_s: float,
        changed: Callable[[], None],
        open_timeout_s: float = 10.0,
        room: Room | None = None,
        page: Callable[[], bytes] | None = None,
        page_after_s: float = PAGE_AFTER_S,
        dynamic: bool = False,
    ) -> None:
        self.name = name
        self.problem: Problem | None = None
        """The last channel failure; None after the next success. The owner may set it too.

        That one of the many targets of a dynamic forward is not there, is none.
        """
        self.failed = asyncio.Event()
        """Set whenever a channel fails; the owner clears it."""
        self._listen = listen
        self._hold_s = hold_s
        self._open_timeout_s = open_timeout_s
        self._changed = changed
        self._acceptor = Acceptor(name, self._arrive)
        self._binding: Binding | None = None
        self._addresses: tuple[Address, ...] = ()
        self._opener: Opener | None = None
        self._refusing = False
        self._gate_moved = asyncio.Event()
        self._numbers = itertools.count(1)
        self._accepted = 0
        self._served_held = 0
        self._held = HeldConnections(changed, room)
        self._lookout: Lookout | None = None
        if page and isinstance(listen, TcpAddress):
            self._lookout = Lookout(page, page_after_s, self._show_page)
        self._greetings = Greetings(self._start, self._admit_greeted) if dynamic else None
        self._openings: set[_Opening] = set()
        self._streams = Streams(self._stream_ended)
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()

    @property
    def listening(self) -> bool:
        """Whether the socket is open."""
        return self._binding is not None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it listens, with real port numbers; empty before it is bound."""
        return self._addresses

    @property
    def address(self) -> Address:
        """The first of `addresses`; what was asked for, before it is bound."""
        return self._addresses[0] if self._addresses else self._listen

    @property
    def stats(self) -> ListenerStats:
        """The counts as they are now."""
        return ListenerStats(
            active=len(self._streams) + len(self._openings),
            held=len(self._held),
            accepted=self._accepted,
            bytes_in=self._streams.bytes_in,
            bytes_out=self._streams.bytes_out,
            served_held=self._served_held,
            cut=self._streams.cut,
        )

    async def __aenter__(self) -> Listener:
        binding = await bind(self.name, self._listen)
        # A group serves once, and a listener is opened again whenever its tunnel is wanted again.
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._move_gate(None, refusing=False)
        self._binding = binding
        self._addresses = binding.addresses
        self._acceptor.start(binding.sockets)
        self._changed()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._acceptor.stop()
            if self._binding is not None:
                self._binding.close()
                self._binding = None
            self._move_gate(None, refusing=True)
            if self._greetings:
                self._greetings.stop()
            for arrival in [*self._held.take(), *map(self._take, list(self._openings))]:
                reset(arrival.sock)
            if self._lookout:
                self._lookout.stop()
            self.reset()
            await self._wait_until_quiet()
        finally:
            for task in self._tasks:
                task.cancel()
            # A group wraps what the body raises in an ExceptionGroup; only a cancellation concerns it.
            if kind is asyncio.CancelledError:
                await self._group.__aexit__(kind, error, trace)
            else:
                await self._group.__aexit__(None, None, None)

    def serve(self, opener: Opener) -> int:
        """Open connections through `opener` from now on, those that wait first.

        Connections that another opener is still busy with are opened anew; those that an equal one is
        busy with are left to it. Returns how many waited.
        """
        self._move_gate(opener, refusing=False)
        if self.problem is not None and self.problem["kind"] == "connection-lost":
            self.problem = None
        held = self._held.take()
        self._served_held += len(held)
        stuck = [opening for opening in self._openings if opening.opener != opener]
        waiting = held + still_there([self._take(opening) for opening in stuck])
        for arrival in sorted(waiting, key=lambda arrival: arrival.number):
            self._start_opening(arrival, opener)
        self._changed()
        return len(waiting)

    def hold(self) -> None:
        """Let new connections wait, unread; established ones and those being opened are left alone."""
        self._move_gate(None, refusing=False)

    def refuse(self) -> None:
        """Reset held and new connections at once, but for navigations, where there is a page."""
        self._move_gate(None, refusing=True)
        for arrival in self._held.take():
            self._admit(arrival)
        self._changed()

    def reset(self) -> None:
        """Cut all established connections at once; their clients see a reset."""
        self._streams.reset()

    def _move_gate(self, opener: Opener | None, *, refusing: bool) -> None:
        self._opener = opener
        self._refusing = refusing
        self._gate_moved.set()
        self._gate_moved = asyncio.Event()

    def _arrive(self, sock: socket.socket) -> None:
        self._accepted += 1
        deadline = asyncio.get_running_loop().time() + self._hold_s
        arrival = Arrival(next(self._numbers), sock, deadline)
        if self._greetings and not self._refusing:
            self._greetings.add(arrival)
        else:
            self._admit(arrival)
        if self._lookout:
            self._lookout.watch(arrival)
        self._changed()

    def _admit_greeted(self, arrival: Arrival) -> None:
        self._admit(arrival)
        self._changed()

    def _admit(self, arrival: Arrival) -> None:
        """Treat a connection without a far side as the gate now says."""
        if self._opener is not None:
            self._start_opening(arrival, self._opener)
        elif not self._refusing:
            self._held.add(arrival)
        elif self._lookout:
            self._start(self._turn_away(arrival, self._lookout))
        else:
            self._dismiss(arrival)

    def _dismiss(self, arrival: Arrival, error: JTunnelError | None = None) -> None:
        """Reset it, or tell a client of a dynamic forward why it is not served."""
        if arrival.request:
            self._start(refuse(arrival.sock, arrival.request, error))
        else:
            reset(arrival.sock)

    async def _turn_away(self, arrival: Arrival, lookout: Lookout) -> None:
        """Reset an arrival, or show it the page, once it has had a moment to say what it wants."""
        navigates = await lookout.recognise(arrival)
        if not self._refusing:
            self._admit(arrival)
            lookout.watch(arrival)
        elif navigates:
            await lookout.show(arrival)
        else:
            reset(arrival.sock)

    def _show_page(self, arrival: Arrival) -> None:
        """Show it to a navigation that nobody has served for a while."""
        opening = next((opening for opening in self._openings if opening.arrival is arrival), None)
        if opening is not None:
            self._take(opening)
        elif not self._held.remove(arrival):
            return
        assert self._lookout is not None
        self._start(self._lookout.show(arrival))
        self._changed()

    def _start_opening(self, arrival: Arrival, opener: Opener) -> None:
        opening = _Opening(arrival, opener, self._gate_moved, asyncio.get_running_loop().time())
        self._openings.add(opening)
        self._start(self._open(opening))

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    async def _open(self, opening: _Opening) -> None:
        """Open a far side and join the arrival to it.

        The opener is never cancelled half-way, since that leaks a channel (asyncssh issue 823):
        when it comes too late, its far end is aborted.
        """
        bridge = self._streams.new()
        timer = asyncio.get_running_loop().call_later(self._open_timeout_s, self._give_up, opening)
        request = opening.arrival.request
        try:
            if request:
                far_end = await opening.opener(bridge.far, request.target)
            else:
                far_end = await opening.opener(bridge.far)
        except ChannelError as error:
            await self._fail(opening, error)
            return
        except Exception:  # noqa: BLE001  (a bug behind one connection must not end the others)
            _log.exception("forward %s: a connection failed", self.name)
            message = "a bug in jtunnel ended a connection"
            self._drop(opening, JTunnelError("internal", message, "see `jtunnel logs`"))
            return
        finally:
            timer.cancel()
        if self._lookout and not opening.gate_moved.is_set():
            self._lookout.learn(asyncio.get_running_loop().time() - opening.began_at)
        if opening not in self._openings:
            far_end.abort()
            return
        arrival = self._take(opening)
        if self._lookout:
            self._lookout.forget(arrival)
        self.problem = None
        if hung_up(arrival.sock) or (request and not grant(arrival.sock, request)):
            far_end.abort()
            arrival.sock.close()
        else:
            self._streams.add(bridge)
            await bridge.join(far_end, arrival.sock)
        self._changed()

    def _take(self, opening: _Opening) -> Arrival:
        """Take the arrival from its opening, which then goes on for nothing."""
        self._openings.remove(opening)
        return opening.arrival

    async def _fail(self, opening: _Opening, error: ChannelError) -> None:
        """Close the arrival of a channel that did not open, or let it wait if the connection was lost."""
        if error.kind == "connection-lost":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GATE_GRACE_S):
                    await opening.gate_moved.wait()
        if opening not in self._openings:
            return
        if error.kind == "connection-lost" and opening.gate_moved.is_set():
            self._admit(self._take(opening))
            self._changed()
        else:
            self._drop(opening, error)

    def _give_up(self, opening: _Opening) -> None:
        """The opener has had its time: the arrival waits for another, or is reset."""
        if opening not in self._openings:
            return
        # Of many targets some never answer, through whatever connection: each is given one time.
        is_target = self._greetings is not None and self._opener == opening.opener
        if opening.gate_moved.is_set() and not is_target:
            self._admit(self._take(opening))
            self._changed()
            return
        message = f"no channel was opened within {self._open_timeout_s:g} s"
        if is_target:
            self._drop(opening, ChannelError("target-refused", message, reason="unreachable"))
            return
        advice = "if this goes on, restart the tunnel"
        self._drop(opening, ChannelError("connection-lost", message, advice))

    def _drop(self, opening: _Opening, error: JTunnelError) -> None:
        """Dismiss the arrival, unless it was taken over, and let the error be the forward's problem."""
        if opening not in self._openings:
            return
        self._dismiss(self._take(opening), error)
        if not (self._greetings and error.kind == "target-refused"):
            self.problem = error.problem
            self.failed.set()
        self._changed()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._check_quiet()

    def _stream_ended(self) -> None:
        self._changed()
        self._check_quiet()

    def _check_quiet(self) -> None:
        if not self._tasks and not self._streams:
            self._quiet.set()

    async def _wait_until_quiet(self) -> None:
        self._quiet.clear()
        self._check_quiet()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._quiet.wait()
