"""Reads the config file into profiles: TOML, validation, defaults, `~`. Writes nothing, watches nothing."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from jtunnel import paths
from jtunnel.config.collisions import find_collisions
from jtunnel.config.exposure import find_exposed
from jtunnel.config.forward_syntax import name_forwards, parse_forward, parse_table
from jtunnel.config.hosts import parse_jump
from jtunnel.config.keypath import dotted
from jtunnel.config.mistakes import describe_mistakes
from jtunnel.config.profile import Config, Forward, Profile
from jtunnel.config.schema import DefaultsTable, Document, ForwardTable, ProfileTable
from jtunnel.config.servers import read_jupyter, read_service
from jtunnel.errors import ConfigError

#: The shortest profile that is of use, for people who have none yet.
SHORTEST_PROFILE: Final = 'profiles.gpu = { host = "gpu-box", jupyter = {} }'

#: Bytes; a thousand profiles have a tenth of it.
_LARGEST: Final = 2 << 20
_TOML_PLACE: Final = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
#: How a sentence of tomllib starts → the words for it; the others are shown as they are.
_TOML_WORDS: Final[Mapping[str, str]] = {
    "Invalid value": 'expected a value; text needs quotes, as in "gpu-box"',
    "Invalid statement": 'expected a key, as in host = "gpu-box", or a table, as in [profiles.gpu]',
    "Cannot ": "this key or table was given before",
}


def load_config(path: str, environ: Mapping[str, str]) -> Config:
    """Read a config file; `environ` has the home directory for `~`.

    Raises ConfigError `config-invalid`; its `lines` name all mistakes, `missing` says that there is
    no such file.
    """
    return parse_config(_read(path, os.path.basename(path)), path, environ)


def parse_config(content: bytes, path: str, environ: Mapping[str, str]) -> Config:
    """The same of what stands, or is to stand, in the file at `path`."""
    name = os.path.basename(path)
    data = _parse(content, path, name)
    try:
        document = Document.model_validate(data, context=environ)
    except ValidationError as error:
        lines = [f"{name}: {line}" for line in describe_mistakes(error, data)]
    else:
        profiles = {
            key: _profile(key, table, document.defaults, environ) for key, table in document.profiles.items()
        }
        mistakes = (*find_collisions(profiles.values()), *find_exposed(profiles.values()))
        lines = [f"{name}: {dotted(key)}: {what}" for key, what in mistakes]
        if not lines:
            return Config(path, profiles, document.watch_config)
    raise _invalid(path, lines)


def _invalid(path: str, lines: Sequence[str]) -> ConfigError:
    message, advice = lines[0], f"correct it in {path}"
    if len(lines) > 1:
        message += f" (and {len(lines) - 1} more)"
        advice += "; `jtunnel config check` lists all"
    return ConfigError("config-invalid", message, advice, lines=tuple(lines))


def _read(path: str, name: str) -> bytes:
    try:
        # A pipe or a device could block or never end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            what = "a directory" if os.path.isdir(path) else "not a regular file"
            raise ConfigError("config-invalid", f"{name}: is {what}", f"put a TOML file at {path}")
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            # To read it would take the daemon from its tunnels for long, or all memory.
            what = f"is larger than {_LARGEST >> 20} MiB"
            raise ConfigError("config-invalid", f"{name}: {what}", f"put a smaller file at {path}")
        return content
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            "config-invalid",
            f"there is no config file {path}",
            f"create it with this line, for the host you name in ssh: {SHORTEST_PROFILE}",
            missing=True,
        ) from None
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else type(error).__name__
        raise ConfigError(
            "config-invalid", f"{name}: cannot be read: {reason}", f"see who may read {path}"
        ) from None


def _parse(content: bytes, path: str, name: str) -> dict[str, Any]:
    try:
        # Editors on other systems put a byte order mark in front.
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = f"line {line}: not UTF-8 text (byte 0x{content[error.start]:02x})"
    except tomllib.TOMLDecodeError as error:
        wrong = _toml_mistake(str(error), content)
    except RecursionError:
        wrong = "not valid TOML: nested too deeply"
    except ValueError:
        wrong = "not valid TOML: a number with too many digits"
    raise _invalid(path, [f"{name}: {wrong}"])


def _toml_mistake(text: str, content: bytes) -> str:
    match = _TOML_PLACE.fullmatch(text)
    if match is None:
        return f"not valid TOML: {text}"
    what, line, column = match.groups()
    if line is None:
        last = content.rstrip().count(b"\n") + 1
        place = f"line {last}, at the end of the file"
        if what == "Invalid value":
            what = "a value is missing, or a bracket is not closed"
    else:
        place = f"line {line}, column {column}"
    for start, words in _TOML_WORDS.items():
        if what.startswith(start):
            return f"{place}: not valid TOML: {words}"
    return f"{place}: not valid TOML: {what[:1].lower()}{what[1:]}"


def _profile(
    name: str, table: ProfileTable, defaults: DefaultsTable | None, environ: Mapping[str, str]
) -> Profile:
    given = _given(defaults) | _given(table)
    jupyter = None
    if table.jupyter is not None:
        jupyter = read_jupyter(_given(defaults and defaults.jupyter), _given(table.jupyter))
    service = None if table.service is None else read_service(_given(table.service))
    forwards = (_forward(entry, environ) for entry in table.forwards)
    for key in ("identity_files", "known_hosts"):
        if key in given:
            files = [given[key]] if isinstance(given[key], str) else given[key]
            given[key] = tuple(paths.expand(file, environ) for file in files)
    if "jump" in given:
        given["jump"] = parse_jump(given["jump"])
    if given.get("ssh_config"):
        given["ssh_config"] = paths.expand(given["ssh_config"], environ)
    if "tags" in given:
        given["tags"] = tuple(dict.fromkeys(given["tags"]))
    for key in ("on_up", "on_down", "on_blocked"):
        if key in given:
            # A text may have pipes and variables, as in a shell; a list is a program and its arguments.
            hook = given[key]
            given[key] = ("/bin/sh", "-c", hook) if isinstance(hook, str) else tuple(hook)
    for key in ("keepalive_interval", "hold", "idle_timeout"):
        if key in given:
            given[f"{key}_s"] = given.pop(key)
    taken = [name for name, table in (("jupyter", jupyter), ("service", service)) if table]
    given["forwards"] = name_forwards(forwards, taken)
    return Profile(name=name, jupyter=jupyter, service=service, **given)


def _given(table: BaseModel | None) -> dict[str, Any]:
    """What the file says in a table, without the table's own default values."""
    if table is None:
        return {}
    return {key: getattr(table, key) for key in table.model_fields_set if key not in ("jupyter", "service")}


def _forward(entry: str | ForwardTable, environ: Mapping[str, str]) -> Forward:
    if isinstance(entry, str):
        return parse_forward(entry, environ)
    return parse_table(entry.kind, entry.listen, entry.target, entry.name, environ)
