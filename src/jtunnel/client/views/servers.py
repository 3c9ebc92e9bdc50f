"""`servers`: the Jupyter servers that run for a person on a tunnel's host, and those that nobody uses."""

from __future__ import annotations

import sys
import time

from jtunnel.client import terminal
from jtunnel.client.launch import dial_or_start
from jtunnel.client.names import one_name
from jtunnel.client.terminal import printable
from jtunnel.client.views.measures import moment, span
from jtunnel.client.views.width import pad, table, wrap
from jtunnel.client.visit import visit
from jtunnel.errors import EXIT_DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from jtunnel.status import ServerListing, ServersDocument

_HEADINGS: Final = ("PID", "VERSION", "SINCE", "KERNELS", "USED", "STARTED BY")
_GAP: Final = "  "
_DIM: Final = "2"
_BOLD: Final = "1"


def show_servers(environ: Mapping[str, str], *, name: str | None, as_json: bool) -> int:
    """Print which servers run there; what to do about those that are left over goes to standard error."""
    with dial_or_start(environ) as connection:
        document: ServersDocument = visit(
            connection, "servers", {"name": one_name(connection, name, "servers")}
        )
    if as_json:
        import json

        terminal.put_raw(json.dumps(document, indent=2) + "\n")
        return EXIT_DONE
    size = terminal.size(sys.stdout, environ)
    lines = server_lines(
        document,
        time.time(),
        width=size[0] if size else None,
        colour=terminal.wants_colour(sys.stdout, environ),
    )
    terminal.put_raw("".join(f"{line}\n" for line in lines))
    for line in orphan_lines(document):
        terminal.say(line)
    return EXIT_DONE


def server_lines(
    document: ServersDocument, now_s: float, *, width: int | None = None, colour: bool = False
) -> list[str]:
    """What `jtunnel servers` shows: a row for each server, and below it where it is and what is wrong."""
    servers, node = document["servers"], printable(document["node"])
    if not servers:
        lines = wrap(f"no Jupyter server of yours runs on {node}", width)
    else:
        rows = [_cells(server, now_s) for server in servers]
        widths = table([_HEADINGS, *rows])
        lines = [
            _paint(f"{node}:", _BOLD, colour=colour),
            _paint(_row(_HEADINGS, widths), _DIM, colour=colour),
        ]
        indent = " " * (widths[0] + len(_GAP))
        for server, cells in zip(servers, rows, strict=True):
            lines.append(_row(cells, widths))
            lines += [_paint(each, _DIM, colour=colour) for each in wrap(_whereabouts(server), width, indent)]
            if server["problem"]:
                lines += wrap(printable(f"cannot be used: {server['problem']}"), width, indent)
    for other in document["elsewhere"]:
        what = f"pid {other['pid']} at {other['target']} for {other['profile']}"
        lines += wrap(printable(f"on {other['host']}: {what}, not looked at from here"), width)
    return lines


def orphan_lines(document: ServersDocument) -> list[str]:
    """What can be done about each server that jtunnel started and that no profile uses any more."""
    name = document["name"]
    return [
        f"pid {server['pid']} was started by jtunnel for {server['profile']} and is not in use; "
        f"use it: jtunnel adopt {name} {server['pid']}, or end it: jtunnel stop {name} --pid {server['pid']}"
        for server in document["servers"]
        if server["origin"] == "jtunnel" and not server["used_by"]
    ]


def _cells(server: ServerListing, now_s: float) -> tuple[str, ...]:
    """What each column says of a server."""
    kernels, busy = server["kernels"], server["busy"]
    used = server["last_activity"]
    cells = (
        str(server["pid"]),
        server["version"] or "-",
        span(now_s - moment(server["started_at"])) if server["started_at"] else "-",
        "-" if kernels is None else f"{kernels}, {busy} busy" if busy else str(kernels),
        f"{span(now_s - moment(used))} ago" if used else "-",
        _starter(server),
    )
    return tuple(map(printable, cells))


def _starter(server: ServerListing) -> str:
    starter = f"jtunnel for {server['profile']}" if server["origin"] == "jtunnel" else "hand"
    if server["used"]:
        return f"{starter}, in use"
    if others := server["used_by"]:
        return f"{starter}, used by {', '.join(others)}"
    return f"{starter}, left over" if server["origin"] == "jtunnel" else starter


def _whereabouts(server: ServerListing) -> str:
    facts = [
        server["target"] or "no address",
        f"in {server['root_dir']}" if server["root_dir"] else "",
        f"environment {server['environment']}" if server["environment"] else "",
        "TLS" if server["secure"] else "",
        "wants its password" if server["password"] else "",
    ]
    return printable(", ".join(filter(None, facts)))


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return _GAP.join([pad(*first, right=True), *(pad(cell, width) for cell, width in rest)]).rstrip()


def _paint(text: str, code: str, *, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and text else text
