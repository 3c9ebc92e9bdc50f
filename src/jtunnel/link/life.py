"""The life of one SSH connection: dial, serve, suspect, race, lose, and again.

A link knows nothing of forwards or Jupyter. Its users watch `phase`, open channels on the
connection it serves, and may tell it that they suspect it or that somebody waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from jtunnel.changes import Changes, first_of
from jtunnel.errors import LinkError
from jtunnel.link import retry
from jtunnel.link.health import Health
from jtunnel.link.leftovers import Leftovers
from jtunnel.link.phase import Blocked, Idle, Phase, Serving, Suspected, Waiting, check_step
from jtunnel.link.redial import Redial, Step, end_tries
from jtunnel.link.road import LeaseJump, Road
from jtunnel.machine.watch import Watch
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.destination import Destination, Resolved
from jtunnel.ssh.dialer import Dialer
from jtunnel.ssh.prompts import Desk

_log = logging.getLogger(__name__)

#: Seconds without an answer after which the streams of a suspected connection are reset: JupyterLab then
#: queues what the user runs, instead of sending it into a dead socket.
RESET_AFTER_S: Final = 15.0
#: Seconds that the old connection's streams have once another one serves: the far side's own
#: retransmission comes that late after a drop of some ten seconds.
KEEP_OLD_S: Final = 8.0
#: A wake from a longer sleep is worth some quick tries; shorter ones are often the machine's own business.
_LONG_SLEEP_S: Final = 600.0


class Link:
    """One destination and the connection to it, kept for as long as `run` runs."""

    def __init__(
        self,
        destination: Destination,
        resolved: Resolved | None,
        environ: Mapping[str, str],
        lease_jump: LeaseJump,
        watch: Watch,
        dialer: Dialer,
    ) -> None:
        self.destination = destination
        self.phase: Phase = Idle()
        self.changes = Changes()
        self._watch = watch
        self._road = Road(destination, resolved, environ, lease_jump, dialer, self.changes)
        self._leftovers = Leftovers()
        self._health: Health | None = None
        self._suspected: tuple[Health, LinkError] | None = None
        self._step: Step | None = None
        self._ended_because: LinkError | None = None
        self._redial = Redial(
            self._road.connect,
            self._show,
            is_offline=lambda: self._road.is_blocked(watch),
            may_race=lambda: self.desk.asker is None,
            new_key=self._road.wait_new_key,
        )

    @property
    def resolved(self) -> Resolved | None:
        """What ssh_config(5) made of the destination; None before it could be read."""
        return self._road.resolved

    @property
    def desk(self) -> Desk:
        """Where its connections ask."""
        return self._road.desk

    @property
    def address(self) -> str:
        """Where it goes, for messages."""
        return self._road.address

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
                await self._redial.wait_anew()

    async def serving(self) -> Connection:
        """Wait until a connection is there; return it."""
        await self.changes.until(lambda: isinstance(self.phase, Serving))
        assert isinstance(self.phase, Serving)
        return self.phase.connection

    def serves(self, connection: Connection) -> bool:
        """Whether it is the one that new streams go over."""
        return isinstance(self.phase, Serving) and self.phase.connection is connection

    def suspects(self, connection: Connection) -> bool:
        """Whether it is the one that does not answer, and may do so again."""
        return isinstance(self.phase, Suspected) and self.phase.connection is connection

    @property
    def moved(self) -> bool:
        """Whether ssh_config(5) now sends its destination elsewhere, so that nobody may use it on."""
        return self._road.moved

    async def wait_moved(self) -> None:
        """Wait until `moved`; its users then lease another link."""
        await self.changes.until(lambda: self.moved)

    def retry_now(self) -> None:
        """A person asks: try at once where it waits or is blocked; its jump hosts too."""
        if not isinstance(self.phase, Serving):
            self._redial.start_anew()
        if self._road.jump is not None:
            self._road.jump.retry_now()

    def restart(self) -> None:
        """Drop the connection and make a new one."""
        if isinstance(self.phase, Serving | Suspected):
            self._redial.forget_failures()
            self._drop(self.phase.connection, LinkError("connection-lost", f"restarting {self.address}"))
        self.retry_now()

    def suspect(self, reason: str, connection: Connection | None = None) -> None:
        """Something failed on this connection, or over the present one: ask the peer at once."""
        health = self._health
        if health is not None and connection in (None, health.connection):
            health.doubt(reason)

    def hasten(self, user: object, *, waits: bool) -> None:
        """Say whether somebody waits for the connection: then a try starts every few seconds."""
        self._redial.hasten(user, waits=waits)
        if self._road.jump is not None:
            self._road.jump.hasten(user, waits=waits)

    async def _live(self) -> None:
        self._health = None
        async with self._road, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_machine())
            tasks.create_task(self._heed_jump())
            connection = await self._seek(None)
            while True:
                connection = await self._keep(connection, tasks)

    async def _keep(self, connection: Connection, tasks: asyncio.TaskGroup) -> Connection:
        """Serve one connection until another takes its place; return that one."""
        interval_s, count = self.destination.keepalive_interval_s, self.destination.keepalive_count
        health = self._health = Health(connection, interval_s, count, self._watch)
        self._ended_because = None
        began_at = asyncio.get_running_loop().time()
        tidying = tasks.create_task(self._leftovers.tidy(connection))
        is_retired = False
        try:
            while True:
                self._enter(Serving(connection))
                error = await self._serve(health)
                if asyncio.get_running_loop().time() - began_at >= retry.HEALTHY_AFTER_S:
                    self._redial.forget_failures()
                successor = await self._seek(error, None if connection.is_lost else health)
                if successor is not connection:
                    is_retired = not connection.is_lost
                    if is_retired:
                        tasks.create_task(self._retire(health))
                    return successor
                _log.info("%s answers again; nothing was lost", self.address)
        finally:
            tidying.cancel()
            if not is_retired:
                self._leftovers.leave(connection)
                if isinstance(self.phase, Serving):
                    await connection.close()
                else:
                    connection.abort()

    async def _serve(self, health: Health) -> LinkError:
        """Return why the connection is suspected or lost."""
        suspicious = asyncio.ensure_future(health.wait_suspicious())
        lost = asyncio.ensure_future(health.connection.wait_lost())
        following = asyncio.ensure_future(self._follow_jump(health))
        watchers = (suspicious, lost, following)
        try:
            await asyncio.wait([suspicious, lost], return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                reason, self._ended_because = self._ended_because, None
                return reason or lost.result()
            return suspicious.result()
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.wait(watchers)

    async def _seek(self, error: LinkError | None, suspected: Health | None = None) -> Connection:
        """Find a connection: a new one or, where it answers first, the one that is suspected."""
        if suspected is not None and error is not None:
            _log.info("%s; new connections wait", error.message)
            self._suspected = (suspected, error)
            if self._road.jump is not None:
                # It may be the one that is dead, and nothing can be dialled over it before that is known.
                self._road.jump.suspect(f"{self.address} behind it does not answer")
        if error is not None and self._needs_person():
            error = _needs_person(self.address)
        self._step = None
        self._redial.hurried = suspected is not None
        dialling = asyncio.ensure_future(self._redial.run(error))
        is_taken = False
        try:
            if suspected is not None and await self._race(suspected, dialling):
                return suspected.connection
            connection = await asyncio.shield(dialling)
            is_taken = True
            return connection
        finally:
            self._suspected = None
            self._redial.hurried = False
            if not is_taken:
                await end_tries([dialling])

    async def _race(self, suspected: Health, dialling: asyncio.Future[Connection]) -> bool:
        """Whether the suspected connection answers before the other is there or it is lost."""
        connection = suspected.connection
        # Counted from the moment of the suspicion: one may have come since.
        answered = asyncio.ensure_future(suspected.answers.wait(suspected.answers_then))
        lost = asyncio.ensure_future(connection.wait_lost())
        timeout_s = None if connection.asked_person else RESET_AFTER_S
        try:
            contest: list[asyncio.Future[Any]] = [answered, dialling, lost]
            await asyncio.wait(contest, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if answered.done():
                return True
            if dialling.done():
                return False
            if not lost.done():
                _log.info(
                    "%s has not answered for %.0f s more: its streams are reset", self.address, timeout_s
                )
                connection.abort()
            self._suspected = None
            self._redial.hurried = False
            if self._step is not None:
                self._enter(self._step)
            return False
        finally:
            answered.cancel()
            lost.cancel()

    async def _retire(self, old: Health) -> None:
        """Let an old connection serve its streams to their end, if it answers once more; else drop it."""
        connection = old.connection
        try:
            _log.info("a new connection to %s serves; the old one has %.0f s", self.address, KEEP_OLD_S)
            old.ask()
            async with asyncio.timeout(KEEP_OLD_S):
                await old.answers.wait(old.answers.index)
            await first_of(connection.wait_idle(), old.wait_suspicious(), connection.wait_lost())
        except TimeoutError:
            _log.info("the old connection to %s does not answer: its streams are reset", self.address)
        finally:
            connection.abort()
            self._leftovers.leave(connection)
        if isinstance(self.phase, Serving):
            await self._leftovers.tidy(self.phase.connection)

    async def _follow_machine(self) -> None:
        """Do what a wake or a change of the network asks for."""
        watch = self._watch
        seen, wakes, gains = watch.changes.index, watch.wakes, watch.gains
        while True:
            seen = await watch.changes.wait(seen)
            woke, gained = watch.wakes != wakes, watch.gains != gains
            wakes, gains = watch.wakes, watch.gains
            self._look_at_connection("after a wake" if woke else "the network changed", woke or gained)
            if woke or gained:
                slept_long = woke and watch.gap is not None and watch.gap.seconds >= _LONG_SLEEP_S
                self._redial.nudge(burst=gained or slept_long)

    def _look_at_connection(self, reason: str, is_good_time: bool) -> None:
        health = self._health
        if health is None or health.connection.is_lost:
            return
        if health.is_stranded and not health.connection.asked_person:
            lost = f"lost {self.address}: the address {health.connection.local_address} is gone from here"
            self._drop(health.connection, LinkError("connection-lost", lost))
        elif is_good_time or health.is_offline:
            health.doubt(reason)
            if is_good_time and self._suspected is not None:
                health.ask()

    async def _follow_jump(self, health: Health) -> None:
        """Doubt the connection whenever the one to the jump host, which it rides on, does not serve."""
        link = self._road.jump
        if link is None:
            return
        while True:
            await link.changes.until(lambda: not isinstance(link.phase, Serving))
            health.doubt(f"jump host {link.address} is away")
            await link.changes.until(lambda: isinstance(link.phase, Serving))

    async def _heed_jump(self) -> None:
        """Try at once when the jump host's link, which may have been what was missing, serves again."""
        while True:
            link = self._road.jump
            if link is None:
                await self.changes.until(lambda: self._road.jump is not None)
                continue
            was_away = not isinstance(link.phase, Serving)
            seen, own = link.changes.index, self.changes.index
            await first_of(link.changes.wait(seen), self.changes.wait(own))
            if was_away and isinstance(link.phase, Serving) and not isinstance(self.phase, Serving):
                self._redial.nudge(burst=False)

    def _enter(self, phase: Phase) -> None:
        check_step(self.phase, phase)
        self.phase = phase
        self.changes.notify()

    def _show(self, step: Step) -> None:
        """Show what the redial does: beside a suspected connection, or alone."""
        self._step = step
        if self._suspected is None:
            self._enter(step)
            return
        health, error = self._suspected
        retry_at = step.retry_at if isinstance(step, Waiting) else None
        attempt = 0 if isinstance(step, Blocked) else step.attempt
        self._enter(Suspected(health.connection, error, attempt, retry_at))

    def _drop(self, connection: Connection, why: LinkError) -> None:
        self._ended_because = why
        connection.abort()

    def _needs_person(self) -> bool:
        connection = self._health.connection if self._health else None
        return connection is not None and connection.asked_person and self.desk.asker is None


def end_if_cancelled() -> None:
    """Raise CancelledError where the task is being cancelled: a clean-up that fails replaces it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _needs_person(where: str) -> LinkError:
    return LinkError(
        "input-required",
        f"lost {where}, and its login needs a person",
        "bring the tunnel up in a terminal, and answer there",
    )


def _our_bug(where: str) -> LinkError:
    return LinkError("internal", f"a bug in jtunnel ended the connection to {where}", "see `jtunnel logs`")
