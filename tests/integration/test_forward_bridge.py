"""Bridges over real sockets: bytes, half-closes, backpressure and cuts, in both directions."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.remote import FarEnd
from tests.support.far_side import FarSide, Peer, connect, far_side
from tests.support.listening import LOOPS, Watched, listening, run_on

MIB = 1024 * 1024


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Stream:
    """One established connection: the client's socket, the far side's, and what is between."""

    def __init__(self, client: Peer, server: Peer, far: FarSide, watched: Watched) -> None:
        self.client = client
        self.server = server
        self.far = far
        self.watched = watched


@contextlib.asynccontextmanager
async def stream(*, receive_buffer: int | None = None) -> AsyncIterator[Stream]:
    async with far_side() as far, listening() as watched:
        watched.listener.serve(far.open)
        address = watched.listener.address
        with (
            await connect(address, receive_buffer=receive_buffer) as client,
            await far.accept() as server,
        ):
            yield Stream(client, server, far, watched)


def test_bytes_go_both_ways_and_are_counted(loop: str) -> None:
    async def main() -> None:
        async with stream() as s:
            await s.client.send(b"question")
            assert await s.server.receive() == b"question"
            await s.server.send(b"the answer")
            assert await s.client.receive() == b"the answer"
            stats = s.watched.listener.stats
            assert (stats.active, stats.held, stats.accepted) == (1, 0, 1)
            assert (stats.bytes_out, stats.bytes_in) == (8, 10)
            s.client.close()
            s.server.close()
            await s.watched.until(lambda listener: listener.stats.active == 0)
            stats = s.watched.listener.stats
            assert (stats.bytes_out, stats.bytes_in, stats.accepted) == (8, 10, 1)

    run_on(loop, main())


def test_client_shuts_its_side_and_still_reads(loop: str) -> None:
    async def main() -> None:
        async with stream() as s:
            await s.client.send(b"all of it")
            s.client.shut()
            assert await s.server.receive_all() == b"all of it"
            await s.server.send(b"first ")
            assert await s.client.receive() == b"first "
            await s.server.send(b"second")
            s.server.close()
            assert await s.client.receive_all() == b"second"
            await s.watched.until(lambda listener: listener.stats.active == 0)

    run_on(loop, main())


def test_far_side_shuts_its_side_and_still_reads(loop: str) -> None:
    async def main() -> None:
        async with stream() as s:
            await s.server.send(b"all of it")
            s.server.shut()
            assert await s.client.receive_all() == b"all of it"
            await s.client.send(b"first ")
            assert await s.server.receive() == b"first "
            await s.client.send(b"second")
            s.client.close()
            assert await s.server.receive_all() == b"second"
            await s.watched.until(lambda listener: listener.stats.active == 0)

    run_on(loop, main())


def test_data_and_end_sent_on_accept_are_not_lost(loop: str) -> None:
    """A far side that speaks first and closes at once, while the local side is just being attached."""

    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            for _ in range(50):
                with await connect(watched.listener.address) as client, await far.accept() as server:
                    await server.send(b"greeting")
                    server.close()
                    assert await client.receive_all() == b"greeting"
            await watched.until(lambda listener: listener.stats.active == 0)

    run_on(loop, main())


def test_client_that_shuts_without_a_word_gets_its_answer(loop: str) -> None:
    """The end of stream comes before the channel is open; it is carried over, as ssh -L does."""

    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            far.may_open.clear()
            with await connect(watched.listener.address) as client:
                client.shut()
                await far.until(lambda: far.busy == 1)
                far.may_open.set()
                with await far.accept() as server:
                    assert await server.receive_all() == b""
                    await server.send(b"SSH-2.0-banner")
                    server.close()
                    assert await client.receive_all() == b"SSH-2.0-banner"

    run_on(loop, main())


def test_fifty_mib_each_way_at_once(loop: str) -> None:
    async def main() -> None:
        blocks = [random.Random(seed).randbytes(MIB) for seed in range(2)]

        async def send(peer: Peer, block: bytes) -> str:
            digest = hashlib.sha256()
            for number in range(50):
                # Each block differs, so that a lost, doubled or swapped one shows.
                data = number.to_bytes(4) + block[4:]
                digest.update(data)
                await peer.send(data)
            peer.shut()
            return digest.hexdigest()

        async def receive(peer: Peer) -> str:
            digest = hashlib.sha256()
            while data := await peer.receive(256 * 1024):
                digest.update(data)
            return digest.hexdigest()

        async with stream() as s:
            async with asyncio.TaskGroup() as tasks:
                up = tasks.create_task(send(s.client, blocks[0]))
                down = tasks.create_task(send(s.server, blocks[1]))
                got_up = tasks.create_task(receive(s.server))
                got_down = tasks.create_task(receive(s.client))
            assert up.result() == got_up.result()
            assert down.result() == got_down.result()
            await s.watched.until(lambda listener: listener.stats.active == 0)
            assert s.watched.listener.stats.bytes_in == 50 * MIB
            assert s.watched.listener.stats.bytes_out == 50 * MIB

    run_on(loop, main())


@pytest.mark.parametrize("direction", ["down", "up"])
def test_slow_reader_stops_the_sender(loop: str, direction: str) -> None:
    """What the sender could push is what the kernel's and our buffers hold: far below what it has."""

    async def main() -> None:
        async with stream(receive_buffer=64 * 1024) as s:
            sender, reader = (s.server, s.client) if direction == "down" else (s.client, s.server)
            pushed = await sender.push(256 * MIB)
            stats = s.watched.listener.stats
            taken = stats.bytes_in if direction == "down" else stats.bytes_out
            assert taken <= pushed < 32 * MIB
            sender.shut()
            received = 0
            while data := await reader.receive(MIB):
                received += len(data)
            assert received == pushed

    run_on(loop, main())


