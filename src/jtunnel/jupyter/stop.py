"""Ends a server: asks it to shut down, then TERM, then KILL, and only ever the very same process."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any, Final

from jtunnel.address import TcpAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.kernels import ask_kernels
from jtunnel.jupyter.probe import may_send_token
from jtunnel.jupyter.seen import Found, is_server, see
from jtunnel.remote import Remote
from jtunnel.service.certificate import certified
from jtunnel.service.end import end_process
from jtunnel.service.http import ask
from jtunnel.service.search import look
from jtunnel.service.server import NoAnswerError, NobodyListensError, Server, StrangerError
from jtunnel.service.survey import LOOPBACK, Survey

ANSWER_S: Final = 10.0
#: Seconds that a server has to end by itself after it said that it would.
GRACE_S: Final = 10


async def busy_kernels(remote: Remote, server: Server) -> int | None:
    """How many kernels are at work; None where the server tells nobody without a password.

    Does not count as activity. Raises what `probe` raises.
    """
    if not await may_send_token(remote, server, timeout_s=ANSWER_S):
        return None
    return (await ask_kernels(remote, server, timeout_s=ANSWER_S)).busy


async def stop(remote: Remote, server: Server, key: str) -> None:
    """Shut the server down with its kernels; returns when its process has ended.

    Removes its socket, its runtime file and our record of it. A server that has ended already is fine.
    Raises ServerError where it outlives KILL, ElsewhereError and ChannelError.
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
    grace_s = GRACE_S if promised else 0
    await end_process(remote, server, key, grace_s=grace_s, group=False, kind="jupyter")


async def stop_other(
    remote: Remote, options: JupyterOptions, key: str, pid: int, force: bool
) -> dict[str, Any]:
    """Shut down the Jupyter server of this user that has this number on the remote, whoever started it.

    Unless `force`, one with busy kernels is left alone: {"stopped": False, "busy": …}; so is one that does
    not tell (ServerError). Raises ServerError too where that process is no Jupyter server of this user's.
    """
    survey = await look(remote, options, key, "jupyter", pid=pid)
    server = _other(survey, key, pid)
    with contextlib.suppress(StrangerError, NoAnswerError, NobodyListensError):
        owned = survey.owned(server.target)
        server = await certified(remote, server, owned=owned, timeout_s=ANSWER_S)
    if not force:
        try:
            busy = await busy_kernels(remote, server)
        except (StrangerError, NoAnswerError, NobodyListensError) as error:
            raise ServerError(
                "jupyter-failed",
                f"the Jupyter server with pid {pid} on {survey.node} does not tell whether kernels are busy: "
                f"{error.message}",
                f"to end it all the same: jtunnel stop {key} --pid {pid} --force",
            ) from None
        if busy != 0:
            return {"stopped": False, "busy": busy}
    await stop(remote, server, key)
    return {"stopped": True, "pid": pid}


def _other(survey: Survey, key: str, pid: int) -> Server:
    """The server with that number, also one that hangs before it listens anywhere."""
    found = next((found for found in see(survey, key) if found.pid == pid), None)
    started, uid = survey.processes.get(pid, ("", -1))
    if found is None and uid == survey.uid and is_server(survey.process(pid).words):
        found = Found(pid, started, None, None, survey.process(pid))
    if found is None:
        what = "a Jupyter server of yours" if pid in survey.processes else "a process"
        raise ServerError(
            "jupyter-failed",
            f"pid {pid} on {survey.node} is not {what}",
            f"for those that run there: jtunnel servers {key}",
        )
    # Nobody listens at port 0, so it will not be asked.
    return (found if found.target else replace(found, target=TcpAddress(LOOPBACK, 0))).server(survey, key)


async def _ask_to_shut_down(remote: Remote, server: Server) -> bool:
    path = f"{server.base_url}api/shutdown"
    response = await ask(remote, server, "POST", path, token=server.token, timeout_s=ANSWER_S)
    return response.status == 200
