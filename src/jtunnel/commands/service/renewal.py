"""A new daemon in the place of the one that runs: the same tunnels wanted, those that were up, up again.

How one is ended and the next one started is the caller's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import psutil

from jtunnel import wire
from jtunnel.client import login_service
from jtunnel.client.connection import Connection
from jtunnel.client.dial import dial
from jtunnel.client.launch import START_S
from jtunnel.client.prompts import find_terminal
from jtunnel.client.terminal import say
from jtunnel.client.up import Waiting
from jtunnel.errors import EXIT_DONE, EXIT_USAGE, ControlError
from jtunnel.status import StatusDocument, TunnelStatus

#: How long the tunnels that were up are waited for.
BACK_S: Final = 60.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that answers; `document` is None where it speaks another protocol."""

    pid: int
    version: str
    document: StatusDocument | None

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with the places of files that this daemon was started with; it is found by its socket."""
        try:
            theirs = psutil.Process(self.pid).environ()
        except psutil.Error:
            return dict(environ)
        found, ours = login_service.overrides(theirs), login_service.overrides(environ)
        places = {**found, **{name: ours[name] for name in ("JTUNNEL_RUNTIME_DIR",) if name in ours}}
        return {name: value for name, value in environ.items() if name not in ours} | places


def find_running(environ: Mapping[str, str]) -> Running | None:
    """The daemon that runs, of any version; None without one. Raises ControlError where it is mute."""
    try:
        with dial(environ, any_protocol=True) as connection:
            hello = connection.hello()
            ours = hello["protocol"] == wire.PROTOCOL_VERSION
            document: StatusDocument | None = connection.call("status", {}) if ours else None
    except ControlError as error:
        if error.kind != "no-daemon":
            raise
        return None
    return Running(int(hello.get("pid") or 0), str(hello.get("version")), document)


def renew(environ: Mapping[str, str], running: Running | None, start: Callable[[], None]) -> int:
    """Have `start` put another daemon in the place of `running`, and wait for its tunnels; the exit code.

    Newer daemons remember what is wanted; of an older one it is told to its successor.
    """
    before = {tunnel["name"]: tunnel for tunnel in _tunnels(running.document if running else None)}
    start()
    with _reach(environ) as connection:
        return _bring_back(connection, environ, before)


def _bring_back(
    connection: Connection, environ: Mapping[str, str], before: Mapping[str, TunnelStatus]
) -> int:
    document: StatusDocument = connection.call("status", {})
    if problem := document["daemon"]["config_problem"]:
        say(f"config: {problem['message']}; {problem['advice']}")
    # What is on demand, its use brings up.
    now = {
        tunnel["name"]: tunnel
        for tunnel in document["tunnels"]
        if tunnel["name"] in before and tunnel["autostart"] != "on-demand"
    }
    forgotten = [name for name in now if before[name]["wanted"] and not now[name]["wanted"]]
    taken_down = [name for name in now if before[name]["autostart"] is True and not before[name]["wanted"]]
    if unwanted := [name for name in taken_down if now[name]["wanted"]]:
        connection.call("down", {"names": unwanted}, timeout_s=30.0)
    were_up = [name for name in now if before[name]["state"] == "up"]
    person = find_terminal() if were_up else None
    if forgotten or (were_up and person):
        names = list(dict.fromkeys([*forgotten, *were_up]))
        connection.call("up", {"names": names, "interactive": person is not None})
    if not were_up:
        return EXIT_USAGE if problem else EXIT_DONE
    return Waiting(connection, were_up, environ, person, BACK_S).run()


def _reach(environ: Mapping[str, str]) -> Connection:
    """Connect to the daemon that was just started: launchd does not wait until it is ready."""
    give_up_at = time.monotonic() + START_S
    while True:
        try:
            return dial(environ)
        except ControlError as error:
            if error.kind != "no-daemon" or time.monotonic() > give_up_at:
                raise
        time.sleep(_POLL_S)


def _tunnels(document: StatusDocument | None) -> list[TunnelStatus]:
    return document["tunnels"] if document else []
