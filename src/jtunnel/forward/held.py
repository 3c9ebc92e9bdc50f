"""Local connections that wait for a far side: bounded in number and time, their bytes unread.

Those whose peer has left are let go within seconds. Without any that wait, no timer runs.

Knows nothing of why they wait or who will serve them.
"""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from jtunnel.forward.peer import find_departed, reset
from jtunnel.forward.socks import Request

#: Connections of a profile that wait at the same time; any more are reset.
MAX_HELD: Final = 256
#: Seconds after which peers that left are looked for, since nothing tells of them: bytes stay unread.
_SWEEP_S: Final = 3.0


@dataclass(eq=False, slots=True)
class Arrival:
    """An accepted local connection that no far side serves yet.

    `number` counts up in order of arrival; `deadline` is the event loop's time until which it waits.
    That clock stands still while a Linux machine sleeps, and so does the peer. `request` is what it asked
    of a dynamic forward.
    """

    number: int
    sock: socket.socket
    deadline: float
    request: Request | None = None


class Room:
    """The places that the listeners of one profile share: `MAX_HELD` connections may wait in all."""

    def __init__(self, places: int = MAX_HELD) -> None:
        self._places = places
        # A listener that is gone is none any more.
        self._users: weakref.WeakSet[HeldConnections] = weakref.WeakSet()

    def join(self, user: HeldConnections) -> None:
        """Count what waits there too."""
        self._users.add(user)

    def has_place(self) -> bool:
        """Whether one more may wait; those who left make room."""
        if sum(map(len, self._users)) >= self._places:
            for user in self._users:
                user.sweep()
        return sum(map(len, self._users)) < self._places


class HeldConnections:
    """The arrivals that wait; `changed` is called when one has left or was given up meanwhile."""

    def __init__(self, changed: Callable[[], None], room: Room | None = None) -> None:
        self._changed = changed
        self._room = room or Room()
        self._room.join(self)
        self._waiting: list[Arrival] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, arrival: Arrival) -> None:
        """Let it wait; it is reset where its time is over or too many wait."""
        if arrival.deadline <= asyncio.get_running_loop().time() or not self._room.has_place():
            reset(arrival.sock)
            return
        self._waiting.append(arrival)
        self._set_timer()

    def take(self) -> list[Arrival]:
        """Hand out all that still want to be served."""
        taken, self._waiting = still_there(self._waiting), []
        self._set_timer()
        return taken

    def remove(self, arrival: Arrival) -> bool:
        """Hand out this one, without a look at it; False where it does not wait here."""
        if arrival not in self._waiting:
            return False
        self._waiting.remove(arrival)
        self._set_timer()
        return True

    def sweep(self) -> None:
        """Let go of those whose peer has left, and of those who have waited long enough."""
        self._stop_timer()
        before = len(self._waiting)
        now = asyncio.get_running_loop().time()
        waiting = still_there(self._waiting)
        for arrival in waiting:
            if arrival.deadline <= now:
                reset(arrival.sock)
        self._waiting = [arrival for arrival in waiting if arrival.deadline > now]
        self._set_timer()
        if len(self._waiting) != before:
            self._changed()

    def _set_timer(self) -> None:
        """Sweep when it is due, or sooner; more arrivals do not put it off."""
        loop = asyncio.get_running_loop()
        due = min([loop.time() + _SWEEP_S, *(arrival.deadline for arrival in self._waiting)])
        if self._timer is not None and self._waiting and self._sweep_at <= due:
            return
        self._stop_timer()
        if self._waiting:
            self._sweep_at = due
            self._timer = loop.call_at(due, self.sweep)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def still_there(arrivals: list[Arrival]) -> list[Arrival]:
    """Those who still want to be served; the sockets of the others are closed."""
    departed = find_departed(arrival.sock for arrival in arrivals)
    for sock in departed:
        sock.close()
    return [arrival for arrival in arrivals if arrival.sock not in departed]
