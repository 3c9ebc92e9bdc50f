"""What happens after a link failed: one pure decision from the kind of failure and the attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jtunnel.errors import KINDS

#: Seconds between tries at most.
LONGEST_DELAY_S: Final = 30.0
#: The same for the first tries, about a minute of them: somebody may sit in front of it and wait.
SOON_DELAY_S: Final = 5.0
_SOON_ATTEMPTS: Final = 16
#: A connection that served this long starts the schedule anew when it is lost.
HEALTHY_AFTER_S: Final = 30.0
_GROWTH: Final = 1.7


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Block:
    """Wait for a person."""


def decide(kind: str, attempt: int, fraction: float) -> Retry | Block:
    """Decide what follows failure number `attempt` (from 1) in a row.

    The first try after a loss is immediate; then U(0.5, 1) times min(5 s, later 30 s, 1.7^n). `fraction` in
    [0, 1) is the random part. Network failures are never given up.
    """
    if KINDS[kind][0] != "retrying":
        return Block()
    if attempt <= 1:
        return Retry(0.0) if kind == "connection-lost" else Retry(0.5 + fraction / 2)
    # Bounded before the power: a laptop may be offline for months.
    longest_s = SOON_DELAY_S if attempt <= _SOON_ATTEMPTS else LONGEST_DELAY_S
    ceiling = min(longest_s, _GROWTH ** min(attempt - 1, 16))
    return Retry((0.5 + fraction / 2) * ceiling)
