"""A live SSH connection: run commands, open channels, listen over there, ask whether the peer still answers.

It never reconnects; what happens after it is lost is its link's affair.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import asyncssh

from jtunnel.address import Address, TcpAddress
from jtunnel.changes import Changes
from jtunnel.errors import ChannelError, LinkError
from jtunnel.remote import Arrived, CommandResult, FarEnd, RemoteListening
from jtunnel.ssh import failures
from jtunnel.ssh.channel import ArrivedSession, ChannelSession
from jtunnel.ssh.command import EndlessOutputError, run_to_end
from jtunnel.ssh.remote_listening import Listening, RefusedError
from jtunnel.ssh.sockets import Progress, ip_addresses, read_progress, reset_on_close

_T = TypeVar("_T")

#: Seconds that an orderly goodbye may take before the socket is simply closed.
CLOSE_TIMEOUT_S: Final = 1.0

_log = logging.getLogger(__name__)


class Connection:
    """One authenticated SSH connection (`ListeningRemote`); `where` names its far side in messages.

    `asked_person`: this login took a password or code from a person, and cannot be repeated without one.
    `local_address` and `peer_address` are the IP addresses of its own TCP connection; None where that is
    a jump host's or a ProxyCommand's. `latency_s` is the round trip of the last answered question.
    """

    def __init__(
        self,
        ssh: asyncssh.SSHClientConnection,
        where: str,
        lost: asyncio.Future[Exception | None],
        *,
        sock: socket.socket | None,
        jump: Connection | None,
        asked_person: bool,
    ) -> None:
        self.ssh = ssh
        self.where = where
        self.asked_person = asked_person
        local, peer = ip_addresses(sock) if sock else (None, None)
        self.local_address: str | None = local
        self.peer_address: str | None = peer
        self.latency_s: float | None = None
        self._sock = sock
        self._jump = jump
        self._lost = lost
        self._commands = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._streams: set[ChannelSession] = set()
        self._stream_ends = Changes()
        self._listenings: set[Listening] = set()

    @property
    def is_local(self) -> bool:
        """Whether the far side is this machine, as far as the addresses of its own TCP connection tell."""
        return self.peer_address is not None and self.peer_address == self.local_address

    @property
    def is_lost(self) -> bool:
        """Whether it is known to be gone."""
        return self._lost.done()

    async def wait_lost(self) -> LinkError:
        """Wait until the connection is gone; return why."""
        await asyncio.wait([self._lost])
        jump = self._jump.where if self._jump is not None and self._jump.is_lost else None
        return failures.lost(self.where, self._lost.result(), jump)

    async def run(
        self, command: str, *, stdin: str = "", timeout_s: float, until: str | None = None
    ) -> CommandResult:
        """See `Remote.run`; also ChannelError `forward-refused` for output without end."""

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
        try:
            return await self.open_raw(target, protocol)
        except asyncssh.ChannelOpenError as error:
            if not self._is_open:
                raise self._lost_channel() from None
            raise failures.channel_failed(target, error) from None
        except (asyncssh.Error, OSError):
            raise self._lost_channel() from None

    async def open_raw(self, target: Address, protocol: asyncio.Protocol) -> FarEnd:
        """The same, raising asyncssh.Error and OSError; for the SSH connection over this one."""
        session = ChannelSession(protocol, self._forget_stream)

        async def connect() -> FarEnd:
            try:
                if isinstance(target, TcpAddress):
                    await self.ssh.create_connection(lambda: session, target.host, target.port)
                else:
                    await self.ssh.create_unix_connection(lambda: session, target.path)
            except BaseException as error:
                self._forget_stream(session)
                if isinstance(error, AssertionError):  # as in `run`
                    raise asyncssh.ConnectionLost("closed meanwhile") from None
                raise
            far_end: FarEnd = session.channel
            return far_end

        self._streams.add(session)
        return await self._finished(connect(), _abort_far_end)

    async def listen(self, listen: Address, arrived: Arrived) -> RemoteListening:
        """See `ListeningRemote`; the same twice over one connection is refused here."""
        self._listenings = {other for other in self._listenings if not other.is_over}
        if any(_clash(other.address, listen) for other in self._listenings):
            raise failures.listening_twice(self.where, listen)
        listening = Listening(self.ssh, listen, lambda: self._accept(arrived))

        async def ask() -> Listening:
            self._listenings.add(listening)
            try:
                await listening.ask()
            except BaseException:
                self._listenings.discard(listening)
                raise
            return listening

        def discard(late: Listening) -> None:
            self._start(late.give_back())

        try:
            return await self._finished(ask(), discard)
        except (asyncssh.Error, OSError, AssertionError):  # the last as in `run`
            raise self._lost_channel() from None
        except RefusedError:
            # asyncssh refuses for a connection that is gone; a turn of the loop later that is known here too.
            await asyncio.sleep(0)
            if not self._is_open:
                raise self._lost_channel() from None
            if any(_clash(other.address, listen, anywhere=True) for other in self._listenings):
                raise failures.listening_twice(self.where, listen) from None
            raise failures.listening_refused(self.where, listen) from None

    async def _accept(self, arrived: Arrived) -> ArrivedSession:
        """The session of a channel that the far side opens; raises asyncssh.ChannelOpenError."""
        try:
            session = ArrivedSession(await arrived(), self._forget_stream)
        except ChannelError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, error.message) from None
        except Exception:  # noqa: BLE001  (asyncssh would end the connection for it)
            _log.exception("%s: a channel from there failed", self.where)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "internal error") from None
        self._streams.add(session)
        # asyncssh opens the channel before the loop's next turn, or never.
        asyncio.get_running_loop().call_soon(session.forget)
        return session

    async def wait_idle(self) -> None:
        """Wait until there is no stream, not even one that is being opened; commands do not count."""
        await self._stream_ends.until(lambda: not self._streams)

    def _forget_stream(self, session: ChannelSession) -> None:
        self._streams.discard(session)
        self._stream_ends.notify()

    async def _finished(self, opening: Coroutine[Any, Any, _T], discard: Callable[[_T], None]) -> _T:
        """Await an opening that goes on when its caller is cancelled, and is then closed at once.

        An opening that is cancelled half-way leaks its channel on the far side (asyncssh issue 823).
        """
        task = self._start(opening)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda late: _discard(late, discard))
            raise

    def _start(self, coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def question(self) -> asyncio.Future[float | None]:
        """Ask the peer whether it still answers; several questions may be pending.

        The result is the round trip in seconds, whenever the answer comes, or None once the connection
        is gone; never an exception.
        """
        return self._start(self._ask())

    async def _ask(self) -> float | None:
        # The loop's own clock may know whole milliseconds only.
        asked_at = time.monotonic()
        try:
            # asyncssh sends such a question only by its own keepalive, which kills the connection. Answers
            # come in the order of the questions, and any counts, a refusal too (RFC 4254 §4).
            await self.ssh._make_global_request(b"keepalive@openssh.com")  # noqa: SLF001
        except (asyncssh.Error, OSError, AssertionError):  # the last as in `run`
            return None
        latency_s = time.monotonic() - asked_at
        # asyncssh answers for a connection that is gone; a turn of the loop later that is known here too.
        await asyncio.sleep(0)
        if not self._is_open:
            return None
        self.latency_s = latency_s
        return latency_s

    def progress(self) -> Progress | None:
        """How far the kernel has got with what was sent; None where that is not known."""
        return None if self._sock is None else read_progress(self._sock)

    def abort(self) -> None:
        """Drop the connection at once, without a word to a peer that may not hear."""
        if self._sock is not None and not self.is_lost:
            # Else the kernel goes on sending what is left, to nobody, for minutes.
            reset_on_close(self._sock)
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


def _clash(one: Address, other: Address, *, anywhere: bool = False) -> bool:
    """Whether the two are one port or path; `anywhere`: on whatever addresses."""
    if isinstance(one, TcpAddress) and isinstance(other, TcpAddress):
        return one.port == other.port != 0 and (anywhere or one.host.lower() == other.host.lower())
    return one == other


def _close_process(process: asyncssh.SSHClientProcess[bytes]) -> None:
    process.close()


def _abort_far_end(far_end: FarEnd) -> None:
    far_end.abort()
