"""What our own earlier connections left on the remote host: sessions there, to be ended by the next.

A connection that is cut here lives on over there until that side notices, and holds its streams so long.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from jtunnel.errors import ChannelError
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.remains import Session, end_session, note_session

_log = logging.getLogger(__name__)

#: Sessions remembered at most: those of a host that is never reached again are dropped.
_MOST: Final = 8
#: Seconds, and round trips after them, in which somebody else may run the first command: commands run one
#: after another, and the search for Jupyter comes first.
_POLITE_S: Final = 0.05
_POLITE_ROUND_TRIPS: Final = 2


class Leftovers:
    """The sessions of one link's connections, by connection while they live."""

    def __init__(self) -> None:
        self._live: dict[Connection, Session] = {}
        self._left: list[Session] = []

    def leave(self, connection: Connection) -> None:
        """This connection is gone for us: its session is to be ended."""
        session = self._live.pop(connection, None)
        if session is not None:
            self._left = [*self._left, session][-_MOST:]

    async def tidy(self, connection: Connection) -> None:
        """Note the session of a new connection, and end what the others left; quiet where it cannot.

        The first command on a connection also makes sshd switch Nagle's algorithm off.
        """
        await asyncio.sleep(_POLITE_S)
        for _ in range(_POLITE_ROUND_TRIPS):
            await connection.question()
        try:
            session = await note_session(connection)
            if session is not None and not connection.is_lost:
                self._live[connection] = session
            await self.end_left(connection)
        except (ChannelError, TimeoutError):
            _log.debug("%s: what earlier connections left is not ended", connection.where)

    async def end_left(self, connection: Connection) -> None:
        """End, over a live connection, what others left; raises ChannelError and TimeoutError."""
        while self._left:
            session = self._left[0]
            if await end_session(connection, session):
                _log.info("%s: ended what an earlier connection had left there", connection.where)
            if session in self._left:
                self._left.remove(session)
