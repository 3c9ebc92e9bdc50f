"""The decision after a failure: never late, never given up on the network, a person where one is needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtunnel.errors import KINDS
from jtunnel.link.retry import LONGEST_DELAY_S, Block, Retry, decide

NETWORK = ["host-unreachable", "connection-lost"]
PERSON = sorted(kind for kind, (state, _) in KINDS.items() if state == "blocked")


@given(
    kind=st.sampled_from(NETWORK),
    attempt=st.integers(1, 10**9),
    fraction=st.floats(0, 1, exclude_max=True),
)
def test_network_failures_are_retried_for_ever_and_never_late(
    kind: str, attempt: int, fraction: float
) -> None:
    decision = decide(kind, attempt, fraction)
    assert isinstance(decision, Retry)
    assert 0 <= decision.delay_s <= LONGEST_DELAY_S


@pytest.mark.parametrize("kind", PERSON)
def test_what_needs_a_person_is_not_retried(kind: str) -> None:
    assert decide(kind, 1, 0.5) == Block()


def test_the_first_try_after_a_loss_is_immediate() -> None:
    assert decide("connection-lost", 1, 0.9) == Retry(0.0)


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"),
    [
        (1, 0.5, 1.0),
        (2, 0.85, 1.7),
        (3, 1.445, 2.89),
        (4, 2.46, 4.91),
        (16, 2.5, 5.0),
        (17, 15.0, 30.0),
        (500, 15.0, 30.0),
    ],
)
def test_the_schedule_grows_by_1_7_up_to_5_s_and_after_a_minute_30_s(
    attempt: int, shortest: float, longest: float
) -> None:
    for fraction, expected in ((0.0, shortest), (1.0, longest)):
        decision = decide("host-unreachable", attempt, fraction)
        assert isinstance(decision, Retry)
        assert decision.delay_s == pytest.approx(expected, rel=0.01)
