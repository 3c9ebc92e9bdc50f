"""One remote forward: listens on the remote host, over one connection after another, for a target here.

It is told which connection to work on, and asks that one only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.errors import ChannelError
from jtunnel.forward import remote_socket
from jtunnel.forward.local_target import connect
from jtunnel.forward.remote_refusal import Refusal, explain
from jtunnel.forward.streams import ListenerStats, Streams
from jtunnel.remote import ListeningRemote, RemoteListening
from jtunnel.status import Problem

#: Seconds between the tries for a place that is taken, and for how long it is tried.
_DELAYS_S: Final = (0.5, 1.0, 2.0, 4.0, 5.0)
PATIENCE_S: Final = 60.0
#: Tries for the port that the server chose the last time, before it may choose another.
_TRIES_FOR_SAME_PORT: Final = 3
#: Seconds to give a place back to a server that may not answer any more.
_GIVE_BACK_S: Final = 1.0

_log = logging.getLogger(__name__)


class RemoteForward:
    """Listens at `listen` over there while `run` does, and joins what arrives to `target` here.

    `changed` is called often, whenever what the properties say has changed; it must be quick.
    """

    def __init__(
        self,
        name: str,
        listen: Address,
        target: Address,
        *,
        changed: Callable[[], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.name = name
        self.target = target
        self.problem: Problem | None = None
        """`forward-refused` while it does not listen; `target-refused` until the next success here."""
        self.retry_at: datetime | None = None
        """When it asks again by itself."""
        self.given_up = False
        """Whether it is refused for good, until a person asks `again` or there is another connection."""
        self.note = ""
        """What a person should know of a forward that listens."""
        self._listen = listen
        self._changed = changed
        self._patience_s = patience_s
        self._address = listen
        self._listening: RemoteListening | None = None
        self._asked = asyncio.Event()
        self._turn = asyncio.Lock()
        self._connecting = 0
        self._accepted = 0
        self._resets = 0
        self._streams = Streams(changed)

    @property
    def listening(self) -> bool:
        """Whether the remote host listens for it."""
        return self._listening is not None

    @property
    def address(self) -> Address:
        """Where it listens, with the real port number once that is known."""
        return self._address

    @property
    def is_settled(self) -> bool:
        """Whether it is known if it works: it listens, or has a problem."""
        return self.listening or self.problem is not None

    @property
    def stats(self) -> ListenerStats:
        """The counts as they are now; nothing is held."""
        return ListenerStats(
            active=len(self._streams) + self._connecting,
            held=0,
            accepted=self._accepted,
            bytes_in=self._streams.bytes_in,
            bytes_out=self._streams.bytes_out,
            served_held=0,
            cut=self._streams.cut,
        )

    def again(self) -> None:
        """A person asks: try now what is waited for or was given up."""
        self._asked.set()

    def reset(self) -> None:
        """Cut all its streams at once, those that are just beginning too."""
        self._resets += 1
        self._streams.reset()

    async def run(self, remote: ListeningRemote) -> None:
        """Work on this connection until cancelled; then the place is given back, and streams stay.

        The next may begin before that is done, and waits for it.
        """
        async with self._turn:
            try:
                listening = await self._obtain(remote)
                try:
                    await self._tend(remote, listening)
                finally:
                    await self._give_back(remote, listening)
            except ChannelError as error:
                # Only a lost connection; whoever gave it knows too.
                _log.debug("forward %s: %s", self.name, error)
                await asyncio.Event().wait()
            finally:
                self._show(None)

    async def _tend(self, remote: ListeningRemote, listening: RemoteListening) -> None:
        """See to what cannot be asked for, and wait."""
        self._listening = listening
        if listening.address != self._address:
            _log.info("forward %s: the server listens on %s", self.name, listening.address)
            self._address = listening.address
        self._show(None)
        address = listening.address
        if isinstance(address, UnixAddress):
            await remote_socket.guard(remote, address.path)
        elif _is_exposed(address) and await remote_socket.is_loopback_only(remote, address.port):
            self.note = f"{remote.where} keeps {address} on its loopback (GatewayPorts in its sshd_config)"
            _log.warning("forward %s: %s", self.name, self.note)
            self._changed()
        await asyncio.Event().wait()

    async def _give_back(self, remote: ListeningRemote, listening: RemoteListening) -> None:
        self._listening = None
        self.note = ""
        with contextlib.suppress(ChannelError, TimeoutError):
            async with asyncio.timeout(_GIVE_BACK_S):
                await listening.give_back()
                if isinstance(listening.address, UnixAddress):
                    await remote_socket.remove(remote, listening.address.path)

    async def _obtain(self, remote: ListeningRemote) -> RemoteListening:
        """Ask until the server listens, as long as that makes sense, and again when a person asks."""
        while True:
            try:
                return await self._ask_patiently(remote)
            except ChannelError as error:
                if error.kind == "connection-lost":
                    raise
                self._asked.clear()
                self._show(error, given_up=True)
                await self._asked.wait()
                self._show(None)

    async def _ask_patiently(self, remote: ListeningRemote) -> RemoteListening:
        """Ask while the place may become free; raises ChannelError."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._patience_s
        attempt = 0
        while True:
            answer = await self._ask(remote)
            if not isinstance(answer, Refusal):
                return answer
            delay_s = _DELAYS_S[min(attempt, len(_DELAYS_S) - 1)] * random.uniform(0.75, 1.0)  # noqa: S311
            attempt += 1
            if self._address != self._listen and attempt >= _TRIES_FOR_SAME_PORT:
                _log.info("forward %s: %s; another port will do", self.name, answer.error.message)
                self._address = self._listen
            elif not answer.passes or loop.time() + delay_s > give_up_at:
                raise answer.error
            else:
                await self._pause(answer.error, delay_s)

    async def _ask(self, remote: ListeningRemote) -> RemoteListening | Refusal:
        """Ask once, and once more where what was in the way has been removed."""
        refusal = await self._try_to_listen(remote)
        if isinstance(refusal, Refusal) and refusal.cleared:
            _log.info("forward %s: %s, and is replaced", self.name, refusal.error.message)
            return await self._try_to_listen(remote)
        return refusal

    async def _try_to_listen(self, remote: ListeningRemote) -> RemoteListening | Refusal:
        try:
            return await remote.listen(self._address, self._arrive)
        except ChannelError as error:
            if error.kind == "connection-lost":
                raise
            if error.reason == "twice":
                return Refusal(error)
        return await explain(remote, self.name, self._address)

    async def _pause(self, refusal: ChannelError, delay_s: float) -> None:
        self._asked.clear()
        self._show(refusal, retry_at=datetime.now(UTC) + timedelta(seconds=delay_s))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._asked.wait()

    async def _arrive(self) -> asyncio.Protocol:
        """Connect to the target here for a channel from over there."""
        self._accepted += 1
        self._connecting += 1
        self._changed()
        resets = self._resets
        try:
            sock = await connect(self.target)
            bridge = self._streams.new()
            await bridge.take(sock)
            self._streams.add(bridge)
            self.problem = None
            if self._resets != resets:
                bridge.reset()
        except ChannelError as error:
            if self.listening:
                self.problem = error.problem
            raise
        finally:
            self._connecting -= 1
            self._changed()
        return bridge.far

    def _show(
        self, error: ChannelError | None, *, retry_at: datetime | None = None, given_up: bool = False
    ) -> None:
        self.problem = error.problem if error else None
        self.retry_at = retry_at
        self.given_up = given_up
        self._changed()


def _is_exposed(address: TcpAddress) -> bool:
    return address.host not in ("", "localhost", "::1") and not address.host.startswith("127.")
