"""Takes things out of a TOML text together with the comments that are theirs. Knows places, not meanings.

A comment goes with what stands right below it, and with the table that it ends. Where in doubt it stays:
one that heads more than what goes, one that stands alone, and one that programs read (`#:schema`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Final

from jtunnel.config.editing.layout import Place, read_layout
from jtunnel.config.keypath import KeyPath

#: What a line is; the last is a bracket that closes a list.
_BLANK, _COMMENT, _CONTENT, _END = range(4)
#: What may follow an item on its line.
_REST_OF_LINE: Final = re.compile(r"[ \t]*(,?)[ \t]*(?:#[^\n]*)?\r?(?=\n|\Z)")
_COMMA: Final = re.compile(r"((?:[ \t\r\n]|#[^\n]*)*),")


def without(text: str, path: KeyPath) -> str:
    """The text without what stands at `path` and below it, wherever that is written."""
    places = read_layout(text)
    mine = [place for place in places if place.path[: len(path)] == path]
    within = [place for place in mine if place.inside is not None and place.inside not in mine]
    # From the last to the first, so that those before keep their positions.
    for place in reversed(within):
        text = _without_item(text, place)
    if within:
        return text
    lines = _Lines(text, ((place.start, place.end) for place in places if place.inside is None))
    for place in mine:
        if place.inside is None:
            lines.drop(place.start, place.end, is_table=place.is_header)
    return lines.rest()


def _without_item(text: str, item: Place) -> str:
    """The text without an item of a list, or a pair of an inline table."""
    assert item.inside is not None
    # What followed it may be gone by now, and the list be shorter.
    places = read_layout(text)
    whole = next(
        place for place in places if place.start == item.inside.start and place.path == item.inside.path
    )
    siblings = [place for place in places if place.inside == whole]
    index = [place.start for place in siblings].index(item.start)
    start, end = item.start, item.end
    if _has_own_lines(text, item, is_last=index == len(siblings) - 1):
        opening = (0, whole.value_start + 1)
        lines = _Lines(text, [opening, *((place.start, place.end) for place in siblings)])
        lines.drop(start, end, is_table=False)
        return lines.rest()
    if len(siblings) == 1 and _is_plain(text[whole.value_start : whole.end]):
        return text[: whole.value_start + 1] + text[whole.end - 1 :]
    if index + 1 < len(siblings) and _is_plain(text[end : (after := siblings[index + 1].start)]):
        return text[:start] + text[after:]
    if index > 0 and _is_plain(text[(before := siblings[index - 1].end) : start]):
        return text[:before] + text[end:]
    comma = _COMMA.match(text, end)
    # Comments between an item and its comma stay.
    return text[:start] + (comma[1] + text[comma.end() :] if comma else text[end:])


def _has_own_lines(text: str, item: Place, *, is_last: bool) -> bool:
    line_start = text.rfind("\n", 0, item.start) + 1
    rest = _REST_OF_LINE.match(text, item.end)
    return not text[line_start : item.start].strip() and rest is not None and bool(rest[1] or is_last)


def _kind(line: str) -> int:
    return {"": _BLANK, "#": _COMMENT, "]": _END}.get(line.strip()[:1], _CONTENT)


def _is_plain(between: str) -> bool:
    """Whether nothing is lost with what stands between two items."""
    return "\n" not in between and "#" not in between


class _Lines:
    """The lines of a text, and which of them go; `content` are the spans that are no blanks and comments."""

    def __init__(self, text: str, content: Iterable[tuple[int, int]]) -> None:
        self._lines = [f"{line}\n" for line in text.split("\n")]
        self._lines[-1] = self._lines[-1][:-1]
        self._starts = list(accumulate(map(len, self._lines[:-1]), initial=0))
        self._kinds = [_kind(line) for line in self._lines]
        for start, end in content:
            first, last = self._span(start, end)
            self._kinds[first : last + 1] = [_CONTENT] * (last + 1 - first)
        self._gone = [False] * len(self._lines)
        self._tables: set[int] = set()

    def drop(self, start: int, end: int, *, is_table: bool) -> None:
        """Let the lines from `start` to `end` go; a table's own pairs are dropped one by one."""
        first, last = self._span(start, end)
        self._gone[first : last + 1] = [True] * (last + 1 - first)
        if is_table:
            self._tables.add(first)

    def rest(self) -> str:
        """What is left of the text."""
        self._join()
        for first, last in self._runs():
            self._take_comments(first, last)
        for first, last in self._runs():
            self._take_blank_lines(first, last)
        return "".join(line for line, gone in zip(self._lines, self._gone, strict=True) if not gone)

    def _join(self) -> None:
        """What stands between two lines that go, with nothing that stays, goes too."""
        runs = self._runs()
        for (_, last), (first, _) in pairwise(runs):
            if _CONTENT not in self._kinds[last + 1 : first]:
                self._gone[last + 1 : first] = [True] * (first - last - 1)

    def _take_comments(self, first: int, last: int) -> None:
        below = last + 1
        while below < len(self._kinds) and self._kinds[below] == _COMMENT:
            below += 1
        has_table = any(first <= number <= last for number in self._tables)
        followed = below < len(self._kinds) and self._kinds[below] == _CONTENT
        if has_table and not followed:
            self._gone[last + 1 : below] = [True] * (below - last - 1)
        heads_more = below == last + 1 and followed
        if first in self._tables or not heads_more:
            above = first
            while above > 0 and self._kinds[above - 1] == _COMMENT and not self._is_directive(above - 1):
                above -= 1
            self._gone[above:first] = [True] * (first - above)

    def _take_blank_lines(self, first: int, last: int) -> None:
        """Of the blank lines around what goes, leave those on one side."""
        kinds = self._kinds
        if first == 0 or kinds[first - 1] == _BLANK:
            while last + 1 < len(kinds) and kinds[last + 1] == _BLANK:
                last += 1
                self._gone[last] = True
        if last + 1 == len(kinds):
            while first > 0 and kinds[first - 1] == _BLANK:
                first -= 1
                self._gone[first] = True

    def _runs(self) -> list[tuple[int, int]]:
        """First and last line of each stretch that goes."""
        runs: list[tuple[int, int]] = []
        for number, gone in enumerate(self._gone):
            if gone and runs and runs[-1][1] == number - 1:
                runs[-1] = (runs[-1][0], number)
            elif gone:
                runs.append((number, number))
        return runs

    def _is_directive(self, number: int) -> bool:
        return self._lines[number].startswith("#:")

    def _span(self, start: int, end: int) -> tuple[int, int]:
        return bisect_right(self._starts, start) - 1, bisect_right(self._starts, end - 1) - 1
