"""`restart --server`: puts a new remote server in place of a tunnel's, and waits until that serves."""

from __future__ import annotations

from jtunnel.client import terminal
from jtunnel.client.dial import dial
from jtunnel.client.names import one_name
from jtunnel.client.prompts import find_terminal, insist_on_yes_or_no
from jtunnel.client.server import STOP_S
from jtunnel.client.up import Waiting, restart
from jtunnel.errors import EXIT_FAILED, EXIT_USAGE, JTunnelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jtunnel.client.connection import Connection
    from jtunnel.client.prompts import Terminal
    from jtunnel.status import ServersDocument, StatusDocument, TunnelStatus


def run(
    environ: Mapping[str, str],
    *,
    names: Sequence[str],
    tags: Sequence[str] = (),
    every: bool = False,
    server: bool = False,
    force: bool = False,
) -> int:
    """Restart connections or, with `server`, the server of the one tunnel that is named; the exit code."""
    if server and len(names) < 2 and not (tags or every):
        return restart_server(environ, name=names[0] if names else None, force=force)
    if server or force:
        terminal.say(
            "--server restarts one server at a time: jtunnel restart --server NAME"
            if server
            else "--force goes with --server only: jtunnel restart --server --force NAME"
        )
        return EXIT_USAGE
    return restart(environ, names=names, tags=tags, every=every)


def restart_server(environ: Mapping[str, str], *, name: str | None, force: bool) -> int:
    """Ask unless `force`, have the server ended and another started, and wait as `up` does."""
    with dial(environ) as connection:
        name = one_name(connection, name, "restart --server")
        person = find_terminal()
        document: StatusDocument = connection.call("status", {})
        tunnel = next((tunnel for tunnel in document["tunnels"] if tunnel["name"] == name), None)
        if not force and not _agrees(person, name, tunnel and _asked_now(connection, tunnel)):
            return EXIT_FAILED
        # Kernels that have become busy since are known to be lost: that is what was agreed to.
        connection.call("restart_server", {"name": name, "force": True}, timeout_s=STOP_S)
        stale = {name: tunnel["since"]} if tunnel else {}
        return Waiting(connection, [name], environ, person, stale=stale).run()


def _asked_now(connection: Connection, tunnel: TunnelStatus) -> TunnelStatus:
    """The tunnel with its kernels as they are now: those in the status may be half a minute old."""
    jupyter = tunnel["jupyter"]
    if not jupyter:
        return tunnel
    try:
        found: ServersDocument = connection.call("servers", {"name": tunnel["name"]}, timeout_s=STOP_S)
    except JTunnelError:
        return tunnel
    for server in found["servers"]:
        if server["pid"] == jupyter["pid"]:
            return {**tunnel, "jupyter": {**jupyter, "kernels": server["kernels"], "busy": server["busy"]}}
    return tunnel


def _agrees(person: Terminal | None, name: str, tunnel: TunnelStatus | None) -> bool:
    loss = _loss(tunnel)
    if person is None:
        terminal.say(
            f"{name}: {loss}, and nobody is here to ask; "
            f"to restart the server anyway: jtunnel restart --server --force {name}"
        )
        return False
    kind = "Jupyter server" if tunnel and tunnel["jupyter"] else "server"
    answer = person.ask(f"restart the {kind} of {name}? {loss} (yes/no) ")
    if insist_on_yes_or_no(person, answer) == "yes":
        return True
    terminal.say(f"{name}: the server was left alone")
    return False


def _loss(tunnel: TunnelStatus | None) -> str:
    """What ends with the server, as far as is known."""
    jupyter = tunnel["jupyter"] if tunnel else None
    if not jupyter:
        return "what runs in it ends"
    total, busy = jupyter["kernels"], jupyter["busy"]
    if total is None:
        return "its kernels end"
    count = {0: "it has no kernels", 1: "its 1 kernel"}.get(total, f"its {total} kernels")
    if total == 0:
        return count
    return f"{count}{f' ({busy} busy)' if busy else ''} {'ends' if total == 1 else 'end'}"
