"""Counts what happens to this machine: sleeps and stalls that ended, networks that came and went.

What follows from it is for those who use it: a short sleep that changed nothing about the network may not be
worth more than one question.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Final

from jtunnel.changes import Changes
from jtunnel.machine.clocks import STALL_S, Gap
from jtunnel.machine.network import Network
from jtunnel.machine.notices import Notices
from jtunnel.machine.path import Path, has_address
from jtunnel.machine.wake import TICK_S, Ticks

#: Seconds between looks at the network where nothing asks for one: the notices are not the truth.
LOOK_S: Final = 10.0
#: Seconds from the first notice to the look: changes come in bursts.
DEBOUNCE_S: Final = 0.25
_AFTER_BUG_S: Final = 60.0

#: Of every tunnel's concern.
_log = logging.LoggerAdapter(logging.getLogger(__name__), {"tunnel": "*"})


class Watch:
    """Watches this machine while `run` runs; `changes` tells of each event, the counters which it was."""

    def __init__(
        self,
        *,
        tick_s: float = TICK_S,
        stall_s: float = STALL_S,
        look_s: float = LOOK_S,
        debounce_s: float = DEBOUNCE_S,
    ) -> None:
        self.changes = Changes()
        #: The tick itself, for whoever looks at something now and then and needs no timer of its own.
        self.ticks = Changes()
        #: Sleeps and stalls that have ended, and the last of them.
        self.wakes = 0
        self.gap: Gap | None = None
        #: Changes of the network that brought something for packets to use, and those that took such a thing.
        self.gains = 0
        self.losses = 0
        self._tick_s = tick_s
        self._stall_s = stall_s
        self._ticks_per_look = max(1, round(look_s / tick_s))
        self._debounce_s = debounce_s
        self._network = Network()

    async def run(self) -> None:
        """Watch until cancelled; a bug of ours only makes a pause."""
        while True:
            try:
                await self._watch()
            except Exception:  # noqa: BLE001  (without this watch the links still ask and try)
                _log.exception("watching this machine failed; again in %.0f s", _AFTER_BUG_S)
                await asyncio.sleep(_AFTER_BUG_S)

    async def _watch(self) -> None:
        with _open_notices() as notices, Ticks(self._tick_s, self._stall_s) as ticks:
            # After the notices began, so that nothing falls between.
            self._look()
            async with asyncio.TaskGroup() as tasks:
                if notices is not None:
                    tasks.create_task(self._follow_notices(notices))
                await self._follow_ticks(ticks)

    def path_to(self, peer: str) -> Path | None:
        """How packets to that IP address would leave now; None: no route, or its interface has no carrier."""
        return self._network.path_to(peer)

    def has_address(self, address: str) -> bool:
        """Whether this machine still has that local address."""
        return has_address(address)

    async def _follow_ticks(self, ticks: Ticks) -> None:
        count = 0
        while True:
            gap = await ticks.next()
            count += 1
            self.ticks.notify()
            if gap is not None:
                self.wakes += 1
                self.gap = gap
                _log.info("%s", _story(gap))
                # Told together with what it did to the network.
                self._look()
                self.changes.notify()
            elif count % self._ticks_per_look == 0 and self._look():
                self.changes.notify()

    async def _follow_notices(self, notices: Notices) -> None:
        while True:
            try:
                await notices.wait()
                await asyncio.sleep(self._debounce_s)
                # What comes after this is told by a notice of its own.
                notices.drain()
            except OSError as problem:
                _log_late(problem)
                return
            if self._look():
                self.changes.notify()

    def _look(self) -> bool:
        """Count what has changed; return whether anything has."""
        difference = self._network.look()
        if not difference.gained and not difference.lost:
            return False
        self.gains += bool(difference.gained)
        self.losses += bool(difference.lost)
        _log.info("network changed: %s", difference)
        return True


@contextlib.contextmanager
def _open_notices() -> Iterator[Notices | None]:
    """The kernel's notices; None where they are forbidden."""
    try:
        notices = Notices()
    except OSError as problem:
        _log_late(problem)
        yield None
        return
    with notices:
        yield notices


def _log_late(problem: OSError) -> None:
    _log.info(
        "network changes are seen up to %.0f s late: the kernel does not tell of them (%s)",
        LOOK_S,
        problem.strerror,
    )


def _story(gap: Gap) -> str:
    if gap.kind == "sleep":
        return f"woke after {_span(gap.seconds)} of sleep"
    return f"nothing ran here for {_span(gap.seconds)}: this machine or jtunnel was paused"


def _span(seconds: float) -> str:
    for size_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds:.0f} s"
