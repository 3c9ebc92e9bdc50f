"""The session that an earlier connection left on the remote is ended by a later one; nothing else is."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from jtunnel.address import TcpAddress
from jtunnel.errors import ChannelError
from jtunnel.ssh.remains import Session, end_session, note_session
from tests.support import processes
from tests.support.accounts import Account, current_account, new_account
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.ssh_connection import connected, run
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer

END_S = 10.0


def session_process(session: Session | None) -> psutil.Process:
    assert session is not None
    return psutil.Process(session.pid)


def test_each_connection_has_its_own_session(box: Sshd, home: Home, account: Account) -> None:
    async def main() -> None:
        async with connected(home) as one, connected(home) as two:
            first, second = await note_session(one), await note_session(two)
            assert first == await note_session(one)
            assert first != second
            for session in (first, second):
                process = session_process(session)
                assert process in box.sessions()
                assert process.uids().real == account.uid
                assert session is not None
                assert session.node == os.uname().nodename

    run(main)


def test_the_old_connections_streams_end_on_the_far_side(box: Sshd, home: Home) -> None:
    async def main() -> None:
        accepted: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()

        async def target(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await accepted.put(reader)
            await reader.read()
            writer.close()

        async with await asyncio.start_server(target, "127.0.0.1", 0) as server, connected(home) as old:
            address = TcpAddress(*server.sockets[0].getsockname())
            await old.open(address, asyncio.Protocol())
            reader = await accepted.get()
            session = await note_session(old)
            process = session_process(session)
            assert session is not None
            async with connected(home) as new:
                assert not reader.at_eof()
                assert await end_session(new, session)
                assert not processes.is_live(process)
                # What the target of the old stream sees.
                await reader.read()
                assert reader.at_eof()
                # It is done once.
                assert not await end_session(new, session)
                assert (await old.wait_lost()).kind == "connection-lost"
                assert await new.question() is not None

    run(main)


def test_a_frozen_session_is_ended_too(box: Sshd, home: Home) -> None:
    """One that does not heed the first signal gets the second."""

    async def main() -> None:
        async with connected(home) as old:
            session = await note_session(old)
            process = session_process(session)
            assert session is not None
            process.suspend()
            async with connected(home) as new:
                assert await end_session(new, session)
                assert not processes.is_live(process)

    run(main)


def test_others_are_left_alone(box: Sshd, home: Home, client_key: Key, echo: EchoServer) -> None:
    async def main() -> None:
        async with connected(home) as old, connected(home) as new:
            # A person's own ssh, as the same user to the same host.
            ssh = await asyncio.create_subprocess_exec(
                *home.ssh("box", "echo here; cat"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=home.env,
            )
            assert ssh.stdout is not None
            assert ssh.stdin is not None
            assert await ssh.stdout.readline() == b"here\n"
            session = await note_session(old)
            own = await note_session(new)
            assert session is not None
            assert own is not None
            others = {*box.sessions()} - {session_process(session)}
            # A number that is another's by now, another node's session, its own.
            for wrong in (
                replace(session, started="1@2"),
                replace(session, node="elsewhere"),
                replace(session, pid=own.pid),
                replace(session, pid=1),
                replace(session, pid=os.getpid()),
                own,
            ):
                assert not await end_session(new, wrong)
            assert await old.question() is not None
            assert await end_session(new, session)
            assert processes.await_end([session_process(own)], 0) != []
            ssh.stdin.write(b"still\n")
            assert await ssh.stdout.readline() == b"still\n"
            assert sum(map(processes.is_live, others)) >= len(others) - 1  # the old one's root half
            ssh.stdin.close()
            await ssh.wait()

    run(main)


def test_a_process_of_another_kind_is_left_alone(box: Sshd, home: Home, account: Account) -> None:
    async def main() -> None:
        async with connected(home) as old, connected(home) as new:
            session = await note_session(old)
            assert session is not None
            sleeper = asyncio.ensure_future(old.run("exec sleep 600", timeout_s=600))
            while not (found := [p for p in account.processes() if p.name() == "sleep"]):
                await asyncio.sleep(0.01)
            stat = await asyncio.to_thread(Path(f"/proc/{found[0].pid}/stat").read_text)
            ticks, boot = stat.rpartition(") ")[2].split()[19], session.started.partition("@")[2]
            assert not await end_session(new, Session(session.node, found[0].pid, f"{ticks}@{boot}"))
            assert processes.is_live(found[0])
            found[0].kill()
            await sleeper

    run(main)


@pytest.mark.root
def test_of_a_login_as_root_the_listener_is_no_session(host_key: Key, client_key: Key) -> None:
    """Listener and sessions are the same user's there."""
    home, remote_home = Home(), Home()
    with Sshd(host_key, current_account(remote_home.path), authorized=[client_key]) as server:
        home.add_host("box", port=server.port, user="root", identity=client_key, host_key=host_key)

        async def main() -> None:
            async with connected(home) as old, connected(home) as new:
                session = await note_session(old)
                assert session_process(session) in server.sessions()
                assert session is not None
                assert await end_session(new, session)
                assert await note_session(new) is not None

        run(main)
    home.remove()
    remote_home.remove()


