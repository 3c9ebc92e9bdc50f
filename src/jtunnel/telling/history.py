"""The history of all tunnels: what they have been, kept in a file, and what `jtunnel history` shows of it.

The file has what happened since it was last written anew, after a summary of all before. Memory holds what
reading it again would give.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from jtunnel.machine.clocks import Moment
from jtunnel.machine.clocks import now as read_clocks
from jtunnel.telling.past import (
    DAY_HOURS,
    HOUR_S,
    MOST_LETTERS,
    MOST_OUTAGES,
    WEEK_BAR_HOURS,
    WEEK_HOURS,
    Outage,
    Past,
    availability,
    bars,
    number,
    round_down,
    wanted_s,
)
from jtunnel.telling.record import Record
from jtunnel.tunnel.report import format_time
from jtunnel.tunnel.transition import Transition

#: Seconds without an event after which a line says that the daemon still runs: so much is lost in a crash.
BEAT_S: Final = 600.0
#: A line comes at most so much late; what is longer was a pause, or sleep that stopped no clock.
_LATE_S: Final = 15.0
#: Lines after which the file is written anew.
_MOST_LINES: Final = 4000
#: Seconds between tries to write the file anew after a line was lost.
_RETRY_S: Final = 60.0
#: Tunnels whose past is kept, those included that left the config: the ones told of last.
_MOST_TUNNELS: Final = 1000
#: Outages in one answer: it is one line of the control protocol, and has to fit.
_MOST_SHOWN: Final = 1500


class History:
    """Reads the record at `path`, and adds to it; `clocks` and `wall` are read at each entry."""

    def __init__(
        self,
        path: str,
        *,
        clocks: Callable[[], Moment] = read_clocks,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._record = Record(path)
        self._clocks = clocks
        self._wall = wall
        self._before = clocks()
        self._pasts: dict[str, Past] = {}
        self._wanted: set[str] = set()
        self._at = 0.0
        self._is_whole = True
        self._lines = 0
        self._rewritten_ns = self._before.awake_ns
        for entry in self._record.read():
            self._fold(entry)
        self._fold({"at": wall(), "ran": 0.0, "daemon": "starts"})
        self._rewrite()

    @property
    def is_counting(self) -> bool:
        """Whether a tunnel is wanted, so that time counts and `beat` has to be called now and then."""
        return bool(self._wanted)

    @property
    def quiet_s(self) -> float:
        """The seconds since the last entry."""
        return (self._clocks().awake_ns - self._before.awake_ns) / 1e9

    def note(self, told: Transition) -> Outage | None:
        """Keep what a tunnel has come to; the answer is the outage that ended with it."""
        past = self._pasts.get(told.name)
        lasting = past.outage if past else None
        entry: dict[str, Any] = {"name": told.name, "state": told.new}
        if told.error is not None:
            entry |= {"kind": told.error.kind, "message": told.error.message[:MOST_LETTERS]}
        self._add(entry, told.at.timestamp())
        return lasting if lasting and lasting.until is not None else None

    def beat(self) -> None:
        """Keep that the daemon still runs."""
        self._add({"daemon": "runs"})

    def rename(self, old: str, new: str) -> None:
        """Give the past of one name to another, which loses its own."""
        self._add({"name": old, "renamed": new})

    def close(self) -> None:
        """Keep that the daemon ends."""
        self._add({"daemon": "ends"})
        self._record.close()

    def show(self, names: Sequence[str]) -> dict[str, Any]:
        """The result of `history` of these tunnels, in this order."""
        at, ran_s = self._wall(), self._ran_s(self._clocks())
        most = max(1, min(MOST_OUTAGES, _MOST_SHOWN // max(1, len(names))))
        pasts = {name: self._pasts.get(name, Past()).as_of(at, ran_s) for name in names}
        return {"at": _iso(at), "tunnels": [_shown(name, past, at, most) for name, past in pasts.items()]}

    def _ran_s(self, clocks: Moment) -> float:
        """Seconds since the last entry in which the daemon ran."""
        return min(max(0.0, (clocks.awake_ns - self._before.awake_ns) / 1e9), BEAT_S + _LATE_S)

    def _add(self, what: Mapping[str, Any], at: float | None = None) -> None:
        clocks = self._clocks()
        entry = {
            "at": round(self._wall() if at is None else at, 3),
            "ran": round(self._ran_s(clocks), 3),
            **what,
        }
        self._before = clocks
        self._fold(entry)
        if self._is_whole:
            self._is_whole = self._record.append(entry)
            self._lines += 1
            if self._lines >= _MOST_LINES:
                self._rewrite()
        elif (clocks.awake_ns - self._rewritten_ns) / 1e9 >= _RETRY_S:
            # What was lost on the way is in the summary.
            self._rewrite()

    def _rewrite(self) -> None:
        """Write the file anew: a summary of everything."""
        self._lines, self._rewritten_ns = 0, self._before.awake_ns
        for past in self._pasts.values():
            past.forget_before(self._at)
        kept = sorted(self._pasts, key=lambda name: self._pasts[name].seen)[-_MOST_TUNNELS:]
        self._pasts = {name: self._pasts[name] for name in kept if not self._pasts[name].is_empty}
        self._wanted &= self._pasts.keys()
        self._is_whole = self._record.replace(self._summary())

    def _summary(self) -> Iterator[Mapping[str, Any]]:
        yield {"at": self._at, "ran": 0.0, "daemon": "runs", "format": 1}
        for name, past in self._pasts.items():
            yield {"name": name, "past": past.dump()}

    def _fold(self, entry: Mapping[str, Any]) -> None:
        """Take in one entry; one that makes no sense is passed over."""
        with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError):
            if "past" in entry:
                self._pasts[_text(entry["name"])] = Past.load(entry["past"])
                self._follow(entry["name"])
            else:
                self._take(entry, number(entry["at"]), max(0.0, number(entry["ran"])))

    def _take(self, entry: Mapping[str, Any], at: float, ran_s: float) -> None:
        # When a network goes, hundreds of entries come at one moment.
        for name in self._wanted if ran_s > 0 else ():
            self._pasts[name].spend(at, ran_s)
        known_until, self._at = self._at, at
        if "daemon" in entry:
            if entry["daemon"] != "runs":
                self._lose_sight(known_until if entry["daemon"] == "starts" else at)
        elif "renamed" in entry:
            if past := self._pasts.pop(_text(entry["name"]), None):
                past.lose_sight(at)
                self._pasts[_text(entry["renamed"])] = past
            self._follow(entry["name"])
            self._follow(entry["renamed"])
        else:
            name, kind, message = _text(entry["name"]), entry.get("kind"), entry.get("message")
            past = self._pasts.setdefault(name, Past())
            past.enter(at, _text(entry["state"]), kind and _text(kind), message and _text(message))
            self._follow(name)

    def _lose_sight(self, at: float) -> None:
        """No daemon looks after anything, from that time on."""
        for past in self._pasts.values():
            past.lose_sight(at)
        self._wanted.clear()

    def _follow(self, name: str) -> None:
        if (past := self._pasts.get(name)) and past.is_wanted:
            self._wanted.add(name)
        else:
            self._wanted.discard(name)


def _shown(name: str, past: Past, at: float, most: int) -> dict[str, Any]:
    return {
        "name": name,
        "state": past.state or "down",
        "day": _span(past, at, DAY_HOURS, 1),
        "week": _span(past, at, WEEK_HOURS, WEEK_BAR_HOURS),
        "outages": [
            {
                "from": _iso(outage.since),
                "until": None if outage.until is None else _iso(outage.until),
                "seconds": round(outage.seconds, 1),
                "kind": outage.kind,
                "message": outage.message,
            }
            for outage in past.newest_outages(most)
        ],
    }


def _span(past: Past, at: float, hours: int, bar_hours: int) -> dict[str, Any]:
    shown = bars(past.hours, at, hours // bar_hours, bar_hours)
    return {
        "availability": availability(past.hours, at - hours * HOUR_S, at),
        "wanted_seconds": round(sum(wanted_s(past.hours, at - hours * HOUR_S, at)), 1),
        "bars": [None if bar is None else round_down(bar, 3) for bar in shown],
    }


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _iso(at: float) -> str:
    return format_time(datetime.fromtimestamp(at, UTC))
