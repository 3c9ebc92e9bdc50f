"""What puts the files of a host back as they were before setup, from its journal. Pure.

A file that somebody else has changed since keeps that: only the settings that setup made are taken back.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Any

from jtunnel.jupyter.setup.changes import PRIVATE, Change
from jtunnel.jupyter.setup.config_text import config_text, parse_config
from jtunnel.jupyter.setup.facts import Facts, File, digest
from jtunnel.jupyter.setup.journal import Journal, Kept


@dataclass(frozen=True, slots=True)
class Undoing:
    """The changes, backups and directories that go then, what is to be said, and the journal that is left."""

    changes: tuple[Change, ...]
    remove: tuple[str, ...]
    directories: tuple[str, ...]
    notes: tuple[str, ...]
    journal: Journal


def plan_undo(facts: Facts, journal: Journal, stamp: str) -> Undoing:
    """Undo what concerns this Jupyter config directory. Raises ServerError for a broken config file."""
    changes: list[Change] = []
    remove: list[str] = []
    notes: list[str] = []
    left = dict(journal.files)
    configs = {file.path: file for file in facts.files.values()}
    secret = {facts.ours[name].path: sha for name, sha in facts.our_digests.items()}
    for path, kept in journal.files.items():
        if path in configs:
            change, note, exact = _config(facts, configs[path], kept, stamp)
            remove += kept.backups if exact else ()
        elif path in secret:
            change, note = _secret(facts, kept, secret[path])
        else:
            continue
        del left[path]
        changes += [change] if change else []
        notes += [note] if note else []
    directories = () if left else tuple(reversed(journal.directories))
    return Undoing(tuple(changes), tuple(remove), directories, tuple(notes), Journal(left))


def _config(facts: Facts, file: File, kept: Kept, stamp: str) -> tuple[Change | None, str, bool]:
    """The change, what is to be said, and whether all is as before then."""
    before = None if kept.before is None else digest(kept.before)
    if file.digest == before:
        # Written down, and never done: or undone by hand.
        return _restored(file, kept) if file.mode != kept.mode else None, "", True
    if kept.exact and file.digest == kept.wrote:
        return _restored(file, kept), "", True
    if file.text is None:
        return None, f"{facts.shown(file.path)} was removed since, and stays so", False
    text, own = _taken_back(facts, file, kept)
    words = f"{facts.shown(file.path)} was changed since: only the settings of setup are taken back"
    if own:
        words += f"; left as they are: {', '.join(own)}"
    backup = f"{file.path}.jtunnel-backup-{stamp}"
    change = Change(
        file.path,
        file.digest,
        text,
        file.mode or PRIVATE,
        file.text,
        file.mode,
        backup if text != file.text else None,
    )
    return change, words, False


def _restored(file: File, kept: Kept) -> Change:
    return Change(file.path, file.digest, kept.before, kept.mode or PRIVATE, file.text, file.mode)


def _taken_back(facts: Facts, file: File, kept: Kept) -> tuple[str | None, list[str]]:
    """The text without our settings, and those that somebody has changed since."""
    members = parse_config(facts, file)
    original = parse_config(facts, File(file.path, kept.before))
    own = []
    for section, key, value in kept.settings:
        present = members.get(section, {})
        if present.get(key) != value:
            own.append(f"{section}.{key}")
        else:
            _put_back(members, original, section, key)
    if not members and kept.before is None:
        return None, own
    return config_text(members, file.text), own


def _put_back(members: dict[str, Any], original: dict[str, Any], section: str, key: str) -> None:
    if key in original.get(section, {}):
        members.setdefault(section, {})[key] = original[section][key]
        return
    members.get(section, {}).pop(key, None)
    if not members.get(section) and section not in original:
        members.pop(section, None)


def _secret(facts: Facts, kept: Kept, sha: str | None) -> tuple[Change | None, str]:
    """The certificate and the key that we made go; others in their place stay."""
    name = posixpath.basename(kept.path)
    if sha is None:
        return None, ""
    if sha != kept.wrote:
        return None, f"{facts.shown(kept.path)} is not the one that setup made, and stays"
    words = "the private key is removed" if "key" in name else "the certificate is removed"
    return Change(kept.path, sha, None, words=words), ""
