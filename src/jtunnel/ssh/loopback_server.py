"""A small SSH server on loopback for the demo: one key may log in, commands run as this user.

It is asyncssh's own server with this machine behind it: a shell for commands, real TCP and Unix
targets for forwards. Not a server to expose: it binds to 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

import asyncssh

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 65536


class LoopbackServer:
    """An SSH server with throw-away keys; commands run in `home` with the environment `environ`."""

    def __init__(self, home: str, environ: Mapping[str, str]) -> None:
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.user_key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self._home = home
        self._environ = {**environ, "HOME": home}
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._children: set[asyncio.subprocess.Process] = set()

    @property
    def known_hosts_line(self) -> str:
        """The server's line in known_hosts."""
        return f"[{_HOST}]:{self.port} {self.host_key.export_public_key('openssh').decode()}"

    async def listen(self) -> None:
        """Start listening: on a free port at first, on the same one after an outage."""
        if self._acceptor is not None:
            return
        authorized = asyncssh.import_authorized_keys(self.user_key.export_public_key("openssh").decode())
        self._acceptor = await asyncssh.listen(
            _HOST,
            self.port,
            server_factory=lambda: _Server(self._connections),
            server_host_keys=[self.host_key],
            authorized_client_keys=authorized,
            process_factory=self._run_command,
            encoding=None,
            reuse_address=True,
        )
        self.port = self._acceptor.get_port()

    async def cut(self) -> None:
        """Stop listening and drop every connection, as a network that goes away would."""
        if self._acceptor:
            self._acceptor.close()
            await self._acceptor.wait_closed()
            self._acceptor = None
        for connection in list(self._connections):
            connection.abort()

    async def end_commands(self) -> None:
        """End the commands that still run, and return when they have ended."""
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
        await asyncio.gather(*(child.wait() for child in self._children))

    async def _run_command(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or "exec /bin/sh"
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._home,
            env=self._environ,
        )
        self._children.add(child)
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            async with asyncio.TaskGroup() as pumps:
                feeding = pumps.create_task(_feed(process.stdin, child.stdin))
                outputs = [
                    pumps.create_task(_copy(child.stdout, process.stdout)),
                    pumps.create_task(_copy(child.stderr, process.stderr)),
                ]
                await asyncio.wait(outputs)
                code = await child.wait()
                feeding.cancel()
            process.exit(code)
        finally:
            if child.returncode is None:
                child.terminate()
                await child.wait()
            self._children.discard(child)


async def _feed(source: asyncssh.SSHReader[bytes], sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncssh.Error, OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
    sink.close()


async def _copy(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    with contextlib.suppress(asyncssh.Error, OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()


class _Server(asyncssh.SSHServer):
    """Allows every forward to this machine, and keeps the list of connections."""

    def __init__(self, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection:
            self._connections.discard(self._connection)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True

    def unix_connection_requested(self, dest_path: str) -> bool:
        return True
