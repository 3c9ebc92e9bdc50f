"""One small HTTP/1.1 request over a channel. No redirects, no cookies, no TLS, no kept connections."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
from dataclasses import dataclass
from typing import Any, Final

from jtunnel.address import Address, UnixAddress
from jtunnel.errors import ChannelError
from jtunnel.jupyter.server import NoAnswerError, NobodyListensError, StrangerError
from jtunnel.remote import Remote

#: Bytes of an answer, its head included, that are read at most.
MAX_ANSWER: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its status, and its body decoded as JSON (None where it is not JSON)."""

    status: int
    document: Any


async def request(
    remote: Remote, target: Address, method: str, path: str, *, token: str = "", timeout_s: float
) -> Response:
    """Send one request to `target` and read the whole answer within `timeout_s` seconds.

    The token goes into a header: the caller has proven whose socket `target` is. Host is `localhost`,
    which Jupyter takes for any loopback or Unix socket. Raises NobodyListensError, NoAnswerError,
    StrangerError (not HTTP, or too long) and ChannelError (`connection-lost`, `forward-refused`).
    """
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        "Accept: application/json",
        "Connection: close",
        *([f"Authorization: token {token}"] if token else []),
        *(["Content-Length: 0"] if method == "POST" else []),
    ]
    data = await _exchange(remote, target, ("\r\n".join(head) + "\r\n\r\n").encode(), timeout_s)
    return parse(data, method, target)


def parse(data: bytes, method: str, target: Address) -> Response:
    """Read an answer from its bytes. Raises NoAnswerError where there are none, StrangerError for no HTTP."""
    if not data:
        raise NoAnswerError("jupyter-failed", f"{target} closed the connection without an answer")
    response = http.client.HTTPResponse(_Bytes(data), method=method)  # type: ignore[arg-type]  # reads only
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, ValueError):
        raise StrangerError("jupyter-failed", f"what listens at {target} does not speak HTTP") from None
    try:
        return Response(response.status, json.loads(body))
    except (ValueError, RecursionError):
        return Response(response.status, None)


async def _exchange(remote: Remote, target: Address, head: bytes, timeout_s: float) -> bytes:
    collector = _Collector()
    try:
        async with asyncio.timeout(timeout_s):
            channel = await remote.open(target, collector)
            try:
                channel.write(head)
                await collector.done.wait()
            finally:
                channel.abort()
    except TimeoutError:
        raise NoAnswerError("jupyter-failed", f"{target} did not answer within {timeout_s:.0f} s") from None
    except ChannelError as error:
        # sshd's refusal to forward to a Unix socket looks like a socket without a listener.
        refused = (
            ("target-refused", "forward-refused") if isinstance(target, UnixAddress) else ("target-refused",)
        )
        if error.kind not in refused:
            raise
        raise NobodyListensError("jupyter-failed", f"nobody listens at {target}") from None
    if len(collector.data) > MAX_ANSWER:
        raise StrangerError("jupyter-failed", f"the answer of {target} has no end")
    return bytes(collector.data)


class _Collector(asyncio.Protocol):
    """Keeps what arrives until the far side closes or has sent too much."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.done = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > MAX_ANSWER:
            self.done.set()

    def eof_received(self) -> None:
        self.done.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set()


class _Bytes:
    """As much of a socket as http.client.HTTPResponse needs."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)
