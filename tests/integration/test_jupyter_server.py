"""A real JupyterLab through its whole life, on a home whose own config gets in the way."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import psutil
import pytest

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ChannelError, ServerError
from jtunnel.jupyter.find import find
from jtunnel.jupyter.http import request
from jtunnel.jupyter.log import read_log
from jtunnel.jupyter.probe import is_alive, probe
from jtunnel.jupyter.server import NobodyListensError, Server, StrangerError
from jtunnel.jupyter.start import start
from jtunnel.jupyter.stop import busy_kernels, stop
from tests.support import processes
from tests.support.home import SYSTEM_PATH
from tests.support.local_remote import LocalRemote, RemoteHome

T = TypeVar("T")
OPTIONS = JupyterOptions(allow_root=True)
SOCKET = replace(OPTIONS, listen="socket")
TCP = replace(OPTIONS, listen="tcp")
NODE = os.uname().nodename
#: What people have from posts, and a password (of the word "x").
HOSTILE_CONFIG = """
c.ServerApp.ip = '*'
c.ServerApp.port = 1008
c.ServerApp.certfile = '/none/cert.pem'
c.ServerApp.keyfile = '/none/key.pem'
c.ServerApp.open_browser = True
c.PasswordIdentityProvider.hashed_password = 'sha1:a:deadbeef'
"""


def run(main: Coroutine[Any, Any, T], *, within_s: float = 90.0) -> T:
    """Run a test's coroutine with a deadline."""

    async def bounded() -> T:
        async with asyncio.timeout(within_s):
            return await main

    return asyncio.run(bounded())


@pytest.fixture(scope="module")
def make_home(jupyter_bin: str) -> Iterator[Callable[[], RemoteHome]]:
    """Makes homes with a JupyterLab on the PATH; they are gone at the end."""
    homes: list[RemoteHome] = []

    def make() -> RemoteHome:
        homes.append(RemoteHome(path=f"{jupyter_bin}:{SYSTEM_PATH}"))
        return homes[-1]

    yield make
    for home in homes:
        home.remove()


@pytest.fixture
def home(make_home: Callable[[], RemoteHome]) -> RemoteHome:
    return make_home()


@pytest.fixture
def key() -> str:
    """A profile's name that no other test uses."""
    return f"t{secrets.token_hex(6)}"


class Running:
    """A server of ours on a socket, and its home."""

    def __init__(self, home: RemoteHome, key: str, servers: list[Server]) -> None:
        self.home = home
        self.key = key
        self.servers = servers
        self.server = servers[0]


@pytest.fixture(scope="module")
def running(make_home: Callable[[], RemoteHome]) -> Running:
    """What two connections got that started the same profile at once, in spite of the user's config."""
    home = make_home()
    home.write(".jupyter/jupyter_server_config.py", HOSTILE_CONFIG)
    key = f"t{secrets.token_hex(6)}"

    async def main() -> list[Server]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(start(home.connect(), OPTIONS, key)) for _ in range(2)]
        return [task.result() for task in tasks]

    return Running(home, key, run(main()))


async def begin_kernel(remote: LocalRemote, server: Server) -> None:
    """Start a kernel in the server."""
    path = f"{server.base_url}api/kernels"
    answer = await request(remote, server.target, "POST", path, token=server.token, timeout_s=30)
    assert answer.status == 201


def test_two_starts_at_once_give_one_server_on_a_private_socket(running: Running) -> None:
    one, other = running.servers
    assert one == other
    assert one.origin == "started"
    assert isinstance(one.target, UnixAddress)
    assert os.stat(one.target.path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(one.target.path)).st_mode & 0o777 == 0o700
    assert (one.host, one.root_dir, one.path_for_browser) == (NODE, running.home.path, "/lab")
    assert one.version is not None
    listening = [
        entry for entry in psutil.Process(one.pid).net_connections("tcp") if entry.status == "LISTEN"
    ]
    assert not listening


def test_found_again(running: Running) -> None:
    async def main() -> None:
        remote = running.home.connect()
        assert await find(remote, OPTIONS, running.key) == running.server
        assert remote.commands == 1
        assert await find(remote, replace(OPTIONS, start="never"), running.key) == running.server
        # For another profile it is one to adopt: by its directory, or as any.
        adopted = await find(remote, replace(OPTIONS, directory="~"), f"{running.key}-other")
        assert adopted == replace(running.server, origin="adopted", log=None)
        assert await find(remote, replace(OPTIONS, directory="/usr"), f"{running.key}-third") is None
        assert await find(remote, replace(OPTIONS, remote_port=8888), running.key) is None

    run(main())


