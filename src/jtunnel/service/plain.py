"""A server of any kind but Jupyter as a service: adopted if it is there, else started; and probed.

Knows of it what the profile says: its command, where it listens, and which page shows that it serves.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.config.profile import ServiceOptions
from jtunnel.errors import ServerError
from jtunnel.machine.boot import read_boot
from jtunnel.remote import Remote
from jtunnel.service.end import end_process
from jtunnel.service.ground import Ground
from jtunnel.service.keep import write_record
from jtunnel.service.log import reason
from jtunnel.service.prepare import Request, prepare
from jtunnel.service.proof import is_still_there
from jtunnel.service.ready import PAUSE_S, READY_S, REFUSALS, ROUND_S, ended_error, socket_refused_error
from jtunnel.service.record import Record
from jtunnel.service.search import Wish, check_elsewhere
from jtunnel.service.server import Answer, ElsewhereError, NoAnswerError, NobodyListensError, Server
from jtunnel.service.service import Plan, Tell
from jtunnel.service.sight import Sight, ask_ready, look
from jtunnel.service.start import start
from jtunnel.service.survey import Survey

#: Seconds that it may take to answer when it is asked besides other things.
_ANSWER_S: Final = 5.0
#: What a start script has begun in its process group may take so long to listen once the script has ended.
_HANDOVER_S: Final = 60.0


class PlainService:
    """The service of a profile."""

    kind: Final = "service"

    def __init__(self, options: ServiceOptions, name: str) -> None:
        self.options = options
        self.name = name
        # The profile may have had a Jupyter server by its own name.
        self.key = f"{name}+service"
        self._words = shlex.split(options.command or "")
        self._sock = options.socket

    @property
    def noun(self) -> str:
        """See `Service`."""
        return self._words[0].rpartition("/")[2] if self._words else "service"

    @property
    def is_bound_to_place(self) -> bool:
        """See `Startable`."""
        return bool(self.options.port or self.options.socket or "{socket}" in (self.options.command or ""))

    @property
    def may_start(self) -> bool:
        """See `Startable`."""
        return self.options.start != "never" and bool(self._words)

    async def find(self, remote: Remote, wish: Wish) -> Server | None:
        """See `Service`: the one that is recorded, else whoever of ours, or of the system, listens there."""
        with _own_words():
            sight = await self._look(remote, wish)
            if (record := self.usable_record(sight.survey)) is not None:
                return await self._introduce(remote, record.server)
            server = sight.server(self.options, self._sock, self.name)
            if server is not None:
                self._check_not_own(server)
                if server.pid:
                    await write_record(remote, self.key, Record(server, command=None, ready=True))
                return await self._introduce(remote, server)
            if not self.may_start:
                raise self.missing(sight.survey)
            return None

    async def start(self, remote: Remote, tell: Tell, wish: Wish) -> Server:
        """See `Service`."""
        with _own_words():
            return await start(remote, self, tell, wish)

    async def probe(self, remote: Remote, server: Server, *, timeout_s: float) -> Answer:
        """See `Service`: whoever listens must still be the same, and answer."""
        with _own_words():
            try:
                async with asyncio.timeout(timeout_s):
                    sight = await look(remote, self.key, server, timeout_s=2 * timeout_s)
                    sight.check_same(server)
                    await ask_ready(remote, server, self.options.ready, timeout_s=timeout_s)
            except TimeoutError:
                raise NoAnswerError(
                    "jupyter-failed", f"{server.target} did not answer within {timeout_s:.0f} s"
                ) from None
            return Answer()

    async def is_still_there(self, remote: Remote, server: Server, *, timeout_s: float) -> bool:
        """See `Service`."""
        question = ask_ready(remote, server, self.options.ready, timeout_s=timeout_s / 2)
        if server.pid:
            return await is_still_there(remote, server, question, timeout_s=timeout_s)
        question.close()
        return False

    async def busy(self, _remote: Remote, _server: Server) -> int:
        """Nothing is known of what it does."""
        return 0

    async def stop(self, remote: Remote, server: Server) -> None:
        """See `Service`; one that belongs to the system is left to the system."""
        with _own_words():
            if not server.pid:
                raise ServerError(
                    "jupyter-failed",
                    f"{self.noun} on {server.host} is not a process of yours",
                    "end it there, as its owner",
                )
            await end_process(remote, server, self.key, grace_s=0, group=server.origin == "started")

    def url(self, server: Server, port: int, *, token: bool) -> str | None:
        """See `Service`."""
        return None if self.options.page is None else f"http://localhost:{port}{self.options.page}"

    def gone(self, server: Server, advice: str) -> ServerError:
        """See `Service`."""
        return ServerError("server-gone", f"{self.noun} on {server.host} has ended", advice)

    def missing(self, survey: Survey) -> ServerError:
        """See `Startable`."""
        where = f"port {self.options.port}" if self.options.port else str(self._sock)
        return ServerError(
            "service-missing",
            f"nobody listens at {where} on {survey.node}",
            f"start it there, or set a command in [profiles.{self.name}.service]",
        )

    async def search(self, remote: Remote, wish: Wish) -> Survey:
        """See `Startable`."""
        return (await self._look(remote, wish)).survey

    def usable_record(self, survey: Survey) -> Record | None:
        """See `Startable`."""
        record = survey.record
        if record is None or record.server.host != survey.node:
            return None
        server = record.server
        if not survey.runs(server.pid, server.started) or not self._is_wanted(server):
            return None
        # What was adopted may have closed its socket and gone on as something else.
        return record if server.origin == "started" or survey.owned(server.target) else None

    async def prepare(self, remote: Remote) -> Ground:
        """See `Startable`."""
        request = Request(
            program=self._words[0],
            others=(),
            directory=self.options.directory,
            port=self.options.port,
            environment=self.options.environment,
            table=f"[profiles.{self.name}.service]",
        )
        return await prepare(remote, request, self.key)

    def plan(self, ground: Ground) -> Plan:
        """See `Startable`."""
        target = self._target(ground)
        port = str(target.port) if isinstance(target, TcpAddress) else ""
        sock = target.path if isinstance(target, UnixAddress) else ""
        words = [word.replace("{port}", port).replace("{socket}", sock) for word in self._words[1:]]
        return Plan((ground.program, *words), target, "", "")

    async def wait_until_ready(self, remote: Remote, server: Server) -> Server:
        """See `Startable`."""
        loop = asyncio.get_running_loop()
        deadline, refusals, said = loop.time() + READY_S, 0, ""
        ended_at: float | None = None
        while loop.time() < deadline:
            sight = await look(remote, self.key, server, timeout_s=ROUND_S + 60.0, wait_s=ROUND_S)
            if (known := sight.serving(server)) is None:
                ended_at = ended_at or loop.time()
                if sight.remains and loop.time() < ended_at + _HANDOVER_S:
                    await asyncio.sleep(PAUSE_S)
                    continue
                raise ended_error(self.noun, server, self.name, reason(sight.log_text))
            try:
                sight.check_same(known)
                await ask_ready(remote, known, self.options.ready, timeout_s=_ANSWER_S)
            except NobodyListensError:
                refusals += isinstance(known.target, UnixAddress) and sight.survey.owned(known.target) is True
                if refusals >= REFUSALS:
                    advice = f"let it listen on a port: set port in [profiles.{self.name}.service]"
                    raise socket_refused_error(known, advice) from None
            except NoAnswerError as error:
                said = error.message
            else:
                # Who listens first and goes into the background then may have gone by now.
                last = await look(remote, self.key, known, timeout_s=60.0)
                if (settled := last.serving(known)) is not None:
                    return settled
            await asyncio.sleep(PAUSE_S)
        raise NoAnswerError(
            "jupyter-failed",
            f"{self.noun} on {server.host} (pid {server.pid}) runs, and did not serve at {server.target} "
            f"within {READY_S:.0f} s" + (f": {said}" if said else ""),
            f"see `jtunnel logs {self.name} --remote`, and check port and ready",
        )

    async def _look(self, remote: Remote, wish: Wish) -> Sight:
        sight = await look(remote, self.key, None, timeout_s=60.0, options=self.options, last=wish.last)
        self._sock = sight.sock or self._sock
        check_elsewhere(sight.survey, self.options, self.name, wish)
        return sight

    def _check_not_own(self, server: Server) -> None:
        """Refuse our own listener: where the host is this machine, it may have the port that is looked at."""
        if server.pid == os.getpid() and server.started.endswith(f"@{read_boot()}"):
            raise ServerError(
                "jupyter-failed",
                f"{server.target} on {server.host} is jtunnel's own, for the host is this machine",
                f'set local_port = "auto" in [profiles.{self.name}.service]',
            )

    async def _introduce(self, remote: Remote, server: Server) -> Server:
        try:
            await ask_ready(remote, server, self.options.ready, timeout_s=_ANSWER_S)
        except ServerError:
            return replace(server, answering=False)
        return server

    def _is_wanted(self, server: Server) -> bool:
        if self.options.port is not None:
            return isinstance(server.target, TcpAddress) and server.target.port == self.options.port
        if self._sock is not None:
            return isinstance(server.target, UnixAddress) and server.target.path == self._sock
        return True

    def _target(self, ground: Ground) -> TcpAddress | UnixAddress:
        if self.options.port is not None:
            return TcpAddress("127.0.0.1", self.options.port)
        if self._sock is not None:
            return UnixAddress(self._sock)
        if "{socket}" in (self.options.command or ""):
            return ground.new_socket(f"[profiles.{self.name}.service]", self.key)
        return ground.free_port()


@contextmanager
def _own_words() -> Iterator[None]:
    """Call problems that all kinds of servers have by the names for services."""
    try:
        yield
    except ServerError as error:
        if isinstance(error, ElsewhereError):
            said = error.message.replace("the Jupyter server", "the server", 1)
            error.message = said.replace("+service", "", 1)
        if error.kind.startswith("jupyter-"):
            error.kind = error.kind.replace("jupyter-", "service-")
        raise
