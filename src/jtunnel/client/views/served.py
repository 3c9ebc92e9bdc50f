"""The remote server of a tunnel in words: what it is, what is at work in it, what to know of it. Pure."""

from __future__ import annotations

from jtunnel.client.views.measures import moment, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from jtunnel.status import JupyterStatus, ServiceStatus, TunnelStatus

#: Names of environments that say nothing without the directory that they are in.
_PLAIN_NAMES: Final = (".venv", "venv", ".env", "env", "conda", ".conda")
_SERVICE_WORDS: Final[Mapping[str, str]] = {
    "searching": "looking for its server",
    "starting": "starting its server",
    "queued": "waiting for its batch job",
    "not-answering": "waiting for its server to answer",
}
_JUPYTER_WORDS: Final[Mapping[str, str]] = {
    "searching": "looking for Jupyter",
    "starting": "starting JupyterLab",
    "queued": "waiting for its batch job",
    "not-answering": "waiting for Jupyter to answer",
}


def server_of(tunnel: TunnelStatus) -> JupyterStatus | ServiceStatus | None:
    """A tunnel's remote server, of whichever kind; an older daemon knows of no other than Jupyter."""
    return tunnel["jupyter"] or tunnel.get("service")


def pid_of(tunnel: TunnelStatus) -> int | None:
    """The process of that server, where one is known."""
    server = server_of(tunnel)
    return server["pid"] if server else None


def own_forward(tunnel: TunnelStatus) -> str:
    """The name of the forward that leads to that server."""
    return "service" if tunnel.get("service") else "jupyter"


def doing(tunnel: TunnelStatus) -> str:
    """What is being done about a server that is not there yet."""
    if jupyter := tunnel["jupyter"]:
        return _JUPYTER_WORDS.get(jupyter["state"], "starting")
    service = tunnel.get("service")
    return _SERVICE_WORDS.get(service["state"] if service else "", "starting")


def remarks(tunnel: TunnelStatus) -> list[str]:
    """What a person should know before using it, a sentence each."""
    jupyter, found = tunnel["jupyter"], []
    if jupyter and jupyter.get("password"):
        found.append("it asks for its password; kernels unknown")
    if jupyter and jupyter.get("secure"):
        found.append("its certificate is its own: the browser asks once whether to trust it")
    return found


def server_lines(tunnel: TunnelStatus, now_s: float) -> list[str]:
    """What is known of a server that has been found: what it is, where it logs, what to know of it."""
    server = server_of(tunnel)
    if tunnel["state"] == "down" or server is None or server["pid"] is None:
        return []
    name, known = "server", []
    if jupyter := tunnel["jupyter"]:
        name = " ".join(filter(None, ("Jupyter", jupyter["version"])))
        known = _jupyter_facts(jupyter, now_s)
    where = f" on {server['host']}" if server["host"] else ""
    by_hand = ", adopted" if server["origin"] == "adopted" else ""
    lines = [", ".join([f"{name}{where} (pid {server['pid']}{by_hand})", *known])]
    if not jupyter and server["target"]:
        lines[0] += f" at {server['target']}"
    if log := server.get("log"):
        lines.append(f"log {log}")
    return lines + remarks(tunnel)


def _jupyter_facts(jupyter: JupyterStatus, now_s: float) -> list[str]:
    known = []
    if jupyter["root_dir"]:
        known.append(f"in {jupyter['root_dir']}")
    if environment := jupyter.get("environment"):
        known.append(f"environment {environment_name(environment)}")
    if jupyter["kernels"] is not None:
        busy = jupyter.get("busy")
        known.append(plural(jupyter["kernels"], "kernel"))
        if jupyter["kernels"] and busy is not None:
            known.append(f"{busy or 'none'} busy")
    if jupyter["last_activity"]:
        known.append(f"last used {span(now_s - moment(jupyter['last_activity']))} ago")
    return known


def environment_name(directory: str) -> str:
    """What people call a Python environment: the last part of its path, or two where one says little."""
    parts = directory.strip("/").split("/")
    if len(parts) <= 2:
        return directory
    return "/".join(parts[-2:]) if parts[-1] in _PLAIN_NAMES else parts[-1]


def plural(count: int, noun: str) -> str:
    """So many of them."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
