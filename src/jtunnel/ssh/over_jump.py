"""An SSH connection over a jump host's: its stream is one of that connection's, and it begins when it may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh

from jtunnel.address import TcpAddress
from jtunnel.remote import FarEnd
from jtunnel.ssh.connection import Connection

#: Called when the stream is there, with the wait for the other side's first word; returns when to begin.
MayBegin = Callable[[Awaitable[None]], Awaitable[None]]


class OverJump:
    """What asyncssh takes for the jump host's connection (its `tunnel`): it asks it for one stream."""

    def __init__(self, jump: Connection, may_begin: MayBegin) -> None:
        self._jump = jump
        self._may_begin = may_begin

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int) -> tuple[FarEnd, Any]:
        """Open a stream to `host`:`port` and let what `factory` makes, an SSH connection, begin on it.

        Raises asyncssh.Error and OSError.
        """
        stream = _Stream()
        far_end = await self._jump.open_raw(TcpAddress(host, port), stream)
        try:
            await self._may_begin(stream.first_word())
            return far_end, stream.begin(factory(), far_end)
        except BaseException:
            far_end.abort()
            raise


class _Stream(asyncio.Protocol):
    """Keeps what arrives until the SSH connection begins, then hands everything on to it."""

    def __init__(self) -> None:
        self._connection: Any = None
        self._kept = bytearray()
        self._heard = asyncio.Event()
        self._is_over = False

    async def first_word(self) -> None:
        await self._heard.wait()

    def begin(self, connection: Any, far_end: FarEnd) -> Any:
        if self._is_over:
            raise asyncssh.ConnectionLost("closed before it began")
        self._connection = connection
        connection.connection_made(far_end)
        if self._kept:
            connection.data_received(bytes(self._kept))
        return connection

    def data_received(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.data_received(data)
        else:
            self._kept += data
            self._heard.set()

    def eof_received(self) -> None:
        if self._connection is not None:
            self._connection.eof_received()
        else:
            self._is_over = True
            self._heard.set()

    def connection_lost(self, error: Exception | None) -> None:
        if self._connection is not None:
            self._connection.connection_lost(error)
        else:
            self._is_over = True
            self._heard.set()
