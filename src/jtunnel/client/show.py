"""`status`: prints what is, once or again whenever it changes. It starts no daemon."""

from __future__ import annotations

import sys
import time

from jtunnel.client import terminal
from jtunnel.client.dial import dial
from jtunnel.errors import EXIT_BLOCKED, EXIT_DONE, EXIT_FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from jtunnel.client.connection import Connection
    from jtunnel.status import StatusDocument

#: How often relative times, and the table after a resize, are brought up to date.
_TICK_S: Final = 1.0


def show_status(environ: Mapping[str, str], *, names: Sequence[str], as_json: bool, watch: bool) -> int:
    """Print the state of all tunnels or of `names`; return the exit code."""
    with dial(environ) as connection:
        if watch:
            return _watch(connection, environ, names, as_json)
        document: StatusDocument = connection.call("status", {"names": list(names)} if names else {})
    if as_json:
        import json

        terminal.put_raw(json.dumps(document, indent=2) + "\n")
    else:
        terminal.put_raw("".join(f"{line}\n" for line in _lines(document, environ)))
    return exit_code(document) if names else EXIT_DONE


def exit_code(document: StatusDocument) -> int:
    """0 where all tunnels are up, 4 where one is blocked, else 1."""
    states = {tunnel["state"] for tunnel in document["tunnels"]}
    if "blocked" in states:
        return EXIT_BLOCKED
    return EXIT_DONE if states <= {"up"} else EXIT_FAILED


def _watch(connection: Connection, environ: Mapping[str, str], names: Sequence[str], as_json: bool) -> int:
    repaints = not as_json and terminal.can_repaint(sys.stdout, environ)
    document: StatusDocument | None = None
    try:
        connection.call("watch", {"names": list(names)} if names else {})
        while True:
            message = connection.receive(_TICK_S if repaints and document else None)
            if message is not None:
                if message.get("method") != "snapshot":
                    continue
                document = message["params"]["document"]
            assert document is not None
            if as_json:
                import json

                terminal.put_raw(json.dumps(document, separators=(",", ":")) + "\n")
            elif repaints:
                _repaint(document, environ)
            else:
                terminal.put_raw("".join(f"{line}\n" for line in _lines(document, environ)) + "\n")
    except KeyboardInterrupt:
        return EXIT_DONE


def _repaint(document: StatusDocument, environ: Mapping[str, str]) -> None:
    height = (terminal.size(sys.stdout, environ) or terminal.FALLBACK_SIZE)[1]
    lines = _lines(document, environ)
    if len(lines) >= height:
        room = max(0, height - 2)
        lines = [*lines[:room], f"… {len(lines) - room} more lines"]
    # Cleared before it is written: behind a line as wide as the terminal, its last letter would go.
    text = "".join(f"\x1b[K{line}\n" for line in lines)
    terminal.put_raw(f"\x1b[H{text}\x1b[J")


def _lines(document: StatusDocument, environ: Mapping[str, str]) -> list[str]:
    from jtunnel.client import render

    size = terminal.size(sys.stdout, environ)
    colour = terminal.wants_colour(sys.stdout, environ)
    return render.status_lines(document, time.time(), width=size[0] if size else None, colour=colour)
