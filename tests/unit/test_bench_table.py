"""The benchmark's table and its JSON: what a person and a script read."""

from __future__ import annotations

import json
import math

import pytest

from bench.figures import Contender, Ratio, Row, Section
from bench.table import align, format_figure, format_ratio, render, to_json


def section() -> Section:
    return Section(
        "bulk",
        "Bulk: 64 MiB each way",
        ours=[Contender("jtunnel", "one profile")],
        rivals=[Contender("ssh", "ssh -N -L"), Contender("same cipher", "ssh -N -L -o Ciphers=x")],
        rows=[
            Row(
                "down",
                "MB/s",
                "more",
                {"jtunnel": [300.0, 320.0], "ssh": [200.0, 200.0], "same cipher": [310.0, 310.0]},
            ),
            Row(
                "CPU",
                "s/GB",
                "less",
                {"jtunnel": [1.0, 1.0], "ssh": [0.8, 0.8], "same cipher": [0.5, 0.5]},
            ),
        ],
        remarks=["Client CPU is the daemon's, or ssh's."],
    )


def test_a_section_says_which_is_better_and_by_how_much() -> None:
    assert render(section()) == [
        "Bulk: 64 MiB each way",
        "",
        "              jtunnel    ssh  same cipher  jtunnel / ssh            jtunnel / same cipher",
        "  down, MB/s      310    200          310  1.55 better (1.50-1.60)  1.00 same (0.97-1.03)",
        "  CPU, s/GB      1.00  0.800        0.500  1.25 worse               2.00 worse",
        "",
        "  jtunnel: one profile",
        "  ssh: ssh -N -L",
        "  same cipher: ssh -N -L -o Ciphers=x",
        "  Client CPU is the daemon's, or ssh's.",
    ]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert align([["a", "1", "x"], ["long", "1000", ""]], right=range(1, 2)) == [
        "a        1  x",
        "long  1000",
    ]


@pytest.mark.parametrize(
    ("figure", "text"),
    [(0, "0"), (0.0123, "0.0123"), (0.5, "0.500"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")],
)
def test_figures_have_three_digits(figure: float, text: str) -> None:
    assert format_figure(figure) == text


def test_a_ratio_of_one_round_has_no_range() -> None:
    assert format_ratio(Ratio(0.5, 0.5, 0.5, "better")) == "0.50 better"


def test_json_has_every_round_and_is_json_even_without_a_ratio() -> None:
    given = section()
    given.rows[1].figures["ssh"] = [0.0, 0.0]
    document = json.loads(json.dumps(to_json(given), allow_nan=False))
    assert document["contenders"]["ssh"] == "ssh -N -L"
    assert document["rows"][0]["rounds"]["jtunnel"] == [300.0, 320.0]
    assert document["rows"][0]["medians"]["jtunnel"] == 310.0
    assert document["rows"][0]["ratios"][0] == {
        "of": "jtunnel",
        "to": "ssh",
        "ratio": 1.55,
        "lowest": 1.5,
        "highest": 1.6,
        "verdict": "better",
    }
    assert document["rows"][1]["ratios"][0]["ratio"] is None
    assert not math.isinf(document["rows"][1]["medians"]["jtunnel"])
