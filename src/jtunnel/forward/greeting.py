"""Speaks SOCKS with an accepted socket, in bounded time, and leaves unread what follows the request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Final

from jtunnel.errors import JTunnelError
from jtunnel.forward.answer import answer
from jtunnel.forward.held import MAX_HELD, Arrival
from jtunnel.forward.peer import reset
from jtunnel.forward.socks import Handshake, Refusal, RefusedError, Request

#: Seconds in which a client says what it wants.
GREETING_S: Final = 10.0


class Greetings:
    """The arrivals of a dynamic forward that have not yet said where they want to go; `greeted` gets those
    that have. `start` begins a task that the listener waits for.
    """

    def __init__(
        self,
        start: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        greeted: Callable[[Arrival], None],
    ) -> None:
        self._start = start
        self._greeted = greeted
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, arrival: Arrival) -> None:
        """Hear it out; it is reset where too many are at it already."""
        if len(self._tasks) >= MAX_HELD:
            reset(arrival.sock)
            return

        def end(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                reset(arrival.sock)

        task = self._start(self._hear(arrival))
        self._tasks.add(task)
        task.add_done_callback(end)

    def stop(self) -> None:
        """Reset all."""
        for task in self._tasks:
            task.cancel()

    async def _hear(self, arrival: Arrival) -> None:
        arrival.request = await greet(arrival.sock)
        if arrival.request:
            self._greeted(arrival)


async def greet(sock: socket.socket, within_s: float = GREETING_S) -> Request | None:
    """Read a client's request; None where there is none for us, and the socket is closed.

    Cancelled, it leaves the socket as it is.
    """
    handshake = Handshake()
    try:
        async with asyncio.timeout(within_s):
            request = await _listen_to(sock, handshake)
    except RefusedError as refused:
        await answer(sock, refused.reply)
        return None
    except (OSError, TimeoutError):
        reset(sock)
        return None
    if request is None:
        sock.close()
    return request


async def _listen_to(sock: socket.socket, handshake: Handshake) -> Request | None:
    loop = asyncio.get_running_loop()
    while handshake.wanted:
        data = await loop.sock_recv(sock, handshake.wanted)
        if not data:
            return None
        if reply := handshake.feed(data):
            await loop.sock_sendall(sock, reply)
    return handshake.request


def grant(sock: socket.socket, request: Request) -> bool:
    """Tell a client that it is connected; False where it is gone. Few bytes: they fit in any buffer."""
    reply = request.granted()
    try:
        return sock.send(reply) == len(reply)
    except OSError:
        return False


async def refuse(sock: socket.socket, request: Request, error: JTunnelError | None) -> None:
    """Tell a client why it is not connected, and close its socket in order."""
    await answer(sock, request.refused(_explain(error)))


def _explain(error: JTunnelError | None) -> Refusal:
    if error is not None and error.kind == "forward-refused":
        return "not-allowed"
    match getattr(error, "reason", ""):
        case "refused":
            return "refused"
        case "unreachable":
            return "unreachable"
    return "general"
