"""Two named clocks, one that stands still in sleep and one that does not, and what their difference tells.

`time.monotonic()` stands still in sleep on both systems, so that it alone sees nothing. Pure but for `now`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Final, Literal

#: Seconds by which the difference of the clocks moves only in sleep; a step of the wall clock leaves it.
SLEEP_S: Final = 1.0
#: Seconds that a tick comes late only if nothing ran here: SIGSTOP, a paused VM, a nap of macOS, and laptops
#: whose sleep does not stop the clock (systemd issue 9538).
STALL_S: Final = 10.0
_NS: Final = 1_000_000_000
#: Reads further apart than this are done again: a pause between them would look like sleep.
_CLOSE_NS: Final = _NS // 10
_TRIES: Final = 5

# CLOCK_MONOTONIC_RAW includes sleep on macOS and excludes it on Linux: never name it without the system.
if sys.platform == "darwin":
    _AWAKE: Final = time.CLOCK_UPTIME_RAW
    _ALWAYS: Final = time.CLOCK_MONOTONIC_RAW
elif sys.platform == "linux":
    _AWAKE: Final = time.CLOCK_MONOTONIC
    _ALWAYS: Final = time.CLOCK_BOOTTIME
else:
    _AWAKE: Final = time.CLOCK_MONOTONIC
    _ALWAYS: Final = time.CLOCK_MONOTONIC


@dataclass(frozen=True, slots=True)
class Moment:
    """Both clocks at one time; `awake_ns` stands still in sleep, `always_ns` does not."""

    awake_ns: int
    always_ns: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which nothing ran here: the machine slept, or it (or this process) was paused."""

    kind: Literal["sleep", "stall"]
    seconds: float


def now() -> Moment:
    """Read both clocks."""
    for _ in range(_TRIES):
        first_ns = time.clock_gettime_ns(_AWAKE)
        always_ns = time.clock_gettime_ns(_ALWAYS)
        awake_ns = time.clock_gettime_ns(_AWAKE)
        if awake_ns - first_ns < _CLOSE_NS:
            break
    return Moment(awake_ns, always_ns)


def judge(before: Moment, after: Moment, *, tick_s: float, stall_s: float = STALL_S) -> Gap | None:
    """What happened between two ticks that were to be `tick_s` apart; a tick may come early."""
    awake_ns = after.awake_ns - before.awake_ns
    # Either way: the clock of macOS that stands still in sleep has been seen to step back instead.
    slept_s = abs(after.always_ns - before.always_ns - awake_ns) / _NS
    late_s = awake_ns / _NS - tick_s
    stalled_s = late_s if late_s >= stall_s else 0.0
    if slept_s >= SLEEP_S:
        return Gap("sleep", slept_s + stalled_s)
    return Gap("stall", stalled_s) if stalled_s else None
