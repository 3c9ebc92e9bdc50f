"""The far side of a forward without SSH: a real listening socket and an Opener to it, with faults.

Also the plain sockets that the tests of `jtunnel.forward` hold at both outer ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import cast

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.errors import ChannelError
from jtunnel.remote import FarEnd

#: Seconds that any single wait of a test may take.
PATIENCE_S = 10.0


class Peer:
    """One outer end of a bridge: a plain socket, every wait with a deadline."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def receive(self, size: int = 65536) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.get_running_loop().sock_recv(self.sock, size)

    async def receive_all(self) -> bytes:
        """Everything up to the end of the stream."""
        chunks = []
        while chunk := await self.receive():
            chunks.append(chunk)
        return b"".join(chunks)

    async def is_reset(self) -> bool:
        """Wait for what comes next; True for a reset, False for data or an orderly end."""
        try:
            await self.receive()
        except ConnectionResetError:
            return True
        return False

    async def push(self, limit: int, quiet_s: float = 0.5) -> int:
        """Send zeros until the other side takes no more for `quiet_s`, or `limit` bytes; returns how many."""
        loop = asyncio.get_running_loop()
        pushed = 0
        block = bytes(65536)
        while pushed < limit:
            try:
                pushed += self.sock.send(block[: limit - pushed])
            except BlockingIOError:
                writable = asyncio.Event()
                loop.add_writer(self.sock, writable.set)
                try:
                    async with asyncio.timeout(quiet_s):
                        await writable.wait()
                except TimeoutError:
                    return pushed
                finally:
                    loop.remove_writer(self.sock)
            else:
                await asyncio.sleep(0)
        return pushed

    def shut(self) -> None:
        """Send nothing more, but go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def connect(address: Address, *, receive_buffer: int | None = None) -> Peer:
    """Connect a plain socket to a listener."""
    family = socket.AF_UNIX if isinstance(address, UnixAddress) else socket.AF_INET
    if isinstance(address, TcpAddress) and ":" in address.host:
        family = socket.AF_INET6
    target = address.path if isinstance(address, UnixAddress) else (address.host, address.port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.get_running_loop().sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return Peer(sock)


async def is_turned_away(address: Address) -> bool:
    """Connect; True where the connection is reset before anything comes over it."""
    try:
        peer = await connect(address)
    except ConnectionResetError:
        return True  # the reset was faster than the event loop
    with peer:
        return await peer.is_reset()


class _Channel(asyncio.Protocol):
    """Turns an asyncio connection into what `jtunnel.remote.Opener` promises."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self.inner = inner
        self.transport: asyncio.Transport | None = None
        self.cut_by: Exception | None = None
        self.close_at: int | None = None
        self.mute = False
        self._received = 0
        self._early: list[Callable[[], object]] | None = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def start(self) -> None:
        early, self._early = self._early, None
        for deliver in early or ():
            deliver()

    def _tell(self, deliver: Callable[[], object]) -> None:
        if self._early is None:
            if not self.mute:
                deliver()
        else:
            self._early.append(deliver)

    def data_received(self, data: bytes) -> None:
        self._tell(lambda: self.inner.data_received(data))
        self._received += len(data)
        if self.transport is not None and self._received == self.close_at:
            self.transport.close()

    def eof_received(self) -> bool:
        self._tell(self.inner.eof_received)
        return True

    def pause_writing(self) -> None:
        self._tell(self.inner.pause_writing)

    def resume_writing(self) -> None:
        self._tell(self.inner.resume_writing)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(lambda: self.inner.connection_lost(self.cut_by or exc))

    def cut(self, error: Exception) -> None:
        self.cut_by = error
        if self.transport is not None:
            self.transport.abort()


class FarSide:
    """A listening socket; its bound method `open` is an Opener to it.

    While `may_open` is cleared, openers wait; then they fail with `failure`, if there is one.
    `asked` counts the openers that were started and `busy` those that have not finished; `targets` are
    what they were asked for, and all lead here.
    """

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.failure: ChannelError | None = None
        self.asked = 0
        self.busy = 0
        self.channels: list[_Channel] = []
        self.targets: list[Address | None] = []
        self.progress = asyncio.Event()

    async def open(self, protocol: asyncio.Protocol, target: Address | None = None) -> FarEnd:
        self.targets.append(target)
        self.asked += 1
        self.busy += 1
        self.progress.set()
        try:
            await self.may_open.wait()
            if self.failure is not None:
                raise self.failure
            return await self._connect(protocol)
        finally:
            self.busy -= 1
            self.progress.set()

    async def _connect(self, protocol: asyncio.Protocol) -> FarEnd:
        loop = asyncio.get_running_loop()
        name = self._listening.getsockname()
        if isinstance(name, str):
            transport, channel = await loop.create_unix_connection(lambda: _Channel(protocol), name)
        else:
            transport, channel = await loop.create_connection(lambda: _Channel(protocol), *name[:2])
        self.channels.append(channel)
        loop.call_soon(channel.start)
        return transport

    async def accept(self) -> Peer:
        """The far side's socket of the next channel, in the order of opening."""
        async with asyncio.timeout(PATIENCE_S):
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listening)
        return Peer(sock)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until openers have got so far."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.progress.clear()
                await self.progress.wait()

    def close_at(self, size: int) -> None:
        """Let each channel end in order, both ways, once the far side has sent so many bytes."""
        for channel in self.channels:
            channel.close_at = size

    def silence(self) -> None:
        """Let nothing be heard of any channel any more, not even that it is gone."""
        for channel in self.channels:
            channel.mute = True

    def cut(self) -> None:
        """Cut all channels, as a lost connection does."""
        for channel in self.channels:
            channel.cut(ConnectionResetError("cut by the test"))


@contextlib.asynccontextmanager
async def far_side(path: str | None = None) -> AsyncIterator[FarSide]:
    """A far side on a free TCP port of 127.0.0.1, or on a Unix socket."""
    listening = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_STREAM)
    with listening:
        listening.setblocking(False)
        listening.bind(path or ("127.0.0.1", 0))
        listening.listen(512)
        yield FarSide(listening)
