"""From no connection to one: tries, waits as `retry` decides, a second try beside one that is slow.

It makes no connection itself; it is told how. What it is doing is shown as phases of the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from jtunnel.errors import KINDS, LinkError
from jtunnel.link import retry
from jtunnel.link.phase import Blocked, Dialling, Waiting
from jtunnel.ssh.connection import Connection

#: What it is doing.
Step = Dialling | Waiting | Blocked

#: Tries under way at once: an older one may hang in a network that is no more.
_ABREAST: Final = 2
#: Seconds for which a nudge counts that came before there was anything to try.
_FRESH_NUDGE_S: Final = 1.0


class Redial:
    """The tries of one link, counted over all its connections.

    `connect` makes one try and raises LinkError; `show` is told each step; `is_offline` says whether
    there is no route now; `may_race` whether a second try may run beside the first: never where both
    might ask a person. `new_key` waits until an agent has a key that the latest login lacked.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        show: Callable[[Step], None],
        *,
        is_offline: Callable[[], bool],
        may_race: Callable[[], bool],
        new_key: Callable[[], Awaitable[object]],
    ) -> None:
        self.hurried = False
        """Whether a try is to start every few seconds; kept true while the old connection is suspected."""
        self._connect = connect
        self._show = show
        self._is_offline = is_offline
        self._may_race = may_race
        self._new_key = new_key
        self._waiting_users: set[object] = set()
        self._attempt = 0
        self._failing_since: float | None = None
        self._served_before = False
        self._refusal: str | None = None
        self._burst_left = 0
        self._burst_at: float | None = None
        self._stirred = asyncio.Event()
        self._nudged = False
        self._nudged_at: float | None = None
        self._tried_at: float | None = None
        self._anew = False

    async def run(self, error: LinkError | None) -> Connection:
        """Dial until there is a connection; `error` is why there is none, None where none was tried."""
        # One event may take the connection and bring a new network, in this order or the other.
        now = asyncio.get_running_loop().time()
        self._nudged = self._nudged_at is not None and now - self._nudged_at < _FRESH_NUDGE_S
        self._anew = False
        self._tried_at = None
        if error is not None:
            error = await self._pause(error)
        while True:
            self._show(Dialling(self._attempt, error))
            try:
                connection = await self._try(error)
            except LinkError as failure:
                error = await self._pause(failure)
            else:
                self._served_before = True
                self._refusal = None
                self._burst_left = 0
                return connection

    def hasten(self, user: object, *, waits: bool) -> None:
        """Somebody waits for a connection, or does so no longer."""
        if waits:
            self._waiting_users.add(user)
            self._stirred.set()
        else:
            self._waiting_users.discard(user)

    def nudge(self, *, burst: bool) -> None:
        """The network may work now: try at once and, with `burst`, some quick times more."""
        now = asyncio.get_running_loop().time()
        if burst and (self._burst_at is None or now - self._burst_at >= retry.BURST_GAP_S):
            self._burst_left, self._burst_at = retry.BURST_TRIES, now
        self._nudged, self._nudged_at = True, now
        self._stirred.set()

    def start_anew(self) -> None:
        """A person asks for it: whatever has failed before does not count."""
        self.forget_failures()
        self._refusal = None
        self._anew = True
        self._stirred.set()

    async def wait_anew(self) -> None:
        """Wait until a person asks."""
        self._anew = False
        await self._wait_unblocked(retry.Block())
        self._anew = False

    def forget_failures(self) -> None:
        """The connection was healthy: the next failure is the first."""
        self._attempt = 0
        self._failing_since = None

    @property
    def _has_burst(self) -> bool:
        """Whether a quick try is left, and the event that it is for is not long past."""
        if self._burst_at is None or asyncio.get_running_loop().time() - self._burst_at > retry.BURST_FOR_S:
            self._burst_left = 0
        return self._burst_left > 0

    @property
    def _is_hurried(self) -> bool:
        return self.hurried or bool(self._waiting_users)

    async def _pause(self, error: LinkError) -> LinkError | None:
        """Wait as `retry` decides; return the error, or None where a person mended what had blocked it."""
        loop = asyncio.get_running_loop()
        self._attempt += 1
        if self._failing_since is None:
            self._failing_since = loop.time()
        is_network = KINDS[error.kind][0] == "retrying"
        failure = retry.Failure(
            error.kind,
            self._attempt,
            failing_s=loop.time() - self._failing_since,
            took_s=0.0 if self._tried_at is None else loop.time() - self._tried_at,
            hurried=self._is_hurried,
            burst=self._has_burst,
            offline=self._is_offline(),
            served_before=self._served_before,
            tried_again=self._refusal == error.kind,
        )
        self._burst_left = max(0, self._burst_left - 1)
        decision = retry.decide(failure, random.random())  # noqa: S311
        if not is_network:
            self._refusal = error.kind
        if isinstance(decision, retry.Block):
            self._show(Blocked(error))
            await self._wait_unblocked(decision)
        elif decision.delay_s > 0:
            self._show(self._waiting(error, decision.delay_s))
            await self._wait(error, decision.delay_s, may_hurry=is_network and not failure.offline)
        anew, self._anew = self._anew, False
        # A lost tunnel is no new one because somebody asks; one that was blocked is.
        return None if anew and not is_network else error

    def _waiting(self, error: LinkError, delay_s: float) -> Waiting:
        return Waiting(self._attempt, error, datetime.now(UTC) + timedelta(seconds=delay_s))

    async def _wait_unblocked(self, block: retry.Block) -> None:
        self._nudged = False
        key = asyncio.ensure_future(self._new_key() if block.until_key else asyncio.Event().wait())
        key.add_done_callback(lambda _: self._stirred.set())
        try:
            while not (self._anew or (block.until_gain and self._nudged) or key.done()):
                self._stirred.clear()
                await self._stirred.wait()
            if key.done():
                key.result()
        finally:
            key.cancel()
        self._nudged = False

    async def _wait(self, error: LinkError, delay_s: float, *, may_hurry: bool) -> None:
        """Sleep until the next try: an event, or somebody who begins to wait, brings it nearer."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        ends_at = began_at + delay_s
        while not self._anew and (left_s := ends_at - loop.time()) > 0:
            if self._nudged:
                self._nudged = False
                # One event wakes many links.
                await asyncio.sleep(random.random() * retry.SPREAD_S)  # noqa: S311
                return
            if may_hurry and self._is_hurried and ends_at > began_at + retry.HURRIED_DELAY_S:
                ends_at = began_at + retry.HURRIED_DELAY_S
                self._show(self._waiting(error, max(0.0, ends_at - loop.time())))
                continue
            self._stirred.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._stirred.wait()

    async def _try(self, why: LinkError | None) -> Connection:
        """One try, and where it is slow another beside it; raises a LinkError once all have failed."""
        tries: list[asyncio.Task[Connection]] = []
        error: LinkError | None = None
        self._nudged = False
        self._tried_at = asyncio.get_running_loop().time()
        try:
            while True:
                tries.append(asyncio.ensure_future(self._connect_now()))
                await self._wait_for_one(tries)
                while (ended := next((task for task in tries if task.done()), None)) is not None:
                    try:
                        connection = _take(tries, ended)
                    except LinkError as failure:
                        error = _worse(error, failure)
                    else:
                        # Not awaited: whoever is cancelled while he waits for the others loses this one.
                        _drop(tries)
                        return connection
                    if not tries or KINDS[error.kind][0] != "retrying":
                        # What a person has to mend is not asked a second time beside the first.
                        raise error
                    await self._wait_for_one(tries)
                if len(tries) == _ABREAST:
                    # The older one has its stages' time: a slow server is no dead one.
                    await end_tries([tries.pop()])
                    self._attempt += 1
                    self._show(Dialling(self._attempt, why))
        except BaseException:
            await end_tries(tries)
            raise

    async def _connect_now(self) -> Connection:
        return await self._connect()

    async def _wait_for_one(self, tries: list[asyncio.Task[Connection]]) -> None:
        """Return when a try has ended, or when it is time for a fresh one."""
        loop = asyncio.get_running_loop()
        until = loop.time() + retry.HURRIED_DELAY_S
        while True:
            self._stirred.clear()
            stirred = asyncio.ensure_future(self._stirred.wait())
            is_timed = self._is_hurried and self._may_race()
            timeout_s = max(0.0, until - loop.time()) if is_timed else None
            try:
                await asyncio.wait([*tries, stirred], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stirred.cancel()
            if any(task.done() for task in tries):
                return
            if (self._nudged or (is_timed and loop.time() >= until)) and self._may_race():
                self._nudged = False
                return
            self._nudged = False


def _take(tries: list[asyncio.Task[Connection]], ended: asyncio.Task[Connection]) -> Connection:
    """The result of a try that has ended, which is taken out of the list."""
    tries.remove(ended)
    return ended.result()


def _worse(first: LinkError | None, second: LinkError) -> LinkError:
    """The one that a person has to hear: what the network did to the other try says less."""
    if first is not None and KINDS[second.kind][0] == "retrying":
        return first
    return second


def _drop(tries: Sequence[asyncio.Future[Connection]]) -> None:
    """Let tries end that are not needed any more, without waiting for their end."""
    for task in tries:
        task.add_done_callback(_abort_result)
        task.cancel()


def _abort_result(task: asyncio.Future[Connection]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


async def end_tries(tries: Sequence[asyncio.Future[Connection]]) -> None:
    """Cancel tries that are not needed any more; one that has just succeeded is dropped."""
    for task in tries:
        task.cancel()
    if tries:
        await asyncio.wait(tries)
    for task in tries:
        if not task.cancelled() and task.exception() is None:
            task.result().abort()
