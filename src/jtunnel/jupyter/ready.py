"""Waits until a server that was launched answers, by asking it; says why where it never will."""

from __future__ import annotations

import asyncio
from typing import Final

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.errors import ServerError
from jtunnel.jupyter.find import completed, introduce
from jtunnel.jupyter.log import decode_log, reason
from jtunnel.jupyter.script import run_script
from jtunnel.jupyter.server import NoAnswerError, NobodyListensError, Server, StrangerError
from jtunnel.jupyter.survey import Survey, read_survey
from jtunnel.remote import Remote

#: How long a server may take while its process lives: imports on a network home take minutes.
READY_S: Final = 180.0
#: How long one remote command waits; others on the same connection wait for it.
_ROUND_S: Final = 8
_PAUSE_S: Final = 0.3
#: Refusals of a channel to a socket that exists before sshd is held to forbid it.
_REFUSALS: Final = 3


class EndedError(ServerError):
    """The server ended before it answered; `port_was_taken` tells a reason that another port cures."""

    def __init__(self, message: str, advice: str, *, port_was_taken: bool) -> None:
        super().__init__("jupyter-failed", message, advice)
        self.port_was_taken = port_was_taken


class SocketRefusedError(ServerError):
    """The server listens on its socket, and sshd does not forward to it."""


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
            raise _ended(server, key, reason(log))
        try:
            ready = await introduce(remote, survey, current)
        except NobodyListensError:
            refusals += isinstance(server.target, UnixAddress) and survey.owned(server.target) is True
            if refusals >= _REFUSALS:
                raise _socket_refused(server, key) from None
        except NoAnswerError:
            pass
        except StrangerError:
            # Nobody of ours listens yet, or without a runtime file its base_url is not known yet.
            if known:
                raise
        else:
            return _checked(ready, key)
        await asyncio.sleep(_PAUSE_S)
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
        timeout_s=_ROUND_S + 60.0,
        pid=server.pid,
        started=server.started,
        needle=needle,
        sock=sock,
        seconds=_ROUND_S,
    )
    return read_survey(report), decode_log(report.data("text"))


def _checked(server: Server, key: str) -> Server:
    """Refuse a port that we opened and that the user's own config left without a lock."""
    if isinstance(server.target, TcpAddress) and not server.token and not server.password:
        raise ServerError(
            "jupyter-failed",
            f"the Jupyter config on {server.host} switches authentication off (token = ''): "
            "anyone there could use it",
            f'remove that line, or set listen = "socket" in [profiles.{key}.jupyter]',
        )
    return server


def _ended(server: Server, key: str, why: str) -> EndedError:
    taken = "address already in use" in why.lower() or "is not available" in why or "is already in use" in why
    return EndedError(
        f"Jupyter ended on {server.host} before it answered: {why or 'its log is empty'}",
        f"see `jtunnel logs {key} --remote`",
        port_was_taken=taken,
    )


def _socket_refused(server: Server, key: str) -> SocketRefusedError:
    return SocketRefusedError(
        "forward-refused",
        f"sshd on {server.host} does not forward to Unix sockets (AllowStreamLocalForwarding, OpenSSH 6.7)",
        f'set listen = "tcp" in [profiles.{key}.jupyter]',
    )
