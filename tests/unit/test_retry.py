"""The decision after a failure: never late, never given up on the network, a person where one is needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtunnel.errors import KINDS
from jtunnel.link.retry import (
    BURST_DELAY_S,
    HURRIED_DELAY_S,
    OFFLINE_DELAY_S,
    REFUSED_DELAY_S,
    Block,
    Failure,
    Retry,
    decide,
)

NETWORK = ["host-unreachable", "connection-lost"]
PERSON = sorted(kind for kind, (state, _) in KINDS.items() if state == "blocked")
FAILURES = st.builds(
    Failure,
    kind=st.sampled_from(sorted(kind for kind in KINDS if KINDS[kind][0] in ("retrying", "blocked"))),
    attempt=st.integers(1, 10**9),
    failing_s=st.floats(0, 10**9),
    took_s=st.floats(0, 100),
    hurried=st.booleans(),
    burst=st.booleans(),
    offline=st.booleans(),
    served_before=st.booleans(),
    tried_again=st.booleans(),
)
FRACTIONS = st.floats(0, 1, exclude_max=True)


@given(failure=FAILURES, fraction=FRACTIONS)
def test_the_network_is_never_given_up_and_never_late(failure: Failure, fraction: float) -> None:
    decision = decide(failure, fraction)
    if failure.kind in NETWORK:
        assert isinstance(decision, Retry)
        assert 0 <= decision.delay_s <= 300
        if failure.failing_s < 600 and not failure.offline:
            assert decision.delay_s <= 30
        if failure.hurried and not failure.offline:
            assert decision.delay_s + min(failure.took_s, HURRIED_DELAY_S) <= HURRIED_DELAY_S + 1e-9
        if failure.offline:
            assert decision.delay_s == OFFLINE_DELAY_S


@given(failure=FAILURES, fraction=FRACTIONS)
def test_no_refusal_is_tried_more_than_once_again(failure: Failure, fraction: float) -> None:
    decision = decide(failure, fraction)
    if failure.kind not in NETWORK and failure.tried_again:
        assert isinstance(decision, Block)
        assert not decision.until_gain
    if isinstance(decision, Retry) and failure.kind not in NETWORK:
        assert failure.kind == "auth-failed"
        assert decision.delay_s == REFUSED_DELAY_S


@pytest.mark.parametrize("kind", PERSON)
def test_what_needs_a_person_is_not_retried_by_the_clock(kind: str) -> None:
    wants_key = kind in ("auth-failed", "input-required")
    assert decide(Failure(kind, 1), 0.5) == Block(until_gain=kind == "host-key-changed", until_key=wants_key)


def test_a_login_that_has_worked_is_tried_once_more() -> None:
    assert decide(Failure("auth-failed", 1, served_before=True), 0.5) == Retry(30.0)
    again = decide(Failure("auth-failed", 2, served_before=True, tried_again=True), 0.5)
    assert again == Block(until_key=True)


def test_another_network_may_show_the_right_host_key() -> None:
    assert decide(Failure("host-key-changed", 1), 0.5) == Block(until_gain=True)
    assert decide(Failure("host-key-changed", 2, tried_again=True), 0.5) == Block()
    assert decide(Failure("host-key-unknown", 1), 0.5) == Block()


def test_the_first_try_after_a_loss_is_immediate() -> None:
    assert decide(Failure("connection-lost", 1), 0.9) == Retry(0.0)
    assert decide(Failure("connection-lost", 2), 0.0) == Retry(0.85)


@pytest.mark.parametrize(
    ("attempt", "failing_s", "shortest", "longest"),
    [
        (1, 0, 0.5, 1.0),
        (2, 1, 0.85, 1.7),
        (3, 3, 1.445, 2.89),
        (4, 5, 2.46, 4.91),
        (8, 60, 15.0, 30.0),
        (500, 599, 15.0, 30.0),
        (500, 600, 30.0, 60.0),
        (500, 3600, 150.0, 300.0),
    ],
)
def test_the_schedule(attempt: int, failing_s: float, shortest: float, longest: float) -> None:
    for fraction, expected in ((0.0, shortest), (1.0, longest)):
        decision = decide(Failure("host-unreachable", attempt, failing_s), fraction)
        assert isinstance(decision, Retry)
        assert decision.delay_s == pytest.approx(expected, rel=0.01)


def test_after_a_wake_the_tries_are_a_second_apart() -> None:
    assert decide(Failure("host-unreachable", 20, 300, burst=True), 0.9) == Retry(BURST_DELAY_S)
    assert decide(Failure("host-unreachable", 20, 300, burst=True, offline=True), 0.9) == Retry(
        OFFLINE_DELAY_S
    )
