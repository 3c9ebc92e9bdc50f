"""A TCP connection to one of a host's addresses: all of them in turn, and again while nobody answers.

Looks no names up. The caller bounds the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

from jtunnel.ssh.names import AddressInfo
from jtunnel.ssh.sockets import tune

#: Seconds before the next address is tried beside the first (RFC 8305 §5).
_STAGGER_S: Final = 0.25
#: Seconds before all are tried anew, beside the older tries: the way may be another one by now.
_FRESH_S: Final = 3.0
#: What says more of this machine than of the host.
_NO_WAY: Final = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


async def dial(addresses: Sequence[AddressInfo], source: tuple[str, int] | None) -> socket.socket:
    """Return a socket that is connected to one of the addresses, and tuned.

    Raises OSError as connect(2) does, once every address has failed.
    """
    race = _Race(addresses, source)
    try:
        return await race.run()
    except BaseException:
        race.close_winner()
        raise


class _Race:
    """Tries to connect, several of them at the same time; the first to succeed wins."""

    def __init__(self, addresses: Sequence[AddressInfo], source: tuple[str, int] | None) -> None:
        self._addresses = _interleave(addresses)
        self._source = source
        self._failures: dict[int, OSError] = {}
        self._winner: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()

    async def run(self) -> socket.socket:
        """Return the winner's socket when all others are closed."""
        async with asyncio.TaskGroup() as tasks:
            tries: list[asyncio.Task[None]] = []
            starting = tasks.create_task(self._start_tries(tasks, tries))
            try:
                # A failure must not end the group: it belongs to the caller as it is.
                await asyncio.wait([self._winner])
            finally:
                for task in (starting, *tries):
                    task.cancel()
        return self._winner.result()

    def close_winner(self) -> None:
        """Close the winner, whom nobody takes any more."""
        if self._winner.done() and self._winner.exception() is None:
            self._winner.result().close()

    async def _start_tries(self, tasks: asyncio.TaskGroup, tries: list[asyncio.Task[None]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            next_round_at = loop.time() + _FRESH_S
            for index in range(len(self._addresses)):
                tries.append(tasks.create_task(self._try(index)))
                # Where one fails at once, the next need not wait.
                await asyncio.wait([tries[-1]], timeout=_STAGGER_S)
            await asyncio.sleep(next_round_at - loop.time())

    async def _try(self, index: int) -> None:
        try:
            connected = await _connect(self._addresses[index], self._source)
        except OSError as error:
            self._failures.setdefault(index, error)
            if len(self._failures) == len(self._addresses) and not self._winner.done():
                self._winner.set_exception(_most_telling(self._failures.values()))
            return
        if self._winner.done():
            connected.close()
        else:
            self._winner.set_result(connected)


async def _connect(address: AddressInfo, source: tuple[str, int] | None) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    with contextlib.ExitStack() as stack:
        stack.callback(sock.close)
        sock.setblocking(False)
        if source is not None:
            sock.bind(source)
        await asyncio.get_running_loop().sock_connect(sock, where)
        tune(sock)
        stack.pop_all()
    return sock


def _interleave(addresses: Sequence[AddressInfo]) -> list[AddressInfo]:
    """The same, the best one's family and the others in turn (RFC 8305 §4)."""
    best = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for pair in zip_longest(best, others) for address in pair if address is not None]


def _most_telling(failures: Iterable[OSError]) -> OSError:
    """The first that does not only say that this machine lacks such an address or route."""
    ordered = list(failures)
    return next((error for error in ordered if error.errno not in _NO_WAY), ordered[0])


async def first_word(sock: socket.socket) -> None:
    """Wait until the other side has said something, or closed; reads nothing."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not heard.done():
            heard.set_result(None)

    loop.add_reader(sock, tell)
    try:
        await heard
    finally:
        loop.remove_reader(sock)
