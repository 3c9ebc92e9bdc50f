"""An SSH server that fails on demand, exactly where a test wants it: asyncssh's, behind a relay, in a thread.

It forwards to real targets and runs real commands, as this account. Where OpenSSH itself can show a
behaviour, `tests.support.sshd` is the better witness.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, Self, TypeVar

import asyncssh

from tests.support import processes
from tests.support.home import SYSTEM_PATH
from tests.support.keys import Key
from tests.support.relay import Relay
from tests.support.ssh_commands import Commands
from tests.support.ssh_login import Counts, Login, Round

THREAD_TIMEOUT_S = 10.0

_T = TypeVar("_T")

#: Where new connections stop being answered, the stages before it being in order.
Stop = Literal["connect", "banner", "kex", "auth"]
#: After which stage new connections are closed: at once after accept, or after the login.
Close = Literal["connect", "auth"]


class FaultyServer:
    """A server on 127.0.0.1; a context manager that starts it and ends it with all its connections.

    The public attributes may be changed at any time and hold for whatever comes next. With neither
    `authorized`, `password` nor `rounds`, everybody may log in.
    """

    def __init__(
        self,
        host_key: Key,
        *,
        authorized: Sequence[Key] = (),
        password: str | None = None,
        rounds: Sequence[Round] = (),
        home: str | None = None,
    ) -> None:
        self.host_key = host_key
        self.authorized = list(authorized)
        self.password = password
        self.rounds = list(rounds)
        mark = os.environ[processes.MARK]
        self.commands = Commands(
            {"HOME": home or os.environ["HOME"], "PATH": SYSTEM_PATH, processes.MARK: mark}
        )
        self.stop_at: Stop | None = None
        self.close_after: Close | None = None
        self.refuse_sessions: int | None = None
        """The reason code with which session channels are refused (RFC 4254 §5.1), None to serve them."""
        self.refuse_channels: int | None = None
        """The same for forwarded channels."""
        self.channel_delay_s = 0.0
        self.knocks = False
        """Whether a client may have a port listened on here; a channel follows right behind the consent."""
        self.counts = Counts()
        self.port = 0
        self.host = "127.0.0.1"
        self._news = threading.Condition()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._stop = asyncio.Event()
        self._running = asyncio.Event()
        self._channels_open = asyncio.Event()
        self._logins_open = asyncio.Event()
        self._relays: set[Relay] = set()
        self._thread = threading.Thread(target=self._run_thread, name="faulty-ssh-server")

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(THREAD_TIMEOUT_S)
        if self._failure is not None:
            self._thread.join(THREAD_TIMEOUT_S)
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._in_loop(self._stop.set)
        self._thread.join(THREAD_TIMEOUT_S)
        assert not self._thread.is_alive(), "the server's thread does not end"
        if self._failure is not None and kind is None:
            raise self._failure

    def drop_all(self, *, reset: bool = True) -> None:
        """Cut every connection now, by TCP reset or in order; new ones are served."""

        def cut() -> None:
            for relay in self._relays:
                relay.cut(reset=reset)

        self._in_loop(cut)

    def pause(self) -> None:
        """Answer nothing on any connection, without closing it; new connections wait too."""

        def pause() -> None:
            self._running.clear()
            for relay in self._relays:
                relay.pause()

        self._in_loop(pause)

    def pause_existing(self) -> None:
        """The same for the connections that there are now; new ones are served."""

        def pause() -> None:
            for relay in self._relays:
                relay.pause()

        self._in_loop(pause)

    def resume(self) -> None:
        """End the pause: all that waited is served."""

        def resume() -> None:
            self._running.set()
            for relay in self._relays:
                relay.resume()

        self._in_loop(resume)

    def drop_packets(self) -> None:
        """Throw away unseen whatever arrives on the connections there are now, as a network that is cut.

        No acknowledgement is sent for it. New connections are served. Linux only.
        """

        def drop() -> None:
            for relay in self._relays:
                relay.drop_packets()

        self._in_loop(drop)

    def pass_packets(self) -> None:
        """End that: what is sent again arrives."""

        def end() -> None:
            for relay in self._relays:
                relay.pass_packets()

        self._in_loop(end)

    def hold_logins(self) -> None:
        """Leave logins, their key exchange done, unanswered until `release_logins`."""
        self._in_loop(self._logins_open.clear)

    def release_logins(self) -> None:
        """Answer the held logins and all that follow."""
        self._in_loop(self._logins_open.set)

    def hold_channels(self) -> None:
        """Leave requests for forwarded channels unanswered until `release_channels`."""
        self._in_loop(self._channels_open.clear)

    def release_channels(self) -> None:
        """Answer the held requests and all that follow."""
        self._in_loop(self._channels_open.set)

    @property
    def open_connections(self) -> int:
        """How many connections there are now."""
        return self._in_loop(lambda: len(self._relays))

    def wait_open(self, number: int, timeout_s: float = 10.0) -> None:
        """Block until there are so many connections; AssertionError after the timeout."""
        give_up_at = time.monotonic() + timeout_s
        while (now := self.open_connections) != number:
            assert time.monotonic() < give_up_at, f"{now} connections, not {number}"
            time.sleep(0.01)

    def wait_for(self, predicate: Callable[[Counts], bool], timeout_s: float = 10.0) -> Counts:
        """Block until the counts satisfy the predicate; AssertionError after the timeout."""
        with self._news:
            if not self._news.wait_for(lambda: predicate(self.counts), timeout_s):
                raise AssertionError(f"not within {timeout_s} s: {self.counts}")
            return self.counts

    def count(self, change: Callable[[Counts], object]) -> None:
        """Change the counts and wake who waits for them."""
        with self._news:
            change(self.counts)
            self._news.notify_all()

    async def login_turn(self) -> None:
        """Wait until a login may be answered."""
        await self._logins_open.wait()

    async def channel_turn(self) -> None:
        """Wait until a requested channel may be answered."""
        await asyncio.sleep(self.channel_delay_s)
        await self._channels_open.wait()

    def _in_loop(self, call: Callable[[], _T]) -> _T:
        """Call in the server's thread and wait for the answer."""

        async def run() -> _T:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(THREAD_TIMEOUT_S)

    def _run_thread(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failure:  # noqa: BLE001  (the test's thread raises it)
            self._failure = failure
        finally:
            self._started.set()

    async def _serve(self) -> None:
        """Accept until told to stop; then end connections and commands."""
        self._loop = asyncio.get_running_loop()
        self._running.set()
        self._channels_open.set()
        self._logins_open.set()
        with socket.create_server((self.host, 0)) as listener:
            listener.setblocking(False)
            self.port = listener.getsockname()[1]
            async with asyncio.TaskGroup() as group:
                accepting = group.create_task(self._accept(listener, group))
                self._started.set()
                await self._stop.wait()
                accepting.cancel()
                self._logins_open.set()
                for relay in self._relays:
                    relay.cut(reset=True)
        await self.commands.end()

    async def _accept(self, listener: socket.socket, group: asyncio.TaskGroup) -> None:
        while True:
            client, _ = await self._loop.sock_accept(listener)
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.close_after == "connect":
                client.close()
            else:
                group.create_task(self._connection(client))
            self.count(lambda counts: setattr(counts, "connections", counts.connections + 1))

    async def _connection(self, client: socket.socket) -> None:
        """Serve one connection to its end."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stop_at = self.stop_at
        relay = Relay(client, ours, None if stop_at == "auth" else stop_at)
        if not self._running.is_set():
            relay.pause()
        self._relays.add(relay)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._serve_ssh(theirs, mute_auth=stop_at == "auth"))
                await relay.run()
        finally:
            self._relays.discard(relay)

    async def _serve_ssh(self, sock: socket.socket, *, mute_auth: bool) -> None:
        with contextlib.suppress(asyncssh.Error, OSError):
            connection = await asyncssh.run_server(
                sock,
                server_factory=lambda: Login(self, mute_auth=mute_auth),
                server_host_keys=[self.host_key.path],
                encoding=None,
                line_editor=False,
                login_timeout=0,
            )
            await connection.wait_closed()
