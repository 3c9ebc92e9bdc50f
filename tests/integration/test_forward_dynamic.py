"""A dynamic forward: clients that speak SOCKS, held, served, refused; and what is the forward's problem."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.errors import ChannelError
from jtunnel.forward.greeting import greet
from jtunnel.forward.held import MAX_HELD
from jtunnel.remote import FarEnd, Opener
from jtunnel.ssh.connection import Connection
from tests.support.far_side import Peer, connect, far_side, is_turned_away
from tests.support.home import Home
from tests.support.listening import LOOPS, Watched, listening, run_on
from tests.support.ssh_connection import connected, run
from tests.support.sshd import Sshd
from tests.support.streams import free_port

GREETING = b"\x05\x01\x00"
CHOSEN = b"\x05\x00"
TARGET = TcpAddress("gpu.example", 8080)
ASKS = b"\x05\x01\x00\x03\x0bgpu.example\x1f\x90"
GRANTED = b"\x05\x00\x00\x01" + bytes(6)
SITE_DOWN = ChannelError("target-refused", "nobody listens there", reason="refused")
LOST = ChannelError("connection-lost", "the connection was lost")


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def read(peer: Peer, size: int) -> bytes:
    """Exactly so many bytes, fewer where the stream ends."""
    data = b""
    while len(data) < size and (chunk := await peer.receive(size - len(data))):
        data += chunk
    return data


@contextlib.asynccontextmanager
async def dynamic(**given: float) -> AsyncIterator[Watched]:
    async with listening(dynamic=True, **given) as watched:  # type: ignore[arg-type]
        yield watched


async def ask(watched: Watched, request: bytes = ASKS) -> Peer:
    """A client that has been chosen a method, and has said where it wants to go."""
    peer = await connect(watched.listener.address)
    await peer.send(GREETING)
    assert await read(peer, 2) == CHOSEN
    await peer.send(request)
    return peer


def code(reply: bytes) -> int:
    assert reply[:1] == b"\x05"
    assert reply[2:] == b"\x00\x01" + bytes(6)
    return reply[1]


def test_bytes_behind_the_request_reach_the_far_side_and_none_before_the_reply(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, dynamic() as watched:
            watched.listener.serve(far.open)
            with await ask(watched, ASKS + b"at once") as client, await far.accept() as server:
                assert await server.receive() == b"at once"
                await server.send(b"banner")
                assert await read(client, 16) == GRANTED + b"banner"
                client.shut()
                assert await server.receive_all() == b""
                server.close()
                assert await client.receive_all() == b""
            assert far.targets == [TARGET]
            await watched.until(lambda listener: listener.stats.active == 0)
            stats = watched.listener.stats
            assert (stats.accepted, stats.bytes_in, stats.bytes_out) == (1, 6, 7)

    run_on(loop, main())


def test_a_request_byte_by_byte(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, dynamic() as watched:
            watched.listener.serve(far.open)
            with await connect(watched.listener.address) as client:
                for byte in b"\x04\x01\x1f\x90\x00\x00\x00\x07me\x00gpu.example\x00":
                    await client.send(bytes([byte]))
                    await asyncio.sleep(0)
                assert await read(client, 8) == b"\x00\x5a" + bytes(6)
            assert far.targets == [TARGET]

    run_on(loop, main())


def test_it_is_held_after_the_request_and_served_later(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, dynamic() as watched:
            with await ask(watched) as client:
                await watched.until(lambda listener: listener.stats.held == 1)
                assert far.asked == 0
                assert watched.listener.serve(far.open) == 1
                assert await read(client, 10) == GRANTED
                with await far.accept() as server:
                    await server.send(b"hello")
                    assert await client.receive() == b"hello"

    run_on(loop, main())


def test_it_waits_through_a_lost_connection(loop: str) -> None:
    async def main() -> None:
        async with far_side() as dead, far_side() as far, dynamic() as watched:
            dead.may_open.clear()
            dead.failure = LOST
            watched.listener.serve(dead.open)
            with await ask(watched) as client:
                await dead.until(lambda: dead.busy == 1)
                watched.listener.hold()
                dead.may_open.set()
                await watched.until(lambda listener: listener.stats.held == 1)
                watched.listener.serve(far.open)
                assert await read(client, 10) == GRANTED
            assert far.targets == [TARGET]

    run_on(loop, main())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SITE_DOWN, 5),
        (ChannelError("target-refused", "no such host", reason="unreachable"), 4),
        (ChannelError("target-refused", "something else"), 1),
        (ChannelError("forward-refused", "the server forbids it"), 2),
    ],
    ids=["refused", "unreachable", "else", "forbidden"],
)
def test_failures_have_codes_and_one_site_is_not_the_forward(
    loop: str, error: ChannelError, expected: int
) -> None:
    async def main() -> None:
        async with far_side() as far, dynamic() as watched:
            far.failure = error
            watched.listener.serve(far.open)
            with await ask(watched, ASKS + b"more than was asked for") as client:
                assert code(await client.receive_all()) == expected
            await watched.until(lambda listener: listener.stats.active == 0)
            forbidden = error.kind == "forward-refused"
            assert watched.listener.problem == (error.problem if forbidden else None)
            assert watched.listener.failed.is_set() == forbidden

    run_on(loop, main())


def test_a_site_that_does_not_answer_is_no_problem_though_the_gate_moved(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, dynamic(open_timeout_s=0.2) as watched:
            far.may_open.clear()
            watched.listener.serve(far.open)
            with await ask(watched) as client:
                await far.until(lambda: far.busy == 1)
                watched.listener.hold()
                watched.listener.serve(far.open)
                assert code(await client.receive_all()) == 4
            assert watched.listener.problem is None
            assert not watched.listener.failed.is_set()
            far.may_open.set()
            await far.until(lambda: far.busy == 0)
            assert far.asked == 1

    run_on(loop, main())


def test_what_is_not_for_this_proxy_is_refused_and_closed_in_order(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, dynamic() as watched:
            watched.listener.serve(far.open)
            for words, start in (
                (b"GET http://gpu.example/ HTTP/1.1\r\nHost: gpu.example\r\n\r\n", b"HTTP/1.1 501 "),
                (b"\x05\x01\x02", b"\x05\xff"),
                (GREETING + b"\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50", CHOSEN + b"\x05\x07"),
                (b"\x04\x02\x00\x50\x7f\x00\x00\x01\x00", b"\x00\x5b"),
                (b"\x16\x03\x01\x02\x00\x01\x00", b""),
            ):
                with await connect(watched.listener.address) as client:
                    await client.send(words)
                    assert (await client.receive_all()).startswith(start)
            assert far.asked == 0
            assert watched.listener.problem is None

    run_on(loop, main())


def test_while_refusing_new_ones_are_reset_and_those_that_asked_are_told(loop: str) -> None:
    async def main() -> None:
        async with dynamic() as watched:
            with await ask(watched) as held, await connect(watched.listener.address) as greeting:
                await watched.until(lambda listener: listener.stats.held == 1)
                await greeting.send(GREETING)
                assert await read(greeting, 2) == CHOSEN
                watched.listener.refuse()
                assert code(await held.receive_all()) == 1
                await greeting.send(ASKS)
                assert code(await greeting.receive_all()) == 1
            assert await is_turned_away(watched.listener.address)

    run_on(loop, main())


def test_greetings_are_bounded_and_end_with_the_listener(loop: str) -> None:
    async def main() -> None:
        async with dynamic() as watched:
            peers = [await connect(watched.listener.address) for _ in range(MAX_HELD)]
            await watched.until(lambda listener: listener.stats.accepted == MAX_HELD)
            assert await is_turned_away(watched.listener.address)
            for peer in peers[:2]:
                peer.close()
        for peer in peers[2:]:
            assert await peer.is_reset()
            peer.close()

    run_on(loop, main())


def test_who_does_not_say_what_it_wants_is_let_go(loop: str) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with Peer(theirs) as client:
            await client.send(GREETING + ASKS[:7])
            assert await greet(ours, within_s=0.1) is None
            assert ours.fileno() < 0
            assert await client.receive_all() == CHOSEN

    run_on(loop, main())


def test_over_a_unix_socket(loop: str, tmp_path: Path) -> None:
    async def main() -> None:
        where = UnixAddress(f"{tmp_path}/proxy")
        async with far_side() as far, listening(where, dynamic=True) as watched:
            watched.listener.serve(far.open)
            with await ask(watched) as client, await far.accept() as server:
                await server.send(b"hi")
                assert await read(client, 12) == GRANTED + b"hi"

    run_on(loop, main())


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"you asked {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def web_server() -> Iterator[int]:
    """A web server on 127.0.0.1; the value is its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def opener(connection: Connection) -> Opener:
    async def open_target(protocol: asyncio.Protocol, target: Address | None = None) -> FarEnd:
        assert target is not None
        return await connection.open(target, protocol)

    return open_target


