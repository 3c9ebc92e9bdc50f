"""Starting a real JupyterLab: on a port, where sshd forwards to ports only, and starts that fail."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
from collections.abc import Iterator
from dataclasses import replace
from urllib.request import urlopen

import psutil
import pytest

from jtunnel.address import TcpAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ChannelError, ServerError
from jtunnel.jupyter.find import find
from jtunnel.jupyter.jupyter import Jupyter
from jtunnel.jupyter.probe import probe
from jtunnel.jupyter.stop import stop
from tests.support import processes
from tests.support.local_remote import HOSTILE_CONFIG, RemoteHome, new_home, new_key, run

OPTIONS = JupyterOptions(allow_root=True)
SOCKET = replace(OPTIONS, listen="socket")
TCP = replace(OPTIONS, listen="tcp")
NODE = os.uname().nodename
OWN_SETTINGS = """
c.ServerApp.base_url = '/up/'
c.ServerApp.tornado_settings = {'headers': {'X-Mine': 'here'}}
"""


@pytest.fixture
def home(jupyter_bin: str) -> Iterator[RemoteHome]:
    with new_home(jupyter_bin) as made:
        yield made


@pytest.fixture
def key() -> str:
    return new_key()


def header(url: str, name: str) -> str | None:
    """A header of what answers there."""
    with urlopen(url, timeout=10) as page:
        value: str | None = page.headers[name]
        return value


@pytest.mark.long
def test_tcp_with_a_port_a_directory_and_the_same_token_again(home: RemoteHome, key: str) -> None:
    home.write(".jupyter/jupyter_server_config.py", HOSTILE_CONFIG + OWN_SETTINGS)
    os.mkdir(os.path.join(home.path, "work"))

    async def main() -> None:
        remote = home.connect()
        first = await Jupyter(replace(TCP, directory="~/work"), key).start(remote)
        assert isinstance(first.target, TcpAddress)
        assert (first.root_dir, first.path_for_browser) == (os.path.join(home.path, "work"), "/up/lab")
        assert first.token
        assert (await probe(remote, first, timeout_s=10)).kernels == 0
        assert await asyncio.to_thread(header, f"http://{first.target}/up/api", "X-Mine") == "here"
        listening = psutil.Process(first.pid).net_connections("tcp")
        assert {entry.laddr.ip for entry in listening if entry.status == "LISTEN"} == {"127.0.0.1"}
        await stop(remote, first, key)
        port = first.target.port
        second = await Jupyter(replace(TCP, remote_port=port), key).start(remote)
        assert second.target == first.target
        assert second.token == first.token
        assert second.pid != first.pid
        with pytest.raises(ServerError, match="has ended") as caught:
            await probe(remote, first, timeout_s=10)
        assert caught.value.kind == "server-gone"
        await stop(remote, second, key)

    run(main())


@pytest.mark.long
def test_a_server_that_sshd_cannot_reach_is_started_on_a_port(home: RemoteHome, key: str) -> None:
    async def main() -> None:
        remote = home.connect(no_unix=True)
        steps: list[str] = []
        server = await Jupyter(OPTIONS, key).start(remote, steps.append)
        assert isinstance(server.target, TcpAddress)
        assert any("does not forward to sockets" in step for step in steps)
        running = processes.running_with("HOME", home.path)
        assert len([found for found in running if "lab" in " ".join(processes.command_line(found))]) == 1
        await stop(remote, server, key)
        steps.clear()
        again = await Jupyter(OPTIONS, key).start(remote, steps.append)
        assert isinstance(again.target, TcpAddress)
        assert not any("does not forward to sockets" in step for step in steps)
        await stop(remote, again, key)
        with pytest.raises(ServerError, match="does not forward to Unix sockets") as caught:
            await Jupyter(SOCKET, key).start(remote)
        assert caught.value.kind == "forward-refused"

    run(main())
    assert not processes.running_with("HOME", home.path)


#: What no setting of ours outranks.
EVERYBODY = """
from jupyter_server.auth.identity import IdentityProvider
class Everybody(IdentityProvider):
    token = ""
    auth_enabled = False
c.ServerApp.identity_provider_class = Everybody
"""


@pytest.mark.parametrize(
    ("config", "options", "why"),
    [
        ("", replace(OPTIONS, command="jupyter lab --ServerApp.max_body_size=many"), "max_body_size"),
        (EVERYBODY, TCP, "lets everybody in"),
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
            await Jupyter(options, key).start(remote)
        assert caught.value.kind == "jupyter-failed"
        assert why in caught.value.message
        assert "\n" not in caught.value.message
        assert await find(remote, options, key) is None

    run(main())
    assert not processes.running_with("HOME", home.path)
    assert not os.path.exists(os.path.join(home.path, f".local/share/jtunnel/{key}@{NODE}.json"))


def test_a_start_without_a_plan_leaves_no_environment(key: str) -> None:
    with new_home() as home:
        home.write("tools/bin/jupyter", "#!/usr/bin/python\n", mode=0o755)
        home.write("tools/bin/python", "#!/bin/sh\necho version jupyter_server 1.0.0\n", mode=0o755)
        home.write(".profile", "PATH=$HOME/tools/bin:$PATH\nexport PATH\n")
        with pytest.raises(ServerError, match="too old"):
            run(Jupyter(SOCKET, key).start(home.connect()))
        kept = []
        for path in glob.glob(f"/tmp/jtunnel-{os.getuid()}/*.env*"):
            with contextlib.suppress(FileNotFoundError), open(path, errors="replace") as file:
                kept += [path for line in file if home.path in line]
        assert not kept


@pytest.mark.root
def test_root_is_refused_unless_asked_for(home: RemoteHome, key: str) -> None:
    with pytest.raises(ServerError, match="root") as caught:
        run(Jupyter(JupyterOptions(), key).start(home.connect()))
    assert "allow_root" in caught.value.advice


def test_a_start_whose_connection_goes_is_joined_by_the_next(home: RemoteHome, key: str) -> None:
    async def main() -> None:
        lost = home.connect()

        def lose(step: str) -> None:
            lost.is_lost = step.startswith("waiting")

        with pytest.raises(ChannelError) as caught:
            await Jupyter(OPTIONS, key).start(lost, lose)
        assert caught.value.kind == "connection-lost"
        remote = home.connect()
        found = await find(remote, OPTIONS, key)
        assert found is not None
        assert not found.answering
        joined = await Jupyter(replace(OPTIONS, start="never"), key).start(remote)
        assert joined.answering
        assert joined.pid == found.pid
        await stop(remote, joined, key)

    run(main())
