"""The question whether the server answers, and whether its process still runs.

Never counts as activity: `/api` and `/api/status` do not (facts/jupyter.md §2.6). Sends a token only
where the process at the far end has just been shown to be ours.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from jtunnel.address import UnixAddress
from jtunnel.errors import ChannelError, ServerError, one_line
from jtunnel.jupyter.http import Response, request
from jtunnel.jupyter.script import run_script
from jtunnel.jupyter.server import ElsewhereError, NoAnswerError, NobodyListensError, Server, StrangerError
from jtunnel.jupyter.survey import Survey, read_survey
from jtunnel.remote import Remote

#: Any file name does: the check of a process reads no file of a profile.
_ANY_KEY = "check"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said of itself; None stands for what could not be asked.

    `last_activity` is ISO 8601 in UTC.
    """

    version: str | None
    kernels: int | None
    last_activity: str | None


async def probe(remote: Remote, server: Server, *, timeout_s: float) -> Answer:
    """Ask the server for a sign of life: `/api/status`, or `/api` where no token may or can be sent.

    The server was found, or shown to be there, over this very connection. Raises NobodyListensError
    (channel refused), NoAnswerError (not within `timeout_s` seconds), StrangerError (somebody else
    answers, or refuses the token), ServerError `server-gone` (its process has ended), ElsewhereError and
    ChannelError.
    """
    try:
        async with asyncio.timeout(timeout_s):
            try:
                proven = await may_send_token(remote, server, timeout_s=timeout_s / 2, is_known_here=True)
            except ChannelError:
                # Commands may wait behind a slow one, or be forbidden; if the connection is lost, the
                # next line says so.
                proven = False
            if proven:
                return await ask_status(remote, server, timeout_s=timeout_s)
            return Answer(await ask_version(remote, server, timeout_s=timeout_s), None, None)
    except TimeoutError:
        raise NoAnswerError(
            "jupyter-failed", f"the Jupyter at {server.target} did not answer within {timeout_s:.0f} s"
        ) from None


async def ask_version(remote: Remote, server: Server, *, timeout_s: float) -> str:
    """Ask `/api`, which wants no token: its version shows a Jupyter, though not whose."""
    response = await request(remote, server.target, "GET", f"{server.base_url}api", timeout_s=timeout_s)
    if response.status == 200 and isinstance(response.document, dict):
        version = response.document.get("version")
        if isinstance(version, str):
            return one_line(version)
    raise StrangerError("jupyter-failed", f"what answers at {server.target} is not Jupyter")


async def ask_status(remote: Remote, server: Server, *, timeout_s: float) -> Answer:
    """Ask `/api/status` with the token. The caller has proven the far end, and that it takes a token."""
    response = await request(
        remote, server.target, "GET", f"{server.base_url}api/status", token=server.token, timeout_s=timeout_s
    )
    check_access(response, server)
    if response.status != 200 or not isinstance(response.document, dict):
        raise StrangerError("jupyter-failed", f"what answers at {server.target} is not Jupyter")
    kernels, last_activity = response.document.get("kernels"), response.document.get("last_activity")
    return Answer(
        server.version,
        kernels if isinstance(kernels, int) else None,
        one_line(last_activity) if isinstance(last_activity, str) else None,
    )


def check_access(response: Response, server: Server) -> None:
    """Raise StrangerError where an answer says that the token is not the right one."""
    if response.status in (401, 403):
        raise StrangerError(
            "jupyter-failed",
            f"the Jupyter at {server.target} (pid {server.pid}) refuses the token that is known for it",
        )


async def may_send_token(
    remote: Remote, server: Server, *, timeout_s: float, is_known_here: bool = False
) -> bool:
    """Whether the far end is ours for sure and has a use for a token.

    Raises ElsewhereError, ServerError `server-gone` and NobodyListensError as `probe` does.
    With `is_known_here`, this connection has shown the server before. Then one that we started on a Unix
    socket needs no new proof: nobody else can listen in its directory, as long as that is the same node's.
    A port can change hands when the process ends.
    """
    if server.asks_password_only:
        return False
    if is_known_here and server.origin == "started" and isinstance(server.target, UnixAddress):
        return True
    survey = await check(remote, server, timeout_s=timeout_s)
    if survey.is_elsewhere(server):
        advice = f"set host to {server.host} itself, if it can be reached by that name"
        raise ElsewhereError(server, survey.node, advice)
    if not survey.runs(server.pid, server.started):
        raise ServerError("server-gone", f"the Jupyter server (pid {server.pid} on {server.host}) has ended")
    owned = survey.owned(server.target)
    if owned is False:
        raise NobodyListensError("jupyter-failed", f"nobody of yours listens at {server.target} any more")
    return owned is True


async def is_still_there(remote: Remote, server: Server, *, timeout_s: float) -> bool:
    """Whether the server that was ours still runs, listens and answers, over a connection that is new.

    Takes about three round trips: a command shows node, process and owner of the socket, while `/api` is
    asked, which wants no token. Either alone proves too little: anybody can answer like Jupyter, and on
    another node or after a reboot the place of our sockets may be a stranger's (ps shows their names to
    all). So no secret is sent, and nobody's request let through, before the command has answered.
    False for all that a search has to clear up. Raises ChannelError `connection-lost`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            survey, version = await asyncio.gather(
                check(remote, server, timeout_s=2 * timeout_s),
                ask_version(remote, server, timeout_s=timeout_s / 2),
                return_exceptions=True,
            )
    except TimeoutError:
        return False
    for result in (survey, version):
        if isinstance(result, BaseException) and not _is_cleared_up_by_search(result):
            raise result
    return isinstance(survey, Survey) and isinstance(version, str) and _is_it(survey, server)


def _is_it(survey: Survey, server: Server) -> bool:
    same_process = survey.node == server.host and survey.runs(server.pid, server.started)
    return same_process and survey.owned(server.target) is True


def _is_cleared_up_by_search(error: BaseException) -> bool:
    lost = isinstance(error, ChannelError) and error.kind == "connection-lost"
    return isinstance(error, (ServerError, ChannelError)) and not lost


async def check(remote: Remote, server: Server, *, timeout_s: float) -> Survey:
    """The facts about one server's process and listening socket."""
    sock = server.target.path if isinstance(server.target, UnixAddress) else ""
    report = await run_script(remote, "check", _ANY_KEY, timeout_s=timeout_s, pid=server.pid, sock=sock)
    return read_survey(report)
