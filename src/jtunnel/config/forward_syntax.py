"""Reads one forward, as `ssh -L` writes it or as a table, into a `Forward`.

Knows nothing of TOML or pydantic, opens nothing, and does not compare forwards with each other.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from jtunnel import paths
from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.config.keypath import quote
from jtunnel.config.profile import Forward
from jtunnel.status import ForwardKind

_FIELD: Final = re.compile(r"\[[^\]]*\]|[^:]*")
_HOST: Final = re.compile(r"\w[\w.-]*")
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)


class ForwardSyntaxError(ValueError):
    """A forward that cannot be read. `key` is the table's key at fault, None in the string form."""

    def __init__(self, reason: str, key: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.key = key


def parse_forward(text: str, environ: Mapping[str, str], kind: ForwardKind = "local") -> Forward:
    """Read a forward as `ssh -L`, `-R` or `-D` takes it; a bare port stands for the same port over there.

    Its name is left empty: see `name_forwards`. Raises ForwardSyntaxError.
    """
    if kind == "dynamic":
        return Forward("", kind, _listen([text] if _is_path(text) else _split(text), environ), None)
    is_remote = kind == "remote"
    parts = _split(text)
    if len(parts) == 1 and not _is_path(text):
        port = _port(parts[0])
        return Forward("", kind, TcpAddress("", port), TcpAddress("localhost", port))
    # The target is read from the right: a path is whole, a host has its port behind it.
    width = 1 if _is_path(parts[-1]) else 2
    listen, target = parts[:-width], parts[-width:]
    if not listen:
        raise ForwardSyntaxError("write PORT:HOST:PORT")
    far = _target(target)
    far = _expand(far, environ) if is_remote else _remote_side(far)
    return Forward("", kind, _listen(listen, environ, remote=is_remote), far)


def parse_table(
    kind: ForwardKind, listen: str, target: str | None, name: str | None, environ: Mapping[str, str]
) -> Forward:
    """Read a forward in its table form; without `name`, the name is left empty.

    Raises ForwardSyntaxError with the key at fault.
    """
    if kind == "dynamic":
        if target is not None:
            raise ForwardSyntaxError(
                "a dynamic forward has no target: each connection names its own", "target"
            )
        return Forward(name or "", kind, _table_listen(listen, environ), None)
    if target is None:
        raise ForwardSyntaxError(f"a {kind} forward needs a target", "target")
    try:
        far = _target([target] if _is_path(target) else _split(target))
        far = _expand(far, environ) if kind == "remote" else _remote_side(far)
    except ForwardSyntaxError as error:
        raise ForwardSyntaxError(error.reason, "target") from None
    return Forward(name or "", kind, _table_listen(listen, environ, remote=kind == "remote"), far)


def name_forwards(forwards: Iterable[Forward], taken: Iterable[str] = ()) -> tuple[Forward, ...]:
    """Give each nameless forward a short name of its own: its port, or its socket's file name."""
    forwards = list(forwards)
    used = {*taken, *(forward.name for forward in forwards if forward.name)}
    named = []
    for forward in forwards:
        if not forward.name:
            forward = replace(forward, name=_free_name(forward.listen, used))
            used.add(forward.name)
        named.append(forward)
    return tuple(named)


def _free_name(listen: Address, used: set[str]) -> str:
    short = os.path.basename(listen.path) if isinstance(listen, UnixAddress) else str(listen.port)
    name, number = short, 2
    while name in used:
        name, number = f"{short}-{number}", number + 1
    return name


def _table_listen(text: str, environ: Mapping[str, str], *, remote: bool = False) -> Address:
    try:
        parts = [text] if _is_path(text) else _split(text)
        return _listen(parts, environ, remote=remote)
    except ForwardSyntaxError as error:
        raise ForwardSyntaxError(error.reason, "listen") from None


def _listen(parts: list[str], environ: Mapping[str, str], *, remote: bool = False) -> Address:
    if len(parts) == 1 and _is_path(parts[0]):
        address = UnixAddress(_path(parts[0]))
        return _remote_side(address) if remote else _expand(address, environ)
    if len(parts) > 2:
        raise ForwardSyntaxError(f"{quote(':'.join(parts))} is no listening side")
    # `-R 0` lets the server choose; a local port has to stay the same.
    port = _port(parts[-1], lowest=0 if remote else 1)
    if len(parts) == 1:
        return TcpAddress("", port)
    if not parts[0]:
        raise ForwardSyntaxError('it starts with ":"; write "*" for all interfaces')
    if parts[0] == "*":
        return TcpAddress("0.0.0.0", port)  # noqa: S104  (asked for by the user)
    host = _host(parts[0])
    return TcpAddress("" if host.lower() == "localhost" else host, port)


def _target(parts: list[str]) -> Address:
    if len(parts) == 1 and _is_path(parts[0]):
        return UnixAddress(_path(parts[0]))
    if len(parts) != 2:
        raise ForwardSyntaxError(f"the target {quote(':'.join(parts))} is no HOST:PORT and no socket's path")
    return TcpAddress(_host(parts[0]), _port(parts[1]))


def _expand(address: Address, environ: Mapping[str, str]) -> Address:
    if not isinstance(address, UnixAddress):
        return address
    path = paths.expand(address.path, environ)
    if len(os.fsencode(path)) > paths.MAX_SOCKET_PATH:
        raise ForwardSyntaxError(f"a socket's path has room for {paths.MAX_SOCKET_PATH} bytes")
    return UnixAddress(path)


def _remote_side(address: Address) -> Address:
    if isinstance(address, UnixAddress) and address.path.startswith("~"):
        raise ForwardSyntaxError("a path on the remote side has to start with /: ~ is this machine's home")
    return address


def _split(text: str) -> list[str]:
    """The parts between colons; those within [brackets] belong to an IPv6 address."""
    parts, position = [], 0
    while True:
        match = _FIELD.match(text, position)
        assert match is not None
        parts.append(match.group())
        position = match.end()
        if position == len(text):
            return parts
        if text[position] != ":":
            raise ForwardSyntaxError(f"there is no colon after {quote(match.group())}")
        position += 1


def _is_path(text: str) -> bool:
    return text.startswith(("/", "~/"))


def _path(text: str) -> str:
    if text.endswith("/") or not text.isprintable():
        raise ForwardSyntaxError(f"{quote(text)} is no path of a socket")
    return text


def _port(text: str, lowest: int = 1) -> int:
    if not _PORT.fullmatch(text) or not lowest <= int(text) <= 65535:
        raise ForwardSyntaxError(f"{quote(text)} is no port ({lowest} to 65535)")
    return int(text)


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise ForwardSyntaxError(f"{quote(text)} is no IPv6 address") from None
    if not _HOST.fullmatch(text):
        raise ForwardSyntaxError(f"{quote(text)} is no host name")
    return text
