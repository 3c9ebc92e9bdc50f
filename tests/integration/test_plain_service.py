"""Servers of other kinds than Jupyter: started if absent, adopted if present, probed, stopped."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.config.profile import Environment, ServiceOptions
from jtunnel.errors import ServerError
from jtunnel.service.http import request
from jtunnel.service.plain import PlainService
from jtunnel.service.search import Wish
from jtunnel.service.server import Server
from jtunnel.tunnel.server import ServerLife
from tests.support import processes
from tests.support.local_remote import RemoteHome, new_home, new_key, run

PYTHON = shlex.quote(sys.executable)
HTTP = f"{PYTHON} -u -m http.server --bind 127.0.0.1 {{port}}"
#: Listens on a Unix socket, and answers each connection with a line.
ON_A_SOCKET = """
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    peer, _ = server.accept()
    peer.close()
"""
#: Takes no wish to end from anybody, once its parent has.
DEAF_CHILD = """
import os, signal, socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
if os.fork():
    signal.pause()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    peer, _ = server.accept()
    peer.close()
"""
#: Listens only after whoever started it has gone; its second argument says by which way it goes.
LATE = """
import os, socket, sys, time
if os.fork():
    os._exit(0)
if sys.argv[2] == "alone":
    os.setsid()
time.sleep(1)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    peer, _ = server.accept()
    peer.close()
"""
#: Puts itself into the background, as rserver does.
DAEMON = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
if os.fork() == 0:
    os.setsid()
    while True:
        peer, _ = server.accept()
        peer.close()
"""


@pytest.fixture
def home() -> Iterator[RemoteHome]:
    with new_home() as made:
        yield made


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
        return number


def service(options: ServiceOptions) -> PlainService:
    return PlainService(options, new_key())


