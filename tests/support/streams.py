"""Plain blocking sockets at both outer ends of a forward: local clients, and a target that echoes.

Every wait has a deadline. Knows nothing of SSH or jtunnel.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
import random
import socket
import socketserver
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

#: Seconds that any single wait of a test may take.
WAIT_S = 10.0
#: What an echo server says when the client has said its last word.
FAREWELL = b"<bye>"
#: More than there are processes that run tests beside each other.
_LANES = 8


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            heard = False
            while data := self.request.recv(65536):
                heard = True
                self.request.sendall(data)
            if heard:
                self.request.sendall(FAREWELL)
        except OSError:
            return


class _TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


class EchoServer:
    """Sends back what each client sends, and FAREWELL at its end; a context manager.

    On a TCP port of 127.0.0.1, any free one unless given, or on a Unix socket that everybody may use.
    """

    def __init__(self, *, port: int = 0, path: str | None = None) -> None:
        self._server: socketserver.BaseServer
        if path is None:
            self._server = _TcpServer(("127.0.0.1", port), _Echo)
            self.port = self._server.server_address[1]
            self.target = f"127.0.0.1:{self.port}"
        else:
            self._server = _UnixServer(path, _Echo)
            os.chmod(path, 0o666)
            self.port = 0
            self.target = path
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(WAIT_S)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port of this machine that nobody listens on, and that nobody else is given meanwhile.

    It is none of those that a system picks for whoever asks for any port, or connects; each of several test
    processes has its own.
    """
    while True:
        port = next(_ports())
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
            except OSError as failure:
                if failure.errno != errno.EADDRINUSE:
                    raise
            else:
                return port


@functools.cache
def _ports() -> Iterator[int]:
    """The ports of this process, round and round, so that one is not given away again soon."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    lane = [*range(20_000 + worker % _LANES, 32_000, _LANES)]
    begin = random.randrange(len(lane))
    return itertools.cycle(lane[begin:] + lane[:begin])


def has_ipv6() -> bool:
    """Whether this machine has ::1; containers may lack it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def dial(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Connect to a local port."""
    return socket.create_connection((host, port), timeout=WAIT_S)


def dial_unix(path: str) -> socket.socket:
    """Connect to a local Unix socket."""
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(WAIT_S)
    try:
        stream.connect(path)
    except OSError:
        stream.close()
        raise
    return stream


def receive(stream: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, fewer where the stream ends."""
    data = bytearray()
    while len(data) < size and (chunk := stream.recv(min(65536, size - len(data)))):
        data += chunk
    return bytes(data)


def receive_all(stream: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    data = bytearray()
    while chunk := stream.recv(65536):
        data += chunk
    return bytes(data)


def echoes(stream: socket.socket, data: bytes = b"ping") -> bool:
    """Whether what is sent comes back; both directions flow at once."""
    sending = threading.Thread(target=stream.sendall, args=(data,))
    sending.start()
    answer = receive(stream, len(data))
    sending.join(WAIT_S)
    return answer == data


def is_reset(stream: socket.socket) -> bool:
    """Wait for what comes next; True for a reset, False for data or an orderly end."""
    try:
        stream.recv(1)
    except ConnectionResetError:
        return True
    return False


def is_turned_away(port: int) -> bool:
    """Whether a new connection to a local port is accepted and then reset before anything comes."""
    try:
        stream = dial(port)
    except ConnectionResetError:
        return True  # the reset was faster than connect's answer
    with stream:
        return is_reset(stream)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether anybody listens on a local port."""
    try:
        dial(port, host).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        pass  # somebody accepted it, and was quick to turn it away
    return True
