"""What a kernel prints while its connection is silent: at a server that jtunnel started, with no tunnel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from jtunnel.status import JupyterStatus
from tests.support.accounts import Account
from tests.support.laptop import NAME, Laptop
from tests.support.relay import Relay

pytestmark = pytest.mark.long

WITHIN_S = 200.0
#: What TCP may need after 10 s without a network, while the round trip is short.
SILENCE_S = 19.0
#: The longest time to the ping that goes unanswered, and tornado's 5 s for an answer to its goodbye.
NOTICED_WITHIN_S = 25.0 + 5.0 + 1.0
#: Prints once a second, and says in a file how far it is.
TICKING = """
import time
for tick in range({count}):
    print('tick', tick, flush=True)
    open({path!r}, 'w').write(str(tick))
    time.sleep(1)
"""


class Session:
    """A notebook's session with a kernel, over any number of connections."""

    def __init__(self, token: str, kernel: str, socket_path: str) -> None:
        self.name = secrets.token_hex(8)
        self.ticks: list[int] = []
        self._url = f"ws://localhost/api/kernels/{kernel}/channels?session_id={self.name}"
        self._token = token
        self._socket_path = socket_path
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[ClientConnection, Relay]]:
        """A connection, whose ticks are collected until it is closed by either side."""
        near, far = socket.socketpair()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._socket_path)
        for each in (near, far, server):
            each.setblocking(False)
        relay = Relay(far, server)
        headers = {"Authorization": f"token {self._token}"}
        async with asyncio.TaskGroup() as tasks:
            relaying = tasks.create_task(relay.run())
            connection = await connect(
                self._url, sock=near, additional_headers=headers, ping_interval=None, close_timeout=0.1
            )
            collecting = tasks.create_task(self._collect(connection))
            try:
                yield connection, relay
            finally:
                connection.transport.abort()
                await collecting
                relaying.cancel()

    async def begin(self, connection: ClientConnection, code: str) -> None:
        """Have the kernel run code."""
        header = {
            "msg_id": secrets.token_hex(8),
            "username": "",
            "session": self.name,
            "msg_type": "execute_request",
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "user_expressions": {}, "allow_stdin": False}
        message = {
            "channel": "shell",
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
        }
        await connection.send(json.dumps({**message, "buffers": []}))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until so many ticks have come."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    async def _collect(self, connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                message = json.loads(text)
                if message["msg_type"] == "stream":
                    lines = message["content"]["text"].splitlines()
                    self.ticks += [int(line.removeprefix("tick ")) for line in lines]
                    self._news.set()


@pytest.fixture
def kernel(laptop: Laptop, lab_server: JupyterStatus) -> Iterator[str]:
    """A kernel of the server."""
    laptop.up()
    jupyter = laptop.jupyter()
    kernel_id = jupyter.begin_kernel()
    yield kernel_id
    jupyter.end_kernel(kernel_id)


@pytest.fixture
def session(laptop: Laptop, lab_server: JupyterStatus, kernel: str) -> Session:
    """A session with it, which knows the server's socket."""
    target = lab_server["target"]
    assert target is not None
    return Session(laptop.jupyter().token, kernel, target.removeprefix("unix:"))


@pytest.fixture
def progress(lab_account: Account, kernel: str) -> str:
    """The file that says how far the kernel is."""
    return lab_account.path(f"ticks-{kernel}")


def last_tick(path: str) -> int:
    """How far the kernel is."""
    with open(path) as file:
        return int(file.read() or -1)


def test_a_silence_that_tcp_survives_loses_nothing(session: Session, progress: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(WITHIN_S), session.connected() as (connection, relay):
            await session.begin(connection, TICKING.format(count=26, path=progress))
            await session.until(lambda: len(session.ticks) == 3)
            relay.pause()
            await asyncio.sleep(SILENCE_S)
            assert len(session.ticks) < 6
            relay.resume()
            await session.until(lambda: len(session.ticks) == 26)
            assert connection.close_code is None
        assert session.ticks == list(range(26))

    asyncio.run(main())


def test_a_dead_connection_is_noticed_and_the_rest_kept(
    session: Session, progress: str, lab_account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    log = lab_account.path(f".local/share/jtunnel/{NAME}@{os.uname().nodename}.log")

    def is_noticed() -> bool:
        with open(log) as file:
            return any("Starting buffering" in line and session.name in line for line in file)

    async def main() -> None:
        async with asyncio.timeout(WITHIN_S), session.connected() as (connection, relay):
            await session.begin(connection, TICKING.format(count=45, path=progress))
            await session.until(lambda: len(session.ticks) == 3)
            relay.pause()
            died_at = time.monotonic()
            while not is_noticed():
                await asyncio.sleep(0.1)
            noticed_s = time.monotonic() - died_at
            noticed = last_tick(progress)
            while last_tick(progress) < noticed + 3:
                await asyncio.sleep(0.1)
        seen = set(session.ticks)
        async with asyncio.timeout(WITHIN_S), session.connected():
            await session.until(lambda: 44 in session.ticks)
        lost = sorted(set(range(45)) - set(session.ticks))
        with capsys.disabled():
            print(f"\na dead connection is noticed after {noticed_s:.1f} s; {len(lost)} s of output are lost")
        assert noticed_s < NOTICED_WITHIN_S
        assert set(lost) <= set(range(max(seen) + 1, noticed + 1))
        assert session.ticks == sorted(set(session.ticks))

    asyncio.run(main())
