"""The log of one tunnel as a dated story: what it came to be and why, and what each outage cost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from jtunnel.errors import JTunnelError
from jtunnel.status import State


class Story:
    """Told each state of a tunnel, in order; writes what has changed.

    `count` says how many that waited were served, and how many open connections were cut, so far.
    """

    def __init__(self, name: str, count: Callable[[], tuple[int, int]]) -> None:
        self._count = count
        self._log = logging.LoggerAdapter(logging.getLogger(__name__), {"tunnel": name})
        self._told: tuple[State, str | None] = ("down", None)
        self._lost_at: datetime | None = None
        self._served, self._cut = 0, 0

    def tell(self, state: State, error: JTunnelError | None, now: datetime) -> None:
        """Write what is new; `now` is UTC, so that the time asleep counts."""
        told, self._told = self._told, (state, error.message if error else None)
        if state == told[0] == "up":
            # What a loss resets counts as its cost, and may be reset before anybody hears of the loss.
            self._served, self._cut = self._count()
        if told == self._told:
            return
        if told[0] == "up":
            self._lost_at = now
        if state == "up" and self._lost_at is not None:
            self._log.info("up again %s", self._outcome(now, self._lost_at))
        elif state == "blocked":
            self._log.warning("blocked: %s", error)
        else:
            self._log.info("%s", f"{state}: {error}" if error else state)
        if state in ("up", "down"):
            self._lost_at = None
        if state == "up":
            self._served, self._cut = self._count()

    def _outcome(self, now: datetime, lost_at: datetime) -> str:
        served, cut = self._count()
        outcome = [f"after {length(max(0.0, (now - lost_at).total_seconds()))}"]
        if waited := served - self._served:
            outcome.append(f"{_plural(waited, 'waiting connection')} served")
        ended = cut - self._cut
        outcome.append(f"{_plural(ended, 'open connection')} reset" if ended else "no open connection reset")
        return ", ".join(outcome)


def length(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
