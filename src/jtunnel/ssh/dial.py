"""A TCP connection to a host name, bounded in time: all of its addresses, the next after a moment."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Final

#: Seconds before the next address is tried beside the first (RFC 8305 §5).
_STAGGER_S: Final = 0.25

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]


async def dial(host: str, port: int, *, family: int, source: tuple[str, int] | None) -> socket.socket:
    """Connect to `host`:`port` and return the socket, without delay (TCP_NODELAY).

    Raises OSError as getaddrinfo(3) and connect(2) do. The caller bounds the time.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    errors: list[OSError] = []
    winner: asyncio.Future[socket.socket] = loop.create_future()

    async def attempt(info: AddressInfo, turn: int) -> None:
        await asyncio.sleep(turn * _STAGGER_S)
        try:
            connected = await _connect(info, source)
        except OSError as error:
            errors.append(error)
            if len(errors) == len(found):
                winner.set_exception(errors[0])
            return
        if winner.done():
            connected.close()
        else:
            winner.set_result(connected)

    async with asyncio.TaskGroup() as tasks:
        attempts = [tasks.create_task(attempt(info, turn)) for turn, info in enumerate(found)]
        try:
            # The error must not end the group: it belongs to the caller as it is.
            await asyncio.wait([winner])
        finally:
            for task in attempts:
                task.cancel()
    return winner.result()


async def _connect(info: AddressInfo, source: tuple[str, int] | None) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    with contextlib.ExitStack() as stack:
        stack.callback(sock.close)
        sock.setblocking(False)
        if source is not None:
            sock.bind(source)
        await asyncio.get_running_loop().sock_connect(sock, address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        stack.pop_all()
    return sock