async def curl(proxy: str, url: str) -> subprocess.CompletedProcess[str]:
    command = ["curl", "-sS", "--max-time", "20", "--noproxy", "", *proxy.split(), url]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)


def test_curl_through_sshd_by_every_version(box: Sshd, home: Home) -> None:
    async def main() -> None:
        async with connected(home) as connection, dynamic() as watched:
            watched.listener.serve(opener(connection))
            address = watched.listener.address
            assert isinstance(address, TcpAddress)
            for way in ("--socks5-hostname", "--socks5", "--socks4", "--socks4a"):
                got = await curl(f"{way} {address}", f"http://localhost:{web}/")
                assert (got.stdout, got.stderr) == (f"you asked localhost:{web}", "")
            assert (await curl(f"--socks5 {address}", f"http://127.0.0.1:{web}/")).returncode == 0
            refused = await curl(f"--socks5-hostname {address}", f"http://localhost:{free_port()}/")
            assert (refused.returncode, "(5)" in refused.stderr) == (97, True), refused
            unknown = await curl(f"--socks5-hostname {address}", "http://no-such-host.invalid/")
            assert (unknown.returncode, "(4)" in unknown.stderr) == (97, True), unknown
            assert "(91)" in (await curl(f"--socks4a {address}", "http://no.invalid/")).stderr
            assert (await curl(f"--proxy http://{address}", "http://localhost/")).stdout.startswith(
                "This is a SOCKS proxy"
            )
            assert watched.listener.problem is None

    with web_server() as web:
        run(main)


def test_a_server_that_forbids_is_the_forwards_problem(box: Sshd, home: Home) -> None:
    box.restart(options={"AllowTcpForwarding": "remote"})

    async def main() -> None:
        async with connected(home) as connection, dynamic() as watched:
            watched.listener.serve(opener(connection))
            with await ask(watched) as client:
                assert code(await client.receive_all()) == 2
            assert watched.listener.problem is not None
            assert watched.listener.problem["kind"] == "forward-refused"
            assert watched.listener.failed.is_set()

    run(main)


def test_it_opens_after_it_could_not(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, dynamic() as holder:
            async with contextlib.AsyncExitStack() as stack:
                watched = Watched("again", holder.listener.address, 60.0, 10.0, dynamic=True)
                with pytest.raises(Exception, match="is taken by"):
                    await stack.enter_async_context(watched.listener)
                assert not watched.listener.listening
                await holder.listener.__aexit__(None, None, None)
                await stack.enter_async_context(watched.listener)
                watched.listener.serve(far.open)
                with await ask(watched) as client:
                    assert await read(client, 10) == GRANTED
            await holder.listener.__aenter__()

    run_on(loop, main())
