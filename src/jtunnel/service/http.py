"""One small HTTP/1.1 request over a channel, with TLS where the server wants it. No redirects, no cookies, no
kept connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from jtunnel.address import Address, UnixAddress
from jtunnel.errors import ChannelError
from jtunnel.remote import FarEnd, Remote
from jtunnel.service.server import NoAnswerError, NobodyListensError, Server, StrangerError
from jtunnel.service.tls import NoTlsError, TlsSession

#: Bytes of an answer, its head included, that are read at most.
MAX_ANSWER: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its status, and its body decoded as JSON (None where it is not JSON)."""

    status: int
    document: Any


async def ask(
    remote: Remote, server: Server, method: str, path: str, *, token: str = "", timeout_s: float
) -> Response:
    """Send one request to a server, with TLS where it is `secure`. Raises what `request` does."""
    pin = server.certificate if server.secure else None
    return await request(remote, server.target, method, path, token=token, timeout_s=timeout_s, pin=pin)


async def request(
    remote: Remote,
    target: Address,
    method: str,
    path: str,
    *,
    token: str = "",
    timeout_s: float,
    pin: str | None = None,
) -> Response:
    """Send one request to `target` and read the whole answer within `timeout_s` seconds.

    The token goes into a header: the caller has proven whose socket `target` is. Host is `localhost`,
    which Jupyter takes for any loopback or Unix socket. With `pin`, TLS is spoken, and nothing is sent unless
    the far end's certificate has that fingerprint. Raises NobodyListensError, NoAnswerError,
    StrangerError (not HTTP or TLS, too long, another certificate) and ChannelError (`connection-lost`,
    `forward-refused`).
    """
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        "Accept: application/json",
        "Connection: close",
        *([f"Authorization: token {token}"] if token else []),
        *(["Content-Length: 0"] if method == "POST" else []),
    ]
    data = ("\r\n".join(head) + "\r\n\r\n").encode()
    if pin is None:
        collector = _Collector()
        async with _channel(remote, target, collector, timeout_s) as channel:
            channel.write(data)
            await collector.done.wait()
        answer = bytes(collector.data)
    else:
        answer = await _ask_securely(remote, target, data, pin, timeout_s)
    if len(answer) > MAX_ANSWER:
        raise StrangerError("jupyter-failed", f"the answer of {target} has no end")
    return parse(answer, method, target)


async def presented(remote: Remote, target: Address, *, timeout_s: float) -> str:
    """The fingerprint of the certificate that the listener at `target` shows; nothing is said to it.

    Raises what `request` does.
    """
    session = TlsSession()
    async with _channel(remote, target, session, timeout_s) as channel:
        return await _shake_hands(session, channel, target)


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


async def _ask_securely(remote: Remote, target: Address, data: bytes, pin: str, timeout_s: float) -> bytes:
    session = TlsSession()
    async with _channel(remote, target, session, timeout_s) as channel:
        if not pin or await _shake_hands(session, channel, target) != pin:
            raise StrangerError(
                "jupyter-failed", f"the certificate of {target} is another than the one on the host"
            )
        return await session.exchange(channel, data, MAX_ANSWER)


async def _shake_hands(session: TlsSession, channel: FarEnd, target: Address) -> str:
    try:
        shown = await session.shake_hands(channel)
    except NoTlsError:
        raise StrangerError("jupyter-failed", f"what listens at {target} does not speak TLS") from None
    if not shown:
        raise NoAnswerError("jupyter-failed", f"{target} closed the connection without an answer")
    return shown


@contextlib.asynccontextmanager
async def _channel(
    remote: Remote, target: Address, protocol: asyncio.Protocol, timeout_s: float
) -> AsyncIterator[FarEnd]:
    """A channel to `target`, dropped at the end; all that is done with it has `timeout_s` seconds."""
    try:
        async with asyncio.timeout(timeout_s):
            channel = await remote.open(target, protocol)
            try:
                yield channel
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
