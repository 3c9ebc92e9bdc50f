"""Bytes between a client's socket and an SSH server's, to be stopped or cut at an exact place.

Reads no contents but the server's banner and the length of its first packet (RFC 4253 §4.2, §6).
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
from typing import Final, Literal

Stage = Literal["connect", "banner", "kex"]

CHUNK = 65536

#: Linux; Python has no names for them.
_SO_ATTACH_FILTER: Final = 26
_SO_DETACH_FILTER: Final = 27
#: A packet filter (struct sock_filter) of one instruction: keep nothing of any packet.
_DROP_ALL: Final = struct.pack("=HBBI", 0x06, 0, 0, 0)


class Relay:
    """One connection. `stop_after` passes the server's bytes on to the end of that stage and then no more."""

    def __init__(self, client: socket.socket, server: socket.socket, stop_after: Stage | None = None) -> None:
        self._client = client
        self._server = server
        self._stop_after = stop_after
        self._running = asyncio.Event()
        self._running.set()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Pass bytes on until either side closes; both sockets are closed at the end."""
        try:
            async with asyncio.TaskGroup() as group:
                pumps = [group.create_task(self._upstream()), group.create_task(self._downstream())]
                await self._ended.wait()
                for pump in pumps:
                    pump.cancel()
        finally:
            self._client.close()
            self._server.close()

    def pause(self) -> None:
        """Pass nothing on; what the sides send stays in the kernel's buffers."""
        self._running.clear()

    def resume(self) -> None:
        """Go on where `pause` stopped."""
        self._running.set()

    def drop_packets(self) -> None:
        """Let the kernel drop what arrives from the client, its acknowledgements too."""
        program = ctypes.create_string_buffer(_DROP_ALL)
        filters = struct.pack("HP", 1, ctypes.addressof(program))
        self._client.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filters)

    def pass_packets(self) -> None:
        """End that."""
        self._client.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def cut(self, *, reset: bool) -> None:
        """End both sides, the client's by a TCP reset or in order."""
        if reset and self._client.fileno() >= 0:
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._ended.set()

    async def _upstream(self) -> None:
        await self._copy(self._client, self._server)

    async def _downstream(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._stop_after is not None:
                opening = await self._read_opening(self._stop_after)
                await loop.sock_sendall(self._client, opening)
                await self._ended.wait()
        except (OSError, asyncio.IncompleteReadError):
            self._ended.set()
        await self._copy(self._server, self._client)

    async def _read_opening(self, stage: Stage) -> bytes:
        """Nothing, or what the server sends up to the end of its banner or of its SSH_MSG_KEXINIT."""
        opening = b""
        if stage == "connect":
            return opening
        while not opening.endswith(b"\n"):
            opening += await self._read_exactly(1)
        if stage == "kex":
            length = await self._read_exactly(4)
            opening += length + await self._read_exactly(int.from_bytes(length))
        return opening

    async def _read_exactly(self, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = b""
        while len(data) < count:
            chunk = await loop.sock_recv(self._server, count - len(data))
            if not chunk:
                raise asyncio.IncompleteReadError(data, count)
            data += chunk
        return data

    async def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._running.wait()
                data = await loop.sock_recv(source, CHUNK)
                # A pause may have begun while this waited for bytes.
                await self._running.wait()
                if not data:
                    break
                await loop.sock_sendall(sink, data)
        except OSError:
            pass
        self._ended.set()
