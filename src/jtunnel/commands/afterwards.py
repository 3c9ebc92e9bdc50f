"""What follows an edit of the config: a running daemon reads it, and the person is told what became of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from jtunnel.client import terminal
from jtunnel.client.connection import Connection
from jtunnel.client.dial import dial
from jtunnel.config.editing.rewrite import Rewritten
from jtunnel.errors import ControlError
from jtunnel.status import StatusDocument, TunnelStatus

#: Taking down the tunnels of profiles that are gone is part of it.
RELOAD_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon and the tunnels that it has in a config; none of them where it uses another one."""

    connection: Connection
    tunnels: Mapping[str, TunnelStatus]
    other_config: str | None

    def reload(self) -> None:
        """Have it read the config; it may have done so by itself already."""
        if self.other_config:
            terminal.say(f"the daemon that runs uses another config, {self.other_config}")
        else:
            self.connection.call("reload", {}, timeout_s=RELOAD_S)


@contextmanager
def find_daemon(path: str, environ: Mapping[str, str]) -> Iterator[Daemon | None]:
    """The daemon that runs, as one that may use the config at `path`; None where none does."""
    try:
        connection = dial(environ)
    except ControlError as error:
        if error.kind != "no-daemon":
            raise
        yield None
        return
    with connection:
        document: StatusDocument = connection.call("status", {})
        used = document["daemon"]["config_path"]
        if os.path.realpath(used) == os.path.realpath(path):
            yield Daemon(connection, {tunnel["name"]: tunnel for tunnel in document["tunnels"]}, None)
        else:
            yield Daemon(connection, {}, used)


def reload_daemon(path: str, environ: Mapping[str, str]) -> None:
    """Have a running daemon read the config."""
    with find_daemon(path, environ) as daemon:
        if daemon:
            daemon.reload()


def put_changes(rewritten: Rewritten) -> None:
    """Print which profiles an edit added, changed and removed."""
    before = rewritten.before.profiles if rewritten.before else {}
    after = rewritten.after.profiles
    for what, names in (
        ("added", [name for name in after if name not in before]),
        ("changed", [name for name in after if name in before and after[name] != before[name]]),
        ("removed", [name for name in before if name not in after]),
    ):
        if names:
            terminal.put(f"{what}: {', '.join(names)}")


def put_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Print what holds for each of some profiles."""
    longest = max((len(name) for name, _ in rows), default=0)
    for name, what in rows:
        terminal.put(f"{name:<{longest}}  {what}")
