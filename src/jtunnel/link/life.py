"""The life of one SSH connection: dial, serve, lose, decide, wait, again.

A link knows nothing of forwards or Jupyter. Its users watch `phase`, open channels on the
connection it serves, and may tell it that they suspect it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from jtunnel.changes import Changes
from jtunnel.errors import LinkError
from jtunnel.link import retry
from jtunnel.link.phase import Blocked, Dialling, Idle, Phase, Serving, Waiting, check_step
from jtunnel.ssh.connect import connect
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.destination import Destination, Resolved
from jtunnel.ssh.identities import KeyStore
from jtunnel.ssh.prompts import Desk
from jtunnel.ssh.resolve import resolve

_log = logging.getLogger(__name__)

#: Leases the link to a jump host for as long as the block runs; the desk is the upper link's.
LeaseJump = Callable[[Destination, Desk], "AbstractAsyncContextManager[Link]"]


class Link:
    """One destination and the connection to it, kept for as long as `run` runs."""

    def __init__(
        self,
        destination: Destination,
        resolved: Resolved | None,
        environ: Mapping[str, str],
        lease_jump: LeaseJump,
    ) -> None:
        self.destination = destination
        self.resolved = resolved
        self.phase: Phase = Idle()
        self.changes = Changes()
        self.desk = Desk()
        self._environ = environ
        self._lease_jump = lease_jump
        self._keys = KeyStore()
        self._attempt = 0
        self._jump: tuple[Destination, Link] | None = None
        self._woken = asyncio.Event()
        self._suspected = asyncio.Event()
        self._ended_because: LinkError | None = None
        self._moved = False

    @property
    def address(self) -> str:
        """Where it goes, for messages."""
        return self.resolved.address if self.resolved else self.destination.host

    async def run(self) -> None:
        """Live until cancelled; a bug of ours blocks this link and no other."""
        while True:
            try:
                await self._live()
            except Exception:  # noqa: BLE001  (a bug here must not end the other links)
                _log.exception("the link to %s failed", self.address)
                end_if_cancelled()
                self.phase = Blocked(_our_bug(self.address))
                self.changes.notify()
                await self._woken.wait()

    async def _live(self) -> None:
        async with AsyncExitStack() as jumps:
            error: LinkError | None = None
            while True:
                self._woken.clear()
                self._enter(Dialling(self._attempt, error))
                started_at = asyncio.get_running_loop().time()
                try:
                    async with self._connected(jumps) as connection:
                        self._enter(Serving(connection))
                        started_at = asyncio.get_running_loop().time()
                        error = await self._serve(connection)
                except LinkError as failure:
                    error = failure
                served_s = asyncio.get_running_loop().time() - started_at
                if isinstance(self.phase, Serving) and served_s >= retry.HEALTHY_AFTER_S:
                    self._attempt = 0
                self._attempt += 1
                error = await self._pause(error)

    async def serving(self) -> Connection:
        """Wait until a connection is there; return it."""
        await self.changes.until(lambda: isinstance(self.phase, Serving))
        assert isinstance(self.phase, Serving)
        return self.phase.connection

    async def left(self, connection: Connection) -> None:
        """Wait until `connection` is no longer the one that is served."""
        await self.changes.until(
            lambda: not (isinstance(self.phase, Serving) and self.phase.connection is connection)
        )

    @property
    def moved(self) -> bool:
        """Whether ssh_config(5) now sends its destination elsewhere, so that nobody may use it on."""
        return self._moved

    async def wait_moved(self) -> None:
        """Wait until `moved`; its users then lease another link."""
        await self.changes.until(lambda: self._moved)

    def retry_now(self) -> None:
        """Try at once where the link waits or is blocked; its jump hosts too."""
        if not isinstance(self.phase, Serving):
            self._attempt = 0
            self._woken.set()
        if self._jump is not None:
            self._jump[1].retry_now()

    def restart(self) -> None:
        """Drop the connection and make a new one."""
        if isinstance(self.phase, Serving):
            self._attempt = 0
            self._drop(self.phase.connection, LinkError("connection-lost", f"restarting {self.address}"))
        self.retry_now()

    def suspect(self, reason: str) -> None:
        """Ask the peer at once whether it still answers."""
        _log.info("%s is suspected: %s", self.address, reason)
        self._suspected.set()

    def _enter(self, phase: Phase) -> None:
        check_step(self.phase, phase)
        self.phase = phase
        self.changes.notify()

    def _drop(self, connection: Connection, why: LinkError) -> None:
        self._ended_because = why
        connection.abort()

    @asynccontextmanager
    async def _connected(self, jumps: AsyncExitStack) -> AsyncIterator[Connection]:
        # Names, keys and known_hosts may have changed since the last try.
        resolved = await resolve(self.destination, self._environ)
        if self.resolved is not None and self.resolved.key != resolved.key:
            # Others may share this link by what it was; each of them looks its own way up again.
            self._moved = True
            self.changes.notify()
            await asyncio.Event().wait()
        self.resolved = resolved
        jump = await self._jump_connection(jumps, resolved.jump)
        connection = await connect(
            resolved, environ=self._environ, desk=self.desk, store=self._keys, jump=jump
        )
        try:
            yield connection
        finally:
            await connection.close()

    async def _jump_connection(self, jumps: AsyncExitStack, wanted: Destination | None) -> Connection | None:
        """The jump host's connection, waiting for it; raises its LinkError where it has none now."""
        if wanted is None:
            return None
        if self._jump is None or self._jump[0] != wanted or self._jump[1].moved:
            await jumps.aclose()
            self._jump = (wanted, await jumps.enter_async_context(self._lease_jump(wanted, self.desk)))
        link = self._jump[1]
        await link.changes.until(lambda: link.moved or isinstance(link.phase, Serving | Waiting | Blocked))
        if link.moved:
            raise LinkError("connection-lost", f"jump host {wanted.host}: ssh_config has changed")
        if isinstance(link.phase, Waiting | Blocked):
            problem = link.phase.error
            raise LinkError(problem.kind, f"jump host {wanted.host}: {problem.message}", problem.advice)
        return await link.serving()

    async def _serve(self, connection: Connection) -> LinkError:
        async with asyncio.TaskGroup() as tasks:
            helpers = [
                tasks.create_task(connection.settle()),
                tasks.create_task(self._keep_asking(connection)),
            ]
            error = await connection.wait_lost()
            for helper in helpers:
                helper.cancel()
        reason, self._ended_because = self._ended_because, None
        return reason or error

    async def _keep_asking(self, connection: Connection) -> None:
        """Ask every interval; drop a peer that leaves `keepalive_count` intervals unanswered."""
        interval_s = self.destination.keepalive_interval_s
        patience_s = interval_s * self.destination.keepalive_count
        while True:
            self._suspected.clear()
            try:
                await connection.ask(patience_s)
            except TimeoutError:
                why = f"{self.address} has not answered for {patience_s:.0f} s"
                self._drop(connection, LinkError("connection-lost", why))
                return
            self.changes.notify()
            try:
                async with asyncio.timeout(interval_s):
                    await self._suspected.wait()
            except TimeoutError:
                continue

    async def _pause(self, error: LinkError) -> LinkError | None:
        """Wait as `retry` decides; return the error, or None where a person started anew."""
        decision = retry.decide(error.kind, self._attempt, random.random())  # noqa: S311
        if isinstance(decision, retry.Block):
            self._enter(Blocked(error))
            await self._woken.wait()
            return None
        self._enter(Waiting(self._attempt, error, datetime.now(UTC) + timedelta(seconds=decision.delay_s)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(decision.delay_s):
                await self._woken.wait()
        return error


def end_if_cancelled() -> None:
    """Raise CancelledError where the task is being cancelled: a clean-up that fails replaces it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _our_bug(where: str) -> LinkError:
    return LinkError("internal", f"a bug in jtunnel ended the connection to {where}", "see `jtunnel logs`")
