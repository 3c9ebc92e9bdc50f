"""A page for navigations that cannot be served, and nothing but patience for everybody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.forward.listener import Listener
from tests.support.far_side import FarSide, Peer, connect, far_side, is_turned_away
from tests.support.listening import ANY_PORT, LOOPS, Watched, run_on

#: Seconds of patience in these tests; a person's browser gets two.
PATIENCE_S = 0.6
PAGE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwait\n"
HEAD = b"GET /lab?token=x HTTP/1.1\r\nHost: localhost:8888\r\n"
NAVIGATION = HEAD + b"Accept: text/html,*/*\r\nSec-Fetch-Mode: navigate\r\n\r\n"
#: What JupyterLab and others send, none of which may ever see the page.
OTHERS = [
    b"GET /api/kernels HTTP/1.1\r\nHost: localhost:8888\r\nAccept: */*\r\nSec-Fetch-Mode: cors\r\n\r\n",
    b"POST /api/sessions HTTP/1.1\r\nHost: localhost:8888\r\nContent-Length: 2\r\n\r\n{}",
    HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-Fetch-Mode: websocket\r\n\r\n",
    HEAD + b"Accept: text/html\r\nSec-Purpose: prefetch\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01 a TLS hello",
    b"GET /half-a-head HTTP/1.1\r\nHost: local",
]


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Paged(Watched):
    """A listener with a page."""

    def __init__(self, page: Callable[[], bytes], listen: Address, hold_s: float) -> None:
        super().__init__("test", listen, hold_s, 10.0)
        self.listener = Listener(
            "test", listen, hold_s=hold_s, changed=self._changed.set, page=page, page_after_s=PATIENCE_S
        )


@contextlib.asynccontextmanager
async def paging(
    page: Callable[[], bytes] = lambda: PAGE, *, listen: Address = ANY_PORT, hold_s: float = 60.0
) -> AsyncIterator[Paged]:
    watched = Paged(page, listen, hold_s)
    async with watched.listener:
        yield watched


@contextlib.asynccontextmanager
async def saying(watched: Watched, *words: bytes) -> AsyncIterator[list[Peer]]:
    """A connection for each, in this order."""
    with contextlib.ExitStack() as stack:
        peers = []
        for word in words:
            before = watched.listener.stats.accepted
            peers.append(stack.enter_context(await connect(watched.listener.address)))
            await peers[-1].send(word)
            await watched.until(lambda listener, before=before: listener.stats.accepted > before)  # type: ignore[misc]
        yield peers


async def assert_heard(far: FarSide, *words: bytes) -> None:
    """The next channels bring these, untouched and in this order."""
    for word in words:
        with await far.accept() as server:
            heard = b""
            while len(heard) < len(word):
                heard += await server.receive()
            assert heard == word


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_held_navigation_gets_the_page_and_nobody_else_does(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, paging() as watched, saying(watched, *OTHERS) as others:
            began = now()
            async with saying(watched, NAVIGATION) as (browser,):
                assert await browser.receive_all() == PAGE
                assert PATIENCE_S - 0.1 < now() - began < PATIENCE_S + 1
            await watched.until(lambda listener: listener.stats.held == len(others))
            assert watched.listener.serve(far.open) == len(others)
            await assert_heard(far, *OTHERS)
            assert far.asked == len(others)

    run_on(loop, main())


def test_a_navigation_that_is_served_in_time_sees_no_page(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, paging() as watched, saying(watched, NAVIGATION) as (browser,):
            watched.listener.serve(far.open)
            with await far.accept() as server:
                assert await server.receive() == NAVIGATION
                # It takes its time over the answer, which is no longer the listener's business.
                await asyncio.sleep(PATIENCE_S + 0.3)
                await server.send(b"HTTP/1.1 200 OK\r\n\r\n")
                server.close()
                assert await browser.receive_all() == b"HTTP/1.1 200 OK\r\n\r\n"

    run_on(loop, main())


def test_a_navigation_whose_channel_does_not_open_gets_the_page(loop: str) -> None:
    """The others wait on for it; what opens for the navigation, late, is closed unused."""

    async def main() -> None:
        async with far_side() as far, paging() as watched:
            watched.listener.serve(far.open)
            far.may_open.clear()
            async with saying(watched, NAVIGATION, OTHERS[0]) as (browser, _):
                assert await browser.receive_all() == PAGE
                assert watched.listener.stats.active == 1
                far.may_open.set()
                with await far.accept() as first, await far.accept() as second:
                    heard = {await first.receive(), await second.receive()}
                assert heard == {b"", OTHERS[0]}

    run_on(loop, main())


def test_slow_channels_get_more_patience(loop: str) -> None:
    """Else a browser would see nothing but the page wherever channels take longer than that to open."""

    async def main() -> None:
        async with far_side() as far, paging() as watched:
            watched.listener.serve(far.open)

            async def navigate() -> bytes:
                far.may_open.clear()
                asyncio.get_running_loop().call_later(1.4 * PATIENCE_S, far.may_open.set)
                async with saying(watched, NAVIGATION) as (browser,):
                    with await far.accept() as server:
                        if await server.receive() == NAVIGATION:
                            await server.send(b"welcome")
                        server.close()
                        return await browser.receive_all()

            assert await navigate() == PAGE
            assert await navigate() == b"welcome"

    run_on(loop, main())


def test_where_connections_are_refused_a_navigation_gets_the_page_at_once(loop: str) -> None:
    async def main() -> None:
        async with paging() as watched, saying(watched, NAVIGATION, OTHERS[0]) as (held, other):
            began = now()
            watched.listener.refuse()
            assert await held.receive_all() == PAGE
            assert await other.is_reset()
            async with saying(watched, NAVIGATION, *OTHERS) as (browser, *others):
                assert await browser.receive_all() == PAGE
                for peer in others:
                    assert await peer.is_reset()
            assert await is_turned_away(watched.listener.address)
            assert watched.listener.stats.held == 0
            # Each of those that say too little takes 0.3 s, all of them together.
            assert now() - began < 2

    run_on(loop, main())


def test_a_moment_in_which_the_gate_opens_again_is_no_loss(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, paging() as watched:
            watched.listener.refuse()
            with await connect(watched.listener.address) as client:
                await watched.until(lambda listener: listener.stats.accepted == 1)
                watched.listener.serve(far.open)
                await client.send(b"hello")
                await assert_heard(far, b"hello")

    run_on(loop, main())


def test_a_connection_made_ahead_of_its_use_gets_its_time(loop: str) -> None:
    """Browsers open connections before they have a request; the wait is that of the request."""

    async def main() -> None:
        async with paging() as watched, saying(watched, b"") as (browser,):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.4 * PATIENCE_S):
                    await browser.receive()
            began = now()
            await browser.send(NAVIGATION)
            assert await browser.receive_all() == PAGE
            assert PATIENCE_S * 0.7 < now() - began < PATIENCE_S + 1

    run_on(loop, main())


def test_a_request_may_come_byte_by_byte(loop: str) -> None:
    async def main() -> None:
        async with paging() as watched, saying(watched, b"") as (browser,):
            for position in range(len(NAVIGATION)):
                await browser.send(NAVIGATION[position : position + 1])
                await asyncio.sleep(0.006)
            assert await browser.receive_all() == PAGE

    run_on(loop, main())


def test_the_page_arrives_although_the_client_sends_on(loop: str) -> None:
    """A socket closed with unread input is reset, and the browser would show an error in its place."""

    async def main() -> None:
        async with paging() as watched:
            watched.listener.refuse()
            async with saying(watched, NAVIGATION + bytes(4_000_000)) as (browser,):
                assert await browser.receive_all() == PAGE
            # One that neither reads nor leaves is not waited for.
            async with saying(watched, NAVIGATION) as (browser,):
                async with asyncio.timeout(5):
                    while (await browser.receive()) != b"":
                        pass
                    with pytest.raises(ConnectionError):
                        while True:
                            await browser.send(b"more")
                            await asyncio.sleep(0.02)

    run_on(loop, main())


def test_the_page_is_rendered_when_it_is_shown(loop: str) -> None:
    async def main() -> None:
        pages = iter([b"HTTP/1.1 503 first\r\n\r\n", b"HTTP/1.1 503 second\r\n\r\n"])
        async with paging(lambda: next(pages)) as watched:
            watched.listener.refuse()
            for expected in (b"first", b"second"):
                async with saying(watched, NAVIGATION) as (browser,):
                    assert expected in await browser.receive_all()

    run_on(loop, main())


def test_a_page_that_fails_resets_that_connection_only(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> bytes:
        raise AssertionError

    async def main() -> None:
        async with far_side() as far, paging(broken) as watched:
            watched.listener.refuse()
            async with saying(watched, NAVIGATION) as (browser,):
                assert await browser.is_reset()
            assert [record.exc_info is not None for record in caplog.records] == [True]
            watched.listener.serve(far.open)
            async with saying(watched, b"hello"):
                await assert_heard(far, b"hello")

    run_on(loop, main())


def test_unix_sockets_have_no_page(loop: str, tmp_path: Path) -> None:
    async def main() -> None:
        listen = UnixAddress(f"{tmp_path}/s")
        async with paging(listen=listen) as watched, saying(watched, NAVIGATION) as (client,):
            watched.listener.refuse()
            with pytest.raises(ConnectionError):
                await client.send(b"x")
                while await client.receive():
                    pass
                raise ConnectionResetError  # the end of a Unix socket is the same in any case

    run_on(loop, main())


def test_leaving_cuts_what_is_being_shown_short(loop: str) -> None:
    async def main() -> None:
        async with paging(lambda: PAGE + bytes(64_000_000)) as watched:
            watched.listener.refuse()
            browser = await connect(watched.listener.address)
            await browser.send(NAVIGATION)
            assert await browser.receive(10) == PAGE[:10]
            began = now()
        assert now() - began < 3
        browser.close()

    run_on(loop, main())


def test_no_timer_runs_where_nobody_waits() -> None:
    async def main() -> None:
        async with far_side() as far, paging() as watched:
            lookout = watched.listener._lookout
            assert lookout is not None
            assert lookout._timer is None
            watched.listener.serve(far.open)
            async with saying(watched, NAVIGATION):
                await assert_heard(far, NAVIGATION)
                assert lookout._timer is not None
                while lookout._timer is not None:
                    await asyncio.sleep(0.05)

    run_on("asyncio", main())


def test_a_page_on_every_address_of_localhost(loop: str) -> None:
    async def main() -> None:
        async with paging(listen=TcpAddress("", 0)) as watched:
            watched.listener.refuse()
            for address in watched.listener.addresses:
                with await connect(address) as browser:
                    await browser.send(NAVIGATION)
                    assert await browser.receive_all() == PAGE

    run_on(loop, main())
