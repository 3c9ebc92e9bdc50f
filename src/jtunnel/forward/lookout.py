"""Looks at the connections that wait, and shows the page to a browser's navigation among them.

Without any that wait, no timer runs. Who waits, and what becomes of all others, is the listener's
business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from jtunnel.forward.answer import answer
from jtunnel.forward.held import Arrival
from jtunnel.forward.navigation import is_navigation, peek
from jtunnel.forward.peer import reset

#: Where far sides take longer than the patience to open, and do open, they are given more, up to this.
_MOST_PATIENCE_S: Final = 10.0
#: Looks at a connection during the patience, while it has not said enough yet.
_LOOKS: Final = 4
#: Looks at a connection that nobody will serve until it has said what it wants, and seconds between two.
_GLANCES: Final = 10
_GLANCE_EVERY_S: Final = 0.03

_log = logging.getLogger(__name__)


class Lookout:
    """Calls `due` with each arrival that is a navigation and has waited for `patience_s`.

    That counts from the moment that it was last seen without a word: browsers open connections
    ahead of what they have to say. `page` renders the whole HTTP response.
    """

    def __init__(self, page: Callable[[], bytes], patience_s: float, due: Callable[[Arrival], None]) -> None:
        self._page = page
        self._due = due
        self._look_every_s = patience_s / _LOOKS
        self._least_patience_s = self._patience_s = patience_s
        #: Arrival → when it was last known to be silent.
        self._undecided: dict[Arrival, float] = {}
        #: Arrival → when the page is due.
        self._navigations: dict[Arrival, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, arrival: Arrival) -> None:
        """Look at it now and then until it is served, shown the page or closed."""
        loop = asyncio.get_running_loop()
        self._undecided[arrival] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._look_every_s, self._look)

    def forget(self, arrival: Arrival) -> None:
        """Look at it no more: it is served."""
        self._undecided.pop(arrival, None)
        self._navigations.pop(arrival, None)

    def learn(self, opening_took_s: float) -> None:
        """Be as patient as far sides are slow: else nobody would ever get through to them."""
        self._patience_s = max(self._least_patience_s, min(2 * opening_took_s, _MOST_PATIENCE_S))

    def stop(self) -> None:
        """Forget all."""
        self._undecided.clear()
        self._navigations.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def show(self, arrival: Arrival) -> None:
        """Answer it with the page as it is now, and close it."""
        try:
            response = self._page()
        except Exception:  # noqa: BLE001  (a bug in the page must not end the tunnel)
            _log.exception("the waiting page failed")
            reset(arrival.sock)
        else:
            await answer(arrival.sock, response)

    async def recognise(self, arrival: Arrival) -> bool:
        """Whether it turns out to be a navigation within a moment; cancelled, it closes the socket."""
        try:
            for _ in range(_GLANCES):
                if (verdict := is_navigation(peek(arrival.sock))) is not None:
                    return verdict
                await asyncio.sleep(_GLANCE_EVERY_S)
        except asyncio.CancelledError:
            reset(arrival.sock)
            raise
        return False

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for arrival, silent_at in list(self._undecided.items()):
            self._look_at(arrival, silent_at, now)
        for arrival, due_at in list(self._navigations.items()):
            if arrival.sock.fileno() < 0:
                del self._navigations[arrival]
            elif due_at <= now:
                del self._navigations[arrival]
                self._due(arrival)
        times = [now + self._look_every_s] if self._undecided else []
        times += self._navigations.values()
        self._timer = loop.call_at(min(times), self._look) if times else None

    def _look_at(self, arrival: Arrival, silent_at: float, now: float) -> None:
        head = peek(arrival.sock)
        verdict = is_navigation(head)
        if arrival.sock.fileno() < 0 or verdict is False:
            del self._undecided[arrival]
        elif verdict:
            del self._undecided[arrival]
            self._navigations[arrival] = silent_at + self._patience_s
        elif not head:
            self._undecided[arrival] = now
