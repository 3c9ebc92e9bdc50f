"""One real JupyterLab through its whole life, on a home whose own config gets in the way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ChannelError
from jtunnel.forward.listener import Listener
from jtunnel.jupyter.find import find
from jtunnel.jupyter.jupyter import Jupyter
from jtunnel.jupyter.probe import probe
from jtunnel.jupyter.stop import busy_kernels, stop
from jtunnel.service.http import request
from jtunnel.service.log import read_log
from jtunnel.service.server import ElsewhereError, NobodyListensError, Server, StrangerError
from jtunnel.tunnel.server import ServerLife
from tests.support import processes
from tests.support.local_remote import HOSTILE_CONFIG, LocalRemote, RemoteHome, new_home, new_key, run

OPTIONS = JupyterOptions(allow_root=True)
NODE = os.uname().nodename


class Running:
    """A server of ours on a socket, and its home."""

    def __init__(self, home: RemoteHome, key: str, servers: list[Server]) -> None:
        self.home = home
        self.key = key
        self.servers = servers
        self.server = servers[0]


@pytest.fixture(scope="module")
def running(jupyter_bin: str) -> Iterator[Running]:
    """What two connections got that started the same profile at once, in spite of the user's config."""
    with new_home(jupyter_bin) as home:
        yield begin(home, new_key())


def begin(home: RemoteHome, key: str) -> Running:
    """Start it from two connections at once."""
    home.write(".jupyter/jupyter_server_config.py", HOSTILE_CONFIG)

    async def main() -> list[Server]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(Jupyter(OPTIONS, key).start(home.connect())) for _ in range(2)]
        return [task.result() for task in tasks]

    return Running(home, key, run(main()))


OCCUPY = """
import sys
from jupyter_client import BlockingKernelClient
client = BlockingKernelClient(connection_file=sys.argv[1])
client.load_connection_file()
client.start_channels()
client.wait_for_ready(timeout=30)
client.execute("import time; time.sleep(600)")
while client.get_iopub_msg(timeout=30)["content"].get("execution_state") != "busy": pass
"""


async def occupy_kernel(remote: LocalRemote, home: RemoteHome, server: Server) -> None:
    """Start a kernel in the server, and let it work for long."""
    path = f"{server.base_url}api/kernels"
    answer = await request(remote, server.target, "POST", path, token=server.token, timeout_s=30)
    assert answer.status == 201
    file = os.path.join(home.path, f".local/share/jupyter/runtime/kernel-{answer.document['id']}.json")
    python = os.path.join(home.env["PATH"].split(":")[0], "python")
    client = await asyncio.create_subprocess_exec(python, "-c", OCCUPY, file, env=home.env)
    assert await client.wait() == 0


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
        assert adopted == replace(running.server, origin="adopted")
        assert await find(remote, replace(OPTIONS, directory="/usr"), f"{running.key}-third") is None
        assert await find(remote, replace(OPTIONS, remote_port=8888), running.key) is None

    run(main())


def test_a_half_written_record_does_no_harm(running: Running) -> None:
    key = new_key()
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


def test_it_is_still_there_by_one_command_and_one_question(running: Running) -> None:
    server = running.server
    assert isinstance(server.target, UnixAddress)

    async def main() -> None:
        remote = running.home.connect()
        assert await Jupyter(OPTIONS, running.key).is_still_there(remote, server, timeout_s=10)
        assert (remote.commands, remote.opened) == (1, [server.target])
        for other in (
            replace(server, host="gpu02"),
            replace(server, started="1@boot"),
            replace(server, pid=os.getpid()),
            replace(server, target=UnixAddress(f"{server.target}.none")),
        ):
            assert not await Jupyter(OPTIONS, running.key).is_still_there(remote, other, timeout_s=10)
        assert not await Jupyter(OPTIONS, running.key).is_still_there(
            running.home.connect(no_unix=True), server, timeout_s=10
        )
        remote.is_lost = True
        with pytest.raises(ChannelError):
            await Jupyter(OPTIONS, running.key).is_still_there(remote, server, timeout_s=10)

    run(main())


def test_a_tunnel_comes_back_without_a_search(running: Running) -> None:
    """Who waits is served first; what the status shows is asked for right after."""
    changes = asyncio.Event()
    listener = Listener("jupyter", TcpAddress("", 0), hold_s=1, changed=changes.set, open_timeout_s=1)

    async def main() -> None:
        life = ServerLife(running.key, Jupyter(OPTIONS, running.key))
        first, second = running.home.connect(), running.home.connect()
        assert await life.bring_up(first, steps.append, changes.set) == running.server.target
        assert life.answer is not None
        life.answer = replace(life.answer, kernels=99)
        assert await life.bring_up(second, steps.append, changes.set) == running.server.target
        assert (life.state, second.commands, second.opened) == ("ready", 1, [running.server.target])
        changes.clear()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(life.wait_failed(second, listener, changes.set))
            await changes.wait()
            waiting.cancel()
        assert life.answer.kernels == 0
        # On a connection over which it has just failed to answer, it is searched for.
        second.is_lost = True
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(life.wait_failed(second, listener, changes.set))
            await asyncio.sleep(0)
            listener.failed.set()
        assert life.state == "not-answering"
        second.is_lost = False
        await life.bring_up(second, steps.append, changes.set)
        assert len(second.opened) > 3

    steps: list[str] = []
    run(main())
    assert steps == []


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
    text = run(read_log(running.home.connect(), running.key, 10_000)).text
    assert "running at" in text
    assert token not in running.home.read(f".local/share/jtunnel/{running.key}@{NODE}.log")
    assert token not in running.home.read(f".local/share/jtunnel/{running.key}@{NODE}.json")
    assert token not in repr(running.server)


def test_log(running: Running) -> None:
    part = run(read_log(running.home.connect(), running.key, 2))
    assert part.path == running.server.log
    assert len(part.text.splitlines()) == 2
    assert run(read_log(running.home.connect(), f"{running.key}-none", 2)).text == ""


def test_kernels_survive_the_connection_and_end_with_the_server(running: Running) -> None:
    """Last of those that share the server."""
    server, home = running.server, running.home

    async def before() -> None:
        remote = running.home.connect()
        assert await busy_kernels(remote, server) == 0
        await occupy_kernel(remote, home, server)
        while await busy_kernels(remote, server) != 1:
            await asyncio.sleep(0.1)

    async def after() -> None:
        remote = running.home.connect()
        found = await find(remote, OPTIONS, running.key)
        assert found == running.server
        assert (await probe(remote, found, timeout_s=10)).kernels == 1
        assert await Jupyter(OPTIONS, running.key).is_still_there(remote, found, timeout_s=10)

    async def end() -> None:
        remote = home.connect()
        with pytest.raises(ElsewhereError, match=f"of {running.key} lives on gpu02, .* led to {NODE};"):
            await stop(remote, replace(server, host="gpu02"), running.key)
        await stop(remote, server, running.key)
        assert not processes.is_live(tree[0])
        assert not await Jupyter(OPTIONS, running.key).is_still_there(remote, server, timeout_s=10)
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
