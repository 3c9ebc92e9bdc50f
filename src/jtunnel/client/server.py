"""What concerns a tunnel's Jupyter server: `open` it in the browser, `stop` it."""

from __future__ import annotations

from jtunnel.client import terminal
from jtunnel.errors import EXIT_DONE, EXIT_FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from jtunnel.client.connection import Connection

#: The daemon asks the server to end, then waits for its process, then ends it with signals.
STOP_S: Final = 75.0
PAGE_S: Final = 30.0


def open_in_browser(environ: Mapping[str, str], *, name: str) -> int:
    """Bring a tunnel up if need be and show its Jupyter in the browser.

    The browser gets a file that leads on to the address, since a program's arguments, and a token
    among them, are everybody's to read.
    """
    from jtunnel.client.launch import dial_or_start
    from jtunnel.client.prompts import find_terminal
    from jtunnel.client.up import Waiting

    with dial_or_start(environ) as connection:
        person = find_terminal()
        params = {"names": [name], "tags": [], "all": False, "interactive": person is not None}
        wanted = connection.call("up", params)["names"]
        if code := Waiting(connection, wanted, environ, person).run(quiet=True):
            return code
        page: dict[str, str] = connection.call("page", {"name": name}, timeout_s=PAGE_S)
    import webbrowser

    if not webbrowser.open(f"file://{page['path']}"):
        terminal.say(f"no browser could be started; for the address: jtunnel url {name}")
        return EXIT_FAILED
    terminal.say(f"opened {page['url']} in the browser")
    return EXIT_DONE


def stop_server(environ: Mapping[str, str], *, name: str, force: bool) -> int:
    """Shut a tunnel's Jupyter server down, asking first where kernels are busy."""
    from jtunnel.client.dial import dial

    with dial(environ) as connection:
        answer = _stop(connection, name, force=force)
        if not answer["stopped"]:
            if not _agrees(answer["busy"], name):
                return EXIT_FAILED
            answer = _stop(connection, name, force=True)
    pid = f"  (process {answer['pid']})" if answer.get("pid") else ""
    terminal.put(f"{name}  stopped{pid}")
    return EXIT_DONE


def _stop(connection: Connection, name: str, *, force: bool) -> dict[str, Any]:
    answer: dict[str, Any] = connection.call("stop", {"name": name, "force": force}, timeout_s=STOP_S)
    return answer


def _agrees(busy: int, name: str) -> bool:
    from jtunnel.client.prompts import find_terminal, insist_on_yes_or_no

    kernels = "1 kernel is" if busy == 1 else f"{busy} kernels are"
    person = find_terminal()
    if person is None:
        terminal.say(f"{name}: {kernels} busy, so the server was left alone; to stop it anyway: --force")
        return False
    answer = person.ask(f"{name}: {kernels} busy; stop anyway? (yes/no) ")
    if insist_on_yes_or_no(person, answer) == "yes":
        return True
    terminal.say(f"{name}: the server was left alone")
    return False
