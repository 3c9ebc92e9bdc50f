"""Edits of the config file's text: a key, a profile, a forward. All the rest stays byte for byte as it is.

Each edit is checked by reading the text before and after: the difference is what was meant, or it is refused.
Writes no file: see `rewrite`. Not tomlkit: it gives the comment above a table to the table before
that, so an edit of the one tears the other apart; and it knows no renaming.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from jtunnel.config.editing.insertion import spliced, with_item, with_value
from jtunnel.config.editing.layout import read_layout
from jtunnel.config.editing.notation import Value, key_text
from jtunnel.config.editing.removal import without
from jtunnel.config.keypath import KeyPath
from jtunnel.errors import ConfigError


def set_key(text: str, profile: str, key: str, value: Value) -> str:
    """Give a key of a profile this value; a new key comes after the profile's last one."""

    def change(data: dict[str, Any]) -> None:
        data["profiles"][profile][key] = value

    return _checked(text, with_value(text, ("profiles", profile), key, value), change)


def remove_profile(text: str, profile: str) -> str:
    """Take a profile out, with its tables and the comments that belong to it."""

    def change(data: dict[str, Any]) -> None:
        del data["profiles"][profile]

    return _checked(text, without(text, ("profiles", profile)), change)


def rename_profile(text: str, profile: str, name: str) -> str:
    """Give a profile another name, in its place."""

    def change(data: dict[str, Any]) -> None:
        data["profiles"] = {name if key == profile else key: table for key, table in data["profiles"].items()}

    splices = []
    for place in read_layout(text):
        # A header writes its whole path, any other place the last keys of it.
        index = 1 if place.is_header else 1 - (len(place.path) - len(place.keys))
        if place.path[:2] == ("profiles", profile) and 0 <= index < len(place.keys):
            key = place.keys[index]
            quote = text[key.start] if text[key.start] in "\"'" else ""
            splices.append((key.start, key.end, key_text(name, quote=quote)))
    return _checked(text, spliced(text, *splices), change)


def add_forward(text: str, profile: str, table: Mapping[str, Value], short: str | None = None) -> str:
    """Add a forward to the end of a profile's; `short` is the same as a text, where that can say it."""
    path: KeyPath = ("profiles", profile, "forwards")
    has_sections = any(place.is_header and place.path[:-1] == path for place in read_layout(text))
    entry: Value = table if short is None or has_sections else short

    def change(data: dict[str, Any]) -> None:
        data["profiles"][profile].setdefault("forwards", []).append(entry)

    return _checked(text, with_item(text, path, entry, table), change)


def remove_forward(text: str, profile: str, index: int) -> str:
    """Take the forward at this position out of a profile's, with the comments that belong to it."""
    path: KeyPath = ("profiles", profile, "forwards", index)
    is_section = any(place.path == path and place.is_header for place in read_layout(text))

    def change(data: dict[str, Any]) -> None:
        forwards = data["profiles"][profile]["forwards"]
        del forwards[index]
        if is_section and not forwards:
            # The last [[section]] takes the list itself along.
            del data["profiles"][profile]["forwards"]

    return _checked(text, without(text, path), change)


def _checked(before: str, after: str, change: Callable[[dict[str, Any]], None]) -> str:
    """`after`, if it says what `before` says but for the change."""
    meant = tomllib.loads(before)
    change(meant)
    try:
        found = tomllib.loads(after)
    except ValueError:
        found = {}
    # The last profile may take its table along.
    found.setdefault("profiles", {})
    # Equal dictionaries may differ in their order.
    if found != meant or list(found["profiles"]) != list(meant["profiles"]):
        raise ConfigError(
            "config-invalid",
            "the config is written in a way that jtunnel cannot edit without damage",
            "edit it by hand: jtunnel edit",
        )
    return after
