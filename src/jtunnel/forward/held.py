"""Local connections that wait for a far side: bounded in number and time, their bytes unread.

Those whose peer has left are let go within seconds. Without any that wait, no timer runs.

Knows nothing of why they wait or who will serve them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from jtunnel.forward.peer import has_left, reset

#: Connections that wait at the same time; any more are reset.
MAX_HELD = 256
#: Seconds after which peers that left are looked for, since nothing tells of them: bytes stay unread.
_SWEEP_S = 3.0


@dataclass(eq=False, slots=True)
class Arrival:
    """An accepted local connection that no far side serves yet.

    `number` counts up in order of arrival; `deadline` is the event loop's time until which it waits.
    That clock stands still while a Linux machine sleeps, and so does the peer.
    """

    number: int
    sock: socket.socket
    deadline: float


class HeldConnections:
    """The arrivals that wait; `changed` is called when one has left or was given up meanwhile."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._waiting: list[Arrival] = []
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, arrival: Arrival) -> None:
        """Let it wait; it is reset where its time is over or too many wait."""
        # Those who left make room, and the count stays true.
        self._drop_departed()
        if len(self._waiting) >= MAX_HELD or arrival.deadline <= asyncio.get_running_loop().time():
            reset(arrival.sock)
            return
        self._waiting.append(arrival)
        self._set_timer()

    def take(self) -> list[Arrival]:
        """Hand out all that still want to be served."""
        self._drop_departed()
        taken, self._waiting = self._waiting, []
        self._set_timer()
        return taken

    def reset(self) -> None:
        """Reset all."""
        for arrival in self._waiting:
            reset(arrival.sock)
        self._waiting.clear()
        self._set_timer()

    def _drop_departed(self) -> None:
        waiting = []
        for arrival in self._waiting:
            if has_left(arrival.sock):
                arrival.sock.close()
            else:
                waiting.append(arrival)
        self._waiting = waiting

    def _sweep(self) -> None:
        before = len(self._waiting)
        self._drop_departed()
        now = asyncio.get_running_loop().time()
        for arrival in self._waiting:
            if arrival.deadline <= now:
                reset(arrival.sock)
        self._waiting = [arrival for arrival in self._waiting if arrival.deadline > now]
        self._set_timer()
        if len(self._waiting) != before:
            self._changed()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            loop = asyncio.get_running_loop()
            due = min(arrival.deadline for arrival in self._waiting)
            self._timer = loop.call_at(min(due, loop.time() + _SWEEP_S), self._sweep)
