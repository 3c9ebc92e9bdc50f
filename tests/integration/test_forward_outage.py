"""The listener through outages: who has left, who comes too many, what is left alone, what is counted."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
from pathlib import Path

import pytest

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.errors import ChannelError
from jtunnel.forward.held import MAX_HELD, Room
from jtunnel.forward.listener import Listener
from jtunnel.forward.orphans import find_orphans
from tests.support.far_side import FarSide, Peer, connect, far_side, is_turned_away
from tests.support.listening import ANY_PORT, LOOPS, Watched, listening, run_on
from tests.support.streams import has_ipv6

LOST = ChannelError("connection-lost", "the connection was lost")
POST = b"POST /api/sessions HTTP/1.1\r\nHost: localhost:8888\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def connect_and_say(watched: Watched, words: bytes) -> Peer:
    """A connection that waits, and has said this."""
    before = watched.listener.stats.accepted
    peer = await connect(watched.listener.address)
    await peer.send(words)
    await watched.until(lambda listener: listener.stats.accepted > before)
    return peer


async def assert_serves(client: Peer, far: FarSide, expected: bytes) -> None:
    with await far.accept() as server:
        assert await server.receive() == expected
        await server.send(b"answer")
        assert await client.receive() == b"answer"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says who holds a socket")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("words", [POST, b"anything"])
def test_what_a_client_asked_for_and_then_left_is_not_done(loop: str, host: str, words: bytes) -> None:
    """Its closing looks as that of one who only said its last word: the other waits for the answer."""
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no ::1")

    async def main() -> None:
        async with far_side() as far, listening(TcpAddress(host, 0)) as watched:
            leaves = await connect_and_say(watched, words)
            shuts = await connect_and_say(watched, words)
            leaves.close()
            shuts.shut()
            with shuts:
                assert watched.listener.serve(far.open) == 1
                with await far.accept() as server:
                    assert await server.receive_all() == words
                    await server.send(b"answer")
                    server.close()
                    assert await shuts.receive_all() == b"answer"
            assert far.asked == 1
            assert watched.listener.stats.served_held == 1

    run_on(loop, main())


def test_nor_is_it_where_another_connection_takes_over(loop: str) -> None:
    async def main() -> None:
        async with far_side() as stuck, far_side() as challenger, listening() as watched:
            stuck.may_open.clear()
            watched.listener.serve(stuck.open)
            leaves = await connect_and_say(watched, POST)
            with await connect_and_say(watched, POST) as stays:
                leaves.close()
                assert watched.listener.serve(challenger.open) == 1
                await assert_serves(stays, challenger, POST)
                assert challenger.asked == 1
                stuck.may_open.set()

    run_on(loop, main())


@pytest.mark.long
def test_a_unix_client_that_leaves_is_noticed(loop: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side() as far, listening(UnixAddress(f"{tmp_path}/s")) as watched:
            leaves = await connect_and_say(watched, POST)
            with await connect_and_say(watched, POST) as shuts:
                leaves.close()
                shuts.shut()
                await watched.until(lambda listener: listener.stats.held == 1)
                assert watched.listener.serve(far.open) == 1
                with await far.accept() as server:
                    assert await server.receive_all() == POST

    run_on(loop, main())


def test_who_holds_a_socket_of_elsewhere_is_not_known() -> None:
    with socket.socket() as unconnected:
        assert find_orphans([unconnected]) == {unconnected: None}


def test_a_connection_that_recovers_keeps_what_it_is_opening(loop: str) -> None:
    """Suspected, then found alive: what waits is served, what is under way is not begun anew."""

    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            with await connect(watched.listener.address) as old, await far.accept() as old_server:
                far.may_open.clear()
                with await connect_and_say(watched, b"under way") as first:
                    await far.until(lambda: far.busy == 1)
                    watched.listener.hold()
                    with await connect_and_say(watched, b"held") as second:
                        assert watched.listener.stats.held == 1
                        assert watched.listener.serve(far.open) == 1
                        await far.until(lambda: far.busy == 2)
                        far.may_open.set()
                        await assert_serves(first, far, b"under way")
                        await assert_serves(second, far, b"held")
                assert far.asked == 3
                await old.send(b"never noticed")
                assert await old_server.receive() == b"never noticed"
                assert watched.listener.stats.served_held == 1
                assert watched.listener.stats.cut == 0

    run_on(loop, main())


def test_what_was_under_way_and_fails_after_all_is_tried_once_more(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            far.may_open.clear()
            far.failure = LOST
            with await connect_and_say(watched, b"hello") as client:
                await far.until(lambda: far.busy == 1)
                watched.listener.hold()
                watched.listener.serve(far.open)
                far.may_open.set()
                await far.until(lambda: far.asked == 2)
                far.failure = None
                watched.listener.hold()
                watched.listener.serve(far.open)
                await assert_serves(client, far, b"hello")

    run_on(loop, main())


def test_served_and_cut_ones_are_counted(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            clients = [await connect_and_say(watched, b"%d" % number) for number in range(4)]
            watched.listener.serve(far.open)
            servers = [await far.accept() for _ in clients]
            for number, server in enumerate(servers):
                assert await server.receive() == b"%d" % number
            assert watched.listener.stats.served_held == 4
            # Ended by the client, by the far side in order, by ourselves: none of these is cut.
            clients[0].reset()
            servers[1].close()
            clients[1].close()
            await watched.until(lambda listener: listener.stats.active == 2)
            assert watched.listener.stats.cut == 0
            far.cut()
            await watched.until(lambda listener: listener.stats.active == 0)
            assert watched.listener.stats.cut == 2
            for peer in (*clients[2:], *servers):
                peer.close()
            with await connect_and_say(watched, b"last"), await far.accept() as server:
                assert await server.receive() == b"last"
                watched.listener.reset()
                await watched.until(lambda listener: listener.stats.active == 0)
            assert watched.listener.stats.cut == 2
            assert watched.listener.stats.served_held == 4

    run_on(loop, main())


def test_the_listeners_of_a_profile_share_their_places(loop: str) -> None:
    async def main() -> None:
        room = Room(3)
        changed = asyncio.Event()
        listeners = [Listener("test", ANY_PORT, hold_s=60, changed=changed.set, room=room) for _ in range(2)]

        async def wait_held(*counts: int) -> None:
            async with asyncio.timeout(5):
                while tuple(listener.stats.held for listener in listeners) != counts:
                    changed.clear()
                    await changed.wait()

        async with far_side() as far, contextlib.AsyncExitStack() as stack:
            for listener in listeners:
                await stack.enter_async_context(listener)
            first = await connect(listeners[0].address)
            await wait_held(1, 0)
            others = [await connect(listeners[1].address) for _ in range(2)]
            await wait_held(1, 2)
            for listener in listeners:
                assert await is_turned_away(listener.address)
            # One that leaves either of them makes room in both.
            first.close()
            with await connect(listeners[1].address):
                await wait_held(0, 3)
                assert listeners[1].serve(far.open) == 3
                with await connect(listeners[0].address):
                    await wait_held(1, 0)
            for peer in others:
                peer.close()

    run_on(loop, main())


def test_300_connections_of_an_outage(loop: str) -> None:
    """256 wait, unread; the rest are reset at once; of those who wait none is lost, mixed up or leaked."""

    async def outage(far: FarSide, watched: Watched) -> None:
        watched.listener.hold()
        before = watched.listener.stats
        clients = [await connect(watched.listener.address) for _ in range(MAX_HELD)]
        await watched.until(lambda listener: listener.stats.held == MAX_HELD)
        for _ in range(300 - MAX_HELD):
            assert await is_turned_away(watched.listener.address)
        assert watched.listener.stats.held == MAX_HELD
        assert watched.listener.stats.accepted - before.accepted == 300
        for number, client in enumerate(clients):
            await client.send(b"%d" % number)
        for client in clients[:56]:
            client.close()
        assert watched.listener.serve(far.open) == 200
        for number, client in enumerate(clients[56:], 56):
            await assert_serves(client, far, b"%d" % number)
            client.close()
        await watched.until(lambda listener: listener.stats.active == 0)
        assert watched.listener.stats.served_held - before.served_held == 200
        far.channels.clear()
        gc.collect()

    async def main() -> None:
        async with far_side() as far, listening() as watched:
            await outage(far, watched)  # the first one fills caches and pools
            descriptors = len(os.listdir("/proc/self/fd"))
            await outage(far, watched)
            assert len(os.listdir("/proc/self/fd")) == descriptors

    run_on(loop, main())


def test_the_end_of_an_established_connection_moves_nothing(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            with await connect_and_say(watched, b"first"), await far.accept() as server:
                assert await server.receive() == b"first"
                watched.listener.hold()
                with await connect_and_say(watched, b"hello") as waits:
                    far.cut()
                    await watched.until(lambda listener: listener.stats.active == 0)
                    assert watched.listener.stats.held == 1
                    assert watched.listener.problem is None
                    assert not watched.listener.failed.is_set()
                    watched.listener.serve(far.open)
                    await assert_serves(waits, far, b"hello")

    run_on(loop, main())
