"""A connection to a tunnel's host for one call: the tunnel's own, or one that is borrowed for its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from jtunnel.errors import ControlError
from jtunnel.link.life import Link
from jtunnel.link.phase import Blocked, Serving, Waiting
from jtunnel.link.registry import Links
from jtunnel.ssh.connection import Connection
from jtunnel.tunnel.life import Tunnel

#: Seconds that a login may take where nobody is there to be asked.
_LOGIN_S: Final = 60.0


@asynccontextmanager
async def visit(links: Links, tunnel: Tunnel) -> AsyncIterator[Connection]:
    """Lend a connection to where the tunnel leads, whether it is wanted or not; it stays as it is.

    Raises LinkError where there is none, and ControlError where it takes too long.
    """
    if (connection := tunnel.connection) is not None:
        yield connection
        return
    owner = None if tunnel.profile.share else tunnel.profile.name
    async with links.lease(tunnel.destination, tunnel.desk, owner=owner) as link:
        # It may be blocked, or wait for its next try, since before a person came.
        link.retry_now()
        yield await _reach(link, tunnel)


async def _reach(link: Link, tunnel: Tunnel) -> Connection:
    """The link's connection, or why there is none after one try."""
    # A login's stages have their own clocks, and a person may think as long as he likes.
    attended = tunnel.desk.asker is not None
    seen = link.changes.index
    try:
        async with asyncio.timeout(None if attended else _LOGIN_S):
            while not isinstance(link.phase, Serving):
                if isinstance(link.phase, Waiting | Blocked) and link.changes.index != seen:
                    raise link.phase.error
                await link.changes.wait(link.changes.index)
    except TimeoutError:
        raise ControlError(
            "not-up",
            f"{tunnel.profile.host} was not reached within {_LOGIN_S:.0f} s",
            f"see `jtunnel logs {tunnel.profile.name}`",
        ) from None
    return link.phase.connection
