"""Waiting for something to change: an index that grows, and those who wait for it. No values, no queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Changes:
    """A counter of changes; what changed is looked up where it lives."""

    def __init__(self) -> None:
        self.index = 0
        self._next: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """Count one change and wake everybody who waits."""
        self.index += 1
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        self._next = None

    async def wait(self, seen: int) -> int:
        """Return the index once it is above `seen`."""
        while self.index <= seen:
            if self._next is None:
                self._next = asyncio.get_running_loop().create_future()
            # One waiter that is cancelled must not take the future from the others.
            await asyncio.shield(self._next)
        return self.index

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; it is looked at after every change."""
        while not condition():
            await self.wait(self.index)


async def first_of(*calls: Coroutine[Any, Any, object]) -> None:
    """Wait until one of the calls has returned, and end the others; raises what that one raised."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
