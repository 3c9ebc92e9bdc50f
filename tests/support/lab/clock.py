"""The clocks of a live process, made to jump as they do over a sleep, or as if time had passed.

A small library that is preloaded into the process, compiled by the C compiler that is there. The kernel's
own timers do not jump: who waits for one wakes when it would have, and then sees another time.
"""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from tests.support.programs import find_program

_SOURCE: Final = os.path.join(os.path.dirname(__file__), "clock.c")
_COMPILE_TIMEOUT_S: Final = 60
_SHIFTS: Final = struct.Struct("@qqq")
_NANOSECONDS: Final = 1_000_000_000


class Clock:
    """A context manager; processes that are started with `env` follow it."""

    def __init__(self, directory: str) -> None:
        self._library = os.path.join(directory, "clock.so")
        self._path = os.path.join(directory, "clock")
        self._slept_s = self._passed_s = 0.0

    def __enter__(self) -> Self:
        subprocess.run(
            [find_program("cc", "gcc"), "-shared", "-fPIC", "-O1", "-o", self._library, _SOURCE, "-ldl"],
            check=True,
            timeout=_COMPILE_TIMEOUT_S,
        )
        self._file = open(self._path, "w+b")
        self._file.truncate(mmap.PAGESIZE)
        self._shifts = mmap.mmap(self._file.fileno(), mmap.PAGESIZE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._shifts.close()
        self._file.close()

    @property
    def env(self) -> Mapping[str, str]:
        """What the environment of such a process needs."""
        return {"LD_PRELOAD": self._library, "JTUNNEL_TEST_CLOCK": self._path}

    def sleep(self, seconds: float) -> None:
        """Let it have slept: of the two clocks that go steadily, only the one that counts sleep jumps."""
        self._slept_s += seconds
        self._write()

    def pass_time(self, seconds: float) -> None:
        """Let time have passed while it was awake: all clocks jump."""
        self._passed_s += seconds
        self._write()

    def _write(self) -> None:
        asleep, awake = (
            round(shift * _NANOSECONDS) for shift in (self._slept_s + self._passed_s, self._passed_s)
        )
        self._shifts[: _SHIFTS.size] = _SHIFTS.pack(asleep, awake, asleep)
