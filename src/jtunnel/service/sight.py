"""One look at the place where a service listens: who holds it, and whether he is to be trusted with it.

A person's own process is; so is one of a system account, as Ollama's or RStudio's; another person's is not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.config.profile import ServiceOptions
from jtunnel.errors import ChannelError, ServerError
from jtunnel.remote import Remote
from jtunnel.service.http import request
from jtunnel.service.log import decode_log
from jtunnel.service.script import run_script
from jtunnel.service.server import ElsewhereError, NoAnswerError, NobodyListensError, Server
from jtunnel.service.survey import LOOPBACK, Survey, read_survey

#: Below are accounts of the system and its services (login.defs(5), SYS_UID_MAX); systemd makes some above.
_FIRST_PERSON: Final = 1000
_DYNAMIC_USERS: Final = range(61184, 65520)
#: The loopback addresses that a server may listen on.
_LOOPBACKS: Final = (LOOPBACK, "::1")


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen. `holder` is the process of ours that listens there, with its start time.

    `remains`: the process that was asked for has ended, and what it began in its group has not.
    """

    survey: Survey
    holder: tuple[int, str] | None
    sock: str | None
    root_dir: str
    log_text: str
    remains: bool = False

    def server(self, options: ServiceOptions, sock: str | None, name: str) -> Server | None:
        """The server that listens where the profile says, or None; ServerError where it is a stranger's."""
        target = self._target(options, sock)
        if target is None or not self._listens(target):
            return None
        if not (self.survey.owned(target) or self._is_systems(target)):
            raise ServerError(
                "jupyter-failed",
                f"{target} on {self.survey.node} is held by another user's process",
                f"choose another place in [profiles.{name}.service]",
            )
        # A process of ours may hold the same port of another address.
        pid, started = (self.holder if self.survey.owned(target) is not False else None) or (0, "")
        return Server(
            target=target,
            base_url="/",
            token="",
            pid=pid,
            started=started,
            host=self.survey.node,
            version=None,
            root_dir="",
            origin="adopted",
            user_interface="",
            names=self.survey.names,
        )

    def serving(self, server: Server) -> Server | None:
        """The launched server, or what it left to serve in its place; None where it has ended."""
        server = replace(server, target=self._place(server.target))
        if self.survey.runs(server.pid, server.started):
            return server
        if self.holder is None or not self.survey.owned(server.target):
            return None
        # It has put itself into the background.
        return replace(server, pid=self.holder[0], started=self.holder[1])

    def _place(self, target: Address) -> Address:
        """Where it listens: by the name of localhost, some servers choose ::1."""
        if isinstance(target, UnixAddress) or self.survey.owned(target) is not False:
            return target
        return self.survey.proven_address(target.port) or target

    def check_same(self, server: Server) -> None:
        """Raise where another node, process or user is there now."""
        if self.survey.is_elsewhere(server):
            advice = f"set host to {server.host} itself, if it can be reached by that name"
            raise ElsewhereError(server, self.survey.node, advice)
        if server.pid and not self.survey.runs(server.pid, server.started):
            raise ServerError("server-gone", f"the process {server.pid} on {server.host} has ended")
        is_systems = not server.pid and self._is_systems(server.target)
        if self.survey.owned(server.target) is False and not is_systems:
            raise NobodyListensError("jupyter-failed", f"nobody of yours listens at {server.target}")

    def _target(self, options: ServiceOptions, sock: str | None) -> Address | None:
        if options.port is not None:
            proven = self.survey.proven_address(options.port)
            if proven is not None:
                return proven
            taken = [
                host for host in _LOOPBACKS if self.survey.owner(TcpAddress(host, options.port)) is not None
            ]
            return TcpAddress(taken[0] if taken else LOOPBACK, options.port)
        return UnixAddress(sock) if sock else None

    def _listens(self, target: Address) -> bool:
        if isinstance(target, UnixAddress):
            return self.holder is not None or self._is_systems(target)
        if self.survey.listeners is None:
            return self.holder is not None
        return self.survey.owner(target) is not None

    def _is_systems(self, target: Address) -> bool:
        owner = self.survey.owner(target)
        return owner is not None and (owner < _FIRST_PERSON or owner in _DYNAMIC_USERS)


async def look(
    remote: Remote,
    key: str,
    server: Server | None,
    *,
    timeout_s: float,
    wait_s: int = 0,
    options: ServiceOptions | None = None,
    last: Server | None = None,
) -> Sight:
    """Look at where `server` listens, or at the place that `options` name.

    Waits up to `wait_s` seconds while that process lives and nobody listens there. Raises ChannelError.
    """
    target = server.target if server else None
    port = target.port if isinstance(target, TcpAddress) else options.port if options else None
    sock = target.path if isinstance(target, UnixAddress) else options.socket if options else None
    process = server or last
    report = await run_script(
        remote,
        "holder",
        key,
        timeout_s=timeout_s,
        root=(options.directory if options else None) or "~",
        pid=process.pid if process and process.pid else "",
        started=server.started if server else "",
        port=port or "",
        sock=sock or "",
        seconds=wait_s,
    )
    survey = read_survey(report)
    holder = report.one("holder")
    pid = int(holder) if holder else 0
    facts = survey.processes.get(pid)
    return Sight(
        survey=survey,
        holder=(pid, facts[0]) if facts else None,
        sock=report.one("sock"),
        root_dir=report.one("root") or "",
        log_text=decode_log(report.data("text")),
        remains=report.one("remains") is not None,
    )


async def ask_ready(remote: Remote, server: Server, ready: str, *, timeout_s: float) -> None:
    """Ask for the sign of life that the profile names: a connection, or a page with a status below 500.

    Raises NobodyListensError, NoAnswerError, StrangerError and ChannelError.
    """
    if ready == "tcp":
        await _connect(remote, server.target, timeout_s)
        return
    response = await request(remote, server.target, "GET", ready, timeout_s=timeout_s)
    if response.status >= 500:
        raise NoAnswerError("jupyter-failed", f"{ready} at {server.target} answers {response.status}")


async def _connect(remote: Remote, target: Address, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            far_end = await remote.open(target, asyncio.Protocol())
    except TimeoutError:
        raise NoAnswerError(
            "jupyter-failed", f"{target} took no connection within {timeout_s:.0f} s"
        ) from None
    except ChannelError as error:
        # sshd's refusal to forward to a Unix socket looks like a socket without a listener.
        if error.kind == "target-refused" or (
            error.kind == "forward-refused" and isinstance(target, UnixAddress)
        ):
            raise NobodyListensError("jupyter-failed", f"nobody listens at {target}") from None
        raise
    far_end.abort()
