"""Writes a forward that was added to a tunnel into its profile, and takes one out of it. Needs no daemon."""

from __future__ import annotations

import os
from collections.abc import Mapping

from jtunnel import paths
from jtunnel.address import Address, UnixAddress
from jtunnel.commands.afterwards import reload_daemon
from jtunnel.config.editing.edit import add_forward, remove_forward
from jtunnel.config.editing.notation import Value
from jtunnel.config.editing.rewrite import edit_config_file
from jtunnel.config.forward_syntax import ForwardSyntaxError, parse_forward
from jtunnel.config.profile import Config, Forward, Profile
from jtunnel.daemon.selection import unknown
from jtunnel.errors import ConfigError
from jtunnel.status import ForwardKind


def keep_forward(
    environ: Mapping[str, str], *, name: str, spec: str, kind: ForwardKind, label: str | None
) -> None:
    """Add a forward to a profile, unless it has it, and have a running daemon read that."""
    path = paths.config_file(environ)
    try:
        wanted = parse_forward(spec, environ, kind)
    except ForwardSyntaxError as error:
        raise ConfigError(
            "usage", f"{spec} is no forward: {error.reason}", "see: jtunnel forward --help"
        ) from None
    short = spec if kind == "local" and label is None else None

    def change(text: str, config: Config) -> str:
        if any(_is_same(forward, wanted) for forward in _profile(name, config).forwards):
            return text
        return add_forward(text, name, _table(wanted, label, environ), short)

    if edit_config_file(path, environ, change).is_new:
        reload_daemon(path, environ)


def drop_forward(environ: Mapping[str, str], *, name: str, spec: str) -> list[str]:
    """Take the forwards that `spec` means (a name, a port, or all of it) out of a profile; return the names.

    A running daemon reads that. Raises ConfigError where it means none.
    """
    path = paths.config_file(environ)
    dropped: list[str] = []

    def change(text: str, config: Config) -> str:
        forwards = _profile(name, config).forwards
        means = [index for index, forward in enumerate(forwards) if _means(spec, forward, environ)]
        if not means:
            there = ", ".join(forward.name for forward in forwards) or "none"
            raise ConfigError("usage", f"the profile {name} has no forward {spec}", f"there are: {there}")
        dropped.extend(forwards[index].name for index in means)
        for index in reversed(means):
            text = remove_forward(text, name, index)
        return text

    edit_config_file(path, environ, change)
    reload_daemon(path, environ)
    return dropped


def _profile(name: str, config: Config) -> Profile:
    if name not in config.profiles:
        raise unknown(name, config.profiles, config.path)
    return config.profiles[name]


def _is_same(forward: Forward, other: Forward) -> bool:
    return (forward.kind, forward.listen, forward.target) == (other.kind, other.listen, other.target)


def _means(spec: str, forward: Forward, environ: Mapping[str, str]) -> bool:
    if spec == forward.name:
        return True
    if spec.isdecimal():
        return not isinstance(forward.listen, UnixAddress) and int(spec) == forward.listen.port
    try:
        return _is_same(forward, parse_forward(spec, environ, forward.kind))
    except ForwardSyntaxError:
        return False


def _table(forward: Forward, label: str | None, environ: Mapping[str, str]) -> dict[str, Value]:
    """A forward as a table of the config file."""
    table: dict[str, Value] = {}
    if label is not None:
        table["name"] = label
    if forward.kind != "local":
        table["kind"] = forward.kind
    table["listen"] = _text(forward.listen, environ)
    if forward.target is not None:
        table["target"] = _text(forward.target, environ)
    return table


def _text(address: Address, environ: Mapping[str, str]) -> str:
    if isinstance(address, UnixAddress):
        home = os.path.join(paths.home(environ), "")
        # Only a path of this machine can start with this home, and `~` is what people write there.
        return address.path.replace(home, "~/", 1) if address.path.startswith(home) else address.path
    return str(address) if address.host else str(address.port)
