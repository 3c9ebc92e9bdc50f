"""The clock of a connection attempt: each stage has its seconds, and asking a person stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self


class StageClock:
    """Bounds the stages of a task: `async with clock:`, then `clock.enter(stage, seconds)`.

    TimeoutError leaves the block when a stage takes longer than its seconds; `stage` names it, and
    `is_over` tells that error from others.
    """

    def __init__(self) -> None:
        self.stage = ""
        self.seconds = 0.0
        self._timeout = asyncio.timeout(None)
        self._left_s = 0.0
        self._pauses = 0

    def enter(self, stage: str, seconds: float) -> None:
        """Begin a stage: the clock starts again at `seconds`."""
        self.stage = stage
        self.seconds = self._left_s = seconds
        if not self._pauses:
            self._run()

    @property
    def is_over(self) -> bool:
        """Whether a stage took too long."""
        return self._timeout.expired()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock while the block runs; it then goes on where it stood."""
        if not self._pauses:
            when = self._timeout.when()
            self._left_s = 0.0 if when is None else max(0.0, when - asyncio.get_running_loop().time())
            self._timeout.reschedule(None)
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses and not self._timeout.expired():
                self._run()

    def _run(self) -> None:
        self._timeout.reschedule(asyncio.get_running_loop().time() + self._left_s)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._timeout.__aexit__(kind, error, trace)
