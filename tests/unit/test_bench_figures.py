"""What the benchmark makes of its figures: medians, ratios, verdicts, memory sums, options."""

from __future__ import annotations

import math

import pytest

from bench.__main__ import MEASUREMENTS, parse_arguments
from bench.figures import Better, Row, Verdict, divide, judge, percentile
from bench.memory_map import Memory, parse_smaps_rollup

SMAPS_ROLLUP = """\
561d0f2a9000-7ffd5a7fe000 ---p 00000000 00:00 0                          [rollup]
Rss:               51200 kB
Pss:               40960 kB
Pss_Dirty:         30720 kB
Pss_Anon:          30720 kB
Shared_Clean:      10240 kB
Swap:                  0 kB
"""


def row(better: Better, **figures: list[float]) -> Row:
    return Row("speed", "MB/s", better, dict(figures))


@pytest.mark.parametrize(
    ("ratio", "better", "verdict"),
    [
        (1.5, "more", "better"),
        (0.5, "more", "worse"),
        (1.5, "less", "worse"),
        (0.5, "less", "better"),
        (1.02, "more", "same"),
        (0.98, "less", "same"),
        (math.inf, "less", "worse"),
    ],
)
def test_verdict_follows_what_is_better(ratio: float, better: Better, verdict: Verdict) -> None:
    assert judge(ratio, better) == verdict


def test_ratio_is_the_median_of_the_rounds_and_knows_their_range() -> None:
    ratio = row("more", ours=[100.0, 120.0, 900.0], theirs=[100.0, 60.0, 300.0]).ratio("ours", "theirs")
    assert (ratio.value, ratio.lowest, ratio.highest, ratio.verdict) == (2.0, 1.0, 3.0, "better")


def test_rounds_that_do_not_pair_up_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="shorter"):
        row("more", ours=[1.0, 2.0], theirs=[1.0]).ratio("ours", "theirs")


def test_dividing_by_nothing_measured() -> None:
    assert divide(1.0, 0.0) == math.inf
    assert divide(0.0, 0.0) == 1.0


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == value


def test_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_memory_of_a_process() -> None:
    assert parse_smaps_rollup(SMAPS_ROLLUP) == Memory(rss=50 << 20, pss=40 << 20)


def test_memory_of_a_process_that_has_just_ended() -> None:
    with pytest.raises(ValueError, match="Rss"):
        parse_smaps_rollup("")


def test_everything_is_measured_unless_told_otherwise() -> None:
    assert parse_arguments([]).only == list(MEASUREMENTS)


def test_only_keeps_the_usual_order() -> None:
    assert parse_arguments(["--only", "client, bulk"]).only == ["bulk", "client"]


@pytest.mark.parametrize("names", ["latency", "", "bulk,latency"])
def test_only_names_what_there_is(names: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--only", names])
    assert "there are bulk, roundtrip, connections" in capsys.readouterr().err
