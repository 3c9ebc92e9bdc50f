"""Profiles as text for config.toml. Checks nothing: a test may want a wrong one."""

from __future__ import annotations

import json
from collections.abc import Sequence


def profile(name: str, *forwards: str, host: str = "box", **keys: str | float | bool | Sequence[str]) -> str:
    """One `[profiles.NAME]` table; a forward that starts with `{` is an inline table, others are texts."""
    listed = ", ".join(entry if entry.startswith("{") else json.dumps(entry) for entry in forwards)
    settings = {"host": host, **keys}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    return "\n".join([f"[profiles.{name}]", *lines, f"forwards = [{listed}]", ""])
