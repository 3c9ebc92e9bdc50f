"""Waiting for something to change: an index that grows, and those who wait for it. No values, no queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


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
