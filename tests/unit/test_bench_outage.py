"""The outage benchmark without its lab: which outages are chosen, what the requests of one say."""

from __future__ import annotations

import argparse

import pytest

from bench.outage import __main__ as command
from bench.outage.cases import CASES
from bench.outage.contenders import JTUNNEL, RIVALS
from bench.outage.round import PATIENCE_S, summarize
from bench.table import render
from tests.support.lab.traffic import Outcome, Request

BEGAN_AT, RETURNED_AT = 100.0, 110.0


def request(began_at: float, outcome: Outcome, ended_at: float | None = None) -> Request:
    return Request(0, began_at, outcome, ended_at)


def test_words_choose_outages() -> None:
    assert [case.name for case in command.choose_cases("link down")] == ["link down, 30 s", "link down, 5 s"]
    with pytest.raises(argparse.ArgumentTypeError, match="no outage with 'flood'"):
        command.choose_cases("flood")


def test_refused_counts_until_it_works_again_and_waited_only_what_began_before() -> None:
    requests = [
        request(99.0, "refused", 99.0),
        request(101.0, "refused", 101.0),
        request(102.0, "answered", 102.1),
        request(103.0, "answered", 110.5),
        request(104.0, "reset", 111.0),
        request(105.0, "open"),
        request(111.0, "refused", 111.0),
        request(111.5, "answered", 112.0),
        request(113.0, "refused", 113.0),
    ]
    result = summarize(requests, 2.0, BEGAN_AT, RETURNED_AT)
    assert (result.usable_s, result.refused, result.waited) == (2.0, 2, 1)


def test_the_tables_have_a_row_for_each_outage_and_a_column_for_each_contender() -> None:
    case = CASES[0]
    round_ = {
        contender.name: {"usable_s": seconds, "refused": 0, "waited": 1}
        for contender, seconds in zip((JTUNNEL, *RIVALS), (0.5, 5.0, PATIENCE_S), strict=True)
    }
    usable, refused, waited = command.make_sections([case], {case.name: [round_, round_]})
    lines = render(usable)
    assert lines[0].endswith("median of 2")
    assert lines[3].split() == [*f"{case.name}, s".split(), "0.500", "5.00", "60.0", *lines[3].split()[-4:]]
    assert "60.0 stands for: not within 60 s." in lines[-1]
    assert "1.00 same" in render(refused)[3]
    assert "1.00 same" in render(waited)[3]
