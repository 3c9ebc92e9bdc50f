"""Changes of files on the host: what stands there before and after, and how people are shown it. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jtunnel.jupyter.setup.config_text import masked, secrets_in
from jtunnel.jupyter.setup.facts import Facts, digest

#: For this user alone: a hash is worth guessing at.
PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Change:
    """One file. `before` is the SHA-256 of what is there, None for nothing; `text` None takes the file away.

    `words` tell of a file that is not shown line by line.
    """

    path: str
    before: str | None
    text: str | None = field(repr=False)
    mode: int = PRIVATE
    old_text: str | None = field(default=None, repr=False)
    old_mode: int | None = None
    backup: str | None = None
    words: str = ""

    def order(self) -> dict[str, Any]:
        """What the program that writes needs of it."""
        names = ("path", "before", "text", "mode", "backup")
        return {name: getattr(self, name) for name in names}


def show(facts: Facts, changes: Sequence[Change]) -> list[str]:
    """The lines of a diff, with secrets shortened; private keys do not appear."""
    lines = []
    for change in changes:
        lines += _show_one(facts, change)
    return lines


def _show_one(facts: Facts, change: Change) -> list[str]:
    path = facts.shown(change.path)
    if change.words:
        doing = "-" if change.text is None else "+" if change.before is None else "~"
        return [f"{doing} {path}: {change.words}"]
    old, new = change.old_text, change.text
    fresh = secrets_in(new) - secrets_in(old)
    lines = [
        line.rstrip("\n")
        for line in difflib.unified_diff(
            masked(old).splitlines(),
            masked(new, fresh).splitlines(),
            "/dev/null" if old is None else path,
            "/dev/null" if new is None else path,
            lineterm="",
        )
    ]
    if new is not None and change.old_mode not in (None, change.mode):
        lines.append(f"~ {path}: mode {change.old_mode:04o} becomes {change.mode:04o}")
    return lines


def is_change(change: Change) -> bool:
    """Whether it changes anything."""
    if change.text is None:
        return change.before is not None
    return digest(change.text) != change.before or change.old_mode not in (None, change.mode)
