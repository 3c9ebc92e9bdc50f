"""The listener's gate: connections held, served in order, put back, refused; and nothing leaked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jtunnel.address import Address, UnixAddress
from jtunnel.errors import ChannelError
from jtunnel.forward.acceptor import RESERVED
from jtunnel.forward.held import MAX_HELD
from jtunnel.forward.listener import Listener
from jtunnel.remote import FarEnd
from tests.support.far_side import FarSide, Peer, connect, far_side, is_turned_away
from tests.support.listening import LOOPS, Watched, listening, run_on

LOST = ChannelError("connection-lost", "the connection was lost")
REFUSED = ChannelError("target-refused", "nobody listens there")


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Heard(logging.Handler):
    """Keeps what is logged, and lets a test wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self._event.set()

    async def wait(self) -> None:
        async with asyncio.timeout(5):
            await self._event.wait()


@contextlib.contextmanager
def heard(logger: str) -> Iterator[Heard]:
    """What this logger says meanwhile."""
    log = Heard()
    logging.getLogger(logger).addHandler(log)
    try:
        yield log
    finally:
        logging.getLogger(logger).removeHandler(log)


@contextlib.contextmanager
def closing(peers: list[Peer]) -> Iterator[list[Peer]]:
    with contextlib.ExitStack() as stack:
        for peer in peers:
            stack.enter_context(peer)
        yield peers


async def connect_many(watched: Watched, count: int) -> list[Peer]:
    """Connect one after the other, each waiting before the next comes."""
    peers = []
    for number in range(1, count + 1):
        peers.append(await connect(watched.listener.address))
        await watched.until(lambda listener, number=number: listener.stats.accepted == number)  # type: ignore[misc]
    return peers


async def assert_answers(server: Peer, client: Peer) -> None:
    await client.send(b"hello")
    assert await server.receive() == b"hello"


async def assert_joined(client: Peer, far: FarSide) -> None:
    with await far.accept() as server:
        await assert_answers(server, client)


async def assert_ended(far: FarSide) -> None:
    """The next channel carried nothing and is gone."""
    with await far.accept() as server, contextlib.suppress(ConnectionResetError):
        assert await server.receive() == b""


