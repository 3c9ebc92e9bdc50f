"""The remote Jupyter server of one tunnel, from its search to the moment it stops answering.

How servers are found, started and asked is `jtunnel.jupyter`'s; this keeps which one is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from jtunnel.address import Address
from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ChannelError, ServerError
from jtunnel.forward.listener import Listener
from jtunnel.jupyter.find import find
from jtunnel.jupyter.probe import Answer, probe
from jtunnel.jupyter.server import Server
from jtunnel.jupyter.start import start
from jtunnel.remote import Remote
from jtunnel.status import JupyterState

#: Seconds between questions to a server that is up; asking does not count as activity there.
PROBE_INTERVAL_S: Final = 30.0
_PROBE_TIMEOUT_S: Final = 15.0


class ServerLife:
    """Which server a tunnel uses, and what is known of it."""

    def __init__(self, name: str, options: JupyterOptions) -> None:
        self.state: JupyterState = "searching"
        self.current: Server | None = None
        self.answer: Answer | None = None
        self._name = name
        self._options = options
        self._may_start = True

    def allow_start(self) -> None:
        """Let the next search start a new server where the last one is gone."""
        self._may_start = True

    def forget(self) -> None:
        """Know of no server any more: its tunnel is not wanted now."""
        self.state = "searching"
        self.current = self.answer = None
        self._may_start = True

    def url(self, port: int, *, token: bool) -> str:
        """The server's address at the local `port`, always spelled `localhost`: cookies depend on it."""
        assert self.current is not None
        url = f"http://localhost:{port}{self.current.path_for_browser}"
        return f"{url}?token={quote(self.current.token)}" if token and self.current.token else url

    async def bring_up(
        self, remote: Remote, starting: Callable[[str], None], changed: Callable[[], None]
    ) -> Address:
        """Find the server, or start one, and prove that it answers; return where it listens.

        A server that was there and is gone is not started anew, since its kernels are lost: a
        person decides. Raises ServerError and ChannelError.
        """
        self.state = "searching"
        changed()
        server = await self._find(remote)
        if server is None or not server.answering:
            # One that is there and does not answer is waited for; it may be starting.
            self.state = "not-answering" if self.current else "starting"
            starting("starting")
            server = await start(remote, self._options, self._name, starting)
        self.current = server
        await self.check(remote)
        self._may_start = False
        self.state = "ready"
        return server.target

    async def check(self, remote: Remote) -> None:
        """Ask the server once more; raises ServerError or ChannelError where it is not the one it was."""
        assert self.current is not None
        self.answer = await probe(remote, self.current, timeout_s=_PROBE_TIMEOUT_S)

    async def wait_failed(self, remote: Remote, listener: Listener, changed: Callable[[], None]) -> None:
        """Ask again and again; return when the server has not answered.

        A connection that could not be opened through the listener is a reason to ask at once.
        """
        assert self.current is not None
        while True:
            listener.failed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_INTERVAL_S):
                    await listener.failed.wait()
            try:
                answer = await probe(remote, self.current, timeout_s=_PROBE_TIMEOUT_S)
            except (ServerError, ChannelError):
                self.state = "not-answering"
                changed()
                return
            if answer != self.answer:
                self.answer = answer
                changed()

    async def _find(self, remote: Remote) -> Server | None:
        """The server to use, or None where one is to be started; raises `server-gone` where neither."""
        missing: ServerError | None = None
        server: Server | None = None
        try:
            server = await find(remote, self._options, self._name)
        except ServerError as error:
            if error.kind != "jupyter-missing":
                raise
            missing = error
        if server is None and self.current is not None and not self._may_start:
            self.state = "gone"
            raise ServerError(
                "server-gone",
                f"the Jupyter server on {self.current.host} is gone, and its kernels with it",
                f"start a new one with: jtunnel up {self._name}",
            )
        if missing is not None:
            raise missing
        return server
