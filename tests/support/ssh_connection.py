"""A `jtunnel.ssh` connection under test: to a host of a home's ssh_config, on the daemon's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import uvloop

from jtunnel.ssh.connect import connect
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.destination import Destination
from jtunnel.ssh.dialer import Dialer
from jtunnel.ssh.identities import KeyStore
from jtunnel.ssh.prompts import Desk, Question
from jtunnel.ssh.resolve import resolve
from tests.support.home import Home

TIMEOUT_S = 60.0


def run(main: Callable[[], Coroutine[Any, Any, None]], *, within_s: float = TIMEOUT_S) -> None:
    """Run a test's coroutine with a deadline; AssertionError where the loop had to report anything."""
    reports: list[dict[str, Any]] = []

    async def bounded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        async with asyncio.timeout(within_s):
            await main()
        # What nobody retrieved is reported when it is collected.
        gc.collect()
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())
    assert not reports, reports


async def dial(
    home: Home,
    alias: str = "box",
    *,
    desk: Desk | None = None,
    store: KeyStore | None = None,
    dialer: Dialer | None = None,
    jump: Connection | None = None,
) -> Connection:
    """Connect to a host of the home's ssh_config; raises LinkError."""
    return await connect(
        await resolve(Destination(alias), home.env),
        environ=home.env,
        desk=desk or Desk(),
        store=store or KeyStore(),
        jump=jump,
        dialer=dialer or Dialer(),
    )


@contextlib.asynccontextmanager
async def connected(home: Home, alias: str = "box", **given: Any) -> AsyncIterator[Connection]:
    """The same for as long as the block runs."""
    connection = await dial(home, alias, **given)
    try:
        yield connection
    finally:
        await connection.close()


class Person:
    """Gives prepared answers, in order; after the last one it says no more."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.asked: list[Question] = []

    async def __call__(self, question: Question) -> str | None:
        self.asked.append(question)
        return self.answers.pop(0) if self.answers else None
