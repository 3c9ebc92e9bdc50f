"""Each fault of the faulty SSH server, as plain asyncssh clients and sockets meet it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncssh
import pytest

from tests.support.home import Home
from tests.support.keys import Key, make_key
from tests.support.ssh_login import Round
from tests.support.ssh_server import FaultyServer, Stop

TIMEOUT_S = 20.0
#: How long a mute server is watched for an answer that must not come.
MUTE_S = 0.3


@pytest.fixture
def server(host_key: Key) -> Iterator[FaultyServer]:
    with FaultyServer(host_key) as running:
        yield running


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await test()

    asyncio.run(bounded())


def connect(server: FaultyServer, **options: Any) -> Any:
    """An asyncssh client that trusts the server, and reads no file and no agent of anybody's."""
    plain = {"username": "me", "known_hosts": None, "config": None, "client_keys": None, "agent_path": None}
    return asyncssh.connect(server.host, server.port, **{**plain, **options})


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """A TCP server that sends back what it gets, on the port that this yields."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


async def echoed(connection: Any, port: int) -> bytes:
    reader, writer = await connection.open_connection("127.0.0.1", port)
    writer.write(b"ping")
    writer.write_eof()
    answer: bytes = await reader.read()
    return answer


def test_commands_and_forwards_are_real_and_counted(server: FaultyServer, home: Home) -> None:
    async def main() -> None:
        path = os.path.join(home.path, "echo.sock")

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"unix")
            writer.close()

        async with (
            echo_server() as port,
            await asyncio.start_unix_server(greet, path),
            connect(server) as client,
        ):
            ended = await client.run("cat; echo err >&2; exit 3", input="in")
            assert (ended.exit_status, ended.stdout, ended.stderr) == (3, "in", "err\n")
            assert await echoed(client, port) == b"ping"
            reader, _ = await client.open_unix_connection(path)
            assert await reader.read() == b"unix"
        counts = server.counts
        assert (counts.connections, counts.logins, counts.sessions) == (1, 1, 1)
        assert counts.commands == ["cat; echo err >&2; exit 3"]
        assert counts.channels == [f"127.0.0.1:{port}", f"unix:{path}"]

    run(main)


@pytest.mark.parametrize(("stage", "lines"), [("connect", 0), ("banner", 1), ("kex", 1)])
def test_it_falls_mute_at_a_stage(stage: Stop, lines: int, server: FaultyServer) -> None:
    server.stop_at = stage
    with socket.create_connection((server.host, server.port), timeout=MUTE_S) as client:
        client.sendall(b"SSH-2.0-test\r\n")
        received = b""
        with contextlib.suppress(TimeoutError):
            while data := client.recv(65536):
                received += data
        banner, _, packet = received.partition(b"\n")
        assert banner.startswith(b"SSH-2.0-") == bool(lines)
        if stage == "kex":
            assert packet[5] == 20  # SSH_MSG_KEXINIT
            assert len(packet) == 4 + int.from_bytes(packet[:4])
        else:
            assert packet == b""
        assert server.open_connections == 1


def test_it_never_answers_the_login(server: FaultyServer) -> None:
    server.stop_at = "auth"

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0), connect(server):
                pass

    run(main)
    assert server.counts.connections == 1
    assert server.counts.logins == 0


@pytest.mark.parametrize(("stage", "logins"), [("connect", 0), ("auth", 1)])
def test_it_closes_after_a_stage(stage: Any, logins: int, server: FaultyServer) -> None:
    server.close_after = stage

    async def main() -> None:
        with contextlib.suppress(asyncssh.Error, OSError):
            async with connect(server) as client:
                await client.wait_closed()

    run(main)
    server.wait_for(lambda counts: (counts.connections, counts.logins) == (1, logins))


def test_it_refuses_sessions_and_channels_with_a_code(server: FaultyServer) -> None:
    server.refuse_sessions = asyncssh.OPEN_RESOURCE_SHORTAGE
    server.refuse_channels = asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED

    async def main() -> None:
        async with connect(server) as client:
            with pytest.raises(asyncssh.ChannelOpenError) as session:
                await client.run("true")
            assert session.value.code == asyncssh.OPEN_RESOURCE_SHORTAGE
            with pytest.raises(asyncssh.ChannelOpenError) as channel:
                await client.open_connection("127.0.0.1", 9)
            assert channel.value.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED

    run(main)


def test_channels_are_held_until_released(server: FaultyServer) -> None:
    async def main() -> None:
        async with echo_server() as port, connect(server) as client, asyncio.TaskGroup() as group:
            server.hold_channels()
            opening = group.create_task(echoed(client, port))
            await asyncio.to_thread(server.wait_for, lambda counts: len(counts.channels) == 1)
            assert (await client.run("echo free")).stdout == "free\n"
            assert not opening.done()
            server.release_channels()
            assert await opening == b"ping"

    run(main)


def test_another_host_key_for_the_next_connection(server: FaultyServer, tmp_path: Any) -> None:
    first = asyncssh.import_known_hosts(server.host_key.known_hosts_line(server.host, server.port))

    async def main() -> None:
        async with connect(server, known_hosts=first):
            server.host_key = make_key(str(tmp_path))
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            await connect(server, known_hosts=first)

    run(main)


def test_keys_and_passwords_are_checked_and_counted(host_key: Key, client_key: Key, tmp_path: Any) -> None:
    stranger = make_key(str(tmp_path))
    with FaultyServer(host_key, authorized=[client_key], password="right") as server:

        async def main() -> None:
            async with connect(server, client_keys=[client_key.path]):
                pass
            async with connect(server, client_keys=[stranger.path], password="right"):
                pass
            with pytest.raises(asyncssh.PermissionDenied):
                await connect(server, password="wrong")

        run(main)
        assert server.counts.logins == 2
        assert ("publickey", "me") in server.counts.attempts
        assert server.counts.attempts.count(("password", "me")) == 2


def test_rounds_of_questions(host_key: Key) -> None:
    rounds = [
        Round([("Password: ", False)], ["secret"], "Site login"),
        Round([("One-time code: ", True)], ["123456"]),
        Round(),
    ]
    asked: list[list[tuple[str, bool]]] = []

    class Person(asyncssh.SSHClient):
        def kbdint_auth_requested(self) -> str:
            return ""

        def kbdint_challenge_received(
            self, name: str, instructions: str, lang: str, prompts: Any
        ) -> list[str]:
            asked.append(list(prompts))
            answers = {"Password: ": "secret", "One-time code: ": "123456"}
            return [answers[prompt] for prompt, _ in prompts]

    with FaultyServer(host_key, rounds=rounds) as server:

        async def main() -> None:
            async with connect(server, client_factory=Person):
                pass

        run(main)
        assert asked == [[("Password: ", False)], [("One-time code: ", True)], []]
        assert server.counts.logins == 1


def test_drop_all_resets_every_connection(server: FaultyServer) -> None:
    async def main() -> None:
        async with connect(server) as one, connect(server) as two:
            server.drop_all()
            await one.wait_closed()
            await two.wait_closed()
        async with connect(server) as again:
            assert (await again.run("echo back")).stdout == "back\n"

    run(main)


def test_a_pause_answers_nothing_and_loses_nothing(server: FaultyServer) -> None:
    async def main() -> None:
        async with connect(server) as client, asyncio.TaskGroup() as group:
            server.pause()
            running = group.create_task(client.run("echo late"))
            done, _ = await asyncio.wait([running], timeout=MUTE_S)
            assert not done
            assert server.counts.commands == []
            server.resume()
            assert (await running).stdout == "late\n"

    run(main)


def test_a_command_outlives_its_connection_but_not_the_server(host_key: Key, home: Home) -> None:
    with FaultyServer(host_key, home=home.path) as server:

        async def main() -> None:
            async with connect(server) as client:
                process = await client.create_process("echo $$; exec sleep 600")
                pid = int(await process.stdout.readline())
                server.drop_all()
                await client.wait_closed()
                os.kill(pid, 0)

        run(main)
