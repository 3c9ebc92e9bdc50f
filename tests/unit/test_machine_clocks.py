"""Sleep and stall, told from two clocks: a table, properties, and the real clocks of this machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtunnel.machine.clocks import SLEEP_S, STALL_S, Gap, Moment, judge, now

NS = 1_000_000_000
TICK_S = 2.0
#: Up to some years of uptime.
uptimes = st.integers(0, 10**17)


def judged(awake_s: float, always_s: float) -> Gap | None:
    """What is made of clocks that went on by so much between two ticks."""
    start = Moment(5 * NS, 700 * NS)
    after = Moment(start.awake_ns + round(awake_s * NS), start.always_ns + round(always_s * NS))
    return judge(start, after, tick_s=TICK_S)


@pytest.mark.parametrize(
    ("awake_s", "always_s", "gap"),
    [
        (2.0, 2.0, None),
        (0.0, 0.0, None),  # hastened
        (2.9, 2.9, None),
        (2.0, 2.999, None),
        (2.0, 3.0, Gap("sleep", 1.0)),
        (0.003, 3600.003, Gap("sleep", 3600.0)),
        (11.999, 11.999, None),
        (12.0, 12.0, Gap("stall", 10.0)),
        # s2idle with a clock that runs on, or SIGSTOP.
        (602.0, 602.0, Gap("stall", 600.0)),
        # Stopped for a minute, of which the machine slept none: it slept afterwards.
        (62.0, 3662.0, Gap("sleep", 3660.0)),
        # The clock of macOS that stands still in sleep has stepped back.
        (-30.0, 2.0, Gap("sleep", 32.0)),
        (2.0, -3598.0, Gap("sleep", 3600.0)),
    ],
)
def test_what_two_clocks_say(awake_s: float, always_s: float, gap: Gap | None) -> None:
    assert judged(awake_s, always_s) == gap


@given(start=st.builds(Moment, uptimes, uptimes), awake_ns=st.integers(0, 10**17))
def test_without_sleep_only_lateness_counts(start: Moment, awake_ns: int) -> None:
    after = Moment(start.awake_ns + awake_ns, start.always_ns + awake_ns)
    gap = judge(start, after, tick_s=TICK_S)
    if awake_ns / NS - TICK_S < STALL_S:
        assert gap is None
    else:
        assert gap is not None
        assert gap.kind == "stall"
        assert gap.seconds == pytest.approx(awake_ns / NS - TICK_S)


@given(
    start=st.builds(Moment, uptimes, uptimes),
    awake_ns=st.integers(0, 10**17),
    slept_ns=st.integers(-(10**17), 10**17),
)
def test_sleep_counts_wherever_the_clocks_stand(start: Moment, awake_ns: int, slept_ns: int) -> None:
    after = Moment(start.awake_ns + awake_ns, start.always_ns + awake_ns + slept_ns)
    gap = judge(start, after, tick_s=TICK_S)
    if abs(slept_ns) / NS >= SLEEP_S:
        assert gap is not None
        assert gap.kind == "sleep"
        assert gap.seconds >= abs(slept_ns) / NS
    else:
        assert gap is None or gap.kind == "stall"


def test_the_real_clocks_differ_by_nothing_while_awake() -> None:
    moments = [now() for _ in range(1000)]
    differences = [moment.always_ns - moment.awake_ns for moment in moments]
    assert max(differences) - min(differences) < SLEEP_S * NS
    assert moments == sorted(moments, key=lambda moment: moment.awake_ns)
