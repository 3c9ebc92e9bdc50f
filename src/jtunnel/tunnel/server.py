"""The remote server of one tunnel, from its search to the moment it stops answering.

How its kind is found, started and asked is its `Service`'s; this keeps which server is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from jtunnel.address import Address
from jtunnel.changes import Changes
from jtunnel.errors import ChannelError, ServerError
from jtunnel.forward.listener import Listener
from jtunnel.remote import Remote
from jtunnel.service.search import Wish
from jtunnel.service.server import Answer, ElsewhereError, Server
from jtunnel.service.service import Service
from jtunnel.status import JupyterState

#: Seconds between questions to a server that is up; asking does not count as activity there.
PROBE_INTERVAL_S: Final = 30.0
_PROBE_TIMEOUT_S: Final = 15.0
#: Seconds for the short way back to a server that is known, before it is searched for.
_RETURN_TIMEOUT_S: Final = 10.0


class ServerLife:
    """Which server a tunnel uses, and what is known of it; `alias` is what a person calls its host."""

    def __init__(self, name: str, service: Service, alias: str = "") -> None:
        self.state: JupyterState = "searching"
        self.current: Server | None = None
        self.answer: Answer | None = None
        self._name = name
        self.service = service
        self._alias = alias
        self._may_start = True
        self._here = False
        self._to_end: Server | None = None
        self._proven: Server | None = None
        self._doubted_on: Remote | None = None
        self._doubts = Changes()
        self._is_fresh = False

    def allow_start(self, *, here: bool = False) -> None:
        """Let the next search start a new server where the last one is gone.

        With `here`, also where that lives on another node than the connection leads to.
        """
        self._may_start = True
        self._here = here

    def forget(self) -> None:
        """Know of no server any more: its tunnel is not wanted now, or is to look for another."""
        self.state = "searching"
        self.current = self.answer = self._proven = None
        self._may_start = True
        self._here = False
        self._to_end = None

    def renew(self, remote: Remote) -> None:
        """A person wants a new server in place of the present one, which is ended first.

        Only that very one, and on the next connection if this one is lost before.
        """
        self._to_end = self.current
        self.doubt(remote)

    def url(self, port: int, *, token: bool) -> str | None:
        """The server's address at the local `port`; None where it is not known, or has no pages."""
        return self.service.url(self.current, port, token=token) if self.current is not None else None

    async def bring_up(
        self, remote: Remote, starting: Callable[[str], None], changed: Callable[[], None]
    ) -> Address:
        """Find the server, or start one, and prove that it answers; return where it listens.

        A server that was there and is gone is not started anew, since its kernels are lost: a
        person decides. Raises ElsewhereError, other ServerErrors and ChannelError.
        """
        self.state = "searching"
        changed()
        server = self._proven if remote is not self._doubted_on and not self._to_end else None
        if server and await self._is_still_there(remote, server):
            # Who waits is served before all else is asked.
            self._is_fresh = False
        else:
            self._proven = None
            if self._to_end is not None and self._to_end == self.current:
                server = await self._renew(remote, self._to_end, starting)
            else:
                server = await self._find_or_start(remote, starting)
            self.current, self._to_end = server, None
            await self.check(remote)
            self._proven = server
            self._doubted_on = None
            self._is_fresh = True
        self._may_start = self._here = False
        self.state = "ready"
        return server.target

    @property
    def _wish(self) -> Wish:
        stays = self.current is not None and not self._may_start
        return Wish(self.current, self._here, self._alias, stays)

    async def check(self, remote: Remote) -> None:
        """Ask the server once more; raises ServerError or ChannelError where it is not the one it was."""
        assert self.current is not None
        self.answer = await self.service.probe(remote, self.current, timeout_s=_PROBE_TIMEOUT_S)

    async def wait_failed(self, remote: Remote, listener: Listener, changed: Callable[[], None]) -> None:
        """Ask again and again; return when the server has not answered.

        A connection that could not be opened through the listener is a reason to ask at once, and so is
        an answer from before the connection was lost.
        """
        assert self.current is not None
        while True:
            listener.failed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_INTERVAL_S if self._is_fresh else 0):
                    await listener.failed.wait()
            self._is_fresh = True
            try:
                answer = await self.service.probe(remote, self.current, timeout_s=_PROBE_TIMEOUT_S)
            except (ServerError, ChannelError):
                # On another connection it may have been that, and not the server.
                self._doubted_on = remote
                self.state = "not-answering"
                changed()
                return
            if answer != self.answer:
                self.answer = answer
                changed()

    def doubt(self, remote: Remote) -> None:
        """A person has found that it does not answer over this connection: look for it anew."""
        self._doubted_on = remote
        self.state = "not-answering"
        self._doubts.notify()

    async def wait_doubted(self, remote: Remote) -> None:
        """Wait until that happens."""
        await self._doubts.until(lambda: self._doubted_on is remote)

    async def _is_still_there(self, remote: Remote, server: Server) -> bool:
        return await self.service.is_still_there(remote, server, timeout_s=_RETURN_TIMEOUT_S)

    async def _find_or_start(self, remote: Remote, starting: Callable[[str], None]) -> Server:
        server = await self._find(remote)
        if server is not None and server.answering:
            return server
        # One that is there and does not answer is waited for; it may be starting.
        self.state = "not-answering" if self.current else "starting"
        starting("starting")
        return await self.service.start(remote, starting, self._wish)

    async def _renew(self, remote: Remote, server: Server, starting: Callable[[str], None]) -> Server:
        self.state = "starting"
        starting(f"ending the {self.service.noun} on {server.host} (pid {server.pid})")
        try:
            await self.service.stop(remote, server)
        except ServerError:
            # What a person does about that may take long, and the server be of use to him meanwhile.
            self._to_end = None
            raise
        self._to_end = None
        self._may_start = True
        return await self.service.start(remote, starting, replace(self._wish, last=None))

    async def _find(self, remote: Remote) -> Server | None:
        """The server to use, or None where one is to be started; raises `server-gone` where neither."""
        missing: ServerError | None = None
        server: Server | None = None
        try:
            server = await self.service.find(remote, self._wish)
        except ElsewhereError:
            self.state = "not-answering"
            raise
        except ServerError as error:
            if error.kind not in ("jupyter-missing", "service-missing"):
                raise
            missing = error
        if server is None and self.current is not None and not self._may_start:
            self.state = "gone"
            raise self.service.gone(self.current, f"start a new one with: jtunnel up {self._name}")
        if missing is not None:
            raise missing
        return server
