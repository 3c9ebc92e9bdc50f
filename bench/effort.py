"""How much is measured: the sizes, counts and rounds of a full and of a quick run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Effort:
    """One size of run. Every round measures each contender once, one after another."""

    rounds: int
    bulk_bytes: int
    messages: int
    connections_s: float
    starts: int
    tunnel_counts: tuple[int, ...]
    client_runs: int


#: About three minutes on two cores.
FULL: Final = Effort(
    rounds=7,
    bulk_bytes=256 * MIB,
    messages=2000,
    connections_s=0.6,
    starts=7,
    tunnel_counts=(1, 10, 50),
    client_runs=50,
)
#: Less than 40 seconds; its figures are rough.
QUICK: Final = Effort(
    rounds=3,
    bulk_bytes=64 * MIB,
    messages=500,
    connections_s=0.2,
    starts=3,
    tunnel_counts=(1, 10),
    client_runs=15,
)
