"""What setup has changed on a host, kept there, so that it can be undone. No I/O.

For each file: what was there before the first setup, and which settings are ours since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from jtunnel.errors import ServerError
from jtunnel.jupyter.setup.changes import Change
from jtunnel.jupyter.setup.facts import Facts, digest

SCHEMA: Final = 1
#: Section, key, and the value that setup gave it; None: it was taken out.
Setting = tuple[str, str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """One file. `before` None: there was none. `wrote` is the SHA-256 of what setup left there last.

    `exact`: nobody else changed it between two setups, so that what was before can simply be put back.
    """

    path: str
    before: str | None = field(repr=False)
    mode: int | None
    wrote: str | None
    exact: bool = True
    settings: tuple[Setting, ...] = field(default=(), repr=False)
    backups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Journal:
    """All of it; `directories` are those that setup made."""

    files: Mapping[str, Kept]
    directories: tuple[str, ...] = ()

    def text(self) -> str:
        """The file."""
        members = {
            "schema": SCHEMA,
            "files": [asdict(kept) for kept in self.files.values()],
            "directories": self.directories,
        }
        return json.dumps(members, indent=1, ensure_ascii=False) + "\n"


def read_journal(facts: Facts) -> Journal:
    """The journal of the host; an empty one where there is none. Raises ServerError for a broken one."""
    if facts.journal.text is None:
        return Journal({})
    try:
        members = json.loads(facts.journal.text)
        if members["schema"] != SCHEMA:
            raise ValueError
        kept = [_kept(file) for file in members["files"]]
        return Journal({file.path: file for file in kept}, tuple(members["directories"]))
    except (ValueError, KeyError, TypeError):
        raise ServerError(
            "jupyter-failed",
            f"{facts.shown(facts.journal.path)} on {facts.ground.node} is broken, or of another jtunnel",
            "move it away to set up anew; then only the backups beside the config files tell what was before",
        ) from None


def noted(journal: Journal, changes: Sequence[Change], directories: Sequence[str]) -> Journal:
    """The journal with these changes in it."""
    files = dict(journal.files)
    for change in changes:
        files[change.path] = _noted(files.get(change.path), change)
    return Journal(files, tuple(dict.fromkeys((*journal.directories, *directories))))


def journal_change(facts: Facts, journal: Journal) -> Change:
    """The change of the journal itself; an empty one goes."""
    text = journal.text() if journal.files else None
    return Change(facts.journal.path, facts.journal.digest, text, words="what --undo needs")


def _noted(known: Kept | None, change: Change) -> Kept:
    wrote = None if change.text is None else digest(change.text)
    backups = (change.backup,) if change.backup else ()
    if known is None:
        # A private key is never read, so that one of ours is what stands in the way of it, if anything is.
        settings = tuple(_differences(change.old_text, change.text))
        return Kept(change.path, change.old_text, change.old_mode, wrote, settings=settings, backups=backups)
    merged = {
        (section, key): value
        for section, key, value in (*known.settings, *_differences(change.old_text, change.text))
    }
    return replace(
        known,
        wrote=wrote,
        exact=known.exact and known.wrote == change.before,
        settings=tuple((section, key, value) for (section, key), value in merged.items()),
        backups=(*known.backups, *backups),
    )


def _differences(old: str | None, new: str | None) -> list[Setting]:
    before, after = _sections(old), _sections(new)
    changed: list[Setting] = []
    for section, key in dict.fromkeys([*before, *after]):
        if before.get((section, key)) != after.get((section, key)):
            changed.append((section, key, after.get((section, key))))
    return changed


def _sections(text: str | None) -> dict[tuple[str, str], Any]:
    try:
        members = json.loads(text or "{}")
    except ValueError:
        return {}
    return {
        (section, key): value
        for section, values in members.items()
        if isinstance(values, dict)
        for key, value in values.items()
    }


def _kept(members: dict[str, Any]) -> Kept:
    settings = tuple((section, key, value) for section, key, value in members.pop("settings"))
    return Kept(**{**members, "settings": settings, "backups": tuple(members["backups"])})
