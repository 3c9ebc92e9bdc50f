"""A live SSH connection: run commands, open channels, ask whether the peer still answers.

It never reconnects; what happens after it is lost is its link's affair.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncssh

from jtunnel.address import Address, TcpAddress
from jtunnel.errors import ChannelError, LinkError
from jtunnel.remote import CommandResult, FarEnd
from jtunnel.ssh import failures

_log = logging.getLogger(__name__)

#: Seconds that an orderly goodbye may take before the socket is simply closed.
CLOSE_TIMEOUT_S: Final = 1.0
#: Seconds in which the far side opens a channel or says no.
CHANNEL_TIMEOUT_S: Final = 10.0
_SETTLE_DELAY_S: Final = 0.05
_SETTLE_TIMEOUT_S: Final = 30.0


class Connection:
    """One authenticated SSH connection (`Remote`); `where` names its far side in messages."""

    def __init__(self, ssh: asyncssh.SSHClientConnection, where: str, lost: asyncio.Future[Exception | None]):
        self.ssh = ssh
        self.where = where
        self.latency_s: float | None = None
        self._lost = lost
        self._commands = asyncio.Lock()
        self._commands_run = 0

    @property
    def is_lost(self) -> bool:
        """Whether it is known to be gone."""
        return self._lost.done()

    async def wait_lost(self) -> LinkError:
        """Wait until the connection is gone; return why."""
        await asyncio.wait([self._lost])
        return failures.lost(self.where, self._lost.result())

    async def run(self, command: str, *, stdin: str = "", timeout_s: float) -> CommandResult:
        """See `Remote.run`."""
        self._commands_run += 1
        async with asyncio.timeout(timeout_s), self._commands:
            try:
                done = await self.ssh.run(
                    command, input=stdin, encoding="utf-8", errors="replace", check=False, request_pty=False
                )
            except asyncssh.ChannelOpenError as error:
                if self.is_lost:
                    raise self._lost_channel() from None
                raise ChannelError(
                    "forward-refused",
                    f"{self.where} runs no commands for this login: {failures.one_line(error.reason)}",
                    "Jupyter needs them to be found and started; plain forwards do not",
                ) from None
            except (asyncssh.Error, OSError):
                raise self._lost_channel() from None
        if done.exit_status is None and self.is_lost:
            raise self._lost_channel()
        return CommandResult(done.exit_status, _text(done.stdout), _text(done.stderr))

    async def open(self, target: Address, protocol: asyncio.Protocol) -> FarEnd:
        """See `Opener`; reading starts at the caller's first `resume_reading`, or in the loop's next turn."""
        session = _Session(protocol)

        async def connect() -> None:
            if isinstance(target, TcpAddress):
                await self.ssh.create_connection(lambda: session, target.host, target.port)
            else:
                await self.ssh.create_unix_connection(lambda: session, target.path)

        try:
            await self._open_in_time(target, connect)
        except asyncssh.ChannelOpenError as error:
            if self.is_lost or not self._is_open:
                raise self._lost_channel() from None
            raise failures.channel_failed(target, error) from None
        except (asyncssh.Error, OSError):
            raise self._lost_channel() from None
        far_end: FarEnd = session.channel
        return far_end

    async def _open_in_time(self, target: Address, connect: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(CHANNEL_TIMEOUT_S):
                await connect()
        except TimeoutError:
            raise ChannelError(
                "target-refused",
                f"{target} did not answer within {CHANNEL_TIMEOUT_S:.0f} s",
                "check the forward's target, and firewalls on the remote host",
            ) from None

    async def ask(self, timeout_s: float) -> float:
        """Ask whether the peer still answers (keepalive@openssh.com); return the round trip in seconds.

        Raises TimeoutError after `timeout_s`. Any answer counts, a refusal too (RFC 4254 §4).
        """
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        async with asyncio.timeout(timeout_s):
            # asyncssh sends such a question only by its own keepalive, which kills the connection.
            await self.ssh._make_global_request(b"keepalive@openssh.com")  # noqa: SLF001
        self.latency_s = loop.time() - asked_at
        return self.latency_s

    async def settle(self) -> None:
        """Run one trivial command unless somebody else runs one.

        sshd switches Nagle's algorithm off only when a session begins; until then each new channel
        costs 40 ms. A server that gives no sessions works all the same.
        """
        await asyncio.sleep(_SETTLE_DELAY_S)
        if self._commands_run:
            return
        try:
            await self.run("exit 0", timeout_s=_SETTLE_TIMEOUT_S)
        except (ChannelError, TimeoutError):
            _log.debug("%s runs no commands", self.where)

    def abort(self) -> None:
        """Drop the connection at once, without a word to a peer that may not hear."""
        self.ssh.abort()

    async def close(self) -> None:
        """Say goodbye, for at most CLOSE_TIMEOUT_S; every channel is gone when this returns."""
        self.ssh.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.ssh.wait_closed()
        except TimeoutError:
            self.ssh.abort()
            await asyncio.wait([self._lost], timeout=CLOSE_TIMEOUT_S)

    @property
    def _is_open(self) -> bool:
        return not self.ssh.is_closed()

    def _lost_channel(self) -> ChannelError:
        return ChannelError("connection-lost", f"lost {self.where}")


class _Session(asyncssh.SSHTCPSession[bytes], asyncssh.SSHUNIXSession[bytes]):
    """Drives an asyncio.Protocol with what a channel delivers.

    asyncssh reports a connection that was aborted as if the channel had been closed in order, so
    a close counts as orderly only after the far side's end of file.
    """

    channel: Any = None

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self._ended = False

    def connection_made(self, chan: Any) -> None:
        self.channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool:
        self._ended = True
        self._protocol.eof_received()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self.channel is None:
            return
        if exc is None and not self._ended:
            exc = ConnectionResetError("the far side is gone")
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


def _text(output: str | bytes | bytearray | memoryview | None) -> str:
    return output if isinstance(output, str) else bytes(output or b"").decode(errors="replace")
