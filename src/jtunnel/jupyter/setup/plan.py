"""What a setup would change on a host, decided from what is there and what is wished. Does no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from jtunnel.config.profile import JupyterOptions
from jtunnel.jupyter.setup.changes import Change, is_change, show
from jtunnel.jupyter.setup.config_text import config_text, parse_config
from jtunnel.jupyter.setup.dialects import Dialect, dialects_of
from jtunnel.jupyter.setup.facts import Facts
from jtunnel.jupyter.setup.journal import Journal, journal_change, noted, read_journal
from jtunnel.jupyter.setup.ports import asked_port, choose_port
from jtunnel.jupyter.setup.security import PLACEHOLDER, choose_hash, choose_tls
from jtunnel.jupyter.setup.settings import Wanted, changed_tree, current, weaker_files
from jtunnel.jupyter.setup.undo import plan_undo
from jtunnel.jupyter.setup.wishes import Wishes


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """The changes, the journal's among them; `diff` is for people. `wanted` is None for an undoing.

    `remove` are backups, and `directories` those that go if they are empty.
    """

    changes: tuple[Change, ...]
    diff: tuple[str, ...]
    notes: tuple[str, ...]
    wanted: Wanted | None
    remove: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()

    @property
    def needs_password(self) -> bool:
        """A person has to choose one before this can be done."""
        return self.wanted is not None and self.wanted.password.endswith(PLACEHOLDER)

    @property
    def digest(self) -> str:
        """The same for plans that a person would see as the same."""
        seen = [list(self.diff), [change.before for change in self.changes]]
        return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:32]


def make_setup_plan(
    facts: Facts, options: JupyterOptions, wishes: Wishes, names: Iterable[str], now: datetime
) -> SetupPlan:
    """Decide. `names` are what else the host is called. Raises ServerError where it cannot be done."""
    journal = read_journal(facts)
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    if wishes.undo:
        return _undo(facts, journal, stamp)
    dialects = dialects_of(facts.ground)
    port, notes = choose_port(facts, port_of(facts, options, wishes))
    tls = choose_tls(facts, dialects, wishes, names, now)
    wanted = Wanted(
        port=port,
        public=wishes.public,
        password=choose_hash(facts, dialects, wishes),
        keeps_password=wishes.password == "keep",  # noqa: S105  (a word, no password)
        certfile=tls.certfile,
        keyfile=tls.keyfile,
        root_dir=_root_dir(facts, dialects, options, wishes),
    )
    changes = [*tls.changes, *(_config(facts, dialect, wanted, stamp) for dialect in dialects)]
    changes = [change for change in changes if is_change(change)]
    diff = show(facts, changes)
    if changes:
        made = () if facts.has_directory else (facts.directory,)
        # First, so that whatever happens then can be undone.
        changes.insert(0, journal_change(facts, noted(journal, changes, made)))
    notes = [*notes, *tls.notes, *_remarks(facts, dialects, wanted)]
    return SetupPlan(tuple(changes), tuple(diff), tuple(notes), wanted)


def port_of(facts: Facts, options: JupyterOptions, wishes: Wishes) -> int | None:
    """The port that is asked for, by the wish, the config there, or the profile; None for any."""
    now = current(facts, dialects_of(facts.ground), "port")
    return asked_port(wishes.port, now if type(now) is int else None, options.remote_port)


def _root_dir(
    facts: Facts, dialects: Sequence[Dialect], options: JupyterOptions, wishes: Wishes
) -> str | None:
    if wishes.directory is not None:
        return facts.ground.root_dir
    known = current(facts, dialects, "root_dir")
    if isinstance(known, str):
        return known
    return facts.ground.root_dir if options.directory is not None else None


def _config(facts: Facts, dialect: Dialect, wanted: Wanted, stamp: str) -> Change:
    file = facts.files[dialect.file]
    members = parse_config(facts, file)
    made = changed_tree(facts, dialect, wanted, members)
    text = file.text if made == members and file.text is not None else config_text(made, file.text)
    backup = None if file.text is None else f"{file.path}.jtunnel-backup-{stamp}"
    return Change(file.path, file.digest, text, old_text=file.text, old_mode=file.mode, backup=backup)


def _undo(facts: Facts, journal: Journal, stamp: str) -> SetupPlan:
    undoing = plan_undo(facts, journal, stamp)
    changes = [change for change in undoing.changes if is_change(change)]
    diff = show(facts, changes)
    if undoing.journal != journal:
        changes.append(journal_change(facts, undoing.journal))
    notes = undoing.notes if journal.files else ("setup has changed nothing there",)
    return SetupPlan(tuple(changes), tuple(diff), notes, None, undoing.remove, undoing.directories)


def _remarks(facts: Facts, dialects: Sequence[Dialect], wanted: Wanted) -> list[str]:
    remarks = []
    if wanted.public:
        remarks.append(f"whoever reaches port {wanted.port} of {facts.ground.node} can try passwords there")
    remarks += [
        f"{facts.shown(entry.file)} cannot be loaded, by Jupyter neither: {entry.error}"
        for entry in facts.entries
        if entry.error
    ]
    made = (facts.hash, f"{facts.hash_kind}{PLACEHOLDER}")
    if wanted.password and wanted.password in made and facts.hash_kind != "argon2":
        remarks.append(f"the Jupyter there makes {facts.hash_kind} hashes only: take a long password")
    for dialect in dialects:
        file = facts.files[dialect.file]
        if file.is_link:
            remarks.append(f"{dialect.file}.json is a link: {facts.shown(file.path)} will hold the hash")
        for other, keys in weaker_files(facts, dialect, wanted):
            remarks.append(f"{facts.shown(other)} sets {keys}, too; {dialect.file}.json counts before it")
    return remarks
