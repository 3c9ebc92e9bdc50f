"""Sections as text for a terminal, and as a JSON document. Computes nothing but widths."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.figures import Contender, Ratio, Row, Section

WIDTH: Final = 100
_GAP: Final = "  "


def render(section: Section) -> list[str]:
    """The lines of one section: title, table, what its columns stand for, remarks."""
    columns = [*section.ours, *section.rivals]
    head = ["", *(column.name for column in columns)]
    head += [f"{ours.name} / {rival.name}" for ours, rival in section.pairs]
    body = [_cells(row, columns, section.pairs) for row in section.rows]
    lines = [section.title, ""]
    lines += [f"{_GAP}{line}" for line in align([head, *body], right=range(1, 1 + len(columns)))]
    lines.append("")
    for text in (*(f"{column.name}: {column.meaning}" for column in columns), *section.remarks):
        lines += textwrap.wrap(text, WIDTH, initial_indent=_GAP, subsequent_indent=_GAP * 2)
    return lines


def align(rows: Sequence[Sequence[str]], *, right: range) -> list[str]:
    """Rows of cells as lines of equal columns; those numbered in `right` are set flush right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_GAP.join(cells).rstrip())
    return lines


def _cells(row: Row, columns: Sequence[Contender], pairs: Sequence[tuple[Contender, Contender]]) -> list[str]:
    medians = [format_figure(row.median(column.name)) for column in columns]
    ratios = [format_ratio(row.ratio(ours.name, rival.name)) for ours, rival in pairs]
    return [f"{row.what}, {row.unit}", *medians, *ratios]


def format_figure(figure: float) -> str:
    """Three significant digits, never an exponent."""
    size = abs(figure)
    if size >= 100 or size == 0 or math.isinf(size):
        return f"{figure:.0f}"
    digits = 2 - math.floor(math.log10(size))
    return f"{figure:.{digits}f}"


def format_ratio(ratio: Ratio) -> str:
    """The ratio, what it means, and its range over single rounds where there were several."""
    value, low, high = (_two_decimals(part) for part in (ratio.value, ratio.lowest, ratio.highest))
    return f"{value} {ratio.verdict}" + (f" ({low}-{high})" if low != high else "")


def _two_decimals(ratio: float) -> str:
    return f"{ratio:.2f}" if 0.1 <= ratio < 10 else format_figure(ratio)


def to_json(section: Section) -> dict[str, Any]:
    """A section as plain data; every figure of every round is in it."""
    return {
        "name": section.name,
        "title": section.title,
        "contenders": {column.name: column.meaning for column in (*section.ours, *section.rivals)},
        "remarks": list(section.remarks),
        "rows": [_row_to_json(row, section.pairs) for row in section.rows],
    }


def _row_to_json(row: Row, pairs: Sequence[tuple[Contender, Contender]]) -> Mapping[str, Any]:
    ratios = []
    for ours, rival in pairs:
        ratio = row.ratio(ours.name, rival.name)
        finite = [None if math.isinf(part) else part for part in (ratio.value, ratio.lowest, ratio.highest)]
        ratios.append(
            {
                "of": ours.name,
                "to": rival.name,
                "ratio": finite[0],
                "lowest": finite[1],
                "highest": finite[2],
                "verdict": ratio.verdict,
            }
        )
    return {
        "what": row.what,
        "unit": row.unit,
        "better": row.better,
        "medians": {name: row.median(name) for name in row.figures},
        "rounds": row.figures,
        "ratios": ratios,
    }
