"""Remote forwards over OpenSSH's sshd: who comes over there is joined to a target here, or told no."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable

import pytest

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.errors import ChannelError
from jtunnel.forward.remote_forward import RemoteForward
from jtunnel.remote import ListeningRemote
from jtunnel.ssh.connection import Connection
from tests.support.accounts import Account
from tests.support.far_side import Peer, connect
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.ssh_connection import connected, dial, run
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd
from tests.support.streams import FAREWELL, EchoServer, dial_unix, echoes, free_port, has_ipv6

ANY = TcpAddress("", 0)


class Watched:
    """A remote forward at work on a connection."""

    def __init__(self, listen: Address, target: Address, patience_s: float = 60.0) -> None:
        self._changed = asyncio.Event()
        self.forward = RemoteForward("back", listen, target, changed=self._changed.set, patience_s=patience_s)
        self._work: asyncio.Task[None] | None = None

    async def until(self, condition: Callable[[RemoteForward], bool], within_s: float = 20.0) -> None:
        """Wait until it says that it has changed to this."""
        async with asyncio.timeout(within_s):
            while not condition(self.forward):
                self._changed.clear()
                await self._changed.wait()

    def start(self, remote: ListeningRemote) -> None:
        self._work = asyncio.get_running_loop().create_task(self.forward.run(remote))

    async def stop(self) -> None:
        assert self._work is not None
        self._work.cancel()
        await asyncio.wait([self._work])

    async def listens(self) -> Address:
        """Where it does."""
        await self.until(lambda forward: forward.is_settled)
        assert self.forward.listening, self.forward.problem
        return self.forward.address

    async def refused(self) -> str:
        """Why it has given up."""
        await self.until(lambda forward: forward.given_up)
        problem = self.forward.problem
        assert problem is not None
        assert problem["kind"] == "forward-refused"
        assert problem["advice"]
        assert not self.forward.listening
        assert self.forward.retry_at is None
        return problem["message"]


@contextlib.asynccontextmanager
async def working(
    remote: ListeningRemote, listen: Address, target: Address, patience_s: float = 60.0
) -> AsyncIterator[Watched]:
    watched = Watched(listen, target, patience_s)
    watched.start(remote)
    try:
        yield watched
    finally:
        await watched.stop()


async def over_there(address: Address) -> Peer:
    """A program of the remote host, which is this one, that connects there."""
    if isinstance(address, TcpAddress):
        address = TcpAddress(address.host or "127.0.0.1", address.port)
    return await connect(address)


async def assert_echoes(address: Address, data: bytes = b"hello") -> None:
    with await over_there(address) as client:
        sending = asyncio.ensure_future(client.send(data))
        got = b""
        while len(got) < len(data):
            got += await client.receive()
        await sending
        client.shut()
        assert (got, await client.receive_all()) == (data, FAREWELL)


async def assert_nobody_listens(address: Address) -> None:
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        await over_there(address)


@pytest.fixture
def target(echo: EchoServer) -> TcpAddress:
    return TcpAddress("127.0.0.1", echo.port)


def test_bytes_and_ends_of_both_sides(box: Sshd, home: Home, target: TcpAddress) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            async with working(connection, TcpAddress("", free_port()), target) as watched:
                address = await watched.listens()
                data = secrets.token_bytes(3_000_000)
                await asyncio.gather(*(assert_echoes(address, data) for _ in range(3)))
                await watched.until(lambda forward: forward.stats.active == 0)
                stats = watched.forward.stats
                assert (stats.accepted, stats.cut, stats.held) == (3, 0, 0)
                assert stats.bytes_out == 3 * (len(data) + len(FAREWELL))
                assert stats.bytes_in == 3 * len(data)
                await connection.wait_idle()
            await assert_nobody_listens(address)
            assert not watched.forward.listening

    run(main)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_both_families_and_one_alone(box: Sshd, home: Home) -> None:
    async def main() -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as target:
            target.setblocking(False)
            to = TcpAddress("::1", target.getsockname()[1])
            async with connected(home) as connection:
                for listen, hosts in ((ANY, ("127.0.0.1", "::1")), (TcpAddress("::1", 0), ("::1",))):
                    async with working(connection, listen, to) as watched:
                        address = await watched.listens()
                        assert isinstance(address, TcpAddress)
                        for host in hosts:
                            with await connect(TcpAddress(host, address.port)) as client:
                                accepted, _ = await asyncio.get_running_loop().sock_accept(target)
                                with Peer(accepted) as server:
                                    # The side here speaks first.
                                    await server.send(b"banner")
                                    assert await client.receive() == b"banner"
                        if len(hosts) == 1:
                            await assert_nobody_listens(TcpAddress("127.0.0.1", address.port))

    run(main)


@pytest.mark.long
def test_resets_and_a_reader_that_does_not_read(box: Sshd, home: Home) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as target:
            target.setblocking(False)
            loop = asyncio.get_running_loop()
            async with (
                connected(home) as connection,
                working(connection, ANY, TcpAddress(*target.getsockname())) as watched,
            ):
                address = await watched.listens()
                with await over_there(address) as client:
                    server = Peer((await loop.sock_accept(target))[0])
                    with server:
                        # Nobody reads: what is taken is bounded, and all of it arrives.
                        pushed = await client.push(100_000_000)
                        assert pushed < 30_000_000
                        got = 0
                        while got < pushed:
                            got += len(await server.receive())
                        assert got == pushed
                        server.reset()
                    assert await client.receive() == b""  # sshd tells of no resets
                with await over_there(address) as client:
                    server = Peer((await loop.sock_accept(target))[0])
                    with server:
                        client.reset()
                        with contextlib.suppress(ConnectionResetError):
                            assert await server.receive() == b""
                with await over_there(address) as client:
                    server = Peer((await loop.sock_accept(target))[0])
                    with server:
                        await server.send(b"banner")
                        await client.receive()
                        watched.forward.reset()
                        assert await server.is_reset()
                        assert await client.receive() == b""
                await watched.until(lambda forward: forward.stats.active == 0)
                await connection.wait_idle()

    run(main)


def test_nobody_here_is_its_problem_until_somebody_is(box: Sshd, home: Home) -> None:
    async def main() -> None:
        port = free_port()
        async with (
            connected(home) as connection,
            working(connection, ANY, TcpAddress("127.0.0.1", port)) as watched,
        ):
            address = await watched.listens()
            with await over_there(address) as client:
                assert await client.receive() == b""
            problem = watched.forward.problem
            assert problem is not None
            assert problem["kind"] == "target-refused"
            assert problem["message"] == f"nobody listens on 127.0.0.1:{port} of this machine"
            assert watched.forward.listening
            assert not watched.forward.given_up
            with EchoServer(port=port):
                await assert_echoes(address)
                assert watched.forward.problem is None
            await connection.wait_idle()

    run(main)


def test_two_over_one_connection_lead_each_to_its_own(box: Sshd, home: Home) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
            async with contextlib.AsyncExitStack() as stack:
                connection = await stack.enter_async_context(connected(home))
                for target, listen in ((a, ANY), (b, ANY), (a, TcpAddress("", free_port()))):
                    target.setblocking(False)
                    to = TcpAddress(*target.getsockname())
                    watched = await stack.enter_async_context(working(connection, listen, to))
                    address = await watched.listens()
                    with await over_there(address):
                        (await asyncio.get_running_loop().sock_accept(target))[0].close()
                for twice in (address, TcpAddress("127.0.0.1", address.port)):  # type: ignore[union-attr]
                    async with working(connection, twice, to) as second:
                        assert "another forward over the same connection" in await second.refused()
                # The first is none the worse for it.
                with await over_there(address):
                    (await asyncio.get_running_loop().sock_accept(a))[0].close()

    run(main)


def test_it_may_listen_again_at_once(box: Sshd, home: Home, target: TcpAddress) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            watched = Watched(TcpAddress("", free_port()), target)
            for _ in range(3):
                watched.start(connection)
                await assert_echoes(await watched.listens())
                await watched.stop()

    run(main)


def test_streams_outlive_the_listening(box: Sshd, home: Home, target: TcpAddress) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            async with working(connection, ANY, target) as watched:
                client = await over_there(await watched.listens())
                await client.send(b"one")
                assert await client.receive() == b"one"
            with client:
                await client.send(b"two")
                assert await client.receive() == b"two"
                await connection.close()
                assert await client.receive() == b""
            await watched.until(lambda forward: forward.stats.active == 0)
            assert watched.forward.stats.cut == 1

    run(main)


@pytest.mark.long
def test_a_chosen_port_is_kept_over_connections(
    box: Sshd, home: Home, target: TcpAddress, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        watched = Watched(ANY, target)
        async with connected(home) as connection:
            watched.start(connection)
            first = await watched.listens()
            await watched.stop()
        assert watched.forward.address == first
        async with connected(home) as connection:
            watched.start(connection)
            assert await watched.listens() == first
            await watched.stop()
        assert isinstance(first, TcpAddress)
        with socket.create_server(("127.0.0.1", first.port)), socket.socket(socket.AF_INET6) as other:
            with contextlib.suppress(OSError):
                other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                other.bind(("::1", first.port))
                other.listen()
            async with connected(home) as connection:
                watched.start(connection)
                await watched.until(lambda forward: forward.retry_at is not None)
                await watched.until(lambda forward: forward.listening)
                assert watched.forward.address != first
                await assert_echoes(watched.forward.address)
                await watched.stop()
        assert f"port {first.port} on " in caplog.text

    with caplog.at_level(logging.INFO, "jtunnel.forward"):
        run(main)


def test_a_port_of_a_lost_connection_is_taken_over_when_it_is_free(
    box: Sshd, home: Home, target: TcpAddress
) -> None:
    async def main() -> None:
        listen = TcpAddress("", free_port())
        async with connected(home) as old:
            stale = Watched(listen, target)
            stale.start(old)
            await stale.listens()
            async with connected(home) as connection, working(connection, listen, target) as watched:
                await watched.until(lambda forward: forward.retry_at is not None)
                problem = watched.forward.problem
                assert problem is not None
                assert problem["kind"] == "forward-refused"
                assert problem["message"] == (
                    f"port {listen.port} on {connection.where} is taken, perhaps still by our lost connection"
                )
                assert watched.forward.is_settled
                assert not watched.forward.given_up
                old.abort()
                await watched.until(lambda forward: forward.listening)
                await assert_echoes(listen)
                assert watched.forward.problem is None
                assert watched.forward.retry_at is None
            await stale.stop()

    run(main)


@pytest.mark.long
def test_a_port_that_stays_taken_is_given_up_until_a_person_asks(
    box: Sshd, home: Home, target: TcpAddress
) -> None:
    async def main() -> None:
        listen = TcpAddress("127.0.0.1", free_port())
        async with connected(home) as connection:
            with socket.create_server(("127.0.0.1", listen.port)):
                watched = Watched(listen, target, patience_s=0.6)
                watched.start(connection)
                assert f"port {listen.port} on " in await watched.refused()
                watched.forward.again()
                await watched.until(lambda forward: forward.retry_at is not None)
                await watched.refused()
            watched.forward.again()
            await watched.until(lambda forward: forward.listening)
            await assert_echoes(listen)
            await watched.stop()

    run(main)


@pytest.mark.parametrize(
    ("options", "port", "reason"),
    [
        ({"AllowTcpForwarding": "local"}, 0, "forbids remote forwarding"),
        ({"AllowTcpForwarding": "no"}, None, "forbids remote forwarding"),
        ({"DisableForwarding": "yes"}, None, "forbids remote forwarding"),
        ({"PermitListen": "4"}, None, "forbids remote forwarding"),
        ({}, 81, "port 81 on "),
    ],
    ids=["local", "no", "disabled", "other ports", "privileged"],
)
def test_what_the_server_forbids_is_given_up_at_once(
    box: Sshd,
    home: Home,
    account: Account,
    target: TcpAddress,
    options: dict[str, str],
    port: int | None,
    reason: str,
) -> None:
    box.restart(options=options)

    async def main() -> None:
        listen = TcpAddress("", free_port() if port is None else port)
        async with connected(home) as connection, working(connection, listen, target) as watched:
            said = await watched.refused()
            assert reason in said
            if port == 81:
                assert said.endswith("is reserved for root")

    run(main)


@pytest.mark.long
def test_a_taken_port_that_is_the_only_one_permitted(box: Sshd, home: Home, target: TcpAddress) -> None:
    listen = TcpAddress("", free_port())
    box.restart(options={"PermitListen": str(listen.port)})

    async def main() -> None:
        async with connected(home) as old:
            stale = Watched(listen, target)
            stale.start(old)
            await stale.listens()
            async with connected(home) as connection, working(connection, listen, target) as watched:
                await watched.until(lambda forward: forward.retry_at is not None)
                await stale.stop()
                await watched.until(lambda forward: forward.listening)

    run(main)


@pytest.mark.long
def test_a_server_that_keeps_it_on_its_loopback(box: Sshd, home: Home, target: TcpAddress) -> None:
    async def main() -> None:
        everywhere = TcpAddress("0.0.0.0", 0)
        async with connected(home) as connection, working(connection, everywhere, target) as watched:
            await watched.until(lambda forward: forward.note != "")
            assert "GatewayPorts" in watched.forward.note
            address = watched.forward.address
            assert isinstance(address, TcpAddress)
            await assert_echoes(TcpAddress("127.0.0.1", address.port))
        box.restart(options={"GatewayPorts": "clientspecified"})
        async with connected(home) as connection, working(connection, everywhere, target) as watched:
            address = await watched.listens()
            assert isinstance(address, TcpAddress)
            await assert_echoes(TcpAddress("127.0.0.2", address.port))
            # One command after another: when this one is through, its own look is too.
            await connection.run("true", timeout_s=20)
            assert watched.forward.note == ""

    run(main)


def test_a_unix_socket_over_there_and_here(box: Sshd, home: Home, account: Account) -> None:
    path, here = account.path("a socket"), os.path.join(home.path, "here.sock")
    box.restart(options={"StreamLocalBindMask": "0111"})

    async def main() -> None:
        place, to = UnixAddress(path), UnixAddress(here)
        async with connected(home) as connection, working(connection, place, to) as watched:
            await watched.listens()
            await assert_echoes(place)
            await watched.until(lambda forward: forward.stats.active == 0)
            await connection.run("true", timeout_s=20)
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

    with EchoServer(path=here):
        run(main)
    assert not os.path.exists(path)


def test_a_dead_socket_over_there_is_replaced(box: Sshd, home: Home, account: Account) -> None:
    path = account.path("it's dead")

    async def main() -> None:
        with EchoServer() as echo:
            target = TcpAddress("127.0.0.1", echo.port)
            watched = Watched(UnixAddress(path), target)
            old = await dial(home)
            watched.start(old)
            await watched.listens()
            # The other side holds it until it notices.
            place = UnixAddress(path)
            async with connected(home) as connection, working(connection, place, target) as successor:
                await successor.until(lambda forward: forward.retry_at is not None)
                assert "is taken" in (successor.forward.problem or {"message": ""})["message"]
                old.abort()
                await watched.stop()
                await successor.until(lambda forward: forward.listening)
                await assert_echoes(UnixAddress(path))

    run(main)


def test_what_else_may_be_at_a_path(box: Sshd, home: Home, account: Account, target: TcpAddress) -> None:
    file, alive = account.path("file"), account.path("alive")
    with open(file, "w") as written:
        written.write("precious")

    async def main() -> None:
        async with connected(home) as connection:
            for path, reason in (
                (file, "exists and is not a socket"),
                (account.path("none/at/all"), f"there is no directory {account.path('none/at')} on "),
                ("/s", "no file may be made in / on "),
                (alive, "is taken, perhaps still by our lost connection"),
            ):
                async with working(connection, UnixAddress(path), target, 0.1) as watched:
                    assert reason in await watched.refused()

    with EchoServer(path=alive):
        run(main)
        assert os.path.exists(alive)
    with open(file) as kept:
        assert kept.read() == "precious"


@pytest.mark.long
@pytest.mark.parametrize("setting", ["no", "local"])
def test_forbidden_unix_sockets(
    box: Sshd, home: Home, account: Account, target: TcpAddress, setting: str
) -> None:
    box.restart(options={"AllowStreamLocalForwarding": setting})

    async def main() -> None:
        place = UnixAddress(account.path("s"))
        async with connected(home) as connection, working(connection, place, target) as watched:
            said = await watched.refused()
            assert "forbids remote forwarding" in said

    run(main)


@pytest.mark.long
def test_a_dead_or_living_socket_that_no_channel_may_try(
    box: Sshd, home: Home, account: Account, target: TcpAddress
) -> None:
    """sshd says the same of a dead one, of a living one and of one that it does not try."""
    box.restart(options={"AllowStreamLocalForwarding": "remote"})
    alive, dead = account.path("alive"), account.path("dead")

    async def main() -> None:
        async with connected(home) as connection:
            async with working(connection, UnixAddress(alive), target, 0.1) as watched:
                assert f"the socket {alive} on " in await watched.refused()
            async with working(connection, UnixAddress(dead), target) as watched:
                await watched.listens()

    with EchoServer(path=dead):
        os.chown(dead, account.uid, account.gid)
    with EchoServer(path=alive):
        os.chown(alive, account.uid, account.gid)
        run(main)
        with dial_unix(alive) as client:
            assert echoes(client)


def test_a_dead_socket_of_somebody_else_stays(
    box: Sshd, home: Home, remote_user: Account, target: TcpAddress
) -> None:
    path = remote_user.path("theirs")
    with EchoServer(path=path):
        pass

    async def main() -> None:
        place = UnixAddress(path)
        async with connected(home) as connection, working(connection, place, target) as watched:
            assert "is a socket that jtunnel does not remove" in await watched.refused()

    run(main)
    assert os.path.exists(path)


def test_a_channel_right_behind_the_consent_is_let_in(faulty: FaultyServer, home: Home) -> None:
    faulty.knocks = True

    async def main() -> None:
        arrived = asyncio.Event()

        async def arrive() -> asyncio.Protocol:
            arrived.set()
            return asyncio.Protocol()

        async with connected(home) as connection:
            asking = asyncio.ensure_future(connection.listen(TcpAddress("", 9), arrive))
            for _ in range(3):
                await asyncio.sleep(0)
            # Meanwhile both have come, to be read at once.
            time.sleep(0.3)  # noqa: ASYNC251
            await asking
            async with asyncio.timeout(5):
                await arrived.wait()

    run(main)


def test_over_a_jump_host(box: Sshd, home: Home, host_key: Key, client_key: Key, account: Account) -> None:
    home.add_host("inner", port=box.port, user=account.name, identity=client_key, host_key=host_key)

    async def main() -> None:
        with EchoServer() as echo:
            async with connected(home) as jump, connected(home, "inner", jump=jump) as connection:
                to = TcpAddress("127.0.0.1", echo.port)
                async with working(connection, ANY, to) as watched:
                    await assert_echoes(await watched.listens(), secrets.token_bytes(300_000))

    run(main)


def test_a_connection_that_is_lost_while_it_is_asked(
    faulty: FaultyServer, home: Home, target: TcpAddress
) -> None:
    async def main() -> None:
        connection = await dial(home)
        faulty.pause()
        watched = Watched(ANY, target)
        watched.start(connection)
        asking = asyncio.ensure_future(connection.listen(ANY, lambda: None))  # type: ignore[arg-type,return-value]
        await asyncio.sleep(0)
        connection.abort()
        with pytest.raises(ChannelError) as lost:
            await asking
        assert lost.value.kind == "connection-lost"
        await connection.wait_lost()
        assert not watched.forward.is_settled
        await watched.stop()
        with pytest.raises(ChannelError, match="lost"):
            await connection.listen(ANY, lambda: None)  # type: ignore[arg-type,return-value]

    run(main)


def test_a_connection_that_is_lost_while_somebody_waits_for_a_target(box: Sshd, home: Home) -> None:
    """The socket here is closed though the channel was never opened."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as target:
            target.setblocking(False)
            connection = await dial(home)
            entered, leave = asyncio.Event(), asyncio.Event()
            forward = RemoteForward("back", ANY, TcpAddress(*target.getsockname()), changed=lambda: None)

            async def arrive() -> asyncio.Protocol:
                entered.set()
                await leave.wait()
                return await forward._arrive()

            listening = await connection.listen(ANY, arrive)
            with await over_there(listening.address):
                await entered.wait()
                connection.abort()
                await connection.wait_lost()
                leave.set()
                accepted, _ = await asyncio.get_running_loop().sock_accept(target)
                with Peer(accepted) as server, contextlib.suppress(ConnectionResetError):
                    assert await server.receive() == b""
                await connection.wait_idle()
                assert forward.stats.active == 0

    run(main)


def assert_idle(connection: Connection) -> None:
    assert not connection.ssh._channels


@pytest.mark.long
def test_channels_and_tasks_do_not_stay(box: Sshd, home: Home, target: TcpAddress) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            async with working(connection, ANY, target) as watched:
                address = await watched.listens()
                for _ in range(30):
                    with await over_there(address) as client:
                        await client.send(b"x")
                        await client.receive()
                await watched.until(lambda forward: forward.stats.active == 0)
                await connection.wait_idle()
                await connection.run("true", timeout_s=20)
                assert_idle(connection)
                assert not connection._tasks
            assert not connection.ssh._remote_listeners

    run(main)