def test_far_end_that_is_full_from_the_start_stops_the_client(loop: str) -> None:
    """A resumed stream, say, that has much to send again; uvloop ignores a pause in connection_made."""

    async def main() -> None:
        async with far_side() as far, listening() as watched:
            protocols = []

            async def open_full(protocol: asyncio.Protocol, target: Address | None = None) -> FarEnd:
                end = await far.open(protocol)
                asyncio.get_running_loop().call_soon(protocol.pause_writing)
                protocols.append(protocol)
                return end

            watched.listener.serve(open_full)
            with await connect(watched.listener.address) as client, await far.accept() as server:
                async with asyncio.TaskGroup() as tasks:
                    received = tasks.create_task(server.receive_all())
                    pushed = await client.push(64 * MIB)
                    assert watched.listener.stats.bytes_out < MIB < pushed
                    client.shut()
                    protocols[0].resume_writing()
                assert len(received.result()) == pushed

    run_on(loop, main())


@pytest.mark.parametrize("direction", ["down", "up"])
def test_slow_reader_does_not_stop_the_other_direction(loop: str, direction: str) -> None:
    async def main() -> None:
        async with stream() as s:
            sender, reader = (s.server, s.client) if direction == "down" else (s.client, s.server)
            await sender.push(256 * MIB)
            await reader.send(b"still here")
            assert await sender.receive() == b"still here"

    run_on(loop, main())


def test_cut_far_end_resets_the_client(loop: str) -> None:
    async def main() -> None:
        async with stream() as s:
            await s.server.send(b"before")
            assert await s.client.receive() == b"before"
            s.far.cut()
            assert await s.client.is_reset()
            await s.watched.until(lambda listener: listener.stats.active == 0)

    run_on(loop, main())


def test_cut_drops_what_the_client_has_not_read(loop: str) -> None:
    async def main() -> None:
        async with stream(receive_buffer=64 * 1024) as s:
            pushed = await s.server.push(256 * MIB)
            s.far.cut()
            await s.watched.until(lambda listener: listener.stats.active == 0)
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while True:
                    data = await s.client.receive()
                    assert data, "the stream ended in order"
                    received += len(data)
            assert received < pushed

    run_on(loop, main())


def test_far_end_that_closes_in_order_is_written_out_first(loop: str) -> None:
    async def main() -> None:
        async with stream(receive_buffer=64 * 1024) as s:
            data = random.Random(0).randbytes(4 * MIB)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(s.server.send(data)).add_done_callback(lambda _: s.server.close())
                received = tasks.create_task(s.client.receive_all())
            assert received.result() == data

    run_on(loop, main())


