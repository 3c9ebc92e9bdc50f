"""The tick that notices sleeps and stalls once they have ended. What follows from a gap is not decided here.

The loop's timers stand still in sleep, so that a tick comes up to `tick_s` after waking; where the system
tells of the resume, at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from types import TracebackType
from typing import Final

from jtunnel.machine.clocks import STALL_S, Gap, judge, now
from jtunnel.machine.resume import open_timer

TICK_S: Final = 2.0


class Ticks:
    """A tick every `tick_s`, to be used in a `with` block; `next` says which gap ended with it."""

    def __init__(self, tick_s: float = TICK_S, stall_s: float = STALL_S) -> None:
        self._tick_s = tick_s
        self._stall_s = stall_s
        self._timer: int | None = None
        self._hastened = asyncio.Event()
        self._before = now()

    def __enter__(self) -> Ticks:
        self._before = now()
        self._timer = open_timer()
        if self._timer is not None:
            try:
                asyncio.get_running_loop().add_reader(self._timer, self._hasten)
            except (OSError, NotImplementedError):
                self._drop_timer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            asyncio.get_running_loop().remove_reader(self._timer)
            self._drop_timer()

    async def next(self) -> Gap | None:
        """Wait for the next tick."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._tick_s):
                await self._hastened.wait()
        self._hastened.clear()
        before, self._before = self._before, now()
        return judge(before, self._before, tick_s=self._tick_s, stall_s=self._stall_s)

    def _hasten(self) -> None:
        assert self._timer is not None
        try:
            os.read(self._timer, 8)
        except BlockingIOError:
            return
        except OSError as problem:
            if problem.errno != errno.ECANCELED:
                # It would stay readable; the tick does without.
                asyncio.get_running_loop().remove_reader(self._timer)
                self._drop_timer()
                return
        self._hastened.set()

    def _drop_timer(self) -> None:
        assert self._timer is not None
        os.close(self._timer)
        self._timer = None
