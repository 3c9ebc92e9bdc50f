"""Servers that somebody else started: adopted once they are shown to be this user's, else left alone."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from jtunnel.address import TcpAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.find import find
from jtunnel.jupyter.jupyter import Jupyter
from jtunnel.jupyter.listing import list_servers
from jtunnel.jupyter.probe import probe
from jtunnel.jupyter.stop import busy_kernels, stop
from jtunnel.service.server import ElsewhereError, Server
from tests.support.local_remote import RemoteHome, new_home, new_key, run

OPTIONS = JupyterOptions(allow_root=True)
NODE = os.uname().nodename


@pytest.fixture
def home(jupyter_bin: str) -> Iterator[RemoteHome]:
    with new_home(jupyter_bin) as made:
        yield made


@pytest.fixture
def key() -> str:
    return new_key()


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
                assert self._running[-1].poll() is None, "the server that was started by hand has ended"
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


@pytest.mark.long
def test_servers_started_by_hand_are_adopted(by_hand: ByHand, key: str) -> None:
    """With a token of its own, with a password only, and with no lock at all; each by its directory."""
    arguments = {
        "token": (),
        "password": (f"--PasswordIdentityProvider.hashed_password=sha1:a:{'0' * 40}",),
        "nothing": ("--IdentityProvider.token=", "--ServerApp.base_url=/x"),
    }

    async def main() -> None:
        remote = by_hand.home.connect()
        found: dict[str, Server] = {}
        started: list[subprocess.Popen[bytes]] = []
        for name, given in arguments.items():
            # One after another: Jupyters that make a new home's files at once get in each other's way.
            started.append(by_hand.begin(name, *given))
            options = replace(OPTIONS, directory=f"~/{name}")
            found[name] = await by_hand.find(options, f"{key}-{name}")
        assert [server.pid for server in found.values()] == [process.pid for process in started]
        assert {server.origin for server in found.values()} == {"adopted"}
        assert found["nothing"].path_for_browser == "/x/lab"
        for name, server in found.items():
            answer = await probe(remote, server, timeout_s=10)
            assert answer.version == server.version
            assert (answer.kernels is None) == (name == "password")
        assert found["password"].asks_password_only
        assert await busy_kernels(remote, found["password"]) is None
        before, after = [await list_servers(remote, OPTIONS, f"{key}-token") for _ in range(2)]
        # Asking is no use of theirs; starts are told to the second.
        assert [each["last_activity"] for each in before["servers"]] == [
            each["last_activity"] for each in after["servers"]
        ]
        listed = {each["pid"]: each for each in before["servers"]}
        for name, server in found.items():
            each = listed[server.pid]
            assert (each["version"], each["problem"], each["origin"]) == (server.version, None, "other")
            assert each["environment"] == server.environment != ""
            assert (each["password"], each["kernels"] is None) == (name == "password", name == "password")
            assert (each["used_by"], each["used"]) == ([f"{key}-{name}"], name == "token")

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
        assert not await Jupyter(OPTIONS, key).is_still_there(remote, newest, timeout_s=10)
        assert [process.wait(5) for process in started] == [0, 0, 0]
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
            with pytest.raises(ElsewhereError, match="gpu02"):
                await probe(remote, replace(server, host="gpu02"), timeout_s=10)
            with pytest.raises(ServerError):
                await probe(remote, server, timeout_s=10)
            with pytest.raises(ServerError):
                await busy_kernels(remote, server)
            assert remote.opened == []
            assert not await Jupyter(OPTIONS, key).is_still_there(remote, server, timeout_s=10)

        run(main())
    finally:
        impostor.kill()
        said = impostor.communicate()[1]
    # Not a word, but for the question that holds no secret.
    assert said in ("", "/api None\n")
