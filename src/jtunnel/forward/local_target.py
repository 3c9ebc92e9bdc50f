"""Connects to a program of this machine, for a channel that the remote host opens. Bounded in time."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final

from jtunnel.address import Address, TcpAddress
from jtunnel.errors import ChannelError
from jtunnel.forward.acceptor import is_reserved

#: Seconds for the name and all its addresses.
CONNECT_S: Final = 10.0


async def connect(target: Address) -> socket.socket:
    """A connected socket that does not block; raises ChannelError `target-refused`."""
    try:
        async with asyncio.timeout(CONNECT_S):
            sock = await _connect(target)
    except TimeoutError:
        raise _refusal(target, f"{target} did not answer within {CONNECT_S:.0f} s") from None
    except (OSError, UnicodeError) as error:
        raise _refusal(target, _describe(target, error)) from None
    if is_reserved(sock.fileno()):
        sock.close()
        raise _refusal(target, "too many connections are open")
    return sock


async def _connect(target: Address) -> socket.socket:
    if not isinstance(target, TcpAddress):
        return await _connect_to(socket.AF_UNIX, target.path)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host or "127.0.0.1", target.port, type=socket.SOCK_STREAM)
    refused: OSError = ConnectionRefusedError()
    for family, _, _, _, address in found:
        try:
            return await _connect_to(family, address)
        except OSError as error:
            refused = error
    raise refused


async def _connect_to(family: int, address: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)  # type: ignore[arg-type]
    except BaseException:
        sock.close()
        raise
    return sock


def _describe(target: Address, error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return f"nobody listens on {target} of this machine"
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"the name in {target} is not known here"
    reason = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else "failed"
    return f"{target} cannot be reached from here: {reason}"


def _refusal(target: Address, message: str) -> ChannelError:
    return ChannelError("target-refused", message, "start the program here, or correct the forward's target")
