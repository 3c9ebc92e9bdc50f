"""`jtunnel enable`, `disable`, `rename` and `rm`: profiles of the config file, changed without an editor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Final

from pydantic import TypeAdapter, ValidationError

from jtunnel import paths
from jtunnel.client import login_service, terminal
from jtunnel.client.argument_kinds import DEFAULT_TIMEOUT_S
from jtunnel.client.control import take_down
from jtunnel.client.up import bring_up
from jtunnel.commands.afterwards import find_daemon, put_rows, reload_daemon
from jtunnel.commands.renaming import find_wanted, rename_in_state
from jtunnel.config.editing.edit import remove_profile, rename_profile, set_key
from jtunnel.config.editing.rewrite import backup_of, check_new, edit_config_file
from jtunnel.config.profile import Config
from jtunnel.config.values import NAME_TITLE, Name
from jtunnel.daemon.selection import select, unknown
from jtunnel.errors import EXIT_DONE, ConfigError, ControlError
from jtunnel.status import Autostart

#: `autostart` → what it means for a profile.
_MEANINGS: Final[Mapping[Autostart, str]] = {
    True: "comes up when the daemon starts",
    "on-demand": "connects at its first use",
    False: "comes up only when asked",
}


def enable(environ: Mapping[str, str], *, names: Sequence[str], on_demand: bool, now: bool) -> int:
    """Have tunnels come up with the daemon, or at their first use; with `now`, bring them up, too."""
    chosen = _set_autostart(environ, names, "on-demand" if on_demand else True)
    if now:
        return bring_up(environ, names=chosen, tags=(), every=False, wait=True, timeout_s=DEFAULT_TIMEOUT_S)
    by_hand = find_wanted(environ)
    for name in (each for each in chosen if by_hand.get(each) is False):
        terminal.say(
            f"{name} was taken down by hand, and is left so until the next boot, or: jtunnel up {name}"
        )
    return EXIT_DONE


def disable(environ: Mapping[str, str], *, names: Sequence[str], now: bool) -> int:
    """Have tunnels come up only when asked; with `now`, take them down, too."""
    chosen = _set_autostart(environ, names, False)
    if now:
        try:
            return take_down(environ, names=chosen, tags=(), every=False)
        except ControlError as error:
            if error.kind != "no-daemon":
                raise
    return EXIT_DONE


def rename(environ: Mapping[str, str], *, name: str, to: str) -> int:
    """Give a profile another name; a running daemon keeps its tunnel wanted, with its port and history."""
    path = paths.config_file(environ)
    with find_daemon(path, environ) as daemon:

        def change(text: str, config: Config) -> str:
            if name not in config.profiles:
                raise unknown(name, config.profiles, config.path)
            if name == to:
                return text
            _check_name(to, config)
            renamed = rename_profile(text, name, to)
            # A daemon is told of it before it reads it, and of nothing that does not come to be.
            check_new(renamed.encode(), path, environ)
            if daemon and name in daemon.tunnels:
                daemon.connection.call("rename", {"name": name, "to": to})
            return renamed

        edit_config_file(path, environ, change)
        if name == to:
            terminal.put(f"{name}  has this name already")
            return EXIT_DONE
        if daemon is None:
            rename_in_state(environ, name, to)
        else:
            daemon.reload()
    terminal.put(f"{to}  was {name}")
    if daemon and name in daemon.tunnels and any(each["active"] for each in daemon.tunnels[name]["forwards"]):
        terminal.say("what was connected through it was cut, and can connect again")
    return EXIT_DONE


def remove(environ: Mapping[str, str], *, names: Sequence[str]) -> int:
    """Take profiles out of the config; the tunnels of those that are up are taken down."""
    path = paths.config_file(environ)
    chosen: list[str] = []

    def change(text: str, config: Config) -> str:
        chosen.extend(select(config.profiles, config.path, names))
        return reduce(remove_profile, chosen, text)

    with find_daemon(path, environ) as daemon:
        edit_config_file(path, environ, change)
        if daemon:
            daemon.reload()
        up = {name for name, tunnel in daemon.tunnels.items() if tunnel["wanted"]} if daemon else set()
    down = "removed, and its tunnel taken down; Jupyter and its kernels live on"
    put_rows([(name, down if name in up else "removed") for name in chosen])
    terminal.say(f"the config as it was before is kept in {backup_of(path)}")
    return EXIT_DONE


def _set_autostart(environ: Mapping[str, str], names: Sequence[str], value: Autostart) -> list[str]:
    path = paths.config_file(environ)
    rows: list[tuple[str, str]] = []

    def change(text: str, config: Config) -> str:
        for name in select(config.profiles, config.path, names):
            # With the defaults applied: a key that would say the same again is not written.
            already = config.profiles[name].autostart == value
            rows.append((name, "already " * already + _MEANINGS[value]))
            if not already:
                text = set_key(text, name, "autostart", value)
        return text

    if edit_config_file(path, environ, change).is_new:
        reload_daemon(path, environ)
    put_rows(rows)
    if value is not False and not login_service.serves(environ):
        terminal.say("nothing starts the daemon at login; have it started: jtunnel service install")
    return [name for name, _ in rows]


def _check_name(name: str, config: Config) -> None:
    if name in config.profiles:
        raise ConfigError(
            "usage", f"there is a profile {name} already", f"choose another name, or: jtunnel rm {name}"
        )
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise ConfigError("usage", f"{name!r} is not a profile's name", f"it has {NAME_TITLE}") from None
