"""The socket of an SSH connection: what the kernel is told, what it tells, and how a failed one is closed."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Final

#: Linux 6.15: the longest time between two retransmissions; no name for it in Python's socket yet.
_TCP_RTO_MAX_MS: Final = 44
_RTO_MAX_MS: Final = 1000
#: The kernel gives a connection up after this long without an answer, or, were it not set, after so
#: many retransmissions: with one a second that would be 15 seconds.
_GIVE_UP_MS: Final = 24 * 60 * 60 * 1000

#: struct tcp_info (linux/tcp.h) up to tcpi_last_ack_recv: eight bytes, then numbers of 32 bits.
_TCP_INFO: Final = struct.Struct("=8B13I")
_RETRANSMITS: Final = 2
_UNACKED: Final = 8 + 4
_LAST_DATA_RECV: Final = 8 + 11
_LAST_ACK_RECV: Final = 8 + 12


def tune(sock: socket.socket) -> None:
    """Send small pieces at once, and after a drop within a second; leave giving up to us.

    Keepalive is the kernel's, every two hours: it tells middle boxes that the connection lives.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GIVE_UP_MS)
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, _RTO_MAX_MS)


def reset_on_close(sock: socket.socket) -> None:
    """Make the close of a TCP socket a reset, which drops what is not yet sent."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class LentSocket:
    """A socket that an event loop is given, to be closed by us only if the loop has not done so.

    uvloop closes the file of a connection that breaks while it takes it over, and Python's socket does
    not learn of that: by and by it would close its number again, which is another file's by then.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = self._which_file()

    def close(self) -> None:
        """Close it, wherever it is."""
        if self._which_file() == self._file:
            self.sock.close()
        else:
            self.sock.detach()

    def _which_file(self) -> tuple[int, int] | None:
        try:
            status = os.fstat(self.sock.fileno())
        except OSError:
            return None
        return status.st_dev, status.st_ino


def ip_addresses(sock: socket.socket) -> tuple[str, str] | tuple[None, None]:
    """Our address and the other side's; neither where the connection is gone already."""
    try:
        return sock.getsockname()[0], sock.getpeername()[0]
    except OSError:
        return None, None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the kernel has got: segments sent and not acknowledged, timeouts in a row, what came last."""

    unacked: int
    retransmits: int
    since_ack_s: float
    since_data_s: float


def read_progress(sock: socket.socket) -> Progress | None:
    """What the kernel knows (TCP_INFO); None where it does not tell, or the socket is closed."""
    if sys.platform != "linux":
        return None
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        facts = _TCP_INFO.unpack(told)
    except (OSError, struct.error):
        return None
    return Progress(
        unacked=facts[_UNACKED],
        retransmits=facts[_RETRANSMITS],
        since_ack_s=facts[_LAST_ACK_RECV] / 1000,
        since_data_s=facts[_LAST_DATA_RECV] / 1000,
    )
