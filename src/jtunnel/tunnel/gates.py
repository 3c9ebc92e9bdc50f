"""The gates of a tunnel's listeners: which connection and target each serves through, and when it holds.

While a connection is suspected every gate holds; where it answers again, each serves as before.
"""

from __future__ import annotations

import asyncio
from typing import Final

from jtunnel.address import Address
from jtunnel.forward.listener import Listener
from jtunnel.link.life import Link
from jtunnel.remote import FarEnd, Opener
from jtunnel.ssh.connection import Connection

#: Seconds after which a channel that has not opened is a reason to ask whether the connection lives.
_SLOW_CHANNEL_S: Final = 1.0
#: The same where each stream has a target of its own: many a site is slow or away.
_SLOW_SITE_S: Final = 5.0


class Gates:
    """Moves the gates of the listeners that it was told to open or refuse."""

    def __init__(self) -> None:
        self._openers: dict[Listener, Opener] = {}
        self._refusing: set[Listener] = set()
        self.are_held = False
        """Whether they hold because the connection is suspected."""

    def open(
        self, listener: Listener, connection: Connection, link: Link, fixed: Address | None = None
    ) -> None:
        """Serve through this connection from now on, once it is not suspected.

        Without a `fixed` target, each arrival of the listener names its own.
        """

        async def open_target(protocol: asyncio.Protocol, target: Address | None = None) -> FarEnd:
            chosen = fixed or target
            assert chosen is not None
            # A target may be slow to answer; a dead connection never does.
            slow = asyncio.get_running_loop().call_later(
                _SLOW_CHANNEL_S if fixed else _SLOW_SITE_S,
                link.suspect,
                "a stream does not open",
                connection,
            )
            try:
                return await connection.open(chosen, protocol)
            finally:
                slow.cancel()

        self._openers[listener] = open_target
        self._refusing.discard(listener)
        if link.serves(connection):
            listener.serve(open_target)

    def hold(self, listener: Listener) -> None:
        """Let arrivals wait until the gate is opened again."""
        self._openers.pop(listener, None)
        self._refusing.discard(listener)
        listener.hold()

    def refuse(self, listener: Listener) -> None:
        """Reset arrivals until the gate is opened again."""
        self._openers.pop(listener, None)
        self._refusing.add(listener)
        listener.refuse()

    def forget(self, listener: Listener) -> None:
        """The listener is closed for good."""
        self._openers.pop(listener, None)
        self._refusing.discard(listener)

    def hold_every(self) -> None:
        """Let all arrivals wait."""
        for listener in (*self._openers, *self._refusing):
            self.hold(listener)

    async def hold_while_suspected(self, connection: Connection, link: Link) -> bool:
        """Hold every gate that serves once the connection does not, and wait for what becomes of it.

        True where it answers again: then the gates serve as before. False where it is left for good.
        """
        await link.changes.until(lambda: not link.serves(connection))
        self.are_held = True
        for listener in self._openers:
            listener.hold()
        await link.changes.until(lambda: not link.suspects(connection))
        self.are_held = False
        if not link.serves(connection):
            self._openers.clear()
            return False
        for listener, opener in self._openers.items():
            listener.serve(opener)
        return True
