"""The first questions to a server that was found: only one that is shown to be ours is told the token."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.errors import ServerError, one_line
from jtunnel.jupyter.probe import ask_status, ask_version
from jtunnel.jupyter.seen import Found
from jtunnel.remote import Remote
from jtunnel.service.certificate import certified
from jtunnel.service.http import ask
from jtunnel.service.server import Server, StrangerError, UserInterface
from jtunnel.service.survey import Survey

ANSWER_S: Final = 5.0


async def introduce(remote: Remote, survey: Survey, server: Server) -> Server:
    """Ask a server for its version and, where it is proven ours, show it the token.

    One without a token that wants one all the same has a password: runtime files tell only some of those.
    Raises NobodyListensError, NoAnswerError and StrangerError (also where the socket is another user's, and
    where the certificate of a server that speaks TLS is not its own).
    """
    owned = survey.owned(server.target)
    if owned is False:
        raise StrangerError("jupyter-failed", f"nobody of yours listens at {server.target}")
    server = await certified(remote, server, owned=owned, timeout_s=ANSWER_S)
    version = await ask_version(remote, server, timeout_s=ANSWER_S)
    server = replace(server, version=version)
    if owned and not server.asks_password_only:
        try:
            await ask_status(remote, server, timeout_s=ANSWER_S)
        except StrangerError:
            if server.token:
                raise
            return replace(server, password=True)
    return server


async def meet(remote: Remote, survey: Survey, found: Found, key: str) -> Server:
    """A server that was found, introduced; ServerError, whose message says why, where it cannot be used."""
    if found.problem or found.target is None:
        raise ServerError("jupyter-missing", found.problem)
    server = await introduce(remote, survey, found.server(survey, key))
    return await with_interface(remote, server, classic=bool(found.file and found.file.classic))


async def with_interface(remote: Remote, server: Server, *, classic: bool = False) -> Server:
    """The server with the pages that it has; one that wants a login for a page has it."""
    if classic:
        return replace(server, user_interface="tree")
    names: tuple[UserInterface, ...] = ("lab", "tree")
    for name in names:
        page = await ask(remote, server, "GET", f"{server.base_url}{name}", timeout_s=ANSWER_S)
        if page.status != 404:
            return replace(server, user_interface=name)
    return replace(server, user_interface="")


def completed(server: Server, survey: Survey) -> Server:
    """The server with what its own runtime file says of it, which is better than what we planned."""
    for file in survey.runtime_files:
        same_socket = isinstance(server.target, UnixAddress) and file.sock == server.target.path
        same_port = isinstance(server.target, TcpAddress) and file.port == server.target.port
        # A file that is left of another process may name the same place.
        own = survey.holds(file.pid, server.target) is not False
        if own and (same_socket or (same_port and not file.sock)):
            return replace(
                server,
                pid=file.pid,
                started=file.started,
                base_url=file.base_url,
                token=file.token or survey.known_token(file.pid, file.started),
                password=file.password,
                version=file.version or server.version,
                root_dir=one_line(file.root_dir) or server.root_dir,
                environment=one_line(survey.process(file.pid).environment) or server.environment,
                secure=file.secure,
            )
    # Another node may have deleted the runtime file; then our own token counts, or what we were told.
    token = survey.token if server.origin == "started" else survey.known_token(server.pid, server.started)
    return replace(server, token=token)
