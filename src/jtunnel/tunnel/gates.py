"""The gates of a tunnel's listeners: which connection and target each serves through, and when it holds.

While a connection is suspected every gate holds; where it answers again, each serves as before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from jtunnel.address import Address
from jtunnel.forward.listener import Listener
from jtunnel.link.life import Link
from jtunnel.remote import FarEnd, Opener
from jtunnel.ssh.connection import Connection

#: Seconds after which a channel that has not opened is a reason to ask whether the connection lives.
_SLOW_CHANNEL_S: Final = 1.0


class Gates:
    """Moves the gates of these listeners."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners
        self._openers: dict[Listener, Opener] = {}
        self._refusing: set[Listener] = set()
        self.are_held = False
        """Whether they hold because the connection is suspected."""

    def open(self, listener: Listener, connection: Connection, link: Link, target: Address) -> None:
        """Serve through this connection from now on, once it is not suspected."""

        async def open_target(protocol: asyncio.Protocol) -> FarEnd:
            # A target may be slow to answer; a dead connection never does.
            slow = asyncio.get_running_loop().call_later(
                _SLOW_CHANNEL_S, link.suspect, "a stream does not open", connection
            )
            try:
                return await connection.open(target, protocol)
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

    def hold_every(self) -> None:
        """Let all arrivals wait."""
        for listener in self._listeners:
            self.hold(listener)

    async def hold_while_suspected(self, connection: Connection, link: Link) -> bool:
        """Hold every gate that serves once the connection does not, and wait for what becomes of it.

        True where it answers again: then the gates serve as before. False where it is left for good.
        """
        await link.changes.until(lambda: not link.serves(connection))
        self.are_held = True
        for listener in self._listeners:
            if listener not in self._refusing:
                listener.hold()
        await link.changes.until(lambda: not link.suspects(connection))
        self.are_held = False
        if not link.serves(connection):
            self._openers.clear()
            return False
        for listener, opener in self._openers.items():
            listener.serve(opener)
        return True