def test_a_half_written_record_does_no_harm(running: Running, key: str) -> None:
    running.home.write(f".local/share/jtunnel/{key}@{NODE}.json", '{\n "pid": 1')
    found = run(find(running.home.connect(), OPTIONS, key))
    assert found is not None
    assert found.pid == running.server.pid


def test_a_deleted_runtime_file_does_no_harm(running: Running) -> None:
    """`jupyter server list` on another node that shares the home deletes it."""
    path = os.path.join(running.home.path, f".local/share/jupyter/runtime/jpserver-{running.server.pid}.json")
    with open(path) as file:
        text = file.read()
    os.unlink(path)
    try:
        assert run(find(running.home.connect(), OPTIONS, running.key)) == running.server
    finally:
        running.home.write(os.path.relpath(path, running.home.path), text)


def test_probing_is_no_activity(running: Running) -> None:
    async def main() -> None:
        remote = running.home.connect()
        first = await probe(remote, running.server, timeout_s=10)
        second = await probe(remote, running.server, timeout_s=10)
        assert first == second
        assert first.version == running.server.version
        assert first.kernels is not None
        assert remote.commands == 0
        wrong = replace(running.server, token="wrong")
        with pytest.raises(StrangerError, match="token"):
            await probe(remote, wrong, timeout_s=10)

    run(main())


def test_the_token_is_nowhere_to_be_seen(running: Running) -> None:
    token = running.server.token
    assert len(token) == 48
    for process in processes.running_with("HOME", running.home.path):
        assert token not in " ".join(process.cmdline())
        assert token not in process.environ().values()
    _, text = run(read_log(running.home.connect(), running.key, 10_000))
    assert "running at" in text
    assert token not in running.home.read(f".local/share/jtunnel/{running.key}@{NODE}.log")
    assert token not in running.home.read(f".local/share/jtunnel/{running.key}@{NODE}.json")
    assert token not in repr(running.server)


def test_log(running: Running) -> None:
    path, text = run(read_log(running.home.connect(), running.key, 2))
    assert path == running.server.log
    assert len(text.splitlines()) == 2
    assert run(read_log(running.home.connect(), f"{running.key}-none", 2))[1] == ""


def test_kernels_survive_the_connection_and_end_with_the_server(running: Running) -> None:
    """Last of those that share the server."""
    server, home = running.server, running.home

    async def before() -> None:
        remote = running.home.connect()
        assert await busy_kernels(remote, server) == 0
        await begin_kernel(remote, server)

    async def after() -> None:
        remote = running.home.connect()
        found = await find(remote, OPTIONS, running.key)
        assert found == running.server
        assert (await probe(remote, found, timeout_s=10)).kernels == 1
        assert await is_alive(remote, found)

    async def end() -> None:
        remote = home.connect()
        with pytest.raises(ServerError, match="gpu02"):
            await stop(remote, replace(server, host="gpu02"), running.key)
        await stop(remote, server, running.key)
        assert not processes.is_live(tree[0])
        assert not await is_alive(remote, server)
        with pytest.raises(NobodyListensError):
            await probe(remote, server, timeout_s=10)
        assert await find(remote, OPTIONS, running.key) is None
        await stop(remote, server, running.key)  # again: nothing to do, and no error

    run(before())
    run(after())
    tree = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    run(end())
    assert len(tree) > 1
    assert not processes.await_end(tree, 5)
    assert isinstance(server.target, UnixAddress)
    assert not os.path.exists(server.target.path)
    assert not os.path.exists(os.path.join(home.path, f".local/share/jtunnel/{running.key}@{NODE}.json"))


def test_tcp_with_a_port_a_directory_and_the_same_token_again(home: RemoteHome, key: str) -> None:
    home.write(".jupyter/jupyter_server_config.py", HOSTILE_CONFIG + "c.ServerApp.base_url = '/up/'\n")
    os.mkdir(os.path.join(home.path, "work"))

    async def main() -> None:
        remote = home.connect()
        first = await start(remote, replace(TCP, directory="~/work"), key)
        assert isinstance(first.target, TcpAddress)
        assert (first.root_dir, first.path_for_browser) == (os.path.join(home.path, "work"), "/up/lab")
        assert first.token
        assert (await probe(remote, first, timeout_s=10)).kernels == 0
        listening = psutil.Process(first.pid).net_connections("tcp")
        assert {entry.laddr.ip for entry in listening if entry.status == "LISTEN"} == {"127.0.0.1"}
        await stop(remote, first, key)
        port = first.target.port
        second = await start(remote, replace(TCP, remote_port=port), key)
        assert second.target == first.target
        assert second.token == first.token
        assert second.pid != first.pid
        with pytest.raises(ServerError, match="has ended") as caught:
            await probe(remote, first, timeout_s=10)
        assert caught.value.kind == "server-gone"
        await stop(remote, second, key)

    run(main())


