"""The words that a shell offers at Tab: profiles, tags and forwards by name, with a few words about each.

The daemon is asked where one answers at once, else the config file. It starts nothing and never complains:
somebody is in the middle of typing.
"""

from __future__ import annotations

from jtunnel import paths
from jtunnel.client import terminal
from jtunnel.client.dial import dial
from jtunnel.errors import EXIT_DONE, JTunnelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Final

    from jtunnel.status import StatusDocument

    #: A word, and what it stands for.
    Word = tuple[str, str]

#: How long a person who presses Tab waits for a daemon that does not answer.
PATIENCE_S: Final = 0.5


def print_words(environ: Mapping[str, str], *, kind: str, name: str | None) -> int:
    """Print one word a line, a tab and its description behind it; `forwards` are those of `name`."""
    try:
        with dial(environ) as connection:
            document: StatusDocument = connection.call("status", {}, timeout_s=PATIENCE_S)
        words = list(_from_daemon(document, kind, name))
    except (JTunnelError, OSError):
        words = list(_from_config(_profiles(environ), kind))
    # A word that would need quotes is in no valid config; only a socket's file may be called so.
    lines = (f"{word}\t{terminal.printable(about)}\n" for word, about in words if _is_plain(word))
    terminal.put_raw("".join(lines))
    return EXIT_DONE


def _is_plain(word: str) -> bool:
    return bool(word) and all(character.isalnum() or character in "._-" for character in word)


def _from_daemon(document: StatusDocument, kind: str, name: str | None) -> Iterator[Word]:
    tunnels = document["tunnels"]
    if kind == "forwards":
        for tunnel in tunnels:
            if tunnel["name"] == name:
                # That of Jupyter belongs to its server, and cannot be taken away.
                for forward in (
                    each for each in tunnel["forwards"] if each["name"] not in ("jupyter", "service")
                ):
                    target = f" → {forward['target']}" if forward["target"] else ""
                    yield forward["name"], f"{forward['kind']} {forward['listen']}{target}"
    elif kind == "tags":
        yield from _tags((tunnel["name"], tunnel["tags"]) for tunnel in tunnels)
    else:
        for tunnel in tunnels:
            yield tunnel["name"], f"{tunnel['state']}, {tunnel['alias']}"


def _from_config(profiles: Mapping[str, Any], kind: str) -> Iterator[Word]:
    """The same without states; without a daemon no tunnel has forwards."""
    tables = {name: table for name, table in profiles.items() if isinstance(table, dict)}
    if kind == "tags":
        yield from _tags((name, table.get("tags", ())) for name, table in tables.items())
    elif kind == "names":
        for name, table in tables.items():
            yield name, str(table.get("host", ""))


def _tags(tagged: Iterator[tuple[str, Any]]) -> Iterator[Word]:
    names: dict[str, list[str]] = {}
    for name, tags in tagged:
        for tag in tags if isinstance(tags, list) else ():
            names.setdefault(str(tag), []).append(name)
    for tag, having in names.items():
        yield tag, ", ".join(having)


def _profiles(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """The tables of the config file as they are written, right or wrong; none where it cannot be read."""
    import tomllib

    try:
        with open(paths.config_file(environ), "rb") as file:
            document = tomllib.loads(file.read().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    defaults, profiles = document.get("defaults"), document.get("profiles")
    if not isinstance(profiles, dict):
        return {}
    if not isinstance(defaults, dict):
        return profiles
    return {name: {**defaults, **table} for name, table in profiles.items() if isinstance(table, dict)}
