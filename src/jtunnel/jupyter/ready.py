"""Waits until a server that was launched answers, by asking it; says why where it never will."""

from __future__ import annotations

import asyncio
from typing import Final

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.errors import ServerError
from jtunnel.jupyter.introduction import completed, introduce
from jtunnel.remote import Remote
from jtunnel.service.http import ask
from jtunnel.service.log import decode_log, reason
from jtunnel.service.ready import PAUSE_S, READY_S, REFUSALS, ROUND_S, ended_error, socket_refused_error
from jtunnel.service.script import run_script
from jtunnel.service.server import NoAnswerError, NobodyListensError, Server, StrangerError
from jtunnel.service.survey import Survey, read_survey

#: Seconds for the answer to somebody without a token.
_UNASKED_S: Final = 10.0


async def wait_until_ready(remote: Remote, server: Server, key: str) -> Server:
    """Wait up to 180 s for an answer; returns the server, completed by what it says of itself.

    Raises EndedError with the log's reason, SocketRefusedError, NoAnswerError, StrangerError,
    ServerError (it lets everybody in) and ChannelError.
    """
    loop = asyncio.get_running_loop()
    deadline, refusals = loop.time() + READY_S, 0
    while loop.time() < deadline:
        survey, log = await _look(remote, server, key)
        current = completed(server, survey)
        known = any(file.pid == current.pid for file in survey.runtime_files)
        if not survey.runs(current.pid, current.started):
            raise ended_error("Jupyter", server, key, reason(log))
        try:
            ready = await introduce(remote, survey, current)
        except NobodyListensError:
            refusals += isinstance(server.target, UnixAddress) and survey.owned(server.target) is True
            if refusals >= REFUSALS:
                advice = f'set listen = "tcp" in [profiles.{key}.jupyter]'
                raise socket_refused_error(server, advice) from None
        except NoAnswerError:
            pass
        except StrangerError:
            # Nobody of ours listens yet, or without a runtime file its base_url is not known yet.
            if known:
                raise
        else:
            return await _checked(remote, ready, key)
        await asyncio.sleep(PAUSE_S)
    raise NoAnswerError(
        "jupyter-failed",
        f"the Jupyter on {server.host} (pid {server.pid}) runs, and did not answer within {READY_S:.0f} s",
        f"see `jtunnel logs {key} --remote`",
    )


async def _look(remote: Remote, server: Server, key: str) -> tuple[Survey, str]:
    if isinstance(server.target, UnixAddress):
        needle, sock = f'"{server.target.path}"', server.target.path
    else:
        needle, sock = f'"port": {server.target.port},', ""
    report = await run_script(
        remote,
        "wait",
        key,
        kind="jupyter",
        timeout_s=ROUND_S + 60.0,
        pid=server.pid,
        started=server.started,
        needle=needle,
        sock=sock,
        seconds=ROUND_S,
    )
    return read_survey(report), decode_log(report.data("text"))


async def _checked(remote: Remote, server: Server, key: str) -> Server:
    """Refuse a port that we opened and that the user's own config left without a lock."""
    if isinstance(server.target, TcpAddress):
        path = f"{server.base_url}api/status"
        if (await ask(remote, server, "GET", path, timeout_s=_UNASKED_S)).status not in (401, 403):
            raise ServerError(
                "jupyter-failed",
                f"the Jupyter config on {server.host} lets everybody in: anyone there could use the server",
                f'correct its authentication, or set listen = "socket" in [profiles.{key}.jupyter]',
            )
    return server