def test_held_are_served_in_order_of_arrival_before_new_ones(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            with closing(await connect_many(watched, 20)) as clients:
                for number, client in enumerate(clients):
                    await client.send(b"%d" % number)
                assert watched.listener.stats.held == 20
                assert far.asked == 0
                assert watched.listener.serve(far.open) == 20
                assert watched.listener.stats.held == 0
                with await connect(watched.listener.address) as new:
                    await new.send(b"20")
                    for number in range(21):
                        with await far.accept() as server:
                            assert await server.receive() == b"%d" % number
                assert watched.listener.stats.accepted == 21

    run_on(loop, main())


def test_peers_that_left_are_dropped_before_serving(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            with closing(await connect_many(watched, 5)) as clients:
                closed, reset, spoke_then_reset, half_closed, waits = clients
                await spoke_then_reset.send(b"never mind")
                await half_closed.send(b"answer me")
                closed.close()
                reset.reset()
                spoke_then_reset.reset()
                half_closed.shut()
                assert watched.listener.serve(far.open) == 2
                with await far.accept() as server:
                    assert await server.receive_all() == b"answer me"
                    await server.send(b"answer")
                    server.close()
                    assert await half_closed.receive_all() == b"answer"
                await assert_joined(waits, far)
                assert far.asked == 2

    run_on(loop, main())


def test_unix_peer_that_asked_and_closed_is_dropped(loop: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side() as far, listening(UnixAddress(f"{tmp_path}/s")) as watched:
            with closing(await connect_many(watched, 2)) as clients:
                for client in clients:
                    await client.send(b"answer me")
                clients[0].close()
                clients[1].shut()
                assert watched.listener.serve(far.open) == 1
                with await far.accept() as server:
                    assert await server.receive_all() == b"answer me"

    run_on(loop, main())


def test_held_bytes_stay_in_the_kernel(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            with await connect(watched.listener.address) as client:
                before = psutil.Process().memory_info().rss
                pushed = await client.push(256 * 1024 * 1024)
                assert pushed < 32 * 1024 * 1024
                assert watched.listener.stats.bytes_out == 0
                assert psutil.Process().memory_info().rss - before < 4 * 1024 * 1024
                watched.listener.serve(far.open)
                client.shut()
                with await far.accept() as server:
                    assert len(await server.receive_all()) == pushed

    run_on(loop, main())


def test_hold_ends_after_its_time(loop: str) -> None:
    async def main() -> None:
        async with listening(hold_s=0.2) as watched:
            began = asyncio.get_running_loop().time()
            with await connect(watched.listener.address) as first:
                await watched.until(lambda listener: listener.stats.held == 1)
                assert await first.is_reset()
                assert asyncio.get_running_loop().time() - began > 0.15
                await watched.until(lambda listener: listener.stats.held == 0)

    run_on(loop, main())


def test_each_held_connection_has_its_own_time(loop: str) -> None:
    async def main() -> None:
        async with listening(hold_s=0.3) as watched:
            with await connect(watched.listener.address) as first:
                await watched.until(lambda listener: listener.stats.held == 1)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.15):
                        await first.receive()
                with await connect(watched.listener.address) as second:
                    await watched.until(lambda listener: listener.stats.held == 2)
                    assert await first.is_reset()
                    await watched.until(lambda listener: listener.stats.held == 1)
                    assert await second.is_reset()

    run_on(loop, main())


def test_hold_of_zero_resets_at_once(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening(hold_s=0) as watched:
            assert await is_turned_away(watched.listener.address)
            watched.listener.serve(far.open)
            with await connect(watched.listener.address) as client:
                await assert_joined(client, far)

    run_on(loop, main())


def test_no_more_than_256_are_held(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            with closing(await connect_many(watched, MAX_HELD)) as clients:
                assert watched.listener.stats.held == MAX_HELD == 256
                assert await is_turned_away(watched.listener.address)
                assert watched.listener.stats.held == MAX_HELD
                # One that leaves makes room.
                clients[7].close()
                with await connect(watched.listener.address) as another:
                    await watched.until(lambda listener: listener.stats.accepted == MAX_HELD + 2)
                    assert watched.listener.stats.held == MAX_HELD
                    assert watched.listener.serve(far.open) == MAX_HELD
                    for _ in range(MAX_HELD - 1):
                        (await far.accept()).close()
                    await assert_joined(another, far)

    run_on(loop, main())


@pytest.mark.long
def test_held_ones_that_leave_are_noticed_by_and_by(loop: str) -> None:
    """Nobody else comes and nothing is served meanwhile: their descriptors are given back all the same."""

    async def main() -> None:
        async with far_side() as far, listening() as watched:
            descriptors = len(os.listdir("/proc/self/fd"))
            with closing(await connect_many(watched, 5)) as clients:
                closed, reset, half_closed, first, second = clients
                await half_closed.send(b"answer me")
                closed.close()
                reset.reset()
                half_closed.shut()
                await watched.until(lambda listener: listener.stats.held == 3)
                assert len(os.listdir("/proc/self/fd")) == descriptors + 2 * 3
                # Those who stay are looked at again, and lose nothing.
                first.close()
                await watched.until(lambda listener: listener.stats.held == 2)
                assert watched.listener.serve(far.open) == 2
                with await far.accept() as server:
                    assert await server.receive_all() == b"answer me"
                await assert_joined(second, far)

    run_on(loop, main())


def test_refuse_resets_held_and_new_ones(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            with await connect(watched.listener.address) as held:
                await watched.until(lambda listener: listener.stats.held == 1)
                watched.listener.refuse()
                assert await held.is_reset()
            assert await is_turned_away(watched.listener.address)
            assert watched.listener.stats.held == 0
            watched.listener.hold()
            with await connect(watched.listener.address) as held:
                await watched.until(lambda listener: listener.stats.held == 1)
                watched.listener.serve(far.open)
                await assert_joined(held, far)

    run_on(loop, main())


def test_hold_leaves_established_streams_alone(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            with await connect(watched.listener.address) as client, await far.accept() as server:
                watched.listener.hold()
                await client.send(b"during")
                assert await server.receive() == b"during"
                far.cut()
                assert await client.is_reset()

    run_on(loop, main())


def test_refused_target_closes_the_client_and_is_the_problem(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            listener = watched.listener
            listener.serve(far.open)
            far.failure = REFUSED
            assert await is_turned_away(listener.address)
            async with asyncio.timeout(5):
                await listener.failed.wait()
            assert listener.problem == REFUSED.problem
            far.failure = None
            with await connect(listener.address) as client:
                await assert_joined(client, far)
                assert listener.problem is None

    run_on(loop, main())


def test_bug_behind_one_connection_ends_only_that_one(loop: str) -> None:
    async def broken(protocol: asyncio.Protocol, target: Address | None = None) -> FarEnd:
        raise AssertionError

    async def main() -> None:
        async with far_side() as far, listening() as watched:
            listener = watched.listener
            listener.serve(far.open)
            with await connect(listener.address) as old, await far.accept() as server:
                await assert_answers(server, old)
                with heard("jtunnel.forward.listener") as log:
                    listener.serve(broken)
                    assert await is_turned_away(listener.address)
                    async with asyncio.timeout(5):
                        await listener.failed.wait()
                assert [record.exc_info is not None for record in log.records] == [True]
                assert listener.problem is not None
                assert listener.problem["kind"] == "internal"
                await assert_answers(server, old)
                listener.serve(far.open)
                with await connect(listener.address) as new:
                    await assert_joined(new, far)
                assert listener.problem is None
                assert listener.stats.accepted == 3

    run_on(loop, main())


def test_bug_behind_a_connection_that_was_taken_over_does_no_harm(loop: str) -> None:
    async def main() -> None:
        breaks = asyncio.Event()
        opening = asyncio.Event()

        async def broken(protocol: asyncio.Protocol, target: Address | None = None) -> FarEnd:
            opening.set()
            await breaks.wait()
            raise AssertionError

        async with far_side() as far, listening() as watched:
            watched.listener.serve(broken)
            with await connect(watched.listener.address) as client, heard("jtunnel.forward.listener") as log:
                async with asyncio.timeout(5):
                    await opening.wait()
                assert watched.listener.serve(far.open) == 1
                with await far.accept() as server:
                    breaks.set()
                    await log.wait()
                    await assert_answers(server, client)
                assert watched.listener.problem is None

    run_on(loop, main())


def test_channel_lost_with_its_connection_is_held_again(loop: str) -> None:
    """The client has sent already; nothing was read of it, so it is served by the next connection."""

    async def main() -> None:
        async with far_side() as far, listening() as watched:
            listener = watched.listener
            listener.serve(far.open)
            far.may_open.clear()
            far.failure = LOST
            with await connect(listener.address) as first:
                await first.send(b"first")
                await far.until(lambda: far.busy == 1)
                listener.hold()
                with await connect(listener.address) as second:
                    await second.send(b"second")
                    await watched.until(lambda listener: listener.stats.held == 1)
                    far.may_open.set()
                    await watched.until(lambda listener: listener.stats.held == 2)
                    assert listener.problem is None
                    far.failure = None
                    assert listener.serve(far.open) == 2
                    for expected in (b"first", b"second"):
                        with await far.accept() as server:
                            assert await server.receive() == expected

    run_on(loop, main())


def test_channel_that_hears_of_the_loss_before_the_gate_moves_is_held_too(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            far.failure = LOST
            with await connect(watched.listener.address) as client:
                await far.until(lambda: far.asked == 1 and far.busy == 0)
                watched.listener.hold()
                await watched.until(lambda listener: listener.stats.held == 1)
                far.failure = None
                watched.listener.serve(far.open)
                await assert_joined(client, far)

    run_on(loop, main())


def test_lost_channel_of_a_gate_that_does_not_move_is_reset(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            far.failure = LOST
            with await connect(watched.listener.address) as client:
                assert await client.is_reset()
            await watched.until(lambda listener: listener.problem == LOST.problem)
            far.failure = None
            watched.listener.hold()
            watched.listener.serve(far.open)
            assert watched.listener.problem is None

    run_on(loop, main())


def test_opener_that_never_answers_gives_the_client_back(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening(open_timeout_s=0.1) as watched:
            listener = watched.listener
            listener.serve(far.open)
            far.may_open.clear()
            with await connect(listener.address) as client:
                assert await client.is_reset()
                await watched.until(lambda listener: listener.problem is not None)
            assert listener.problem is not None
            assert listener.problem["kind"] == "connection-lost"
            assert listener.failed.is_set()
            with await connect(listener.address) as client:
                await far.until(lambda: far.busy == 2)
                listener.hold()
                await watched.until(lambda listener: listener.stats.held == 1)
                # The old openers finish at last: their far ends are aborted, nobody is joined to them.
                far.may_open.set()
                for _ in range(2):
                    await assert_ended(far)
                assert listener.serve(far.open) == 1
                await assert_joined(client, far)

    run_on(loop, main())


def test_another_connection_takes_over_what_the_first_is_still_opening(loop: str) -> None:
    async def main() -> None:
        async with far_side() as stuck, far_side() as challenger, listening() as watched:
            stuck.may_open.clear()
            watched.listener.serve(stuck.open)
            with await connect(watched.listener.address) as client:
                await stuck.until(lambda: stuck.busy == 1)
                watched.listener.hold()
                assert watched.listener.serve(challenger.open) == 1
                await assert_joined(client, challenger)
                assert stuck.busy == 1
                stuck.may_open.set()
                await assert_ended(stuck)

    run_on(loop, main())


def test_openers_are_not_cancelled_when_the_client_leaves(loop: str) -> None:
    """asyncssh issue 823: the channel of a client that left while it opened must not stay open."""

    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            far.may_open.clear()
            client = await connect(watched.listener.address)
            await far.until(lambda: far.busy == 1)
            await client.send(b"never mind")
            client.reset()
            far.may_open.set()
            await assert_ended(far)
            await watched.until(lambda listener: listener.stats.active == 0)

    run_on(loop, main())


def test_leaving_waits_for_openers_in_flight(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far:
            async with listening() as watched:
                watched.listener.serve(far.open)
                far.may_open.clear()
                client = await connect(watched.listener.address)
                await far.until(lambda: far.busy == 1)
                asyncio.get_running_loop().call_later(0.1, far.may_open.set)
            assert far.busy == 0
            with client, await far.accept() as server:
                assert await client.is_reset()
                with contextlib.suppress(ConnectionResetError):
                    assert await server.receive() == b""

    run_on(loop, main())


def test_leaving_does_not_wait_for_ever(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far:
            async with listening() as watched:
                watched.listener.serve(far.open)
                far.may_open.clear()
                client = await connect(watched.listener.address)
                await far.until(lambda: far.busy == 1)
                leaving = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - leaving < 4
            assert far.busy == 0
            with client:
                assert await client.is_reset()

    run_on(loop, main())


def test_leaving_does_not_wait_for_a_dead_connection(loop: str) -> None:
    """Far ends that are aborted but never confirm it, as over a connection that is gone unnoticed."""

    async def main() -> None:
        async with far_side() as far:
            async with listening() as watched:
                watched.listener.serve(far.open)
                client = await connect(watched.listener.address)
                server = await far.accept()
                await assert_answers(server, client)
                far.silence()
                leaving = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - leaving < 1
            assert watched.listener.stats.active == 0
            with client, server:
                assert await client.is_reset()

    run_on(loop, main())


def test_errors_of_the_body_pass_through_unwrapped(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far:
            with pytest.raises(ChannelError):
                async with listening() as watched:
                    watched.listener.serve(far.open)
                    raise LOST
            assert not watched.listener.listening

            async def life() -> None:
                async with listening() as watched:
                    entered.set_result(watched.listener)
                    await asyncio.Event().wait()

            entered: asyncio.Future[Listener] = asyncio.get_running_loop().create_future()
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(life())
                listener = await entered
                task.cancel()
            assert task.cancelled()
            assert not listener.listening

    run_on(loop, main())


def test_nothing_leaks_when_300_clients_leave_during_opening(loop: str) -> None:
    async def echo(peer: Peer) -> None:
        with peer as server, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while data := await server.receive():
                await server.send(data)

    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            for _ in range(2):  # the first round fills caches and pools
                gc.collect()
                before = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
                far.may_open.clear()
                far.asked = 0
                clients = [await connect(watched.listener.address) for _ in range(300)]
                await far.until(lambda: far.busy == 300)
                for number, client in enumerate(clients):
                    if number % 3 == 0:
                        await client.send(b"something")
                    client.reset() if number % 2 else client.close()
                far.may_open.set()
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(300):
                        tasks.create_task(echo(await far.accept()))
                await watched.until(lambda listener: listener.stats.active == 0)
                far.channels.clear()
                gc.collect()
                after = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
            assert after == before
            assert watched.listener.stats.accepted == 600

    run_on(loop, main())


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Only so many more descriptors can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(int(name) for name in os.listdir("/proc/self/fd")) + 1 + count
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_running_out_of_descriptors_is_survived(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            watched.listener.serve(far.open)
            with heard("jtunnel.forward.acceptor") as log, descriptors_left(1):
                client = await connect(watched.listener.address)
                await log.wait()
            with client:
                await assert_joined(client, far)

    run_on(loop, main())


def test_last_descriptors_are_left_to_others(loop: str) -> None:
    async def main() -> None:
        async with far_side() as far, listening() as watched:
            address = watched.listener.address
            # The clients' sockets take some too: the second arrival would be the first on the reserve.
            with heard("jtunnel.forward.acceptor") as log, descriptors_left(3 + RESERVED):
                held = await connect(address)
                await watched.until(lambda listener: listener.stats.held == 1)
                assert await is_turned_away(address)
                assert await is_turned_away(address)
                assert watched.listener.stats.accepted == 1
                assert len(log.records) == 1
            with held, await connect(address) as another:
                await watched.until(lambda listener: listener.stats.held == 2)
                watched.listener.serve(far.open)
                await assert_joined(held, far)
                await assert_joined(another, far)

    run_on(loop, main())
