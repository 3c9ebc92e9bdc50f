"""Handshakes in their turns, and what becomes of those that the server leaves half-way."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable

import pytest

from jtunnel.errors import LinkError
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.dialer import HANDSHAKES, Dialer
from jtunnel.ssh.prompts import Desk, Question
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.ssh_connection import connected, dial, run
from tests.support.ssh_login import Counts
from tests.support.ssh_server import FaultyServer, Stop

#: More than have a turn at once.
MANY = 3 * HANDSHAKES

RELAY = """
import os, socket, sys, threading
far = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def pump(read, write):
    while data := read(65536):
        write(data)
threading.Thread(target=pump, args=(lambda size: os.read(0, size), far.sendall), daemon=True).start()
pump(far.recv, lambda data: os.write(1, data))
"""


async def seen(server: FaultyServer, predicate: Callable[[Counts], bool]) -> None:
    await asyncio.to_thread(server.wait_for, predicate)


def dial_many(home: Home, dialer: Dialer, jump: Connection | None = None) -> list[asyncio.Task[Connection]]:
    async def one() -> Connection:
        return await dial(home, "inner" if jump else "box", dialer=dialer, jump=jump)

    return [asyncio.ensure_future(one()) for _ in range(MANY)]


async def close_all(dialling: list[asyncio.Task[Connection]]) -> None:
    await asyncio.gather(*[(await task).close() for task in dialling])


def test_four_shake_hands_at_once(faulty: FaultyServer, home: Home) -> None:
    async def main() -> None:
        faulty.hold_logins()
        dialling = dial_many(home, Dialer())
        # All have their TCP connection; connecting needs no turn.
        await seen(faulty, lambda counts: (counts.connections, counts.logins_begun) == (MANY, HANDSHAKES))
        faulty.release_logins()
        await close_all(dialling)
        assert faulty.counts.logins == MANY
        assert faulty.counts.most_logins_at_once <= HANDSHAKES

    run(main)


def test_four_at_once_over_a_jump_host(faulty: FaultyServer, home: Home, host_key: Key) -> None:
    with FaultyServer(host_key) as inner:
        home.add_host("inner", port=inner.port, user="me", identity=None, host_key=host_key)

        async def main() -> None:
            dialer = Dialer()
            async with connected(home, dialer=dialer) as jump:
                inner.hold_logins()
                dialling = dial_many(home, dialer, jump)
                await seen(
                    inner, lambda counts: (counts.connections, counts.logins_begun) == (MANY, HANDSHAKES)
                )
                inner.release_logins()
                await close_all(dialling)
                assert inner.counts.most_logins_at_once <= HANDSHAKES

        run(main)


def test_four_logins_at_once_through_a_command(faulty: FaultyServer, home: Home, host_key: Key) -> None:
    command = f"{sys.executable} {home.path}/relay.py {faulty.port}"
    home.add_host(
        "inner",
        port=faulty.port,
        user="me",
        identity=None,
        host_key=None,
        options={"ProxyCommand": command, "IdentityFile": f"{home.path}/key"},
    )
    with open(f"{home.path}/relay.py", "w") as file:
        file.write(RELAY)

    async def main() -> None:
        dialer = Dialer()
        faulty.authorized.clear()
        faulty.password = "right"
        desks = [Desk() for _ in range(MANY)]

        async def person(question: Question) -> str:
            return "right"

        async def one(desk: Desk) -> Connection:
            with desk.attended_by(person):
                return await dial(home, "inner", dialer=dialer, desk=desk)

        dialling = [asyncio.ensure_future(one(desk)) for desk in desks]
        await close_all(dialling)
        assert faulty.counts.logins == MANY

    run(main)


def test_mute_servers_take_nobodys_turn(faulty: FaultyServer, home: Home, host_key: Key) -> None:
    with FaultyServer(host_key) as mute:
        mute.stop_at = "connect"
        home.add_host("mute", port=mute.port, user="me", identity=None, host_key=host_key)

        async def main() -> None:
            dialer = Dialer()
            waiting = [asyncio.ensure_future(dial(home, "mute", dialer=dialer)) for _ in range(MANY)]
            await seen(mute, lambda counts: counts.connections == MANY)
            async with asyncio.timeout(5), connected(home, dialer=dialer):
                assert not any(task.done() for task in waiting)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)

        run(main)


def test_a_server_that_waits_for_our_word_first_is_served(faulty: FaultyServer, home: Home) -> None:
    """As one behind a multiplexer, which looks at what the client says."""

    async def main() -> None:
        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                writer.write(data)
            writer.close()

        async def multiplex(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            word = await reader.readline()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", faulty.port)
            far_writer.write(word)
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
            ended.set()

        ended = asyncio.Event()
        async with await asyncio.start_server(multiplex, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            key = faulty.host_key
            home.add_host("behind", port=port, user="me", identity=None, host_key=key)
            faulty.authorized.clear()
            async with connected(home, "behind") as connection:
                assert await connection.question() is not None
            await ended.wait()

    run(main)


def test_a_reset_while_the_loop_takes_a_socket_over_closes_no_other_file(
    faulty: FaultyServer, home: Home
) -> None:
    async def main() -> None:
        faulty.stop_at = "connect"
        dialling = dial_many(home, Dialer())
        await seen(faulty, lambda counts: counts.connections == MANY)
        faulty.drop_all(reset=True)
        failures = await asyncio.gather(*dialling, return_exceptions=True)
        assert all(isinstance(failure, LinkError) for failure in failures)
        others = [os.open(os.devnull, os.O_RDONLY) for _ in range(2 * MANY)]
        dialling.clear()
        failures.clear()
        gc.collect()
        for other in others:
            os.close(other)

    run(main)


def test_a_person_who_thinks_takes_nobodys_turn(faulty: FaultyServer, home: Home, host_key: Key) -> None:
    with FaultyServer(host_key, password="right") as locked:
        home.add_host("locked", port=locked.port, user="me", identity=None, host_key=host_key)

        async def main() -> None:
            dialer = Dialer()
            desk, asked, answer = Desk(), asyncio.Semaphore(0), asyncio.Event()

            async def person(question: Question) -> str:
                asked.release()
                await answer.wait()
                return "right"

            with desk.attended_by(person):
                asking = [
                    asyncio.ensure_future(dial(home, "locked", desk=desk, dialer=dialer)) for _ in range(MANY)
                ]
                for _ in range(MANY):
                    await asked.acquire()
                # Nor need they wait for it again: here others have all of them.
                faulty.hold_logins()
                held = dial_many(home, dialer)
                await seen(faulty, lambda counts: counts.logins_begun == HANDSHAKES)
                answer.set()
                await close_all(asking)
            faulty.release_logins()
            await close_all(held)

        run(main)


@pytest.mark.long  # a stage has ten seconds
def test_waiting_for_a_turn_costs_no_time_of_a_stage(faulty: FaultyServer, home: Home) -> None:
    async def main() -> None:
        dialer = Dialer()
        turns = [dialer.turn() for _ in range(HANDSHAKES)]
        for turn in turns:
            await turn.take()
        dialling = asyncio.ensure_future(dial(home, dialer=dialer))
        done, _ = await asyncio.wait([dialling], timeout=12.0)
        assert not done
        turns[0].give_back()
        await (await dialling).close()

    run(main)


def test_all_turns_are_back_whatever_happened(faulty: FaultyServer, home: Home) -> None:
    async def main() -> None:
        dialer = Dialer()
        faulty.close_after = "connect"
        failures = await asyncio.gather(*dial_many(home, dialer), return_exceptions=True)
        assert all(isinstance(failure, LinkError) for failure in failures)
        faulty.close_after = None
        await close_all(dial_many(home, dialer))
        for stop_at in ("connect", "banner", "kex", "auth"):
            faulty.stop_at = stop_at
            dialling = dial_many(home, dialer)
            await asyncio.wait(dialling, timeout=0.2)
            for task in dialling:
                task.cancel()
            await asyncio.wait(dialling)
        for _ in range(HANDSHAKES):
            await dialer.turn().take()

    run(main)


@pytest.mark.parametrize("stage", ["connect", "banner", "kex", "auth"])
@pytest.mark.parametrize("reset", [True, False])
def test_a_hang_up_half_way_is_the_network(
    faulty: FaultyServer, home: Home, stage: Stop, reset: bool
) -> None:
    async def main() -> None:
        faulty.stop_at = stage
        dialling = asyncio.ensure_future(dial(home))
        if stage == "auth":
            await seen(faulty, lambda counts: counts.logins_begun == 1)
        else:
            await seen(faulty, lambda counts: counts.connections == 1)
            await asyncio.wait([dialling], timeout=0.1)
        faulty.drop_all(reset=reset)
        with pytest.raises(LinkError) as caught:
            await dialling
        assert caught.value.kind == "host-unreachable"

    run(main)