@pytest.fixture(params=["/bin/bash", "/usr/bin/tcsh", "/usr/bin/fish", "/bin/dash"])
def shell(request: pytest.FixtureRequest) -> Iterator[Account]:
    if not os.path.exists(request.param):
        pytest.skip(f"not installed: {request.param} (see tests/setup/system.sh)")
    with new_account(request.param) as account:
        yield account


@pytest.mark.root
def test_any_login_shell_will_do(shell: Account, host_key: Key, client_key: Key, home: Home) -> None:
    with Sshd(host_key, shell, authorized=[client_key]) as server:
        home.add_host("box", port=server.port, user=shell.name, identity=client_key, host_key=host_key)

        async def main() -> None:
            async with connected(home) as old, connected(home) as new:
                session = await note_session(old)
                assert session_process(session) in server.sessions()
                assert session is not None
                assert await end_session(new, session)

        run(main)


def test_it_works_without_proc(host_key: Key, client_key: Key, account: Account, home: Home) -> None:
    env = {"jtunnel_proc": "/nowhere"}
    with Sshd(host_key, account, authorized=[client_key], env=env) as server:
        home.add_host("box", port=server.port, user=account.name, identity=client_key, host_key=host_key)

        async def main() -> None:
            async with connected(home) as old, connected(home) as new:
                session = await note_session(old)
                assert session_process(session) in server.sessions()
                assert session is not None
                assert "@" not in session.started
                assert not await end_session(new, replace(session, started="Sun_Jan_1_00:00:00_2023"))
                assert await end_session(new, session)

        run(main)


@pytest.mark.parametrize("start_up", ["echo welcome; echo there >&2\n", "cat >/dev/null\n", "exit 3\n"])
def test_start_up_files_do_no_harm(box: Sshd, home: Home, account: Account, start_up: str) -> None:
    account.write(".bashrc", start_up)

    async def main() -> None:
        async with connected(home) as connection:
            noted = await note_session(connection)
            assert (noted is not None) is ("echo" in start_up)
            if noted is None:
                some = Session(os.uname().nodename, os.getpid(), "1@1")
                assert not await end_session(connection, some)

    if account.shell.endswith("bash"):
        run(main)


@pytest.mark.parametrize("command", ["/bin/true", "/bin/false", "/bin/cat"])
def test_a_forced_command_tells_nothing(
    host_key: Key, client_key: Key, account: Account, home: Home, command: str
) -> None:
    with Sshd(host_key, account) as server:
        server.authorize(client_key, f'command="{command}"')
        home.add_host("box", port=server.port, user=account.name, identity=client_key, host_key=host_key)

        async def main() -> None:
            async with connected(home) as connection:
                assert await note_session(connection) is None

        run(main)


def test_a_server_without_sessions_tells_nothing(faulty: FaultyServer, home: Home) -> None:
    faulty.refuse_sessions = 1

    async def main() -> None:
        async with connected(home) as connection:
            assert await note_session(connection) is None
            assert not await end_session(connection, Session("x", 2, "y"))

    run(main)


def test_a_server_that_is_no_sshd_tells_nothing(faulty: FaultyServer, home: Home) -> None:
    """Here every command runs as a child of the test itself."""

    async def main() -> None:
        async with connected(home) as connection:
            assert await note_session(connection) is None

    run(main)


def test_a_lost_connection_is_said(faulty: FaultyServer, home: Home) -> None:
    async def main() -> None:
        async with connected(home) as connection:
            faulty.drop_all()
            await connection.wait_lost()
            for attempt in (note_session(connection), end_session(connection, Session("x", 2, "y"))):
                with pytest.raises(ChannelError) as caught:
                    await attempt
                assert caught.value.kind == "connection-lost"

    run(main)
