"""The service manager that started the daemon: which one, and telling it how the daemon is (sd_notify(3)).

What it tells the daemon is meant for the daemon alone, and not for what that starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from typing import Final

from jtunnel.daemon.board import Board
from jtunnel.status import StartedBy

#: What a child of the daemon must not inherit: it would speak, or be asked, in the daemon's place.
MANAGERS_VARIABLES: Final = ("JTUNNEL_SERVICE", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
#: A manager whose queue is full must not hold the event loop for longer.
_SEND_S: Final = 0.5
#: Seconds between two lines of status at least; they are for people who look.
_STATUS_GAP_S: Final = 2.0


def started_by(environ: Mapping[str, str]) -> StartedBy:
    """Who started the daemon: unit and agent say it in `$JTUNNEL_SERVICE`."""
    match environ.get("JTUNNEL_SERVICE"):
        case "systemd":
            return "systemd"
        case "launchd":
            return "launchd"
        case _:
            return "hand"


def for_children(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` as what the daemon starts should have it."""
    return {name: value for name, value in environ.items() if name not in MANAGERS_VARIABLES}


def notify(environ: Mapping[str, str], *assignments: str) -> None:
    """Send assignments such as `READY=1`; without a manager that listens, nothing."""
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_SEND_S)
        sock.connect(address)
        sock.sendall("\n".join(assignments).encode())


async def keep_status(environ: Mapping[str, str], board: Board, *, gap_s: float = _STATUS_GAP_S) -> None:
    """Keep the line that `systemctl --user status` shows true to the board, some seconds late at most."""
    told = ""
    while environ.get("NOTIFY_SOCKET"):
        seen = board.changes.index
        if (line := summary(board)) != told:
            notify(environ, f"STATUS={line}")
            told = line
        await asyncio.sleep(gap_s)
        await board.changes.wait(seen)


def summary(board: Board) -> str:
    """The daemon's state in one line."""
    document = board.show()
    if problem := document["daemon"]["config_problem"]:
        return f"the config is not read: {problem['message']}"
    tunnels = document["tunnels"]
    wanted = [tunnel["state"] for tunnel in tunnels if tunnel["wanted"]]
    line = f"looking after {len(tunnels)} profile{'' if len(tunnels) == 1 else 's'}"
    if wanted:
        line += f": {wanted.count('up')} of {len(wanted)} tunnel{'' if len(wanted) == 1 else 's'} up"
    if blocked := wanted.count("blocked"):
        line += f", {blocked} blocked"
    return line
