"""Programs that the daemon runs for a person, each in a process group of its own, bounded in time and words.

What such a program leaves running in the background is left alone, and its output read on and dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

#: Seconds between asking a program to end and ending it.
GRACE_S: Final = 1.0
#: Seconds for the last words of a program that has ended.
_LAST_WORDS_S: Final = 0.3
_MOST_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code, negative for a signal, and the beginning of what it wrote.

    `late` says that its time was over.
    """

    code: int
    output: str
    late: bool


class Children:
    """Runs programs with this environment; they begin in the home directory."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        home = environ.get("HOME", "/")
        self._home = home if os.path.isdir(home) else "/"
        self._open: set[_Child] = set()

    async def run(self, argv: Sequence[str], more: Mapping[str, str], *, timeout_s: float) -> Ended:
        """Run one to its end, with `more` in its environment. Raises OSError where it cannot be started.

        After `timeout_s` its whole group is ended; likewise when this is cancelled.
        """
        child = _Child(self._open)
        starting = asyncio.ensure_future(
            asyncio.get_running_loop().subprocess_exec(
                lambda: child,
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={**self._environ, **more},
                cwd=self._home,
                start_new_session=True,
            )
        )
        late = False
        try:
            # A start that is cancelled half-way would leave a program that nobody knows of.
            await asyncio.shield(starting)
            async with asyncio.timeout(timeout_s):
                await child.exited.wait()
        except TimeoutError:
            late = True
            await child.end()
        except asyncio.CancelledError:
            await asyncio.wait([starting])
            await child.end()
            child.close()
            raise
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await child.closed.wait()
        return Ended(child.code, child.words.decode(errors="replace"), late)

    def close(self) -> None:
        """Stop reading what programs in the background still write."""
        for child in list(self._open):
            child.close()


class _Child(asyncio.SubprocessProtocol):
    """One program, from its start until the last descriptor of its output is closed."""

    def __init__(self, open_ones: set[_Child]) -> None:
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        self.code = 0
        self.words = bytearray()
        self._open = open_ones
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self._open.add(self)

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        # The pipe is always emptied: a program that talks much must not wait for us.
        self.words += cast("bytes", data)[: max(0, _MOST_BYTES - len(self.words))]

    def process_exited(self) -> None:
        assert self._transport is not None
        self.code = self._transport.get_returncode() or 0
        self.exited.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        # asyncio's transport, at its own end, still wants to be told.
        self.close()
        self._open.discard(self)
        self.closed.set()

    async def end(self) -> None:
        """End the whole group, by force after a moment; nothing where it never was started."""
        if self._transport is None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE_S):
                await self.exited.wait()
        except TimeoutError:
            pass
        finally:
            # Also those in the group that outlived its first.
            self._signal(signal.SIGKILL)
        # One that waits for a dead disk does not end even so: it is left to the system.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await self.exited.wait()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _signal(self, number: signal.Signals) -> None:
        assert self._transport is not None
        pid: Any = self._transport.get_pid()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)
