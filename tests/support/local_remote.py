"""This machine as a `Remote`, without SSH: commands in a given shell with a home of their own, channels as
plain sockets. For tests of what is built on a Remote; sshd itself is `tests.support.sshd`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from jtunnel.address import Address, TcpAddress
from jtunnel.errors import ChannelError
from jtunnel.remote import CommandResult, FarEnd
from tests.support import processes
from tests.support.home import SYSTEM_PATH

T = TypeVar("T")
#: What people have from posts, and a password.
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


@contextlib.contextmanager
def new_home(jupyter_bin: str | None = None) -> Iterator[RemoteHome]:
    """A home that is gone at the end, with the programs in `jupyter_bin` on its PATH."""
    home = RemoteHome(path=f"{jupyter_bin}:{SYSTEM_PATH}" if jupyter_bin else SYSTEM_PATH)
    try:
        yield home
    finally:
        home.remove()


def new_key() -> str:
    """A profile's name that no other test uses: locks are in a place that all homes share."""
    return f"t{secrets.token_hex(6)}"


class RemoteHome:
    """A home on the other side; `env` is the whole environment of its sessions, and theirs to change.

    Its name has a space and letters that are not ASCII.
    """

    def __init__(self, *, path: str = SYSTEM_PATH, shell: str = "/bin/sh") -> None:
        self.path = tempfile.mkdtemp(prefix="jt-", suffix=" дом", dir="/tmp")
        self.env = {
            "HOME": self.path,
            "PATH": path,
            "SHELL": shell,
            "LANG": "C.UTF-8",
            processes.MARK: os.environ[processes.MARK],
        }

    def write(self, relative: str, text: str, *, mode: int = 0o644) -> str:
        """Write a file below the home, and its directories; the answer is its path."""
        path = os.path.join(self.path, relative)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def read(self, relative: str) -> str:
        """The text of a file below the home."""
        with open(os.path.join(self.path, relative)) as file:
            return file.read()

    def connect(self, *, no_unix: bool = False) -> LocalRemote:
        """A new connection to this home."""
        return LocalRemote(self.env, no_unix=no_unix)

    def remove(self) -> None:
        """Remove it, and whatever still runs in it."""
        processes.kill(processes.running_with("HOME", self.path))
        shutil.rmtree(self.path, ignore_errors=True)


class LocalRemote:
    """A Remote whose other side is this machine.

    `env` is the whole environment of its commands, SHELL (the login shell) among it. With `no_unix`, Unix
    sockets are refused as sshd refuses them; once `is_lost`, everything is. `opened` lists the targets of
    channels, and `commands` counts commands.
    """

    def __init__(self, env: Mapping[str, str], *, no_unix: bool = False) -> None:
        self.env = dict(env)
        self.no_unix = no_unix
        self.is_lost = False
        self.commands = 0
        self.opened: list[Address] = []
        self._one_command = asyncio.Lock()

    async def run(
        self, command: str, *, stdin: str = "", timeout_s: float, until: str | None = None
    ) -> CommandResult:
        """See `Remote.run`."""
        async with asyncio.timeout(timeout_s), self._one_command:
            self._check()
            self.commands += 1
            transport, output = await asyncio.get_running_loop().subprocess_exec(
                lambda: _Output(until),
                self.env["SHELL"],
                "-c",
                command,
                cwd=self.env["HOME"],
                env=self.env,
                start_new_session=True,
            )
            try:
                feed(transport.get_pipe_transport(0), stdin.encode())
                await output.done.wait()
            finally:
                if not output.done.is_set():
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(transport.get_pid(), signal.SIGKILL)
                status = transport.get_returncode()
                transport.close()
                await output.exited.wait()
            self._check()
        if output.has_mark:
            status = 0
        return CommandResult(status if status is not None and status >= 0 else None, *output.texts())

    async def open(self, target: Address, protocol: asyncio.Protocol) -> FarEnd:
        """See `Remote.open`."""
        self._check()
        self.opened.append(target)
        loop = asyncio.get_running_loop()
        session = _Session(protocol)
        try:
            if isinstance(target, TcpAddress):
                transport, _ = await loop.create_connection(lambda: session, target.host, target.port)
            elif self.no_unix:
                raise ConnectionRefusedError
            else:
                transport, _ = await loop.create_unix_connection(lambda: session, target.path)
        except OSError:
            raise ChannelError("target-refused", f"nobody listens at {target}") from None
        # Nothing may arrive before the caller's next turn of the loop.
        loop.call_soon(transport.resume_reading)
        return transport

    def _check(self) -> None:
        if self.is_lost:
            raise ChannelError("connection-lost", "the connection is lost")


def feed(pipe: asyncio.BaseTransport | None, data: bytes) -> None:
    """Write all of a command's input; one that does not read it is its own business."""
    assert isinstance(pipe, asyncio.WriteTransport)
    pipe.write(data)
    pipe.write_eof()


class _Output(asyncio.SubprocessProtocol):
    """Collects what a command prints; `done` at its end, or as soon as a line equals `until`."""

    def __init__(self, until: str | None) -> None:
        self.done = asyncio.Event()
        self.exited = asyncio.Event()
        self.has_mark = False
        self._mark = None if until is None else f"\n{until}\n".encode()
        self._data = {1: bytearray(), 2: bytearray()}

    def texts(self) -> tuple[str, str]:
        """Standard output, and standard error."""
        return self._data[1].decode(errors="replace"), self._data[2].decode(errors="replace")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._data[fd] += data
        if self._mark is not None and self._mark in b"\n" + self._data[1]:
            self.has_mark = True
            self.done.set()

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set()


class _Session(asyncio.Protocol):
    """Passes on all but `connection_made`, as a channel does."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
