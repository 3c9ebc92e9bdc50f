"""Takes connections from listening sockets as they come and hands each on, raw and unread.

Never blocks, never gives up: where descriptors run short, the kernel's backlog waits. The last few
are left to others, so that the daemon can still be asked and still reconnect.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Callable, Iterable

from jtunnel.forward.peer import reset

#: Connections taken in one turn of the event loop.
_BURST = 64
#: Seconds without accepting after there was no descriptor to spare, or no memory for one more.
_PAUSE_S = 0.1
#: Descriptors below the process's limit that no local connection may take.
RESERVED = 32

_log = logging.getLogger(__name__)


class Acceptor:
    """Calls `arrived` with each new connection, from `start` to `stop`."""

    def __init__(self, forward: str, arrived: Callable[[socket.socket], None]) -> None:
        self._forward = forward
        self._arrived = arrived
        self._sockets: set[socket.socket] = set()
        self._short = False

    def start(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on these listening sockets, which must not block."""
        for listening in sockets:
            self._sockets.add(listening)
            self._watch(listening)

    def stop(self) -> None:
        """Accept no more; to be called before the sockets are closed."""
        loop = asyncio.get_running_loop()
        while self._sockets:
            loop.remove_reader(self._sockets.pop())

    def _watch(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_BURST):
            try:
                sock, _peer = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError:
                self._pause(listening)
                return
            if is_reserved(sock.fileno()):
                reset(sock)
                self._pause(listening)
                return
            self._short = False
            sock.setblocking(False)
            self._arrived(sock)

    def _pause(self, listening: socket.socket) -> None:
        """Wait a moment; the socket stays readable, so that watching it now would spin."""
        if not self._short:
            self._short = True
            _log.warning("forward %s: no descriptors left for new connections; they wait", self._forward)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        loop.call_later(_PAUSE_S, self._watch, listening)


def is_reserved(descriptor: int) -> bool:
    """Whether it is one of the last; the lowest free one is always taken, so that all below are in use."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= soft - RESERVED
