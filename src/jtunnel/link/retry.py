"""What happens after a try to connect failed: one pure decision from what is known of the failure.

The schedule follows gRPC's and AWS's backoff, and what Wi-Fi needs after a wake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jtunnel.errors import KINDS

#: Seconds between tries at most; longer where it has been failing for that many seconds.
LONGEST_DELAY_S: Final = 30.0
PATIENT_DELAYS: Final = ((3600.0, 300.0), (600.0, 60.0))
#: The same while somebody waits: a local connection is held, or the old connection is suspected.
HURRIED_DELAY_S: Final = 3.0
#: Between the quick tries after a wake or a network gain, and how many there are: Wi-Fi needs up to 15 s.
BURST_DELAY_S: Final = 1.0
BURST_TRIES: Final = 15
#: Seconds after which an event is no reason for quick tries any more.
BURST_FOR_S: Final = 30.0
#: Between two bursts to one host at least.
BURST_GAP_S: Final = 10.0
#: Without a route only an event helps; this is for the event that nobody saw.
OFFLINE_DELAY_S: Final = 60.0
#: Before the one more try of a login that was refused, having worked before.
REFUSED_DELAY_S: Final = 30.0
#: Tries that one event sets off in many links are spread over so many seconds.
SPREAD_S: Final = 0.3
#: A connection that served this long starts the schedule anew when it is lost.
HEALTHY_AFTER_S: Final = 30.0
_GROWTH: Final = 1.7


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed try, or the loss of a connection (`attempt` 1 where it was healthy before)."""

    kind: str
    """The problem's kind, as in the contract."""
    attempt: int
    """Failures in a row, from 1."""
    failing_s: float = 0.0
    """Seconds since the first of them."""
    took_s: float = 0.0
    """Seconds that the failed try took; while somebody waits, the next begins the sooner."""
    hurried: bool = False
    """Whether somebody waits for it now."""
    burst: bool = False
    """Whether one of the quick tries after a wake or a gain is left."""
    offline: bool = False
    """Whether there is no route to the host."""
    served_before: bool = False
    """Whether this link has been logged in, so that its keys were good."""
    tried_again: bool = False
    """Whether the same refusal came before, and this was its one more try."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Block:
    """Wait for a person; with `until_gain`, a change of the network is worth one more try too.

    With `until_key` a key that is new in the agent is: a person has unlocked it, or it has only now started.
    """

    until_gain: bool = False
    until_key: bool = False


def decide(failure: Failure, fraction: float) -> Retry | Block:
    """Decide what follows a failure; `fraction` in [0, 1) is the random part.

    Network failures are never given up: at once after a loss, then U(0.5, 1) times min(30 s, 1.7^n),
    n counting from 0. A refused login that has worked before is tried once more; a host key that
    changed, once more on another network (captive portals and split DNS show other hosts).
    """
    if failure.kind == "auth-failed" and failure.served_before and not failure.tried_again:
        return Retry(REFUSED_DELAY_S)
    if KINDS[failure.kind][0] != "retrying":
        return Block(
            until_gain=failure.kind == "host-key-changed" and not failure.tried_again,
            until_key=failure.kind in ("auth-failed", "input-required"),
        )
    if failure.offline:
        return Retry(OFFLINE_DELAY_S)
    if failure.kind == "connection-lost" and failure.attempt <= 1:
        return Retry(0.0)
    if failure.burst:
        return Retry(min(BURST_DELAY_S, _longest_delay(failure)))
    # Bounded before the power: a laptop may be offline for months.
    ceiling_s = min(_longest_delay(failure), _GROWTH ** min(max(failure.attempt, 1) - 1, 16))
    return Retry((0.5 + fraction / 2) * ceiling_s)


def _longest_delay(failure: Failure) -> float:
    if failure.hurried:
        return max(0.0, HURRIED_DELAY_S - failure.took_s)
    for failing_s, longest_s in PATIENT_DELAYS:
        if failure.failing_s >= failing_s:
            return longest_s
    return LONGEST_DELAY_S
