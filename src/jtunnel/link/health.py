"""Whether a connection still answers: asks it regularly, and at once where there is a reason to doubt.

It suspects and never kills: what follows from a suspicion is its link's affair.
"""

from __future__ import annotations

import asyncio
from typing import Final

from jtunnel.changes import Changes
from jtunnel.errors import LinkError
from jtunnel.machine.watch import Watch
from jtunnel.ssh.connection import Connection

#: Seconds that an answer may take where there is a reason to doubt; longer where it usually takes longer.
QUICK_S: Final = 0.5
_QUICK_LATENCIES: Final = 4
#: Seconds between looks at what the kernel knows of an answer that is late.
_LOOK_S: Final = 1.0
#: Seconds that the last of the regular questions may take.
_LAST_QUESTION_S: Final = 2.0
#: Retransmissions in a row after which the kernel gets nothing through.
_STALLED_RETRANSMITS: Final = 2


class Health:
    """Watches one connection: asks every `interval_s`; `count` questions without an answer are suspicious."""

    def __init__(self, connection: Connection, interval_s: float, count: int, watch: Watch) -> None:
        self.connection = connection
        self.answers = Changes()
        """Counts the answers."""
        self.answers_then = 0
        """How many there were when it was suspected last."""
        self._interval_s = interval_s
        self._patience_s = interval_s * (count - 1) + min(interval_s, _LAST_QUESTION_S)
        self._watch = watch
        self._doubt = ""
        self._doubted = asyncio.Event()

    @property
    def is_offline(self) -> bool:
        """Whether this machine has no way to the peer now: no route, or no carrier."""
        peer = self.connection.peer_address
        return peer is not None and self._watch.path_to(peer) is None

    @property
    def is_stranded(self) -> bool:
        """Whether this machine has lost the address that the connection comes from."""
        local = self.connection.local_address
        return local is not None and not self._watch.has_address(local)

    def doubt(self, reason: str) -> None:
        """Ask at once; without a quick answer, `reason` is what the suspicion says."""
        self._doubt = reason
        self._doubted.set()

    def ask(self) -> asyncio.Future[float | None]:
        """Send one question; its answer counts whenever it comes."""
        question = self.connection.question()
        question.add_done_callback(self._count_answer)
        return question

    async def wait_suspicious(self) -> LinkError:
        """Return why, once the peer has left questions unanswered or cannot be reached."""
        self._doubted.clear()
        watchers = [asyncio.ensure_future(watcher) for watcher in (self._keep_asking(), self._heed_doubts())]
        try:
            await asyncio.wait(watchers, return_when=asyncio.FIRST_COMPLETED)
            return next(watcher for watcher in watchers if watcher.done()).result()
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.wait(watchers)

    def _count_answer(self, question: asyncio.Future[float | None]) -> None:
        if not question.cancelled() and question.result() is not None:
            self.answers.notify()

    async def _keep_asking(self) -> LinkError:
        loop = asyncio.get_running_loop()
        while True:
            asked_at = loop.time()
            question = self.ask()
            while not await _is_answered(question, _LOOK_S):
                waited_s = loop.time() - asked_at
                if waited_s >= self._patience_s:
                    return self._suspicion(f"has not answered for {waited_s:.0f} s")
                if self._is_stalled():
                    return self._suspicion(f"has acknowledged nothing for {waited_s:.0f} s")
            await asyncio.sleep(max(0.0, asked_at + self._interval_s - loop.time()))

    async def _heed_doubts(self) -> LinkError:
        while True:
            await self._doubted.wait()
            self._doubted.clear()
            if self.is_offline:
                return self._suspicion("cannot be reached: no network", "it is tried as soon as there is one")
            reason = self._doubt
            if not await self._answers_quickly():
                return self._suspicion(f"does not answer ({reason})")

    async def _answers_quickly(self) -> bool:
        """Whether an answer comes soon, or bytes before it are still on their way through a slow network."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        question = self.ask()
        quick_s = max(QUICK_S, _QUICK_LATENCIES * (self.connection.latency_s or 0.0))
        while not await _is_answered(question, quick_s):
            if loop.time() - asked_at >= self._patience_s or not self._is_moving(quick_s):
                return False
        return True

    def _is_stalled(self) -> bool:
        """Whether the kernel has sent again and again, and heard nothing."""
        progress = self.connection.progress()
        return (
            progress is not None
            and progress.unacked > 0
            and progress.retransmits >= _STALLED_RETRANSMITS
            and min(progress.since_ack_s, progress.since_data_s) >= _LOOK_S
        )

    def _is_moving(self, within_s: float) -> bool:
        """Whether a long queue is getting shorter: then the question stands in it."""
        progress = self.connection.progress()
        return progress is not None and progress.unacked > 0 and progress.since_ack_s < within_s

    def _suspicion(self, what: str, advice: str = "") -> LinkError:
        self.answers_then = self.answers.index
        return LinkError("connection-lost", f"{self.connection.where} {what}", advice)


async def _is_answered(question: asyncio.Future[float | None], within_s: float) -> bool:
    await asyncio.wait([question], timeout=within_s)
    return question.done()
