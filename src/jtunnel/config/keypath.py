"""Where a value stands in TOML data: its path of keys, and how messages write that path. Values only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: Names of tables, keys and positions in lists, from the top.
KeyPath = tuple[str | int, ...]

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN_CHARACTERS: Final = 40


def dotted(path: Iterable[str | int]) -> str:
    """A path as TOML writes it, positions in lists counted from 0: `profiles.gpu.forwards[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if _BARE_KEY.fullmatch(part) else quote(part))
    return text


def quote(text: str) -> str:
    """A text in double quotes for a one-line message: shortened, and without control characters."""
    text = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
    return '"' + "".join(char if char.isprintable() else "?" for char in text) + '"'


def value_at(path: KeyPath, data: object) -> object:
    """What stands there; None where nothing does."""
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part]
    return data


def file_order(path: KeyPath, data: object) -> tuple[int, ...]:
    """A sort key: how far down the file `path` stands; what is missing comes after what is there."""
    order = []
    for part in path:
        if isinstance(data, dict):
            order.append(list(data).index(part) if part in data else len(data))
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            order.append(part)
            data = data[part]
    return tuple(order)
