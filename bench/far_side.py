"""The far side of every forward, in a process of its own: an echo, a source and a sink on one loopback port.

Run as `python -m bench.far_side`: prints its port, and ends when its standard input does, so that
it cannot outlive the benchmark. Each connection begins with one letter, which is sent back.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
from typing import Final

ECHO: Final = b"e"
#: Sent back, and the connection closed: what a web server does that keeps none alive.
ANSWER: Final = b"a"
SOURCE: Final = b"d"
SINK: Final = b"u"
SIZE: Final = struct.Struct("!Q")
BUFFER_BYTES: Final = 1 << 20
MESSAGE_BYTES: Final = 64
#: More than connections at one time: a thread that waits in accept() costs less than one that is started.
_THREADS: Final = 64
_BACKLOG: Final = 1024


def main() -> None:
    """Serve until standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    for _ in range(_THREADS):
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.buffer.read()


def _serve(listener: socket.socket) -> None:
    buffer = memoryview(bytearray(BUFFER_BYTES))
    while True:
        connection, _ = listener.accept()
        # A client may leave at any time: a forward's trial does so at once.
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _answer(connection, buffer)


def _answer(connection: socket.socket, buffer: memoryview) -> None:
    letter = connection.recv(1)
    connection.sendall(letter)
    if letter == SOURCE:
        pour(connection, buffer, read_size(connection))
    elif letter == SINK:
        drain(connection, buffer, read_size(connection))
        connection.sendall(SINK)
    elif letter == ECHO:
        while count := connection.recv_into(buffer[:MESSAGE_BYTES]):
            connection.sendall(buffer[:count])


def read_size(connection: socket.socket) -> int:
    """The number of bytes that will be moved."""
    size: int = SIZE.unpack(connection.recv(SIZE.size, socket.MSG_WAITALL))[0]
    return size


def pour(connection: socket.socket, buffer: memoryview, size: int) -> None:
    """Send `size` bytes."""
    while size:
        step = min(size, len(buffer))
        connection.sendall(buffer[:step])
        size -= step


def drain(connection: socket.socket, buffer: memoryview, size: int) -> None:
    """Receive `size` bytes and forget them. Raises ConnectionError where fewer come."""
    while size:
        count = connection.recv_into(buffer[: min(size, len(buffer))])
        if not count:
            raise ConnectionResetError("the stream ended early")
        size -= count


if __name__ == "__main__":
    main()
