"""Puts keys and items into a TOML text, in the style of what is around them. Knows places, not meanings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from jtunnel.config.editing.layout import Place, read_layout
from jtunnel.config.editing.notation import Value, key_text, pair_text, value_text
from jtunnel.config.keypath import KeyPath

_COMMA: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*,")
_INDENT: Final = "  "


def with_value(text: str, table: KeyPath, key: str, value: Value) -> str:
    """The text with this value at a key of a table; a new key comes after the table's last one.

    It stays the same where the table is not written in a way that can take a key.
    """
    places = read_layout(text)
    for place in places:
        if place.path == (*table, key) and not place.is_header:
            return spliced(text, (place.value_start, place.end, value_text(value)))
        if place.path == table and not place.is_header and text[place.value_start] == "{":
            return _with_pair(text, places, place, pair_text(key, value))
    anchor, prefix = _last_of(text, places, table)
    if anchor is None:
        return text
    # As people write it who leave out the spaces.
    is_tight = bool(anchor.keys) and text[anchor.keys[-1].end : anchor.value_start] == "="
    pair = f"{prefix}{key_text(key)}{'=' if is_tight else ' = '}{value_text(value)}"
    if anchor.inside is not None:
        return spliced(text, (anchor.end, anchor.end, f", {pair}"))
    return _after_line(text, anchor, [pair])


def with_item(text: str, path: KeyPath, item: Value, table: Mapping[str, Value]) -> str:
    """The text with one more item in the list at `path`, which is begun where there is none.

    `table` is the same item for a list of `[[tables]]`.
    """
    places = read_layout(text)
    sections = [place for place in places if place.is_header and place.path[:-1] == path]
    if sections:
        return _with_section(text, places, sections[-1], table)
    for place in places:
        if place.path == path and not place.is_header:
            items = [each for each in places if each.inside == place]
            if not items:
                return _with_first_item(text, place, value_text(item))
            return _with_last_item(text, place, items[-1], value_text(item))
    *above, key = path
    return with_value(text, tuple(above), str(key), [item])


def spliced(text: str, *splices: tuple[int, int, str]) -> str:
    """The text with other text in the place of some of it."""
    for start, end, new in sorted(splices, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _with_pair(text: str, places: Sequence[Place], table: Place, pair: str) -> str:
    pairs = [place for place in places if place.inside == table]
    if not pairs:
        return spliced(text, (table.value_start, table.end, f"{{ {pair} }}"))
    return spliced(text, (pairs[-1].end, pairs[-1].end, f", {pair}"))


def _last_of(text: str, places: Sequence[Place], table: KeyPath) -> tuple[Place | None, str]:
    """What a new key of a table comes after, and how the table is written before its keys there."""
    for place in places:
        if place.path == table and place.is_header:
            return _section(places, place)[-1], ""
    depth = len(table)
    for place in reversed(places):
        above = len(place.path) - len(place.keys)
        if not place.is_header and above < depth < len(place.path) and place.path[:depth] == table:
            return place, text[place.start : place.keys[depth - above - 1].end] + "."
    return None, ""


def _section(places: Sequence[Place], header: Place) -> list[Place]:
    """A header and the pairs below it."""
    section = [header]
    for place in places[places.index(header) + 1 :]:
        if place.is_header:
            break
        if place.inside is None:
            section.append(place)
    return section


def _with_section(text: str, places: Sequence[Place], last: Place, table: Mapping[str, Value]) -> str:
    lines = [text[last.start : last.end], *(pair_text(key, value) for key, value in table.items())]
    if text[: _line_start(text, last.start)].endswith(("\n\n", "\n\r\n")):
        lines.insert(0, "")
    return _after_line(text, _section(places, last)[-1], lines)


def _with_last_item(text: str, listed: Place, last: Place, item: str) -> str:
    comma = _COMMA.match(text, last.end)
    after = comma.end() if comma else last.end
    indent = text[_line_start(text, last.start) : last.start]
    if indent.strip():
        # It is not alone on its line: nor is the new one.
        return spliced(text, (after, after, f" {item}," if comma else f", {item}"))
    new = f"{_newline(text)}{indent}{item}"
    line_end = _line_end(text, after)
    if line_end >= listed.end:
        return spliced(text, (after, after, f"{new}," if comma else f",{new}"))
    if comma:
        return spliced(text, (line_end, line_end, f"{new},"))
    return spliced(text, (last.end, last.end, ","), (line_end, line_end, new))


def _with_first_item(text: str, listed: Place, item: str) -> str:
    closing = listed.end - 1
    line = _line_start(text, closing)
    if line <= listed.value_start:
        return spliced(text, (listed.value_start, listed.end, f"[{item}]"))
    return spliced(text, (line, line, f"{text[line:closing]}{_INDENT}{item},{_newline(text)}"))


def _after_line(text: str, anchor: Place, lines: Sequence[str]) -> str:
    """The text with more lines below the one where `anchor` ends, indented like it."""
    newline, end = _newline(text), _line_end(text, anchor.end)
    indent = text[_line_start(text, anchor.start) : anchor.start]
    return spliced(text, (end, end, "".join(newline + (indent + line if line else "") for line in lines)))


def _line_start(text: str, position: int) -> int:
    return text.rfind("\n", 0, position) + 1


def _line_end(text: str, position: int) -> int:
    """Where the line ends, its line break not counted."""
    end = text.find("\n", position)
    if end < 0:
        return len(text)
    return end - 1 if text[end - 1] == "\r" else end


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text[: text.find("\n") + 1] else "\n"
