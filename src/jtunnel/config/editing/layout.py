"""Where in a TOML text each key and each value stands, for edits that leave all the rest as it is.

Reads a text that `tomllib` has taken; checks nothing, and knows nothing of jtunnel's keys.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from jtunnel.config.keypath import KeyPath

#: Spaces, line ends and comments.
_GAP: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACES: Final = re.compile(r"[ \t]*")
_KEY: Final = re.compile(r""""(?:\\.|[^"\\])*"|'[^']*'|[A-Za-z0-9_-]+""")
# The quotes that end a text of several lines may have two more before them, which are part of it.
_TEXT: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:'{0,2})|"(?:\\.|[^"\\])*"|'[^']*\'''', re.DOTALL
)
_BARE: Final = re.compile(r"[^,\]}#\r\n]*[^,\]}#\s]")
_CLOSING: Final = {"[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Key:
    """One part of a dotted key, with its quotes if it has any."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Place:
    """Something with a path: a `[header]`, a `key = value`, or an item of a list.

    `keys` are those written here, the last ones of `path`; `start` and `end` are around all of it.
    A header has no value, and `value_start` is its end. `inside` is the list or inline table that it
    stands in, None where it has its own line.
    """

    path: KeyPath
    keys: tuple[Key, ...]
    start: int
    value_start: int
    end: int
    is_header: bool = False
    inside: Place | None = None


def read_layout(text: str) -> list[Place]:
    """All places, in the order of the text; those in a list or inline table follow it."""
    return list(_Reader(text).places())


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._table: KeyPath = ()
        #: Path of a list of `[[tables]]` → the number of those so far.
        self._counts: dict[KeyPath, int] = {}

    def places(self) -> Iterator[Place]:
        while self._next() < len(self._text):
            if self._text[self._position] == "[":
                yield self._header()
            else:
                yield from self._pair(self._table, None)

    def _header(self) -> Place:
        start = self._position
        is_list = self._text.startswith("[[", start)
        self._position += 2 if is_list else 1
        keys = self._keys()
        self._skip(_SPACES)
        self._position += 2 if is_list else 1
        path: KeyPath = ()
        for key in keys:
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
            path = (*path, key.name)
        if is_list:
            count = self._counts.get(path, 0)
            self._counts[path] = count + 1
            path = (*path, count)
        self._table = path
        end = self._position
        return Place(path, keys, start, end, end, is_header=True)

    def _pair(self, table: KeyPath, inside: Place | None) -> list[Place]:
        start = self._position
        keys = self._keys()
        self._skip(_SPACES)
        self._position += 1  # the =
        self._skip(_SPACES)
        return self._value((*table, *(key.name for key in keys)), keys, start, inside)

    def _value(self, path: KeyPath, keys: tuple[Key, ...], start: int, inside: Place | None) -> list[Place]:
        """The value at the position, and what stands in it; the first place is its own."""
        value_start = self._position
        opening = self._text[value_start]
        if opening not in _CLOSING:
            self._skip(_TEXT if opening in "\"'" else _BARE)
            return [Place(path, keys, start, value_start, self._position, inside=inside)]
        self._position = _closing_bracket(self._text, value_start)
        whole = Place(path, keys, start, value_start, self._position, inside=inside)
        found = [whole]
        self._position = value_start + 1
        index = 0
        while self._text[self._next()] != _CLOSING[opening]:
            if self._text[self._position] == ",":
                self._position += 1
            elif opening == "{":
                found += self._pair(path, whole)
            else:
                found += self._value((*path, index), (), self._position, whole)
                index += 1
        self._position += 1
        return found

    def _keys(self) -> tuple[Key, ...]:
        keys: list[Key] = []
        while not keys or self._text[self._position] == ".":
            self._position += bool(keys)
            self._skip(_SPACES)
            start = self._position
            token = self._skip(_KEY)
            (name,) = tomllib.loads(f"{token} = 0")
            keys.append(Key(name, start, self._position))
            self._skip(_SPACES)
        return tuple(keys)

    def _next(self) -> int:
        self._skip(_GAP)
        return self._position

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._position)
        assert match is not None
        self._position = match.end()
        return match.group()


def _closing_bracket(text: str, start: int) -> int:
    """The position behind the bracket that closes the one at `start`."""
    depth, position = 0, start
    while True:
        character = text[position]
        if character in "\"'":
            match = _TEXT.match(text, position)
            assert match is not None
            position = match.end()
            continue
        if character == "#":
            position = text.find("\n", position)
            continue
        depth += (character in "[{") - (character in "]}")
        position += 1
        if depth == 0:
            return position
