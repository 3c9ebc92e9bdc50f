"""What the config files shall say, from what they say now and what is wished. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from jtunnel.errors import ServerError
from jtunnel.jupyter.setup.dialects import Dialect, Found, Tree, find_setting, json_path, place_to_write
from jtunnel.jupyter.setup.facts import Facts
from jtunnel.service.ground import Ground

EVERYWHERE: Final = "*"
_LOOPBACKS: Final = ("localhost", "127.0.0.1", "::1")
#: Their empty value means the same as none.
_SWITCHES: Final = ("password", "certfile", "keyfile")


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the server shall be; an empty text switches a thing off, None leaves it to Jupyter.

    `keeps_password`: where a kind of Jupyter has a hash of its own, that stays.
    """

    port: int
    public: bool
    password: str
    certfile: str
    keyfile: str
    root_dir: str | None
    keeps_password: bool = False

    def settings(self, facts: Facts, dialect: Dialect) -> dict[str, Any]:
        """The settings of one kind of Jupyter by their plain names."""
        address = find_setting(facts, dialect, "ip")
        local = address.value if address is not None and address.value in _LOOPBACKS else "127.0.0.1"
        wanted: dict[str, Any] = {
            "ip": EVERYWHERE if self.public else local,
            "port": self.port,
            # Taken is an error: on another port, one would send the password to whoever listens on this one.
            "port_retries": 0,
            "open_browser": False,
            "certfile": self.certfile,
            "keyfile": self.keyfile,
            "password": self.password,
        }
        own = find_setting(facts, dialect, "password")
        if self.keeps_password and own is not None and own.value:
            wanted["password"] = own.value
        if self.root_dir is not None:
            wanted["root_dir"] = self.root_dir
        if facts.ground.uid == 0:
            wanted["allow_root"] = True
        return wanted


def changed_tree(facts: Facts, dialect: Dialect, wanted: Wanted, tree: Tree) -> dict[str, Any]:
    """The JSON file's members with those settings that do not hold yet; the other members stay.

    Raises ServerError `jupyter-failed` where a stronger file says otherwise.
    """
    made: dict[str, Any] = {section: _copy(members) for section, members in tree.items()}
    settings = wanted.settings(facts, dialect)
    for name, value in settings.items():
        if not _holds(name, find_setting(facts, dialect, name), value):
            _set(facts, dialect, name, value, made)
    for name, value in settings.items():
        found = find_setting(facts, dialect, name, ours=_sections(made))
        if not _holds(name, found, value):
            raise _overruled(facts, name, found, dialect)
    return made


def weaker_files(facts: Facts, dialect: Dialect, wanted: Wanted) -> list[tuple[str, str]]:
    """Each other file that sets something else than now counts: its path, and the keys."""
    settings = wanted.settings(facts, dialect)
    own = json_path(facts, dialect)
    found = []
    for entry in facts.entries:
        if entry.file == own or entry.name not in ("jupyter_config", dialect.file):
            continue
        keys = [
            key
            for name, value in settings.items()
            for section, key in dialect.places(name)
            if key in entry.values.get(section, {}) and entry.values[section][key] != value
        ]
        if keys:
            found.append((entry.file, ", ".join(dict.fromkeys(keys))))
    return found


def current(facts: Facts, dialects: Sequence[Dialect], name: str) -> Any:
    """The first value of a setting that any kind of Jupyter on the host has now; None for none."""
    for dialect in dialects:
        if (found := find_setting(facts, dialect, name)) is not None and found.value not in ("", None):
            return found.value
    return None


def check_root(ground: Ground, allow_root: bool, key: str) -> None:
    """Raises ServerError (`jupyter-failed`) for an account that Jupyter does not run as unasked."""
    if ground.uid == 0 and not allow_root:
        raise ServerError(
            "jupyter-failed",
            f"the login on {ground.node} is root, and Jupyter does not run as root unasked",
            f"log in as another user, or set allow_root = true in [profiles.{key}.jupyter]",
        )


def _set(facts: Facts, dialect: Dialect, name: str, value: Any, made: dict[str, Any]) -> None:
    if name in _SWITCHES and value == "":
        for section, key in dialect.places(name):
            if section != "NotebookApp" or dialect.section == section:
                _remove(made, section, key)
        if _holds(name, find_setting(facts, dialect, name, ours=_sections(made)), value):
            return
    section, key = place_to_write(facts, dialect, name)
    made.setdefault(section, {})[key] = value


def _remove(made: dict[str, Any], section: str, key: str) -> None:
    members = made.get(section)
    if isinstance(members, dict) and key in members:
        del members[key]
        if not members:
            del made[section]


def _holds(name: str, found: Found | None, value: Any) -> bool:
    if found is None:
        return name in _SWITCHES and value == ""
    return bool(found.value == value) or (name in _SWITCHES and not found.value and value == "")


def _sections(tree: Tree) -> Tree:
    return {section: members for section, members in tree.items() if isinstance(members, dict)}


def _copy(members: Any) -> Any:
    return dict(members) if isinstance(members, dict) else members


def _overruled(facts: Facts, name: str, found: Found | None, dialect: Dialect) -> ServerError:
    file = facts.shown(found.file) if found is not None else "another file"
    own = facts.shown(json_path(facts, dialect))
    place = ".".join(found.place) if found is not None else name
    return ServerError(
        "jupyter-failed",
        f"{file} on {facts.ground.node} sets {place}, and counts before {own}",
        "take that line out of it, then try again; nothing was changed",
    )
