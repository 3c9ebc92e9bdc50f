"""Ends a server: asks it to shut down, then TERM, then KILL, and only ever the very same process."""

from __future__ import annotations

from typing import Final

from jtunnel.address import UnixAddress
from jtunnel.errors import ServerError
from jtunnel.jupyter.http import request
from jtunnel.jupyter.probe import check_access, may_send_token
from jtunnel.jupyter.script import run_script
from jtunnel.jupyter.server import ElsewhereError, NoAnswerError, NobodyListensError, Server, StrangerError
from jtunnel.remote import Remote

ANSWER_S: Final = 10.0
#: Seconds that a server has to end by itself after it said that it would.
GRACE_S: Final = 10


async def busy_kernels(remote: Remote, server: Server) -> int:
    """How many kernels are at work; 0 too where the server tells nobody without a password.

    Does not count as activity. Raises what `probe` raises.
    """
    if not await may_send_token(remote, server, timeout_s=ANSWER_S):
        return 0
    path = f"{server.base_url}api/kernels?no_track_activity=1"
    response = await request(remote, server.target, "GET", path, token=server.token, timeout_s=ANSWER_S)
    check_access(response, server)
    if not isinstance(response.document, list):
        raise StrangerError("jupyter-failed", f"what answers at {server.target} is not Jupyter")
    return sum(
        isinstance(kernel, dict) and kernel.get("execution_state") == "busy" for kernel in response.document
    )


async def stop(remote: Remote, server: Server, key: str) -> None:
    """Shut the server down with its kernels; returns when its process has ended.

    Removes its socket and our record of it. A server that has ended already is fine. Raises ServerError
    where it outlives KILL, ElsewhereError and ChannelError.
    """
    promised = False
    try:
        if await may_send_token(remote, server, timeout_s=ANSWER_S):
            promised = await _ask_to_shut_down(remote, server)
    except (NobodyListensError, NoAnswerError, StrangerError):
        promised = False
    except ServerError as error:
        # Its end is what was wanted; the script below tells that apart from another node.
        if error.kind != "server-gone":
            raise
    await end_process(remote, server, key, grace_s=GRACE_S if promised else 0, group=False)


async def _ask_to_shut_down(remote: Remote, server: Server) -> bool:
    path = f"{server.base_url}api/shutdown"
    response = await request(remote, server.target, "POST", path, token=server.token, timeout_s=ANSWER_S)
    return response.status == 200


async def end_process(remote: Remote, server: Server, key: str, *, grace_s: int, group: bool) -> None:
    """Wait `grace_s` seconds for the process's end, then signal it; same node, pid, start time and user.

    With `group`, the processes that it began go with it: a command may be a wrapper of the server.
    """
    report = await run_script(
        remote,
        "stop",
        key,
        timeout_s=grace_s + 45.0,
        pid=server.pid,
        started=server.started,
        host=server.host,
        sock=server.target.path if isinstance(server.target, UnixAddress) else "",
        grace=grace_s,
        group="1" if group else "",
    )
    if (node := report.one("elsewhere")) is not None:
        raise ElsewhereError(server, node, f"log in to {server.host} itself to stop it", key=key)
    if report.one("ended") is None:
        raise ServerError(
            "jupyter-failed",
            f"the Jupyter server (pid {server.pid} on {server.host}) did not end, not even by SIGKILL",
            "it may hang in its file system; look at it there",
        )
