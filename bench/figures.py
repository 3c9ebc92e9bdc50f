"""What was measured, and what it says: medians, ratios, which of two is better. Measures nothing itself."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Better = Literal["more", "less"]
Verdict = Literal["better", "same", "worse"]

#: Ratios this near to 1 are called the same: medians of a few rounds tell no more.
SAME_WITHIN: Final = 0.03


@dataclass(frozen=True, slots=True)
class Contender:
    """One of those compared: a column of the table, and what exactly it stands for."""

    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """One contender divided by another: the median of the rounds' ratios, their lowest and their highest."""

    value: float
    lowest: float
    highest: float
    verdict: Verdict


@dataclass(slots=True)
class Row:
    """One thing measured: for each contender's name one figure a round, all in `unit`."""

    what: str
    unit: str
    better: Better
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, contender: str, figure: float) -> None:
        """Append the figure of one round."""
        self.figures.setdefault(contender, []).append(figure)

    def median(self, contender: str) -> float:
        """The median of a contender's rounds."""
        return statistics.median(self.figures[contender])

    def ratio(self, ours: str, rival: str) -> Ratio:
        """`ours` divided by `rival`; rounds with the same number were measured next to each other."""
        pairs = zip(self.figures[ours], self.figures[rival], strict=True)
        # Not the ratio of the medians: what slows the machine for a while slows both halves of a pair.
        single = [divide(mine, theirs) for mine, theirs in pairs]
        value = statistics.median(single)
        return Ratio(value, min(single), max(single), judge(value, self.better))


@dataclass(slots=True)
class Section:
    """One measurement: its contenders, those of ours and those we are held against, rows and remarks."""

    name: str
    title: str
    ours: Sequence[Contender]
    rivals: Sequence[Contender]
    rows: Sequence[Row]
    remarks: Sequence[str] = ()

    @property
    def pairs(self) -> list[tuple[Contender, Contender]]:
        """Each of ours with each of the rivals."""
        return [(ours, rival) for ours in self.ours for rival in self.rivals]


def judge(ratio: float, better: Better) -> Verdict:
    """What a ratio means for its dividend, where more, or less, is better."""
    if abs(ratio - 1) <= SAME_WITHIN:
        return "same"
    return "better" if (ratio > 1) == (better == "more") else "worse"


def divide(dividend: float, divisor: float) -> float:
    """The quotient; infinite where too little was measured for a divisor (CPU time counts in 10 ms)."""
    if divisor:
        return dividend / divisor
    return math.inf if dividend else 1.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of `values` do not exceed (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("no values")
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]