def test_far_end_that_closes_while_the_client_sends_is_still_read(loop: str) -> None:
    """Closing a socket with unread input would reset it, and the client would lose the answer."""

    async def main() -> None:
        async with stream() as s:
            upload = bytes(2 * MIB)
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(s.client.send(upload))
                assert await s.server.receive(1)
                s.far.close_at(len(b"413 too large"))
                await s.server.send(b"413 too large")
                await sending
            assert await s.client.receive_all() == b"413 too large"
            s.client.close()
            await s.watched.until(lambda listener: listener.stats.active == 0)

    run_on(loop, main())


def test_reset_by_the_client_ends_the_far_end(loop: str) -> None:
    async def main() -> None:
        async with stream() as s:
            await s.client.send(b"hello")
            assert await s.server.receive() == b"hello"
            s.client.reset()
            with contextlib.suppress(ConnectionResetError):
                assert await s.server.receive() == b""
            await s.watched.until(lambda listener: listener.stats.active == 0)

    run_on(loop, main())


def test_client_that_closes_during_an_upload_loses_nothing(loop: str) -> None:
    async def main() -> None:
        async with stream() as s:
            data = random.Random(1).randbytes(8 * MIB)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(s.client.send(data)).add_done_callback(lambda _: s.client.close())
                received = tasks.create_task(s.server.receive_all())
            assert received.result() == data
            s.server.close()
            await s.watched.until(lambda listener: listener.stats.active == 0)

    run_on(loop, main())


def test_reset_cuts_established_streams_only(loop: str) -> None:
    async def main() -> None:
        async with stream() as s:
            s.watched.listener.hold()
            with await connect(s.watched.listener.address) as waiting:
                await s.watched.until(lambda listener: listener.stats.held == 1)
                await s.client.send(b"still established")
                assert await s.server.receive() == b"still established"
                s.watched.listener.reset()
                assert await s.client.is_reset()
                await s.watched.until(lambda listener: listener.stats.active == 0)
                assert s.watched.listener.stats.held == 1
                s.watched.listener.serve(s.far.open)
                with await s.far.accept() as server:
                    await waiting.send(b"served")
                    assert await server.receive() == b"served"

    run_on(loop, main())


def test_leaving_the_listener_resets_its_clients(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            client = await connect(watched.listener.address)
            server = await far.accept()
            watched.listener.hold()
            waiting = await connect(watched.listener.address)
            await watched.until(lambda listener: listener.stats.held == 1)
            address = watched.listener.address
        assert not watched.listener.listening
        with client, waiting, server:
            assert await client.is_reset()
            assert await waiting.is_reset()
        with pytest.raises(ConnectionRefusedError):
            await connect(address)

    run_on(loop, main())


def test_nagle_is_off(loop: str) -> None:
    """Small answers leave at once: ten round trips in two parts each, without a delayed acknowledgement."""

    async def main() -> None:
        async with stream() as s:
            started = asyncio.get_running_loop().time()
            for _ in range(10):
                await s.client.send(b"?")
                assert await s.server.receive() == b"?"
                await s.server.send(b"a")
                await s.server.send(b"b")
                received = b""
                while len(received) < 2:
                    received += await s.client.receive()
            assert asyncio.get_running_loop().time() - started < 0.3

    run_on(loop, main())


def test_unix_sockets_on_both_sides(loop: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side(f"{tmp_path}/far") as far, listening(UnixAddress(f"{tmp_path}/near")) as watched:
            watched.listener.serve(far.open)
            with await connect(watched.listener.address) as client, await far.accept() as server:
                await client.send(b"question")
                client.shut()
                assert await server.receive_all() == b"question"
                await server.send(b"answer")
                server.close()
                assert await client.receive_all() == b"answer"

    run_on(loop, main())


def test_ipv6_listener(loop: str) -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no ::1")

    async def main() -> None:
        async with far_side() as far, listening(TcpAddress("::1", 0)) as watched:
            watched.listener.serve(far.open)
            with await connect(watched.listener.address) as client, await far.accept() as server:
                await client.send(b"hello")
                assert await server.receive() == b"hello"

    run_on(loop, main())


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True
