"""How jtunnel writes keys and values in TOML. Reads nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

#: What may stand in the config, as far as jtunnel writes it.
Value = bool | int | str | Sequence["Value"] | Mapping[str, "Value"]

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def key_text(name: str, *, quote: str = "") -> str:
    """A key in these quotes, or with none in those that it needs; it has no quotes and backslashes in it."""
    if quote:
        return f"{quote}{name}{quote}"
    return name if _BARE_KEY.fullmatch(name) else value_text(name)


def pair_text(key: str, value: Value) -> str:
    """A key with its value."""
    return f"{key_text(key)} = {value_text(value)}"


def value_text(value: Value) -> str:
    """A value on one line."""
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's escapes are TOML's, but TOML wants one for DEL too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(pair_text(key, entry) for key, entry in value.items()) + " }"
    return "[" + ", ".join(map(value_text, value)) + "]"
