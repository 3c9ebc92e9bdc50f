"""Says what pydantic found wrong in a config file: one line a mistake, in the user's words.

A line never shows the value of a key that nobody knows, of a command, or of a password in a host.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from jtunnel.config.forward_syntax import ForwardSyntaxError
from jtunnel.config.keypath import KeyPath, dotted, file_order, quote, value_at
from jtunnel.config.schema import DefaultsTable, Document, ForwardTable, ProfileTable
from jtunnel.config.server_tables import (
    LATER_KEYS,
    LATER_LAUNCHERS,
    ConflictError,
    DefaultsJupyterTable,
    JupyterTable,
    ServiceTable,
)
from jtunnel.config.values import ITEM_TITLES, NAME_TITLE

_UNQUOTED: Final = re.compile(r"\d+(\.\d+)?|true|false", re.ASCII)
_PASSWORD: Final = re.compile(r":[^@]*@")
#: Keys whose values may hold a token or a password.
_SECRET_KEYS: Final = frozenset({"command", "setup", "env"})
#: pydantic's errors where something else than a text was expected.
_NOT_TEXT: Final = frozenset({"int_type", "float_type", "bool_type"})
#: Keys of text that is easily taken for a number.
_TEXT_KEYS: Final = frozenset({"listen", "target", "name", "tags", "forwards", "user", "host"})


def describe_mistakes(error: ValidationError, data: Mapping[str, object]) -> list[str]:
    """One line `KEY: what is wrong` for each mistake in `data`, in the file's order."""
    grouped: dict[KeyPath, list[ErrorDetails]] = {}
    names: dict[KeyPath, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        group = names if _is_name(details) else grouped
        group.setdefault(_key_path(details), []).append(details)
    # A value that may be a text or a list fails twice: as a whole, and at the item that is wrong.
    containers = {path[:length] for path in grouped for length in range(len(path))}
    mistakes = [(path, f"{dotted(path)}: {_wrong_name(path)}") for path in names]
    mistakes += [
        (path, _describe(path, errors, data)) for path, errors in grouped.items() if path not in containers
    ]
    return [line for _, line in sorted(mistakes, key=lambda mistake: file_order(mistake[0], data))]


def _describe(path: KeyPath, errors: list[ErrorDetails], data: Mapping[str, object]) -> str:
    value, kinds = value_at(path, data), {error["type"] for error in errors}
    if "extra_forbidden" in kinds:
        return f"{dotted(path)}: {_unknown_key(path, value)}"
    if "missing" in kinds:
        return f"{dotted(path)}: missing; expected {_title(path)}"
    cause = errors[0].get("ctx", {}).get("error")
    if isinstance(cause, ForwardSyntaxError) and cause.key:
        return f"{dotted((*path, cause.key))}: {cause.reason}"
    if isinstance(cause, ConflictError):
        return f"{dotted(path)}: {cause}"
    shown = "a value that is not shown" if _SECRET_KEYS & {*path[2:]} else _found(value)
    reason = _reason(path, value, errors, kinds)
    return f"{dotted(path)}: expected {_title(path)}, found {shown}" + (f"; {reason}" if reason else "")


def _wrong_name(path: KeyPath) -> str:
    if "env" in path[2:]:
        return "not a variable's name; expected letters, digits and underscores, a digit not first"
    return f"not a profile's name; expected {NAME_TITLE}"


def _reason(path: KeyPath, value: object, errors: list[ErrorDetails], kinds: set[str]) -> str:
    for error in errors:
        # Only our own checks raise these, so their text is made for people.
        if error["type"] == "value_error" and (reason := str(error["ctx"]["error"])):
            return reason
    if path[-1] == "launcher" and isinstance(value, str) and value in LATER_LAUNCHERS:
        return f"{value} comes in a later version of jtunnel"
    if (
        isinstance(value, str)
        and kinds & {"int_type", "float_type", "bool_type"}
        and _UNQUOTED.fullmatch(value)
    ):
        return "leave out the quotes"
    key = next(part for part in reversed(path) if isinstance(part, str))
    if type(value) is int and key in _TEXT_KEYS and kinds & {"string_type", "union_tag_not_found"}:
        return "put it in quotes"
    return ""


def _unknown_key(path: KeyPath, value: object) -> str:
    *table, key = path
    assert isinstance(key, str)
    model = _model(tuple(table))
    assert model is not None
    if key in LATER_KEYS and model is not Document:
        return "comes in a later version of jtunnel"
    if place := _right_place(model, table, key, value):
        return place
    known = list(model.model_fields)
    if near := difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1):
        return f'unknown key; did you mean "{near[0]}"?'
    return f"unknown key; known here: {', '.join(known)}"


