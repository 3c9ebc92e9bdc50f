"""A live SSH connection: run commands, open channels, ask whether the peer still answers.

It never reconnects; what happens after it is lost is its link's affair.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import asyncssh

from jtunnel.address import Address, TcpAddress
from jtunnel.errors import ChannelError, LinkError
from jtunnel.remote import CommandResult, FarEnd
from jtunnel.ssh import failures
from jtunnel.ssh.channel import ChannelSession
from jtunnel.ssh.command import EndlessOutputError, run_to_end

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds that an orderly goodbye may take before the socket is simply closed.
CLOSE_TIMEOUT_S: Final = 1.0
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
        self._openings: set[asyncio.Task[Any]] = set()

    @property
    def is_lost(self) -> bool:
        """Whether it is known to be gone."""
        return self._lost.done()

    async def wait_lost(self) -> LinkError:
        """Wait until the connection is gone; return why."""
        await asyncio.wait([self._lost])
        return failures.lost(self.where, self._lost.result())

    async def run(
        self, command: str, *, stdin: str = "", timeout_s: float, until: str | None = None
    ) -> CommandResult:
        """See `Remote.run`; also ChannelError `forward-refused` for output without end."""
        self._commands_run += 1

        async def begin() -> asyncssh.SSHClientProcess[bytes]:
            return await self.ssh.create_process(command, encoding=None, request_pty=False)

        async with asyncio.timeout(timeout_s), self._commands:
            try:
                process = await self._finished(begin(), _close_process)
                return await run_to_end(process, stdin.encode(), until)
            except asyncssh.ChannelOpenError as error:
                if not self._is_open:
                    raise self._lost_channel() from None
                raise failures.no_commands(self.where, error.reason) from None
            except EndlessOutputError as error:
                raise failures.no_commands(self.where, str(error)) from None
            except (asyncssh.Error, OSError):
                raise self._lost_channel() from None
            except AssertionError:
                # asyncssh asserts where a channel is asked of a connection that is just being cleaned up.
                raise self._lost_channel() from None

    async def open(self, target: Address, protocol: asyncio.Protocol) -> FarEnd:
        """See `Opener`; the caller bounds the time. Reading starts in the loop's next turn."""
        session = ChannelSession(protocol)

        async def connect() -> FarEnd:
            if isinstance(target, TcpAddress):
                await self.ssh.create_connection(lambda: session, target.host, target.port)
            else:
                await self.ssh.create_unix_connection(lambda: session, target.path)
            far_end: FarEnd = session.channel
            return far_end

        try:
            return await self._finished(connect(), _abort_far_end)
        except asyncssh.ChannelOpenError as error:
            if not self._is_open:
                raise self._lost_channel() from None
            raise failures.channel_failed(target, error) from None
        except (asyncssh.Error, OSError, AssertionError):  # the last as in `run`
            raise self._lost_channel() from None

    async def _finished(self, opening: Coroutine[Any, Any, _T], discard: Callable[[_T], None]) -> _T:
        """Await an opening that goes on when its caller is cancelled, and is then closed at once.

        An opening that is cancelled half-way leaks its channel on the far side (asyncssh issue 823).
        """
        task = asyncio.get_running_loop().create_task(opening)
        self._openings.add(task)
        task.add_done_callback(self._openings.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda late: _discard(late, discard))
            raise

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
        return not (self.is_lost or self.ssh.is_closed())

    def _lost_channel(self) -> ChannelError:
        return ChannelError("connection-lost", f"lost {self.where}")


def _discard(late: asyncio.Task[_T], discard: Callable[[_T], None]) -> None:
    if not late.cancelled() and late.exception() is None:
        discard(late.result())


def _close_process(process: asyncssh.SSHClientProcess[bytes]) -> None:
    process.close()


def _abort_far_end(far_end: FarEnd) -> None:
    far_end.abort()
