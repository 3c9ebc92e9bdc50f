"""Ends a process on the remote: waits for its end, then TERM, then KILL; only ever the very same process."""

from __future__ import annotations

from jtunnel.address import UnixAddress
from jtunnel.errors import ServerError
from jtunnel.remote import Remote
from jtunnel.service.script import Kind, run_script
from jtunnel.service.server import ElsewhereError, Server


async def end_process(
    remote: Remote, server: Server, key: str, *, grace_s: int, group: bool, kind: Kind = "service"
) -> None:
    """Wait `grace_s` seconds for the process's end, then signal it; same node, pid, start time and user.

    With `group`, the processes that it began go with it: a command may be a wrapper of the server. What it
    leaves goes too: its socket, our record of it and, of a special `kind`, its own files.
    """
    report = await run_script(
        remote,
        "stop",
        key,
        kind=kind,
        timeout_s=grace_s + 45.0,
        pid=server.pid,
        started=server.started,
        host=server.host,
        sock=server.target.path if isinstance(server.target, UnixAddress) else "",
        needle=runtime_needle(server),
        grace=grace_s,
        group="1" if group else "",
    )
    if (node := report.one("elsewhere")) is not None:
        raise ElsewhereError(server, node, f"log in to {server.host} itself to stop it", key=key)
    if report.one("ended") is None:
        raise ServerError(
            "jupyter-failed",
            f"the server (pid {server.pid} on {server.host}) did not end, not even by SIGKILL",
            "it may hang in its file system; look at it there",
        )


def runtime_needle(server: Server) -> str:
    """How a runtime file of Jupyter's names where that server listens."""
    if isinstance(server.target, UnixAddress):
        return f'"{server.target.path}"'
    return f'"port": {server.target.port},'
