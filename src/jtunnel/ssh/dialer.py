"""What all connection attempts of the daemon share: threads for what blocks, agents, turns at shaking hands.

A handshake is the key exchange and the login; connecting before it is no part of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from jtunnel.ssh.agent import Agents
from jtunnel.ssh.destination import Destination, Resolved
from jtunnel.ssh.names import Names
from jtunnel.ssh.own_thread import OwnThreads
from jtunnel.ssh.resolve import RESOLVE_TIMEOUT_S, resolve

#: Handshakes at once: after a wake all links want theirs, and servers drop those who come in a crowd.
HANDSHAKES: Final = 4
#: Readings of ssh_config: they take milliseconds, unless a `Match exec` hangs.
_READINGS: Final = 32


class Dialer:
    """One for the daemon."""

    def __init__(self, names: Names | None = None) -> None:
        self.names = names or Names()
        self.agents = Agents()
        self._readings = OwnThreads(
            at_once=_READINGS, limit_s=RESOLVE_TIMEOUT_S, most=2 * _READINGS, most_each=2
        )
        self._turns = asyncio.Semaphore(HANDSHAKES)

    async def resolve(self, destination: Destination, environ: Mapping[str, str]) -> Resolved:
        """See `jtunnel.ssh.resolve.resolve`; a `Match exec` that hangs is not run again and again."""
        return await resolve(destination, environ, self._readings)

    def turn(self) -> Turn:
        """The turn of one attempt, not yet taken."""
        return Turn(self._turns)


class Turn:
    """One attempt's turn at shaking hands; who has given it back goes on without it."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns = turns
        self._is_held = False
        self._is_over = False

    async def take(self) -> None:
        """Wait for it; nothing to wait for where it is held, or over."""
        if not self._is_held and not self._is_over:
            await self._turns.acquire()
            self._is_held = True

    def give_back(self) -> None:
        """Let the next one have it; for good."""
        self._is_over = True
        if self._is_held:
            self._is_held = False
            self._turns.release()
