"""What became of one tunnel: how long it was up and away in each hour, and its outages. Pure.

It is made from entries of the record, in order. Each says when it was made, and for how many seconds before
that the daemon is known to have run. What else lies between two entries was sleep, or a time without a
daemon, and counts as nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

HOUR_S: Final = 3600
DAY_HOURS: Final = 24
WEEK_HOURS: Final = 7 * DAY_HOURS
#: Hours in one bar of the week.
WEEK_BAR_HOURS: Final = 6
MOST_OUTAGES: Final = 50
#: Letters of a message that are kept.
MOST_LETTERS: Final = 160
#: Seconds for which a tunnel may be checked anew, without a problem, that is no outage.
_MOMENT_S: Final = 1.0
#: Problems that end by themselves: another kind says more of why an outage lasts.
_PASSING: Final = frozenset({"connection-lost", "host-unreachable"})


@dataclass(slots=True)
class Outage:
    """From leaving `up` to the next `up`. Times in seconds since 1970; `until` is None while it lasts.

    `seconds` counts only what the daemon saw of it: not the time that the machine slept.
    """

    since: float
    until: float | None
    seconds: float
    kind: str | None
    message: str | None

    def blame(self, kind: str | None, message: str | None) -> None:
        """Take a problem for its cause if that says more: the first one, or one that a person must mend."""
        if kind is not None and (self.kind is None or (self.kind in _PASSING and kind not in _PASSING)):
            self.kind, self.message = kind, message


@dataclass(slots=True)
class Past:
    """One tunnel's. `state` is None where nothing is known of it since the daemon started."""

    state: str | None = None
    seen: float = 0.0
    """When it was last told of."""
    hours: dict[int, list[float]] = field(default_factory=dict)
    """Hour since 1970 → the seconds in which it was up, and those in which it was wanted and not up."""
    outages: deque[Outage] = field(default_factory=lambda: deque(maxlen=MOST_OUTAGES))
    """Those that have ended, the newest last."""
    outage: Outage | None = None
    """The one that it is in."""

    @property
    def is_wanted(self) -> bool:
        """Whether time counts for it."""
        return self.state not in (None, "down")

    def spend(self, at: float, ran_s: float) -> None:
        """Count the last `ran_s` seconds before `at` for the state that it has been in."""
        if not self.is_wanted or ran_s <= 0:
            return
        if self.outage:
            self.outage.seconds += ran_s
        column = 0 if self.state == "up" else 1
        begin = at - ran_s
        for hour in range(int(begin // HOUR_S), int(at // HOUR_S) + 1):
            part_s = min(at, (hour + 1) * HOUR_S) - max(begin, hour * HOUR_S)
            if part_s > 0:
                spent = [*self.hours.get(hour, (0.0, 0.0))]
                spent[column] += part_s
                self.hours[hour] = spent

    def enter(self, at: float, state: str, kind: str | None, message: str | None) -> None:
        """Be in another state, or have another problem, from now on."""
        if state in ("up", "down"):
            self.end_outage(at)
        elif self.state == "up":
            self.outage = Outage(at, None, 0.0, None, None)
        if self.outage:
            self.outage.blame(kind, message)
        self.state, self.seen = state, at

    def end_outage(self, at: float) -> None:
        """It is over, or nothing more is known of it."""
        if self.outage:
            self.outage.until = max(at, self.outage.since)
            # A server that was asked once more and answered was not away.
            if self.outage.kind is not None or self.outage.seconds >= _MOMENT_S:
                self.outages.append(self.outage)
            self.outage = None

    def lose_sight(self, at: float) -> None:
        """Nothing is known of it after that time."""
        self.end_outage(at)
        self.state = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return not (self.hours or self.outages or self.is_wanted)

    def forget_before(self, at: float) -> None:
        """Drop the hours that no week reaches any more."""
        now = int(at // HOUR_S)
        # Hours to come are of a clock that went wrong: maybe then, maybe now, so that a few do not hurt.
        newest = now if len(self.hours) > 2 * WEEK_HOURS else math.inf
        self.hours = {
            hour: spent for hour, spent in self.hours.items() if now - WEEK_HOURS - 1 <= hour <= newest
        }

    def as_of(self, at: float, ran_s: float) -> Past:
        """The same with the last `ran_s` seconds before `at` counted; this one is left as it is."""
        copy = replace(self, hours=dict(self.hours), outage=replace(self.outage) if self.outage else None)
        copy.spend(at, ran_s)
        return copy

    def newest_outages(self, most: int) -> list[Outage]:
        """At most so many, the newest first, with the one that lasts."""
        lasting = [self.outage] if self.outage else []
        return [*lasting, *reversed(self.outages)][:most]

    def dump(self) -> dict[str, Any]:
        """Everything, as plain data; `load` reads it."""
        return {
            "state": self.state,
            "seen": self.seen,
            "hours": {hour: [round(value, 3) for value in spent] for hour, spent in self.hours.items()},
            "outages": [[*asdict(outage).values()] for outage in self.outages],
            "outage": [*asdict(self.outage).values()] if self.outage else None,
        }

    @staticmethod
    def load(data: Mapping[str, Any]) -> Past:
        """Read what `dump` wrote; raises LookupError, TypeError or ValueError where it did not."""
        state, outage = data["state"], data["outage"]
        if not isinstance(state, str | None):
            raise TypeError
        return Past(
            state=state,
            seen=number(data["seen"]),
            hours={int(hour): [number(up), number(away)] for hour, (up, away) in data["hours"].items()},
            outages=deque((_load_outage(fields) for fields in data["outages"]), MOST_OUTAGES),
            outage=_load_outage(outage) if outage else None,
        )


def availability(hours: Mapping[int, Sequence[float]], since: float, until: float) -> float | None:
    """The part of the time wanted in which it was up; None where it never was wanted.

    The hour that `since` falls in counts with the part that is left of it.
    """
    up_s, away_s = wanted_s(hours, since, until)
    if up_s + away_s <= 0:
        return None
    return round_down(up_s / (up_s + away_s), 5) if away_s else 1.0


def wanted_s(hours: Mapping[int, Sequence[float]], since: float, until: float) -> tuple[float, float]:
    """The seconds in which it was up, and those in which it was wanted and not up."""
    first, last = int(since // HOUR_S), int(until // HOUR_S)
    left = 1 - (since / HOUR_S - first)
    up_s = away_s = 0.0
    for hour in range(first, last + 1):
        if spent := hours.get(hour):
            weight = left if hour == first else 1.0
            up_s += weight * spent[0]
            away_s += weight * spent[1]
    return up_s, away_s


def bars(hours: Mapping[int, Sequence[float]], now: float, count: int, width: int) -> list[float | None]:
    """The availability of `count` spans of `width` whole hours, up to the end of the present hour."""
    end = int(now // HOUR_S) + 1
    begins = range(end - count * width, end, width)
    return [availability(hours, begin * HOUR_S, (begin + width) * HOUR_S - 1) for begin in begins]


def round_down(value: float, digits: int) -> float:
    """Rounded so that only what was always up is 1."""
    scale = float(10**digits)
    return math.floor(value * scale) / scale


def number(value: Any) -> float:
    """`value` where it is a finite number; else TypeError or ValueError. JSON has NaN for Python."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    # Years that dates can have.
    if not -1e10 < value < 2e11:
        raise ValueError
    return float(value)


def _load_outage(fields: Sequence[Any]) -> Outage:
    since, until, seconds, kind, message = fields
    if not (isinstance(kind, str | None) and isinstance(message, str | None)):
        raise TypeError
    return Outage(number(since), None if until is None else number(until), number(seconds), kind, message)
