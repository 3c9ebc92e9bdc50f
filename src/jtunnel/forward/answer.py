"""Answers an accepted socket with one whole response and closes it in order. Judges nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

#: Seconds in which a client takes the response and closes; a browser does both at once.
_ANSWER_S: Final = 1.0
_CHUNK: Final = 65536


async def answer(sock: socket.socket, response: bytes) -> None:
    """Send `response` in place of whatever the client wants; owns `sock`, which does not block.

    A TCP socket that is closed with unread input is reset, and what its peer has not yet read is
    lost (RFC 1122 §4.2.2.13). So what the client sends is read and dropped until it closes.
    """
    loop = asyncio.get_running_loop()
    with sock, contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWER_S):
            await loop.sock_sendall(sock, response)
            sock.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(sock, _CHUNK):
                pass
