"""Finds a running Jupyter server of this user on the remote, and shows that it is his before using it.

Reads Jupyter's runtime files itself: `jupyter server list` deletes the entries of other nodes. Starts
nothing; writes down which server was adopted, so that the next search chooses the same.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import Final

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError, one_line
from jtunnel.jupyter.http import request
from jtunnel.jupyter.probe import ask_status, ask_version
from jtunnel.jupyter.record import Record, RuntimeFile, record_text
from jtunnel.jupyter.script import run_script
from jtunnel.jupyter.search import ANY_WISH, SEARCH_S, Wish, search, usable_record
from jtunnel.jupyter.server import Server, StrangerError, UserInterface
from jtunnel.jupyter.survey import Survey, start_order
from jtunnel.remote import Remote

ANSWER_S: Final = 5.0


async def find(remote: Remote, options: JupyterOptions, key: str, wish: Wish = ANY_WISH) -> Server | None:
    """Find the server to use for profile `key`; None where one is to be started.

    First the one recorded for this profile on this node; it may come with `answering` False: then
    `start` waits for it. Else one that runs in the wanted directory; without one configured, one in the
    home directory, else the newest. With a remote_port only a server on that port counts.
    Raises ElsewhereError, ServerError `jupyter-missing` where `start = "never"` and there is none, and
    ChannelError.
    """
    survey = await search(remote, options, key, wish)
    if (record := usable_record(survey, options)) is not None:
        return await _recorded_server(remote, survey, record)
    passed_over = []
    for file in order_files(survey, options):
        try:
            server = await _adopt(remote, survey, file)
        except ServerError as error:
            passed_over.append(f"pid {file.pid}: {error.message}")
            continue
        await write_record(remote, key, Record(server, command=None, ready=True))
        return server
    if options.start == "never":
        raise missing_error(survey.node, options, key, passed_over)
    return None


def order_files(survey: Survey, options: JupyterOptions) -> list[RuntimeFile]:
    """Which servers may be adopted, the best first."""
    newest_first = sorted(survey.runtime_files, key=lambda file: start_order(file.started), reverse=True)
    if options.remote_port is not None:
        return [file for file in newest_first if file.port == options.remote_port]
    if options.directory is not None:
        return [file for file in newest_first if posixpath.normpath(file.root_dir) in survey.roots]
    return sorted(newest_first, key=lambda file: posixpath.normpath(file.root_dir) not in survey.homes)


def completed(server: Server, survey: Survey) -> Server:
    """The server with what its own runtime file says of it, which is better than what we planned."""
    for file in survey.runtime_files:
        same_socket = isinstance(server.target, UnixAddress) and file.sock == server.target.path
        same_port = isinstance(server.target, TcpAddress) and file.port == server.target.port
        if same_socket or (same_port and not file.sock):
            return replace(
                server,
                pid=file.pid,
                started=file.started,
                base_url=file.base_url,
                token=file.token,
                password=file.password,
                version=file.version or server.version,
                root_dir=one_line(file.root_dir) or server.root_dir,
            )
    # Another node may have deleted the runtime file; then our own token is what counts.
    return replace(server, token=survey.token if server.origin == "started" else "")


async def _recorded_server(remote: Remote, survey: Survey, record: Record) -> Server:
    server = completed(record.server, survey)
    try:
        return await introduce(remote, survey, server)
    except ServerError:
        return replace(server, answering=False)


async def introduce(remote: Remote, survey: Survey, server: Server) -> Server:
    """Ask a server for its version and, where it is proven ours, show it the token.

    One without a token that wants one all the same has a password: runtime files tell only some of those.
    Raises NobodyListensError, NoAnswerError and StrangerError (also where the socket is another user's).
    """
    owned = survey.owned(server.target)
    if owned is False:
        raise StrangerError("jupyter-failed", f"nobody of yours listens at {server.target}")
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


async def _adopt(remote: Remote, survey: Survey, file: RuntimeFile) -> Server:
    """Make a server of a runtime file; ServerError, whose message says why, where it cannot be used."""
    if file.secure:
        raise ServerError("jupyter-missing", "it uses TLS, and such servers are not adopted yet")
    target = UnixAddress(file.sock) if file.sock else survey.proven_address(file.port)
    if target is None:
        raise ServerError("jupyter-missing", f"its port {file.port} is not a socket of yours")
    server = Server(
        target=target,
        base_url=file.base_url,
        token=file.token,
        pid=file.pid,
        started=file.started,
        host=survey.node,
        version=file.version,
        root_dir=one_line(file.root_dir),
        origin="adopted",
        password=file.password,
        names=survey.names,
    )
    server = await introduce(remote, survey, server)
    interface = "tree" if file.classic else await _interface(remote, server)
    return replace(server, user_interface=interface)


async def _interface(remote: Remote, server: Server) -> UserInterface:
    """Which pages a server has; a page that wants a login exists."""
    names: tuple[UserInterface, ...] = ("lab", "tree")
    for name in names:
        page = await request(remote, server.target, "GET", f"{server.base_url}{name}", timeout_s=ANSWER_S)
        if page.status != 404:
            return name
    return ""


async def write_record(remote: Remote, key: str, record: Record) -> bool:
    """Write the record, unless another living process has one; False where it could not be written."""
    report = await run_script(
        remote,
        "record",
        key,
        timeout_s=SEARCH_S,
        pid=record.server.pid,
        started=record.server.started,
        content=record_text(record),
    )
    return report.one("written") is not None


def missing_error(node: str, options: JupyterOptions, key: str, passed_over: list[str]) -> ServerError:
    """The problem of a profile that only adopts, and found nothing."""
    where = f" on port {options.remote_port}" if options.remote_port is not None else ""
    where += f" in {options.directory}" if options.directory is not None else ""
    others = f" ({'; '.join(passed_over)})" if passed_over else ""
    return ServerError(
        "jupyter-missing",
        f"no Jupyter server to adopt runs on {node}{where}{others}",
        f'start one there, or set start = "if-absent" in [profiles.{key}.jupyter]',
    )