def has_ended(process: psutil.Process) -> bool:
    """It has; that nobody has asked for its exit status yet does not count."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def bring_up(home: RemoteHome, kind: PlainService) -> Server:
    """Find it, or start it, as a tunnel does."""

    async def main() -> Server:
        remote = home.connect()
        server = await kind.find(remote, Wish())
        if server is None or not server.answering:
            server = await kind.start(remote, lambda _step: None, Wish())
        await kind.probe(remote, server, timeout_s=10)
        return server

    return run(main())


def test_a_life(home: RemoteHome, port: int) -> None:
    """Started where none is, found again by another laptop, and ended with its processes."""
    home.write("work/index.html", "hello")
    environment = Environment(variables=(("WHO", "it is me"),))
    kind = service(
        ServiceOptions(
            command=HTTP,
            port=port,
            ready="/index.html",
            page="/",
            directory="~/work",
            environment=environment,
        )
    )
    server = bring_up(home, kind)
    process = psutil.Process(server.pid)
    assert (server.origin, server.target, server.token) == ("started", TcpAddress("127.0.0.1", port), "")
    assert process.cwd() == os.path.join(home.path, "work")
    assert process.environ()["WHO"] == "it is me"
    assert not any(name.startswith("JUPYTER") for name in process.environ())
    assert kind.url(server, 4711, token=True) == "http://localhost:4711/"
    again = bring_up(home, kind)
    assert (again.pid, again.started) == (server.pid, server.started)

    async def main() -> None:
        remote = home.connect()
        assert await kind.is_still_there(remote, server, timeout_s=10)
        await kind.stop(remote, server)
        assert not await kind.is_still_there(remote, server, timeout_s=10)
        with pytest.raises(ServerError, match="has ended") as caught:
            await kind.probe(remote, server, timeout_s=10)
        assert caught.value.kind == "server-gone"

    run(main())
    assert has_ended(process)


def test_what_is_there_is_adopted_and_not_started_twice(home: RemoteHome, port: int) -> None:
    by_hand = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
        cwd=home.path,
        env=home.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        kind = service(ServiceOptions(port=port, start="never", ready="/", page="/"))

        async def main() -> Server:
            remote = home.connect()
            while (found := await _find(kind, home)) is None:
                pass
            assert await kind.is_still_there(remote, found, timeout_s=10)
            await kind.stop(remote, found)
            return found

        server = run(main())
        assert (server.pid, server.origin) == (by_hand.pid, "adopted")
        assert by_hand.wait(10)
        with pytest.raises(ServerError, match=f"nobody listens at port {port}") as caught:
            run(kind.find(home.connect(), Wish()))
        assert caught.value.kind == "service-missing"
    finally:
        by_hand.kill()
        by_hand.wait()


async def _find(kind: PlainService, home: RemoteHome) -> Server | None:
    try:
        return await kind.find(home.connect(), Wish())
    except ServerError as error:
        if error.kind != "service-missing":
            raise
        return None


def test_a_free_port_and_a_socket_of_its_own(home: RemoteHome) -> None:
    kind = service(ServiceOptions(command=HTTP, ready="/"))
    server = bring_up(home, kind)
    assert isinstance(server.target, TcpAddress)
    program = home.write("on a socket.py", ON_A_SOCKET)
    for options in (
        ServiceOptions(command=f"{PYTHON} {shlex.quote(program)} {{socket}}"),
        ServiceOptions(command=f"{PYTHON} {shlex.quote(program)} {{socket}}", socket="~/mine.sock"),
    ):
        other = service(options)
        server = bring_up(home, other)
        assert isinstance(server.target, UnixAddress)
        if options.socket:
            assert server.target.path == f"{home.path}/mine.sock"
        assert bring_up(home, other).pid == server.pid
        assert other.url(server, 4711, token=False) is None
        run(other.stop(home.connect(), server))


def test_one_that_goes_into_the_background(home: RemoteHome, port: int) -> None:
    program = home.write("daemon.py", DAEMON)
    kind = service(ServiceOptions(command=f"{PYTHON} {shlex.quote(program)} {{port}}", port=port))
    server = bring_up(home, kind)
    process = psutil.Process(server.pid)
    assert any(entry.laddr.port == port for entry in process.net_connections())
    assert bring_up(home, kind).pid == server.pid
    run(kind.stop(home.connect(), server))
    assert has_ended(process)


@pytest.mark.long
@pytest.mark.parametrize("way", ["alone", "with its group"])
def test_one_that_listens_only_in_the_background(home: RemoteHome, port: int, way: str) -> None:
    program = home.write("late.py", LATE)
    kind = service(
        ServiceOptions(command=f"{PYTHON} {shlex.quote(program)} {{port}} {shlex.quote(way)}", port=port)
    )
    server = bring_up(home, kind)
    process = psutil.Process(server.pid)
    run(kind.stop(home.connect(), server))
    assert has_ended(process)


@pytest.mark.long
def test_its_children_end_with_it(home: RemoteHome, port: int) -> None:
    program = home.write("deaf.py", DEAF_CHILD)
    kind = service(ServiceOptions(command=f"{PYTHON} {shlex.quote(program)} {{port}}", port=port))
    server = bring_up(home, kind)
    (child,) = psutil.Process(server.pid).children()
    run(kind.stop(home.connect(), server))
    assert has_ended(child)


def test_one_that_listens_at_the_other_loopback_address(home: RemoteHome, port: int) -> None:
    """As those do that take localhost for ::1."""
    kind = service(ServiceOptions(command=HTTP.replace("127.0.0.1", "::1"), port=port, ready="/"))
    assert bring_up(home, kind).target == TcpAddress("::1", port)
    assert bring_up(home, kind).target == TcpAddress("::1", port)


def test_a_wish_for_another_one_outlives_the_connection(home: RemoteHome) -> None:
    """And is fulfilled at once, or never: not when people have begun to use the server again."""
    life = ServerLife("x", service(ServiceOptions(command=HTTP, ready="/")))

    async def main() -> list[int]:
        pids = []
        remote = home.connect()
        for wishes in (True, False, False):
            await life.bring_up(remote, lambda _step: None, lambda: None)
            assert life.current is not None
            pids.append(life.current.pid)
            if wishes:
                life.renew(remote)
            remote = home.connect()
        return pids

    first, second, third = run(main())
    assert second != first
    assert third == second


@pytest.mark.long
def test_a_start_by_an_earlier_config_leaves_nothing(home: RemoteHome, port: int) -> None:
    """It was edited while its server had not yet answered."""
    key = new_key()
    deaf = PlainService(ServiceOptions(command="/bin/sleep 600 {port}"), key)

    async def main() -> psutil.Process:
        start = asyncio.ensure_future(deaf.start(home.connect(), lambda _step: None, Wish()))
        while not (running := [each for each in processes.running_with("HOME", home.path) if is_deaf(each)]):
            await asyncio.sleep(0.1)
        start.cancel()
        await asyncio.wait([start])
        return running[0]

    left = run(main())
    server = bring_up(home, PlainService(ServiceOptions(command=HTTP, port=port, ready="/"), key))
    assert server.pid != left.pid
    assert has_ended(left)


def is_deaf(process: psutil.Process) -> bool:
    return processes.is_live(process) and process.cmdline()[1:2] == ["600"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (f"{PYTHON} -c 'raise SystemExit(\"no disk left\")'", "ended on .* before it answered: no disk left"),
        ("no-such-program", "no no-such-program on"),
    ],
)
def test_a_start_that_fails_says_why(home: RemoteHome, port: int, command: str, expected: str) -> None:
    kind = service(ServiceOptions(command=command, port=port))
    with pytest.raises(ServerError, match=expected) as caught:
        bring_up(home, kind)
    assert caught.value.kind in ("service-failed", "service-missing")
    assert not [one for one in processes.running_with("HOME", home.path) if one.name() != "sh"]


@pytest.mark.root
def test_another_persons_process_is_not_taken_for_it(home: RemoteHome, port: int) -> None:
    """Neither adopted nor talked to; one of a system account is, but cannot be stopped."""
    for uid, is_taken in ((65533, False), (33, True)):
        server = subprocess.Popen(
            ["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", str(port)],
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _await_listener(port)
            kind = service(ServiceOptions(command=HTTP, port=port, ready="/"))
            # As root, every process is one's own: this home's user has to look like somebody else.
            if is_taken:
                found = run(kind.find(home.connect(), Wish()))
                assert found is not None
                assert (found.pid, found.origin) == (0, "adopted")
                run(kind.probe(home.connect(), found, timeout_s=10))
                with pytest.raises(ServerError, match="not a process of yours"):
                    run(kind.stop(home.connect(), found))
            else:
                with pytest.raises(ServerError, match="held by another user's process") as caught:
                    run(kind.find(home.connect(), Wish()))
                assert caught.value.kind == "service-failed"
        finally:
            server.kill()
            server.wait()


def _await_listener(port: int) -> None:
    while True:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return


def test_somebody_elses_answer_is_no_sign_of_life(home: RemoteHome, port: int) -> None:
    """A server that has ended is not up because another one answers at its port."""
    kind = service(ServiceOptions(command=HTTP, port=port, ready="/"))
    server = bring_up(home, kind)
    psutil.Process(server.pid).kill()
    other = service(ServiceOptions(command=HTTP, port=port, ready="/"))
    assert bring_up(home, other).pid != server.pid

    async def main() -> None:
        remote = home.connect()
        assert (await request(remote, server.target, "GET", "/", timeout_s=5)).status == 200
        with pytest.raises(ServerError):
            await kind.probe(remote, replace(server), timeout_s=10)
        assert not await kind.is_still_there(remote, server, timeout_s=10)

    run(main())


def test_jtunnels_own_listener_is_not_taken_for_it(home: RemoteHome) -> None:
    """Where the host is this machine, the local port may be the very port that is looked at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kind = service(ServiceOptions(port=listener.getsockname()[1], start="never"))
        with pytest.raises(ServerError, match="is jtunnel's own") as caught:
            run(kind.find(home.connect(), Wish()))
    assert 'local_port = "auto"' in caught.value.advice
