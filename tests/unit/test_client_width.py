"""Text in columns: wide and combining characters, cutting, wrapping."""

from __future__ import annotations

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st

from jtunnel.client.views.width import columns, cut, fold, pad, wrap

WIDE = "日本語"
TEXTS = st.text(st.sampled_from("ab é日語ｶ\u0301…Ω→"), max_size=40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("gpu", 3), (WIDE, 6), ("e\u0301", 1), ("größe", 5), ("→…", 2), ("ｶ", 1), ("\uff21", 2)],
)
def test_columns_are_those_of_a_terminal(text: str, expected: int) -> None:
    assert columns(text) == expected == wcwidth.wcswidth(text)


def test_cut() -> None:
    assert cut("gpu", None) == cut("gpu", 3) == "gpu"
    assert cut("gpu-box", 4) == "gpu…"
    assert cut(WIDE, 5) == "日本…"
    assert cut(WIDE, 4) == "日…"
    assert [cut("gpu", 1), cut("gpu", 0)] == ["…", ""]


def test_pad() -> None:
    assert pad("日", 4) == "日  "
    assert pad("日", 4, right=True) == "  日"
    assert pad("gpu-box", 4) == "gpu…"


def test_wrap_at_spaces_and_in_long_words() -> None:
    assert wrap("no room", None, "  ") == ["  no room"]
    assert wrap("one two three", 9, "  ") == ["  one two", "  three"]
    assert wrap("a-very-long-word b", 8) == ["a-very-l", "ong-word", "b"]
    assert wrap(f"{WIDE} {WIDE}", 7) == [WIDE, WIDE]


@given(TEXTS, st.integers(2, 30))
def test_nothing_is_lost_or_wider(text: str, width: int) -> None:
    assert columns(cut(text, width)) <= width
    assert columns(pad(text, width)) == width
    pieces = fold(text, width)
    assert "".join(pieces) == text
    assert all(columns(piece) <= width for piece in pieces)
    lines = wrap(text, width)
    assert all(columns(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
