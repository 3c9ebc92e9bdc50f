"""Times and quantities as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jtunnel.client.views.measures import latency, moment, size, span


@pytest.mark.parametrize(
    ("seconds_s", "expected"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (86399, "23 h"),
        (200000, "2 d"),
    ],
)
def test_span(seconds_s: float, expected: str) -> None:
    assert span(seconds_s) == expected


def test_moment_agrees_with_datetime() -> None:
    start = datetime(1999, 12, 28, 23, 59, 58, 250000, tzinfo=UTC)
    for days in range(0, 366 * 9, 5):
        day = start + timedelta(days=days)
        text = day.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert moment(text) == day.timestamp(), text


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9960, "10 kB"),
        (999_400, "999 kB"),
        (999_600, "1.0 MB"),
        (34_567_890, "35 MB"),
        (1.5e12, "1.5 TB"),
        (7e18, "7000 PB"),
    ],
)
def test_size(count: float, expected: str) -> None:
    assert size(count) == expected


@pytest.mark.parametrize(
    ("milliseconds_ms", "expected"), [(0.42, "0.4 ms"), (9.6, "10 ms"), (123.4, "123 ms"), (1500, "1.5 s")]
)
def test_latency(milliseconds_ms: float, expected: str) -> None:
    assert latency(milliseconds_ms) == expected
