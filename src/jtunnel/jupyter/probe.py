"""The question whether the server answers, and whether its process still runs.

Never counts as activity: `/api` and `/api/status` do not. Sends a token only
where the process at the far end has just been shown to be ours.
"""

from __future__ import annotations

import asyncio

from jtunnel.address import UnixAddress
from jtunnel.errors import ChannelError, one_line
from jtunnel.remote import Remote
from jtunnel.service.http import Response, ask
from jtunnel.service.proof import is_ours
from jtunnel.service.server import Answer, NoAnswerError, Server, StrangerError


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
            return Answer(await ask_version(remote, server, timeout_s=timeout_s))
    except TimeoutError:
        raise NoAnswerError(
            "jupyter-failed", f"the Jupyter at {server.target} did not answer within {timeout_s:.0f} s"
        ) from None


async def ask_version(remote: Remote, server: Server, *, timeout_s: float) -> str:
    """Ask `/api`, which wants no token: its version shows a Jupyter, though not whose."""
    response = await ask(remote, server, "GET", f"{server.base_url}api", timeout_s=timeout_s)
    if response.status == 200 and isinstance(response.document, dict):
        version = response.document.get("version")
        if isinstance(version, str):
            return one_line(version)
    raise StrangerError("jupyter-failed", f"what answers at {server.target} is not Jupyter")


async def ask_status(remote: Remote, server: Server, *, timeout_s: float) -> Answer:
    """Ask `/api/status` with the token. The caller has proven the far end, and that it takes a token."""
    response = await ask(
        remote, server, "GET", f"{server.base_url}api/status", token=server.token, timeout_s=timeout_s
    )
    check_access(response, server)
    if response.status != 200 or not isinstance(response.document, dict):
        raise StrangerError("jupyter-failed", f"what answers at {server.target} is not Jupyter")
    kernels, last_activity = response.document.get("kernels"), response.document.get("last_activity")
    return Answer(
        server.version,
        kernels if isinstance(kernels, int) else None,
        last_activity=one_line(last_activity) if isinstance(last_activity, str) else None,
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
    return await is_ours(remote, server, timeout_s=timeout_s)
