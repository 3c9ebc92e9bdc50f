"""Runs blocking calls in threads of their own, so that one that hangs keeps no other from its turn.

asyncio's threads are few and shared. The thread of a call that nobody waits for any more is left to
itself; it does not keep the process alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar, cast

_T = TypeVar("_T")


async def run_in_own_thread(call: Callable[[], _T], ended: Callable[[], None] | None = None) -> _T:
    """Return what `call` returns, or raise what it raises.

    `ended` is called in the event loop at the thread's end, also when nobody waits for it any more.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if ended is not None:
            ended()
        if future.done():  # cancelled: nobody waits
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(_T, result))

    def run() -> None:
        result: _T | None = None
        failure: BaseException | None = None
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  (whoever waits raises it)
            failure = error
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, daemon=True).start()
    return await future


class OwnThreads:
    """A small number of such calls at once, each waited for `limit_s` seconds at most.

    A question that is asked while the same is being asked gets the same answer. A call that takes longer
    is given up: its thread takes nobody's turn any more, but there are never more than `most` threads,
    nor more than `most_each` with the same question.
    """

    def __init__(self, *, at_once: int, limit_s: float, most: int, most_each: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._limit_s = limit_s
        self._most = most
        self._most_each = most_each
        self._asked: dict[Hashable, asyncio.Task[Any]] = {}
        self._threads: Counter[Hashable] = Counter()

    @property
    def has_room(self) -> bool:
        """Whether a call that is asked for now would run at once."""
        return not self._turns.locked()

    async def ask(self, question: Hashable, call: Callable[[], _T]) -> _T:
        """Return what `call` returns, in its turn; `question` says which calls are the same.

        Raises what it raises, and TimeoutError where it takes too long or too many hang.
        """
        asked = self._asked.get(question)
        if asked is None:
            asked = asyncio.get_running_loop().create_task(self._answer(question, call))
            self._asked[question] = asked
            asked.add_done_callback(partial(self._forget, question))
        # Others may wait for it too.
        return cast(_T, await asyncio.shield(asked))

    async def _answer(self, question: Hashable, call: Callable[[], _T]) -> _T:
        async with self._turns:
            if self._threads.total() >= self._most or self._threads[question] >= self._most_each:
                raise TimeoutError
            self._threads[question] += 1
            async with asyncio.timeout(self._limit_s):
                return await run_in_own_thread(call, partial(self._count_end, question))

    def _count_end(self, question: Hashable) -> None:
        self._threads[question] -= 1
        if not self._threads[question]:
            del self._threads[question]

    def _forget(self, question: Hashable, asked: asyncio.Task[Any]) -> None:
        del self._asked[question]
        # Perhaps nobody waits any more who would hear of it.
        if not asked.cancelled():
            asked.exception()