def test_a_server_that_sshd_cannot_reach_is_started_on_a_port(home: RemoteHome, key: str) -> None:
    async def main() -> None:
        remote = home.connect(no_unix=True)
        steps: list[str] = []
        server = await start(remote, OPTIONS, key, steps.append)
        assert isinstance(server.target, TcpAddress)
        assert any("does not forward to sockets" in step for step in steps)
        assert (
            len([p for p in processes.running_with("HOME", home.path) if "lab" in " ".join(p.cmdline())]) == 1
        )
        await stop(remote, server, key)
        steps.clear()
        again = await start(remote, OPTIONS, key, steps.append)
        assert isinstance(again.target, TcpAddress)
        assert not any("does not forward to sockets" in step for step in steps)
        await stop(remote, again, key)
        with pytest.raises(ServerError, match="does not forward to Unix sockets") as caught:
            await start(remote, SOCKET, key)
        assert caught.value.kind == "forward-refused"

    run(main())
    assert not processes.running_with("HOME", home.path)


@pytest.mark.parametrize(
    ("config", "options", "why"),
    [
        ("", replace(OPTIONS, command="jupyter lab --ServerApp.max_body_size=many"), "max_body_size"),
        ("c.IdentityProvider.token = ''\n", TCP, "switches authentication off"),
        ("", replace(OPTIONS, command="/bin/false lab"), "its log is empty"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_nothing(
    home: RemoteHome, key: str, config: str, options: JupyterOptions, why: str
) -> None:
    home.write(".jupyter/jupyter_server_config.py", config)

    async def main() -> None:
        remote = home.connect()
        with pytest.raises(ServerError) as caught:
            await start(remote, options, key)
        assert caught.value.kind == "jupyter-failed"
        assert why in caught.value.message
        assert "\n" not in caught.value.message
        assert await find(remote, options, key) is None

    run(main())
    assert not processes.running_with("HOME", home.path)
    assert not os.path.exists(os.path.join(home.path, f".local/share/jtunnel/{key}@{NODE}.json"))


def test_root_is_refused_unless_asked_for(home: RemoteHome, key: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root is refused")
    with pytest.raises(ServerError, match="root") as caught:
        run(start(home.connect(), JupyterOptions(), key))
    assert "allow_root" in caught.value.advice


def test_a_start_whose_connection_goes_is_joined_by_the_next(home: RemoteHome, key: str) -> None:
    async def main() -> None:
        lost = home.connect()

        def lose(step: str) -> None:
            lost.is_lost = step.startswith("waiting")

        with pytest.raises(ChannelError) as caught:
            await start(lost, OPTIONS, key, lose)
        assert caught.value.kind == "connection-lost"
        remote = home.connect()
        found = await find(remote, OPTIONS, key)
        assert found is not None
        assert not found.answering
        joined = await start(remote, replace(OPTIONS, start="never"), key)
        assert joined.answering
        assert joined.pid == found.pid
        await stop(remote, joined, key)

    run(main())


class ByHand:
    """Servers that a person started: in the background, from a shell, without jtunnel."""

    def __init__(self, home: RemoteHome) -> None:
        self.home = home
        self._running: list[subprocess.Popen[bytes]] = []

    def begin(self, directory: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one whose root_dir is a directory below the home."""
        path = os.path.join(self.home.path, directory)
        os.makedirs(path, exist_ok=True)
        command = ["jupyter", "lab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", *arguments]
        program = f"{self.home.env['PATH'].split(':')[0]}/jupyter"
        started = subprocess.Popen(
            [program, *command[1:]],
            cwd=path,
            env=self.home.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._running.append(started)
        return started

    async def find(self, options: JupyterOptions, key: str) -> Server:
        """Find one as soon as it answers."""
        async with asyncio.timeout(60):
            while (server := await find(self.home.connect(), options, key)) is None:
                await asyncio.sleep(0.2)
            return server

    def end(self) -> None:
        """End them all."""
        for process in self._running:
            process.kill()
            process.wait()


@pytest.fixture
def by_hand(home: RemoteHome) -> Iterator[ByHand]:
    made = ByHand(home)
    yield made
    made.end()


def test_servers_started_by_hand_are_adopted(by_hand: ByHand, key: str) -> None:
    """With a token of its own, with a password only, and with no lock at all; each by its directory."""
    token = by_hand.begin("token")
    password = by_hand.begin("password", f"--PasswordIdentityProvider.hashed_password=sha1:a:{'0' * 40}")
    nothing = by_hand.begin("nothing", "--IdentityProvider.token=", "--ServerApp.base_url=/x")

    async def main() -> None:
        remote = by_hand.home.connect()
        found = {
            name: await by_hand.find(replace(OPTIONS, directory=f"~/{name}"), f"{key}-{name}")
            for name in ("token", "password", "nothing")
        }
        assert [server.pid for server in found.values()] == [token.pid, password.pid, nothing.pid]
        assert {server.origin for server in found.values()} == {"adopted"}
        assert found["nothing"].path_for_browser == "/x/lab"
        for name, server in found.items():
            answer = await probe(remote, server, timeout_s=10)
            assert answer.version == server.version
            assert (answer.kernels is None) == (name == "password")
        assert found["password"].asks_password_only
        assert await busy_kernels(remote, found["password"]) == 0

        # None is in the home directory: the newest, and that one for good once it is chosen.
        newest = max(found.values(), key=lambda server: int(server.started.partition("@")[0]))
        chosen = await find(remote, OPTIONS, key)
        assert chosen is not None
        assert chosen.pid == newest.pid
        target = found["token"].target
        assert isinstance(target, TcpAddress)
        by_port = await find(remote, replace(OPTIONS, remote_port=target.port), f"{key}-port")
        assert by_port == found["token"]

        for name, server in found.items():
            await stop(remote, server, f"{key}-{name}")
        assert not await is_alive(remote, newest)
        assert [process.wait(5) for process in (token, password, nothing)] == [0, 0, 0]
        with pytest.raises(ServerError, match="no Jupyter server to adopt") as caught:
            await find(remote, replace(OPTIONS, start="never"), key)
        assert caught.value.kind == "jupyter-missing"

    run(main())


IMPOSTOR = """
import http.server, json, sys
class Impostor(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, self.headers.get("Authorization"), file=sys.stderr, flush=True)
        body = b'{"version": "2.21.1", "kernels": 0}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Impostor)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.mark.root
def test_no_token_for_another_users_port(home: RemoteHome, key: str) -> None:
    """A living process of ours, whose port somebody else has: no adoption, and not a word to him."""
    impostor = subprocess.Popen(
        ["/usr/bin/python3", "-c", IMPOSTOR],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        user=65534,
        cwd="/",
        text=True,
    )
    try:
        assert impostor.stdout is not None
        assert impostor.stderr is not None
        port = int(impostor.stdout.readline())
        members = {"base_url": "/", "port": port, "token": "secret-token", "root_dir": home.path, "sock": ""}
        home.write(f".local/share/jupyter/runtime/jpserver-{os.getpid()}.json", json.dumps(members))

        async def main() -> None:
            remote = home.connect()
            assert await find(remote, OPTIONS, key) is None
            with pytest.raises(ServerError, match="not a socket of yours"):
                await find(remote, replace(OPTIONS, start="never"), key)
            started = f"{psutil.Process().create_time()}"
            server = Server(
                TcpAddress("127.0.0.1", port),
                "/",
                "secret-token",
                os.getpid(),
                started,
                NODE,
                None,
                "/",
                "started",
            )
            with pytest.raises(ServerError):
                await probe(remote, server, timeout_s=10)
            with pytest.raises(ServerError):
                await busy_kernels(remote, server)

        run(main())
    finally:
        impostor.kill()
        said = impostor.communicate()[1]
    assert said == ""


def test_tls_is_named_and_not_adopted(home: RemoteHome, key: str) -> None:
    members = {"base_url": "/", "port": 9999, "token": "", "secure": True, "root_dir": home.path}
    home.write(f".local/share/jupyter/runtime/jpserver-{os.getpid()}.json", json.dumps(members))
    with pytest.raises(ServerError, match="TLS") as caught:
        run(find(home.connect(), replace(OPTIONS, start="never"), key))
    assert caught.value.kind == "jupyter-missing"
    assert run(find(home.connect(), OPTIONS, key)) is None
