"""What concerns a tunnel's remote server: `open` it in the browser, `stop` it."""

from __future__ import annotations

import time

from jtunnel.client import terminal
from jtunnel.client.names import one_name
from jtunnel.client.views import render
from jtunnel.client.views.served import server_of
from jtunnel.errors import EXIT_BLOCKED, EXIT_DONE, EXIT_FAILED, JTunnelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from jtunnel.client.connection import Connection
    from jtunnel.status import StatusDocument, TunnelStatus

#: The daemon asks the server to end, then waits for its process, then ends it with signals.
STOP_S: Final = 75.0
PAGE_S: Final = 30.0


def open_in_browser(environ: Mapping[str, str], *, name: str | None) -> int:
    """Bring a tunnel up if need be and show its Jupyter in the browser.

    One that is lost and comes back by itself is not waited for: the browser waits. A server that is
    gone is not replaced, since a person who looks for kernels has to hear that they are gone.

    The browser gets a file that leads on to the address, since a program's arguments, and a token
    among them, are everybody's to read.
    """
    from jtunnel.client.launch import dial_or_start

    with dial_or_start(environ) as connection:
        name = one_name(connection, name, "open")
        before = _look_up(connection, name)
        if before and (problem := before["problem"]) and problem["kind"] == "server-gone":
            terminal.say(f"{name}: {render.problem_text(problem)}")
            return EXIT_BLOCKED
        page, waits_for = _open_ahead(connection, before) if before else (None, "")
        if page is None:
            if code := _bring_up(connection, environ, name):
                return code
            page = connection.call("page", {"name": name}, timeout_s=PAGE_S)
    import webbrowser

    if not webbrowser.open(f"file://{page['path']}"):
        terminal.say(f"no browser could be started; for the address: jtunnel url {name}")
        return EXIT_FAILED
    terminal.say(f"opened {page['url']} in the browser{waits_for}")
    return EXIT_DONE


def bring_up_at_rest(connection: Connection, environ: Mapping[str, str], name: str) -> int | None:
    """Bring a tunnel up that is on demand and at rest; the exit code, or None of any other."""
    tunnel = _look_up(connection, name)
    return _bring_up(connection, environ, name) if tunnel and render.is_at_rest(tunnel) else None


def _bring_up(connection: Connection, environ: Mapping[str, str], name: str) -> int:
    from jtunnel.client.prompts import find_terminal
    from jtunnel.client.up import Waiting

    person = find_terminal()
    params = {"names": [name], "tags": [], "all": False, "interactive": person is not None}
    wanted = connection.call("up", params)["names"]
    return Waiting(connection, wanted, environ, person).run(quiet=True)


def _open_ahead(connection: Connection, tunnel: TunnelStatus) -> tuple[dict[str, str] | None, str]:
    """Have a lost tunnel try again at once; return the page, if there is one already, and why it waits."""
    name, server = tunnel["name"], server_of(tunnel)
    if not (tunnel["state"] == "retrying" and server and server["url"]):
        return None, ""
    connection.send("up", {"names": [name], "tags": [], "all": False, "interactive": False})
    try:
        page: dict[str, str] = connection.call("page", {"name": name}, timeout_s=PAGE_S)
    except JTunnelError as error:
        if error.kind != "not-up":
            raise
        return None, ""  # it is just coming back
    now = _look_up(connection, name) or tunnel
    if now["state"] == "up":
        return page, ""
    # While it is tried anew, what was wrong before still says why.
    lost = now if now["state"] == "retrying" else tunnel
    return page, f", which waits: {name} is {'; '.join(['retrying', *render.troubles(lost, time.time())])}"


def _look_up(connection: Connection, name: str) -> TunnelStatus | None:
    """The tunnel as it is now; None where the daemon does not know it, or not yet."""
    document: StatusDocument = connection.call("status", {})
    return next((tunnel for tunnel in document["tunnels"] if tunnel["name"] == name), None)


def stop_server(environ: Mapping[str, str], *, name: str | None, force: bool, pid: int | None = None) -> int:
    """Shut a tunnel's remote server down, or another one there by its `pid`; asks where kernels are busy."""
    from jtunnel.client.dial import dial

    with dial(environ) as connection:
        name = one_name(connection, name, "stop")
        answer = _stop(connection, name, pid, force=force)
        if not answer["stopped"]:
            if not _agrees(answer["busy"], name, pid):
                return EXIT_FAILED
            answer = _stop(connection, name, pid, force=True)
    which = f"  (process {answer['pid']})" if answer.get("pid") else ""
    terminal.put(f"{name}  stopped{which}")
    return EXIT_DONE


def _stop(connection: Connection, name: str, pid: int | None, *, force: bool) -> dict[str, Any]:
    params = {"name": name, "force": force} | ({} if pid is None else {"pid": pid})
    try:
        answer: dict[str, Any] = connection.call("stop", params, timeout_s=STOP_S)
    except JTunnelError as error:
        if force or pid is not None or not _hangs(connection, name):
            raise
        advice = f"to end it without its answer: jtunnel stop {name} --force"
        raise JTunnelError(error.kind, error.message, advice) from None
    return answer


def _hangs(connection: Connection, name: str) -> bool:
    """Whether the server is known and SSH is up, so that only its own answer is missing."""
    try:
        tunnel = _look_up(connection, name)
    except JTunnelError:
        return False
    # A server of another kind is not asked before it is ended.
    server = tunnel["jupyter"] if tunnel else None
    return bool(
        tunnel
        and tunnel["state"] not in ("down", "connecting", "retrying")
        and server
        and server["state"] in ("ready", "not-answering")
    )


def _agrees(busy: int | None, name: str, pid: int | None) -> bool:
    from jtunnel.client.prompts import find_terminal, insist_on_yes_or_no

    kernels = "1 kernel is busy" if busy == 1 else f"{busy} kernels are busy"
    if busy is None:
        kernels = "it does not tell whether kernels are busy"
    person = find_terminal()
    if person is None:
        terminal.say(
            f"{name}: {kernels}, so the server was left alone; "
            f"to stop it anyway: jtunnel stop {name}{f' --pid {pid}' if pid else ''} --force"
        )
        return False
    answer = person.ask(f"{name}: {kernels}; stop anyway? (yes/no) ")
    if insist_on_yes_or_no(person, answer) == "yes":
        return True
    terminal.say(f"{name}: the server was left alone")
    return False
