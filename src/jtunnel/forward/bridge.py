"""Joins two ends of a stream: a connected local socket and a far end that somebody has opened.

Bytes, ends of stream, backpressure and cuts go both ways. It does not know what a far end is made
of, opens none, and logs nothing: this is the data path.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from jtunnel.forward.peer import reset_on_close
from jtunnel.remote import FarEnd

#: Seconds in which a client may go on sending after the far side has closed, before its socket closes.
_LINGER_S = 2.0


def _discard(data: bytes) -> None:
    """Take what arrives for an end that is gone."""


class Leg(asyncio.Protocol):
    """One side of a bridge: what arrives at its end is written to the end of the other leg.

    What arrives before the other leg has an end is kept. An end is closed in order where the other
    one was, and cut where the other one was cut. Nothing is written to an end that is gone.
    """

    def __init__(self, lost: Callable[[], None]) -> None:
        self.other = self
        self.end: FarEnd | None = None
        self.sock: socket.socket | None = None
        self.received = 0
        self.at_eof = False  # nothing more arrives
        self.full = False  # nothing more should be written
        self.lost = False
        self.cut_short = False
        self.was_cut = False  # by whatever is beyond its end, not by us
        self.kept: list[bytes] = []
        self.deliver: Callable[[bytes], None] = self.kept.append
        self._eof_written = False
        self._closing = False
        self._tell_lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.attach(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.deliver(data)

    def eof_received(self) -> bool:
        self.at_eof = True
        if self._eof_written or self.other.lost:
            self.close()
            self.other.close()
        else:
            self.other.write_eof()
        return True

    def pause_writing(self) -> None:
        self.full = True
        self.other.pause_reading()

    def resume_writing(self) -> None:
        self.full = False
        self.other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.was_cut = exc is not None and not self.cut_short
        self.cut_short = self.cut_short or exc is not None
        self.other.deliver = _discard
        self.other.follow()
        self._tell_lost()

    def attach(self, end: FarEnd) -> None:
        """Give this leg its end, and the end all that has already arrived for it."""
        self.end = end
        for data in self.other.kept:
            end.write(data)
        self.other.kept.clear()
        self.other.deliver = end.write
        # uvloop starts reading after connection_made, whatever was said before (facts: asyncio).
        asyncio.get_running_loop().call_soon(self._heed_pressure)
        self.follow()

    def follow(self) -> None:
        """Do to this leg's end what has happened to the other one."""
        if self.other.cut_short:
            self.cut()
        elif self.other.lost:
            self._finish()
        elif self.other.at_eof:
            self.write_eof()

    def write_eof(self) -> None:
        """Nothing more will be written; reading goes on."""
        if self.end is not None and not (self._eof_written or self._closing or self.lost):
            self._eof_written = True
            self.end.write_eof()

    def close(self) -> None:
        """Close in order, once everything is written out."""
        if self.end is not None and not (self._closing or self.lost):
            self._closing = True
            self.end.close()

    def cut(self) -> None:
        """Drop what is not yet written, and let a TCP client see a reset."""
        if self.end is None or self.cut_short or self.lost:
            return
        self._closing = self.cut_short = True
        self.other.deliver = _discard
        if self.sock is not None:
            reset_on_close(self.sock)
        self.end.abort()

    def pause_reading(self) -> None:
        # An end that is at EOF must not be resumed later: asyncio would report the EOF once more.
        if self.end is not None and not (self.at_eof or self.lost):
            self.end.pause_reading()

    def resume_reading(self) -> None:
        if self.end is not None and not (self.at_eof or self.lost):
            self.end.resume_reading()

    def _heed_pressure(self) -> None:
        if self.other.full:
            self.pause_reading()

    def _finish(self) -> None:
        """Close in order although the peer may still be sending.

        A TCP socket that is closed with unread input is reset, and what its peer has not yet read
        is lost (RFC 1122 §4.2.2.13). So its input is read and dropped for a while.
        """
        if self.at_eof:
            self.close()
            return
        self.write_eof()
        self.resume_reading()
        asyncio.get_running_loop().call_later(_LINGER_S, self.close)


class Bridge:
    """One local connection and its far end. `ended` is called once, when both are gone.

    `far` is the protocol to open the far end with; `join` brings the two together. Where the far side
    opens, `take` has the local socket first, and `far` is handed its end later (`connection_made`).
    """

    def __init__(self, ended: Callable[[Bridge], None]) -> None:
        self._ended = ended
        self._over = False
        self._near = Leg(self._check_over)
        self.far = Leg(self._check_over)
        self._near.other, self.far.other = self.far, self._near

    @property
    def bytes_in(self) -> int:
        """Bytes that came from the far end."""
        return self.far.received

    @property
    def bytes_out(self) -> int:
        """Bytes that came from the local side."""
        return self._near.received

    @property
    def was_cut(self) -> bool:
        """Whether the far end was cut: not closed in order, nor ended by the client or by us."""
        return self.far.was_cut

    async def join(self, far_end: FarEnd, sock: socket.socket) -> None:
        """Let bytes flow; owns `sock`, unread until now, and the far end from here on."""
        self._near.sock = sock
        self.far.attach(far_end)
        await self.take(sock)

    async def take(self, sock: socket.socket) -> None:
        """Read from `sock` and own it, whether there is a far end yet or not."""
        self._near.sock = sock
        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: self._near, sock)
        except OSError as error:  # the client is gone
            sock.close()
            self._near.connection_lost(error)

    def reset(self) -> None:
        """Cut both ends at once; what is not yet written is dropped."""
        self._near.cut()
        self.far.cut()
        self._check_over()

    def _check_over(self) -> None:
        # A far end that was aborted may confirm it late or, over a dead connection, never.
        if not self._over and self._near.lost and (self.far.lost or self.far.cut_short):
            self._over = True
            self._ended(self)
