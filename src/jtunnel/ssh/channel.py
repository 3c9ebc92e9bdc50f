"""One channel, seen as an asyncio.Protocol sees a transport. Knows nothing of who opened it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncssh


class ChannelSession(asyncssh.SSHTCPSession[bytes], asyncssh.SSHUNIXSession[bytes]):
    """Drives an asyncio.Protocol with what a channel delivers; `ended` is called when it has come to its end.

    asyncssh reports a connection that was aborted as if the channel had been closed in order, so
    a close counts as orderly only after the far side's end of file.
    """

    channel: Any = None

    def __init__(self, protocol: asyncio.Protocol, ended: Callable[[ChannelSession], None]) -> None:
        self._protocol = protocol
        self._tell_end = ended
        self._ended = False

    def connection_made(self, chan: Any) -> None:
        self.channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool:
        self._ended = True
        self._protocol.eof_received()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell_end(self)
        if self.channel is None:
            return
        if exc is None and not self._ended:
            exc = ConnectionResetError("the far side is gone")
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class ArrivedSession(ChannelSession):
    """The same for a channel that the far side opened: its protocol is handed the channel."""

    def connection_made(self, chan: Any) -> None:
        super().connection_made(chan)
        self._protocol.connection_made(chan)

    def forget(self) -> None:
        """Where the connection ended before the channel was open, asyncssh tells nobody: do it."""
        if self.channel is None:
            self._tell_end(self)
            self._protocol.connection_lost(ConnectionResetError("the connection is gone"))
