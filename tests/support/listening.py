"""A `jtunnel.forward` listener under test: on a free port, its changes awaited, on either event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import uvloop

from jtunnel.address import Address, TcpAddress
from jtunnel.forward.listener import Listener
from tests.support.far_side import PATIENCE_S

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
ANY_PORT = TcpAddress("127.0.0.1", 0)


def run_on(loop: str, main: Coroutine[Any, Any, None], *, within_s: float = 60.0) -> None:
    """Run a test's coroutine on the named event loop, with a deadline."""

    async def bounded() -> None:
        async with asyncio.timeout(within_s):
            await main

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(bounded())


class Watched:
    """A listener and the wait for a state of it."""

    def __init__(
        self, name: str, listen: Address, hold_s: float, open_timeout_s: float, *, dynamic: bool = False
    ) -> None:
        self._changed = asyncio.Event()
        self.listener = Listener(
            name,
            listen,
            hold_s=hold_s,
            changed=self._changed.set,
            open_timeout_s=open_timeout_s,
            dynamic=dynamic,
        )

    async def until(self, condition: Callable[[Listener], bool]) -> None:
        """Wait until the listener says it has changed to this."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition(self.listener):
                self._changed.clear()
                await self._changed.wait()


@contextlib.asynccontextmanager
async def listening(
    listen: Address = ANY_PORT,
    *,
    hold_s: float = 60.0,
    open_timeout_s: float = 10.0,
    dynamic: bool = False,
) -> AsyncIterator[Watched]:
    """A listener that accepts, at hold."""
    watched = Watched("test", listen, hold_s, open_timeout_s, dynamic=dynamic)
    async with watched.listener:
        yield watched
