"""By which file and names each kind of Jupyter is configured, and what its files say together. Pure.

jupyter_server has had `ServerApp` from 1.0 and its own names for passwords from 2.0; classic notebook up to 6
has `NotebookApp`. A .json file beats the .py file beside it (traitlets, Application.load_config_file).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jtunnel.errors import ServerError
from jtunnel.jupyter.plan import release
from jtunnel.jupyter.setup.facts import Entry, Facts
from jtunnel.service.ground import Ground

#: A setting's section and key in a config file.
Place = tuple[str, str]
#: Section → key → value, as in a config file.
Tree = Mapping[str, Mapping[str, Any]]
#: Where `jupyter server password` of 2.x writes its hash; and the place that beats it.
_USUAL: Final[Place] = ("IdentityProvider", "hashed_password")
_STRONG: Final[Place] = ("PasswordIdentityProvider", "hashed_password")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of Jupyter: the name of its config file, without ending; its word for root_dir; and more."""

    file: str
    section: str
    root: str
    passwords: tuple[Place, ...]
    """Where a hash may stand, the strongest first."""
    inherits: bool = False
    """It also takes what was written for classic notebook (notebook_shim), where nothing else is said."""

    def places(self, name: str) -> tuple[Place, ...]:
        """Where a setting may stand; an earlier one counts before a later one."""
        if name == "password":
            return self.passwords
        word = self.root if name == "root_dir" else name
        inherited = ("NotebookApp", "notebook_dir" if name == "root_dir" else name)
        return ((self.section, word), inherited) if self.inherits else ((self.section, word),)


@dataclass(frozen=True, slots=True)
class Found:
    """The value that counts, and the file and place that it stands in."""

    value: Any
    file: str
    place: Place


def dialects_of(ground: Ground) -> tuple[Dialect, ...]:
    """Those that the host's Jupyter speaks. Raises ServerError `jupyter-missing` where it speaks none."""
    versions = ground.versions
    found = []
    classic = ("NotebookApp", "password")
    if "jupyter_server" in versions:
        old = (("ServerApp", "password"), classic)
        passwords = (_STRONG, *old, _USUAL) if release(versions["jupyter_server"]) >= (2,) else old
        found.append(Dialect("jupyter_server_config", "ServerApp", "root_dir", passwords, inherits=True))
    if "notebook" in versions and release(versions["notebook"]) < (7,):
        found.append(Dialect("jupyter_notebook_config", "NotebookApp", "notebook_dir", (classic,)))
    if not found:
        raise ServerError(
            "jupyter-missing",
            f"{ground.program} on {ground.node} brings neither jupyter_server nor notebook",
            "install JupyterLab there, or name another command in the jupyter table of this profile",
        )
    return tuple(found)


def find_setting(facts: Facts, dialect: Dialect, name: str, *, ours: Tree | None = None) -> Found | None:
    """The value that counts for this kind of Jupyter; None where no file says anything.

    With `ours`, the JSON file of the user's config directory is taken to hold that instead.
    """
    for place in dialect.places(name):
        file = "jupyter_notebook_config" if place[0] == "NotebookApp" else dialect.file
        if (found := _last(_entries(facts, dialect, file, ours), place)) is not None:
            return found
    return None


def place_to_write(facts: Facts, dialect: Dialect, name: str) -> Place:
    """Where setup writes a setting.

    A hash stands where `jupyter server password` would put it, so that this goes on working, unless a
    stronger place is in use.
    """
    places = dialect.places(name)
    if name == "password" and _USUAL in places:
        found = find_setting(facts, dialect, name)
        return _USUAL if found is None or found.place == _USUAL else _STRONG
    return places[0]


def json_path(facts: Facts, dialect: Dialect) -> str:
    """The JSON file that setup writes, as Jupyter finds it."""
    return f"{facts.directory}/{dialect.file}.json"


def _entries(facts: Facts, dialect: Dialect, file: str, ours: Tree | None) -> Iterable[Entry]:
    """The files of a name in the order of reading; the later one counts."""
    path = json_path(facts, dialect)
    entries = [entry for entry in facts.entries if entry.name in ("jupyter_config", file)]
    if ours is None or file != dialect.file:
        return entries
    return [Entry(path, file, ours) if entry.file == path else entry for entry in entries]


def _last(entries: Iterable[Entry], place: Place) -> Found | None:
    section, key = place
    found = None
    for entry in entries:
        if key in entry.values.get(section, {}):
            found = Found(entry.values[section][key], entry.file, place)
    return found
