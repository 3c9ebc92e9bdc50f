"""The proof that what listens at the far end is ours: node, process and owner of the socket, by one command.

A token is sent only after that; on another node or after a reboot, the place may be a stranger's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from jtunnel.address import UnixAddress
from jtunnel.errors import ChannelError, ServerError
from jtunnel.remote import Remote
from jtunnel.service.script import run_script
from jtunnel.service.server import ElsewhereError, NobodyListensError, Server
from jtunnel.service.survey import Survey, read_survey

#: Any file name does: the check of a process reads no file of a profile.
_ANY_KEY = "check"


async def check(remote: Remote, server: Server, *, timeout_s: float) -> Survey:
    """The facts about one server's process and listening socket."""
    sock = server.target.path if isinstance(server.target, UnixAddress) else ""
    report = await run_script(remote, "check", _ANY_KEY, timeout_s=timeout_s, pid=server.pid, sock=sock)
    return read_survey(report)


async def is_ours(remote: Remote, server: Server, *, timeout_s: float) -> bool:
    """Whether the far end is ours for sure; False where the remote cannot tell.

    Raises ElsewhereError, ServerError `server-gone` (its process has ended), NobodyListensError and
    ChannelError.
    """
    survey = await check(remote, server, timeout_s=timeout_s)
    if survey.is_elsewhere(server):
        advice = f"set host to {server.host} itself, if it can be reached by that name"
        raise ElsewhereError(server, survey.node, advice)
    if not survey.runs(server.pid, server.started):
        raise ServerError("server-gone", f"the server (pid {server.pid} on {server.host}) has ended")
    owned = survey.owned(server.target)
    if owned is False:
        raise NobodyListensError("jupyter-failed", f"nobody of yours listens at {server.target} any more")
    return owned is True


async def is_still_there(
    remote: Remote, server: Server, question: Awaitable[object], *, timeout_s: float
) -> bool:
    """Whether the server that was ours still runs, listens and answers, over a connection that is new.

    Takes about three round trips: a command shows node, process and owner of the socket, while `question`
    is asked, which sends no secret. Either alone proves too little: anybody can answer like it, and on
    another node or after a reboot the place of our sockets may be a stranger's (ps shows their names to
    all). So nobody's request is let through before the command has answered.
    False for all that a search has to clear up. Raises ChannelError `connection-lost`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            checked = check(remote, server, timeout_s=2 * timeout_s)
            results = [*await asyncio.gather(checked, question, return_exceptions=True)]
    except TimeoutError:
        return False
    for result in results:
        if isinstance(result, BaseException) and not _is_cleared_up_by_search(result):
            raise result
    survey, answer = results
    return isinstance(survey, Survey) and not isinstance(answer, BaseException) and _is_it(survey, server)


def _is_it(survey: Survey, server: Server) -> bool:
    same_process = survey.node == server.host and survey.runs(server.pid, server.started)
    return same_process and survey.owned(server.target) is True


def _is_cleared_up_by_search(error: BaseException) -> bool:
    lost = isinstance(error, ChannelError) and error.kind == "connection-lost"
    return isinstance(error, (ServerError, ChannelError)) and not lost
