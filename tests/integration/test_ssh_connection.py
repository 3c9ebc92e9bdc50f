"""What a connection is used for: streams and commands, each with its end, and how it is lost itself."""

from __future__ import annotations

import asyncio
import contextlib

import psutil
import pytest

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.errors import ChannelError, LinkError
from jtunnel.remote import FarEnd
from jtunnel.ssh.command import MOST_OUTPUT
from jtunnel.ssh.connection import Connection
from tests.support import processes
from tests.support.accounts import Account
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.ssh_connection import connected, dial, run
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, free_port


class Near(asyncio.Protocol):
    """The near side of a stream: keeps what comes, and tells its end."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(exc)


@pytest.fixture
def target(echo: EchoServer) -> TcpAddress:
    return TcpAddress("127.0.0.1", echo.port)


async def is_idle(connection: Connection) -> bool:
    """Whether `wait_idle` returns at once."""
    idle = asyncio.ensure_future(connection.wait_idle())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    idle.cancel()
    return idle.done() and not idle.cancelled()


async def say_goodbye(far_end: FarEnd, near: Near) -> None:
    far_end.write(b"hello")
    far_end.write_eof()
    await asyncio.wait([near.ended], timeout=0.2)
    far_end.close()
    await near.ended


def test_it_is_idle_when_the_last_stream_has_ended(
    faulty: FaultyServer, home: Home, target: TcpAddress
) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            assert await is_idle(connection)
            one, two = Near(), Near()
            first, second = await connection.open(target, one), await connection.open(target, two)
            idle = asyncio.ensure_future(connection.wait_idle())
            await say_goodbye(first, one)
            assert not idle.done()
            second.abort()
            await idle
            assert await is_idle(connection)

    run(main)


def test_a_stream_that_is_being_opened_counts(faulty: FaultyServer, home: Home, target: TcpAddress) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            faulty.hold_channels()
            opening = asyncio.ensure_future(connection.open(target, Near()))
            await asyncio.to_thread(faulty.wait_for, lambda counts: len(counts.channels) == 1)
            assert not await is_idle(connection)
            # Nobody wants it any more, but the far side does not know that yet.
            opening.cancel()
            await asyncio.wait([opening])
            assert not await is_idle(connection)
            faulty.release_channels()
            await connection.wait_idle()

    run(main)


def test_streams_that_do_not_open_and_commands_do_not_count(
    faulty: FaultyServer, home: Home, target: TcpAddress
) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            for refused in (TcpAddress("127.0.0.1", free_port()), UnixAddress("/nowhere/at/all")):
                with pytest.raises(ChannelError):
                    await connection.open(refused, Near())
            running = asyncio.ensure_future(connection.run("sleep 600", timeout_s=600))
            await asyncio.to_thread(faulty.wait_for, lambda counts: len(counts.commands) == 1)
            assert await is_idle(connection)
            running.cancel()

    run(main)


def test_it_is_idle_when_it_is_lost(faulty: FaultyServer, home: Home, target: TcpAddress) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            near = Near()
            await connection.open(target, near)
            faulty.hold_channels()
            opening = asyncio.ensure_future(connection.open(target, Near()))
            await asyncio.to_thread(faulty.wait_for, lambda counts: len(counts.channels) == 2)
            faulty.drop_all()
            await connection.wait_idle()
            with pytest.raises(ChannelError):
                await opening
            assert await near.ended is not None
            faulty.release_channels()

    run(main)


def test_a_connection_over_it_is_a_stream(faulty: FaultyServer, home: Home, host_key: Key) -> None:
    with FaultyServer(host_key) as inner:
        home.add_host("inner", port=inner.port, user="me", identity=None, host_key=host_key)

        async def main() -> None:
            async with connected(home) as jump:
                over = await dial(home, "inner", jump=jump)
                assert (await over.run("echo inner", timeout_s=10)).stdout == "inner\n"
                assert not await is_idle(jump)
                await over.close()
                await jump.wait_idle()

        run(main)


@pytest.mark.parametrize("reset", [True, False])
def test_a_loss_says_how_it_came(faulty: FaultyServer, home: Home, reset: bool) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            faulty.drop_all(reset=reset)
            lost = await connection.wait_lost()
            how = "the connection was reset" if reset else "the host closed the connection"
            assert (lost.kind, lost.message) == ("connection-lost", f"lost {connection.where}: {how}")

    run(main)


def test_a_loss_with_the_jump_host_says_so(faulty: FaultyServer, home: Home, host_key: Key) -> None:
    with FaultyServer(host_key) as inner:
        home.add_host("inner", port=inner.port, user="me", identity=None, host_key=host_key)

        async def main() -> None:
            async with connected(home) as jump:
                over = await dial(home, "inner", jump=jump)
                faulty.drop_all()
                lost = await over.wait_lost()
                assert lost.message == f"lost {over.where}: with its jump host {jump.where}"
                with pytest.raises(LinkError) as caught:
                    await dial(home, "inner", jump=jump)
                assert caught.value.kind == "host-unreachable"

        run(main)


@pytest.mark.parametrize("ends", [True, False])
def test_output_without_end_is_cut_off(faulty: FaultyServer, home: Home, ends: bool) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            size = MOST_OUTPUT if ends else 2 * MOST_OUTPUT
            command = f"head -c {size} /dev/zero"
            if ends:
                result = await connection.run(command, timeout_s=50)
                assert len(result.stdout) == MOST_OUTPUT
            else:
                with pytest.raises(ChannelError, match="printed more than 8 MiB") as caught:
                    await connection.run(f"{command}; exec sleep 600", timeout_s=50)
                assert caught.value.kind == "forward-refused"
            # The rest of it is nobody's burden.
            assert (await connection.run("echo on", timeout_s=10)).stdout == "on\n"

    run(main)


def test_of_errors_without_end_the_beginning_is_kept(faulty: FaultyServer, home: Home) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            result = await connection.run("head -c 9000000 /dev/zero >&2; echo done", timeout_s=50)
            assert result.stdout == "done\n"
            assert 0 < len(result.stderr) < 1000000

    run(main)


TICKING = "while echo tick; do sleep 0.05; done"


def shells(account: Account) -> list[psutil.Process]:
    """The account's processes that tick."""
    found = []
    for process in account.processes():
        with contextlib.suppress(psutil.Error):
            if TICKING in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_a_command_that_timed_out_is_closed(box: Sshd, home: Home, account: Account) -> None:
    """It notices when it writes; so does one whose caller went away, while it ran or waited for its turn."""

    async def main() -> None:
        async with connected(home) as connection:
            with pytest.raises(TimeoutError):
                await connection.run(TICKING, timeout_s=0.5)
            assert not await asyncio.to_thread(processes.await_end, shells(account), 10.0)
            assert (await connection.run("echo next", timeout_s=30)).stdout == "next\n"
            running = [asyncio.ensure_future(connection.run(TICKING, timeout_s=30)) for _ in range(2)]
            while not (ticking := shells(account)):
                await asyncio.sleep(0.01)
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            assert not await asyncio.to_thread(processes.await_end, ticking, 10.0)
            assert not shells(account)
            assert (await connection.run("echo last", timeout_s=30)).stdout == "last\n"

    run(main)
