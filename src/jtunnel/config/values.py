"""The kinds of single values in the config file, as annotated types for the tables in `schema`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationInfo, WithJsonSchema

from jtunnel.config.forward_syntax import parse_forward
from jtunnel.config.hosts import check_hop, check_host, parse_jump

NAME_TITLE: Final = "a letter or digit, then letters, digits, dots, underscores and hyphens (64 at most)"
PORT_TITLE: Final = "a port (1 to 65535)"
PATH_TITLE: Final = "a path that starts with / or ~/"
FORWARD_TITLE: Final = 'a forward as in ssh -L ("6006:localhost:6006") or as a table'
LISTEN_TITLE: Final = '"PORT", "HOST:PORT" or a socket\'s path'
HOOK_TITLE: Final = "a command line for sh, or a list of a program and its arguments"
TARGET_TITLE: Final = '"HOST:PORT" or a socket\'s path'
DURATION_TITLE: Final = 'a duration such as "8h", "90m" or "30s", up to 365d; 0 is never'
_UNITS_S: Final[Mapping[str, float]] = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
#: Key of a list → what is expected of each item in it.
ITEM_TITLES: Final[Mapping[str, str]] = {
    "identity_files": PATH_TITLE,
    "known_hosts": PATH_TITLE,
    "jump": "a jump host: HOST, USER@HOST or USER@HOST:PORT",
    "tags": f"a tag: {NAME_TITLE}",
    "forwards": FORWARD_TITLE,
    "setup": "a line for the login shell",
    "on_up": "a word of the command",
    "on_down": "a word of the command",
    "on_blocked": "a word of the command",
}


def _check_jump(text: str) -> str:
    parse_jump(text)
    return text


def _check_forward(text: str, info: ValidationInfo) -> str:
    parse_forward(text, info.context or {})
    return text


def _check_false(value: bool) -> bool:
    if value:
        raise ValueError("without this key, ~/.ssh/config is read")
    return value


def _check_command(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it has a line break or a control character")
    try:
        words = shlex.split(text)
    except ValueError:
        raise ValueError("a quote or backslash in it has no partner") from None
    if not words:
        raise ValueError("it is empty")
    return text


def _check_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it has a line break or a control character")
    if not text.strip():
        raise ValueError("it is empty")
    return text


def read_duration(value: object) -> object:
    """Seconds from a text such as "8h" or "90 min"; anything else is left to the next check."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h|d)\s*", value)
    if match is None:
        raise ValueError
    return float(match[1]) * _UNITS_S[match[2]]


#: A letter or digit, then letters, digits, dots, underscores and hyphens.
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Port = Annotated[int, Field(ge=1, le=65535)]
LocalPath = Annotated[str, StringConstraints(pattern=r"^~?/[^\x00-\x1f\x7f]*$")]
RemoteDirectory = Annotated[str, StringConstraints(pattern=r"^(~|~?/[^\x00-\x1f\x7f]*)$")]
HostName = Annotated[str, AfterValidator(check_host)]
# What OpenSSH refuses as a user (`valid_ruser` in ssh.c, 9.6): `%r` in a ProxyCommand reaches a shell.
UserName = Annotated[
    str,
    StringConstraints(
        pattern=r"""^[^-\s\x00-\x1f\x7f'"`;&<>|(){}][^\s\x00-\x1f\x7f'"`;&<>|(){}]*$""",
    ),
]
# `Literal[False]` would take 0 as well.
NoFile = Annotated[bool, AfterValidator(_check_false), WithJsonSchema({"const": False})]
JumpText = Annotated[str, AfterValidator(_check_jump)]
Hop = Annotated[str, AfterValidator(check_hop)]
ForwardText = Annotated[str, AfterValidator(_check_forward)]
Command = Annotated[str, AfterValidator(_check_command)]
Hook = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$")]
RemotePath = Annotated[str, StringConstraints(pattern=r"^~?/[^\x00-\x1f\x7f]*$")]
# A name as conda takes it, or a directory.
CondaEnv = Annotated[
    str,
    StringConstraints(pattern=r"^(~?/[^\x00-\x1f\x7f]*|[^\s/~:#\x00-\x1f\x7f][^/:#\x00-\x1f\x7f]*)$"),
]
ShellLine = Annotated[str, AfterValidator(_check_line)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
VariableValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Duration = Annotated[
    float,
    BeforeValidator(read_duration),
    Field(ge=0, le=31_536_000, allow_inf_nan=False),
    WithJsonSchema({"type": ["string", "number"]}),
]
UrlPath = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$")]
ReadyText = Annotated[str, StringConstraints(pattern=r"^(tcp|/[!-~]*)$")]
HookWord = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
