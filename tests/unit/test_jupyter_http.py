"""One HTTP request, over real sockets, with peers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from jtunnel.address import TcpAddress
from jtunnel.errors import ChannelError
from jtunnel.jupyter.http import MAX_ANSWER, Response, parse, request
from jtunnel.jupyter.server import NoAnswerError, NobodyListensError, StrangerError
from tests.support.local_remote import LocalRemote

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REMOTE_ENV = {"SHELL": "/bin/sh", "HOME": os.path.expanduser("~")}
ANYWHERE = TcpAddress("127.0.0.1", 1)


@contextlib.asynccontextmanager
async def listening(peer: Peer) -> AsyncIterator[TcpAddress]:
    """A server on a free port whose every connection `peer` serves."""

    tasks = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await peer(reader, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    try:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            yield TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        await asyncio.gather(*(task for task in tasks if task is not None))


def ask(peer: Peer, *, timeout_s: float = 10.0, method: str = "GET", token: str = "") -> Response:
    """The answer of a peer."""

    async def main() -> Response:
        async with asyncio.timeout(30), listening(peer) as target:
            remote = LocalRemote(REMOTE_ENV)
            return await request(remote, target, method, "/api", token=token, timeout_s=timeout_s)

    return asyncio.run(main())


def test_an_answer_in_small_pieces() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for byte in head + b'2\r\n{"\r\n4\r\na":1\r\n1\r\n}\r\n0\r\n\r\n':
            writer.write(bytes([byte]))
            await writer.drain()

    assert ask(peer) == Response(200, {"a": 1})


def test_what_is_sent() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        body = '"' + head.strip().replace("\r\n", "|") + '"'
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    sent = ask(peer, method="POST", token="abc").document
    assert sent.startswith("POST /api HTTP/1.1|Host: localhost|")
    assert "|Connection: close" in sent
    assert "|Authorization: token abc" in sent
    assert "Authorization" not in ask(peer).document


def test_silence_is_no_answer() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with pytest.raises(NoAnswerError):
        ask(peer, timeout_s=0.2)


def test_a_closed_connection_is_no_answer() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    with pytest.raises(NoAnswerError):
        ask(peer)


def test_an_endless_answer_is_a_stranger() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(2 * MAX_ANSWER // 65536):
            writer.write(bytes(65536))
            await writer.drain()
        await reader.read()

    with pytest.raises(StrangerError):
        ask(peer)


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\x01", b"HTTP/1.1 abc\r\n\r\n"])
def test_no_http_is_a_stranger(data: bytes) -> None:
    with pytest.raises(StrangerError):
        parse(data, "GET", ANYWHERE)


def test_a_cut_off_answer_is_a_stranger() -> None:
    with pytest.raises(StrangerError):
        parse(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "GET", ANYWHERE)


def test_no_json_is_no_document() -> None:
    assert parse(b"HTTP/1.1 404 Not Found\r\n\r\n<html>", "GET", ANYWHERE) == Response(404, None)
    assert parse(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000, "GET", ANYWHERE) == Response(200, None)


def test_nobody_listens() -> None:
    async def main() -> None:
        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            raise AssertionError

        async with listening(peer) as target:
            pass
        with pytest.raises(NobodyListensError):
            await request(LocalRemote(REMOTE_ENV), target, "GET", "/api", timeout_s=10)

    asyncio.run(main())


def test_a_lost_connection_is_not_the_servers_fault() -> None:
    async def main() -> None:
        remote = LocalRemote(REMOTE_ENV)
        remote.is_lost = True
        with pytest.raises(ChannelError) as caught:
            await request(remote, ANYWHERE, "GET", "/api", timeout_s=10)
        assert caught.value.kind == "connection-lost"

    asyncio.run(main())
