"""The near side: moves bytes, asks for echoes, opens connections, and takes the time.

Knows a local port and nothing of what tunnel is behind it.
"""

from __future__ import annotations

import select
import selectors
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from typing import Final, Self

from bench.failure import BenchError
from bench.far_side import ANSWER, BUFFER_BYTES, ECHO, MESSAGE_BYTES, SINK, SIZE, SOURCE, drain, pour

LOOPBACK: Final = "127.0.0.1"
#: No single wait in a working tunnel comes near it.
STALL_TIMEOUT_S: Final = 30.0
_STALL_TIMEVAL: Final = struct.pack("@ll", int(STALL_TIMEOUT_S), 0)
#: Short against the start of anything measured, long enough to leave the processor to it.
_POLL_S: Final = 0.001
#: What comes back after a letter, one receive after another; b"" is the far side's end.
_REPLIES: Final = {ECHO: (ECHO,), ANSWER: (ANSWER, b"")}
#: How often the opener of a tunnel is looked at while a byte is awaited.
_LOOK_UP_S: Final = 0.1

_buffer = memoryview(bytearray(BUFFER_BYTES))


def download(port: int, size: int) -> float:
    """Seconds that `size` bytes take from the far side; opening the connection is not counted."""
    with _open(port, SOURCE) as connection:
        started_at = time.perf_counter()
        connection.sendall(SIZE.pack(size))
        drain(connection, _buffer, size)
        return time.perf_counter() - started_at


def upload(port: int, size: int) -> float:
    """Seconds that `size` bytes take until the far side says that it has them all."""
    with _open(port, SINK) as connection:
        started_at = time.perf_counter()
        connection.sendall(SIZE.pack(size))
        pour(connection, _buffer, size)
        _expect(connection, SINK)
        return time.perf_counter() - started_at


def round_trips(port: int, count: int) -> list[float]:
    """Seconds of each of `count` small messages there and back, one at a time on one connection."""
    message = b"m" * MESSAGE_BYTES
    times = []
    with _open(port, ECHO) as connection:
        for _ in range(count):
            started_at = time.perf_counter()
            connection.sendall(message)
            if len(connection.recv(MESSAGE_BYTES, socket.MSG_WAITALL)) != MESSAGE_BYTES:
                raise BenchError("a tunnel closed a connection in mid-stream")
            times.append(time.perf_counter() - started_at)
    return times


def connect_in_turn(port: int, seconds: float, letter: bytes) -> float:
    """Connections a second, one after another, each with a byte both ways.

    After ECHO this side closes them, after ANSWER the far side does and its end is awaited.
    """
    count, started_at = 0, time.perf_counter()
    while (passed_s := time.perf_counter() - started_at) < seconds:
        with _open(port, letter) as connection:
            for part in _REPLIES[letter][1:]:
                _expect(connection, part)
        count += 1
    return count / passed_s


def connect_at_once(port: int, seconds: float, letter: bytes, width: int) -> float:
    """The same with `width` connections under way at any time."""
    with _Crowd(port, letter) as crowd:
        crowd.add(width)
        count, started_at = 0, time.perf_counter()
        while (passed_s := time.perf_counter() - started_at) < seconds:
            ended = crowd.advance()
            crowd.add(ended)
            count += ended
        # Those under way end in order, so that the next contender starts in silence.
        while crowd:
            crowd.advance()
        return count / passed_s


def wait_first_byte(port: int, opener: subprocess.Popen[bytes], timeout_s: float = STALL_TIMEOUT_S) -> None:
    """Return as soon as a byte came back through `port`, which `opener` is about to open."""
    give_up_at = time.monotonic() + timeout_s

    def check() -> None:
        if opener.poll() not in (None, 0):
            raise BenchError(f"what should have opened a tunnel exits {opener.returncode}")
        if time.monotonic() > give_up_at:
            raise BenchError(f"no byte came back within {timeout_s:.0f} s")

    while not _echoes(port, check):
        check()
        time.sleep(_POLL_S)


def _echoes(port: int, check: Callable[[], None]) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=STALL_TIMEOUT_S) as connection:
            # A port that nobody listens on may be given to the very socket that calls it.
            if connection.getsockname() == connection.getpeername():
                return False
            connection.sendall(ECHO)
            # jtunnel holds a connection until it can serve it.
            while not select.select([connection], [], [], _LOOK_UP_S)[0]:
                check()
            return connection.recv(1) == ECHO
    except ConnectionError:
        return False


def _open(port: int, letter: bytes) -> socket.socket:
    connection = socket.create_connection((LOOPBACK, port))
    # Python's own timeouts cost a poll(2) for each call, and break MSG_WAITALL.
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, _STALL_TIMEVAL)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        connection.sendall(letter)
        _expect(connection, letter)
    except BaseException:
        connection.close()
        raise
    return connection


def _expect(connection: socket.socket, letter: bytes) -> None:
    if connection.recv(1) != letter:
        raise BenchError("a tunnel closed a connection before it answered")


class _Crowd:
    """Many connections at one time in one thread; those left at the end are closed."""

    def __init__(self, port: int, letter: bytes) -> None:
        self._port = port
        self._letter = letter
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for key in list(self._selector.get_map().values()):
            _socket(key).close()
        self._selector.close()

    def __len__(self) -> int:
        return len(self._selector.get_map())

    def add(self, count: int) -> None:
        """Start so many connections."""
        for _ in range(count):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex((LOOPBACK, self._port))
            self._selector.register(connection, selectors.EVENT_WRITE)

    def advance(self) -> int:
        """Wait until some can go on; return how many of them have ended."""
        ready = self._selector.select(STALL_TIMEOUT_S)
        if not ready:
            raise BenchError(f"no connection was answered within {STALL_TIMEOUT_S:.0f} s")
        ended = 0
        for key, events in ready:
            connection = _socket(key)
            if events & selectors.EVENT_WRITE:
                connection.send(self._letter)
                self._selector.modify(connection, selectors.EVENT_READ, _REPLIES[self._letter])
                continue
            part, *rest = key.data
            _expect(connection, part)
            if rest:
                self._selector.modify(connection, selectors.EVENT_READ, rest)
            else:
                self._selector.unregister(connection)
                connection.close()
                ended += 1
        return ended


def _socket(key: selectors.SelectorKey) -> socket.socket:
    assert isinstance(key.fileobj, socket.socket)
    return key.fileobj
