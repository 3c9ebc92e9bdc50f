"""`adopt`: use a Jupyter server that runs on a tunnel's host already, now and next time."""

from __future__ import annotations

from jtunnel.client import terminal
from jtunnel.client.launch import dial_or_start
from jtunnel.client.visit import visit
from jtunnel.errors import EXIT_DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def adopt_server(environ: Mapping[str, str], *, name: str, which: str) -> int:
    """Have the server used that `which` names, and say what is used now.

    `-` reads it from standard input: arguments, and a token among them, are everybody's to read.
    """
    if which == "-":
        import sys

        which = sys.stdin.readline().strip()
    with dial_or_start(environ) as connection:
        adopted: dict[str, Any] = visit(connection, "adopt", {"name": name, "which": which})
    version = f", Jupyter {adopted['version']}" if adopted["version"] else ""
    directory = f", in {adopted['root_dir']}" if adopted["root_dir"] else ""
    place = f"pid {adopted['pid']} on {adopted['host']}, {adopted['target']}"
    terminal.put(f"{name}  adopted  {place}{version}{directory}")
    if not adopted["wanted"]:
        terminal.say(f"{name} is down; bring it up with: jtunnel up {name}")
    return EXIT_DONE
