"""The kernel's notices that something about the network may have changed: when to look, not what changed."""

from __future__ import annotations

import asyncio
import errno
import sys
from types import TracebackType
from typing import Final

from jtunnel.machine import netlink, route_socket

#: Bytes of one datagram; a longer one is cut, which counts as news.
_LARGEST: Final = 1 << 16
#: Datagrams read in one go: a flood must not keep the loop from others.
_BURST: Final = 1000


class Notices:
    """The notices from now on, to be used in a `with` block; raises OSError where they are forbidden."""

    def __init__(self) -> None:
        if sys.platform == "darwin":
            self._socket = route_socket.open_route_socket()
            self._sieve: netlink.Sieve | route_socket.Sieve = route_socket.Sieve()
        else:
            self._socket = netlink.open_netlink()
            self._sieve = netlink.Sieve()

    def __enter__(self) -> Notices:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    async def wait(self) -> None:
        """Return once there is news; raises OSError where no more will come."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._socket, _LARGEST)
            except OSError as problem:
                self._note_loss(problem)
                return
            if self._sieve.tells(data):
                return

    def drain(self) -> None:
        """Take what has come so far: a look from here on sees what it was about."""
        for _ in range(_BURST):
            try:
                self._sieve.tells(self._socket.recv(_LARGEST))
            except BlockingIOError:
                return
            except OSError as problem:
                self._note_loss(problem)

    def _note_loss(self, problem: OSError) -> None:
        """Notices that found no room are lost, which is news itself; other problems are raised."""
        if problem.errno != errno.ENOBUFS:
            raise problem
        self._sieve.forget()
