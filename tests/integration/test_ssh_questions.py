"""The question whether the peer still answers: on time, late, never, in order; and what the kernel knows."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable

import pytest

from tests.support.home import Home
from tests.support.keys import Key
from tests.support.ssh_connection import connected, dial, run
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells, and drops packets so")


def test_sshd_refuses_the_question_and_that_is_an_answer(box: Sshd, home: Home) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            assert connection.latency_s is None
            latency_s = await connection.question()
            assert latency_s is not None
            assert 0 < latency_s < 5
            assert connection.latency_s == latency_s

    run(main)


def test_a_question_is_answered_after_a_pause(faulty: FaultyServer, home: Home) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            first = await connection.question()
            faulty.pause()
            began_at = time.monotonic()
            pending = [connection.question() for _ in range(3)]
            done, _ = await asyncio.wait(pending, timeout=0.3)
            assert not done
            # Who loses patience with one of them takes nothing from the others.
            pending[1].cancel()
            pending.append(connection.question())
            order: list[int] = []

            def note(question: asyncio.Future[float | None]) -> None:
                order.append(pending.index(question))

            for question in pending:
                question.add_done_callback(note)
            paused_s = time.monotonic() - began_at
            faulty.resume()
            answers = [await pending[index] for index in (0, 2, 3)]
            # The last one's callback comes a turn of the loop after its result.
            await asyncio.sleep(0)
            assert order == [1, 0, 2, 3]
            assert first is not None
            assert answers[0] is not None
            assert answers[0] >= paused_s > first
            assert connection.latency_s == answers[2]
            assert await connection.question() is not None

    run(main)


def test_a_question_ends_with_its_connection(faulty: FaultyServer, home: Home) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            faulty.pause()
            pending = [connection.question() for _ in range(3)]
            await asyncio.wait(pending, timeout=0.05)
            faulty.drop_all()
            assert [await question for question in pending] == [None, None, None]
            assert await connection.question() is None
            assert connection.latency_s is None

    run(main)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_question_asked_while_the_connection_ends_has_no_answer(
    faulty: FaultyServer, home: Home, turns: int
) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            before = connection.question()
            connection.abort()
            for _ in range(turns):
                await asyncio.sleep(0)
            after = connection.question()
            assert [await before, await after] == [None, None]

    run(main)


def test_questions_stand_beside_all_else(box: Sshd, home: Home) -> None:
    async def main() -> None:
        async with connected(home) as connection, asyncio.TaskGroup() as tasks:

            async def answered(question: Awaitable[float | None]) -> bool:
                return await question is not None

            asking = [tasks.create_task(answered(connection.question())) for _ in range(20)]
            running = tasks.create_task(connection.run("echo here", timeout_s=30))
            asking += [tasks.create_task(answered(connection.question())) for _ in range(20)]
            assert (await running).stdout == "here\n"
            assert all([await task for task in asking])

    run(main)


@needs_linux
def test_the_kernel_tells_that_nothing_gets_through(faulty: FaultyServer, home: Home) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            await connection.question()
            before = connection.progress()
            assert before is not None
            assert (before.unacked, before.retransmits) == (0, 0)
            faulty.drop_packets()
            question = connection.question()
            while (now := connection.progress()) and not (now.unacked and now.retransmits >= 2):
                await asyncio.sleep(0.02)
            assert now is not None
            assert now.since_data_s > 0
            assert not question.done()
            faulty.pass_packets()
            assert await question is not None
            after = connection.progress()
            assert after is not None
            assert (after.unacked, after.retransmits) == (0, 0)
            faulty.drop_all()
            await connection.wait_lost()
            assert connection.progress() is None

    run(main)


@needs_linux
@pytest.mark.long  # twenty seconds of silence
def test_our_data_is_through_soon_after_a_long_silence(faulty: FaultyServer, home: Home) -> None:
    """The kernel neither waits longer and longer between its tries, nor does it give up."""

    async def main() -> None:
        async with connected(home) as connection:
            faulty.drop_packets()
            question = connection.question()
            await asyncio.wait([question], timeout=20.0)
            assert not question.done()
            faulty.pass_packets()
            ended_at = time.monotonic()
            assert await question is not None
            assert time.monotonic() - ended_at < 1.5

    run(main)


def test_over_a_jump_host_the_kernel_is_not_asked(faulty: FaultyServer, home: Home, host_key: Key) -> None:
    with FaultyServer(host_key) as inner:
        home.add_host("inner", port=inner.port, user="me", identity=None, host_key=host_key)

        async def main() -> None:
            async with connected(home) as jump:
                assert (jump.local_address, jump.peer_address) == ("127.0.0.1", "127.0.0.1")
                connection = await dial(home, "inner", jump=jump)
                assert await connection.question() is not None
                assert connection.progress() is None
                assert connection.local_address is None
                assert connection.peer_address is None
                await connection.close()

        run(main)