def _right_place(model: type[BaseModel], table: list[str | int], key: str, value: object) -> str | None:
    """What to say of a key that is known, but not here."""
    profile, jupyter = ProfileTable.model_fields, JupyterTable.model_fields
    looks_like_profile = isinstance(value, dict) and "host" in value
    if model is Document and looks_like_profile:
        return f"unknown key; a profile is written [{dotted(('profiles', key))}]"
    if model is ProfileTable and looks_like_profile:
        name = ".".join(str(part) for part in (*table[1:], key))
        return f"unknown key; a name with a dot is written [{dotted(('profiles', name))}]"
    if model is Document and key in profile:
        return "unknown key; it belongs in a table [profiles.NAME]"
    if model is DefaultsTable and key in profile:
        return "cannot be a default; it belongs in each table [profiles.NAME]"
    if model is DefaultsJupyterTable and key in jupyter:
        return "cannot be a default; it belongs in each table [profiles.NAME.jupyter]"
    if model in (ProfileTable, DefaultsTable) and key in jupyter:
        return f"unknown key; it belongs in [{dotted((*table, 'jupyter'))}]"
    tables: dict[type[BaseModel], type[BaseModel]]
    tables = {JupyterTable: ProfileTable, DefaultsJupyterTable: DefaultsTable}
    above = tables.get(model)
    if above is not None and key in above.model_fields:
        return f"unknown key; it belongs in [{dotted(table[:-1])}]"
    return None


def _model(path: KeyPath) -> type[BaseModel] | None:
    """The model of the table at `path`; None where no table with known keys stands."""
    match path:
        case ():
            return Document
        case ("defaults",):
            return DefaultsTable
        case ("defaults", "jupyter"):
            return DefaultsJupyterTable
        case ("profiles", _):
            return ProfileTable
        case ("profiles", _, "jupyter"):
            return JupyterTable
        case ("profiles", _, "service"):
            return ServiceTable
        case ("profiles", _, "forwards", int()):
            return ForwardTable
    return None


def _is_name(details: ErrorDetails) -> bool:
    """Whether it is a profile's name that is wrong, and not what stands under it."""
    return details["loc"][-1] == "[key]" and details["type"] != "extra_forbidden"


def _key_path(details: ErrorDetails) -> KeyPath:
    """Where the mistake is, without the names that pydantic gives to the members of a union."""
    path: KeyPath = ()
    loc = details["loc"][:-1] if _is_name(details) else details["loc"]
    form_seen = False
    for part in loc:
        if _model(path) is ForwardTable and not form_seen:
            form_seen = True
        elif isinstance(part, int) or path[-1:] in (("profiles",), ("env",)) or _model(path) is not None:
            path = (*path, part)
    return path


def _title(path: KeyPath) -> str:
    """What is expected at `path`, in a person's words."""
    *table, key = path
    if isinstance(key, int):
        return ITEM_TITLES[str(table[-1])]
    if table == ["profiles"]:
        return f"a table [{dotted(path)}]"
    if table[-1:] == ["env"]:
        return "a text in quotes"
    model = _model(tuple(table))
    assert model is not None
    title = model.model_fields[key].title or ""
    return re.sub(r"\[profiles\.NAME\.\w+\]", f"[{dotted(path)}]", title)


def _found(value: object) -> str:
    """A value of TOML with its type, shortened."""
    match value:
        case bool():
            return f"the boolean {json.dumps(value)}"
        case int() if abs(value) >= 10**18:
            return "a number of more than 18 digits"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the string {quote(_PASSWORD.sub(':…@', value))}"
        case dict():
            return "a table"
        case list():
            return "a list"
        case dt.date() | dt.time():
            return f"the date or time {value}"
    return "something else"
