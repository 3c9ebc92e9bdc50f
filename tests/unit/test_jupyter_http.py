"""One HTTP request, over real sockets, with peers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from jtunnel.address import TcpAddress
from jtunnel.errors import ChannelError
from jtunnel.service.http import MAX_ANSWER, Response, parse, presented, request
from jtunnel.service.server import NoAnswerError, NobodyListensError, StrangerError
from tests.support.certificates import Certificate, make_certificate
from tests.support.local_remote import LocalRemote

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REMOTE_ENV = {"SHELL": "/bin/sh", "HOME": os.path.expanduser("~")}
ANYWHERE = TcpAddress("127.0.0.1", 1)


@contextlib.asynccontextmanager
async def listening(peer: Peer, tls: ssl.SSLContext | None = None) -> AsyncIterator[TcpAddress]:
    """A server on a free port whose every connection `peer` serves, after the handshake with `tls`."""

    tasks = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await peer(reader, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    try:
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
            yield TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        await asyncio.gather(*(task for task in tasks if task is not None))


def ask(
    peer: Peer,
    *,
    timeout_s: float = 10.0,
    method: str = "GET",
    token: str = "",
    tls: ssl.SSLContext | None = None,
    pin: str | None = None,
) -> Response:
    """The answer of a peer."""

    async def main() -> Response:
        async with asyncio.timeout(30), listening(peer, tls) as target:
            remote = LocalRemote(REMOTE_ENV)
            return await request(remote, target, method, "/api", token=token, timeout_s=timeout_s, pin=pin)

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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    # As short as old manuals had people make them.
    return make_certificate(str(tmp_path_factory.mktemp("tls")), bits=1024)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the Authorization of the request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    sent = next((line for line in head.splitlines() if line.startswith("Authorization")), "")
    writer.write(f'HTTP/1.1 200 OK\r\nContent-Length: {len(sent) + 2}\r\n\r\n"{sent}"'.encode())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_with_the_known_certificate(certificate: Certificate, version: ssl.TLSVersion) -> None:
    context = certificate.server_context()
    context.maximum_version = version
    answer = ask(echo, token="abc", tls=context, pin=certificate.fingerprint)
    assert answer == Response(200, "Authorization: token abc")


def test_a_long_answer_over_tls(certificate: Certificate) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\n\r\n"' + b"x" * 500_000 + b'"')

    answer = ask(peer, tls=certificate.server_context(), pin=certificate.fingerprint)
    assert answer.document == "x" * 500_000


@pytest.mark.parametrize("pin", ["", "0" * 64])
def test_nothing_is_said_to_another_certificate(certificate: Certificate, pin: str) -> None:
    heard = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    with pytest.raises(StrangerError, match="is another than the one on the host"):
        ask(peer, token="abc", tls=certificate.server_context(), pin=pin)
    assert heard in ([], [b""])


def test_what_speaks_no_tls_is_a_stranger(certificate: Certificate) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with pytest.raises(StrangerError, match="does not speak TLS"):
        ask(peer, pin=certificate.fingerprint)


def test_a_handshake_that_is_not_answered(certificate: Certificate) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)

    with pytest.raises(NoAnswerError, match="within"):
        ask(silent, timeout_s=0.2, pin=certificate.fingerprint)
    with pytest.raises(NoAnswerError, match="without an answer"):
        ask(closing, pin=certificate.fingerprint)


def test_an_endless_answer_over_tls_is_a_stranger(certificate: Certificate) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(2 * MAX_ANSWER // 65536):
            writer.write(bytes(65536))
            await writer.drain()

    with pytest.raises(StrangerError, match="has no end"):
        ask(peer, tls=certificate.server_context(), pin=certificate.fingerprint)


def test_the_certificate_that_is_shown(certificate: Certificate) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> str:
        async with listening(peer, certificate.server_context()) as target:
            return await presented(LocalRemote(REMOTE_ENV), target, timeout_s=10)

    assert asyncio.run(main()) == certificate.fingerprint
