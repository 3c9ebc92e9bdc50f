"""What a live Python process holds: tasks, descriptors, threads, memory. For finding what it leaks.

Its tasks are counted by the process itself, at a signal, in code that Python imports at its start (`site`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psutil

_COUNT_TIMEOUT_S: Final = 15.0
_POLL_S: Final = 0.05
_MIB: Final = 1 << 20
_SITECUSTOMIZE: Final = """\
import gc, os, signal

def count_tasks(number, frame):
    gc.collect()
    tasks = [one for one in gc.get_objects() if type(one).__name__ == "Task" and not one.done()]
    path = os.environ["JTUNNEL_TEST_CENSUS"]
    with open(path + ".new", "w") as file:
        file.write("\\n".join(sorted(task.get_coro().__qualname__ for task in tasks)))
    os.rename(path + ".new", path)

signal.signal(signal.SIGUSR2, count_tasks)
"""


@dataclass(frozen=True, slots=True)
class Holding:
    """`tasks` are the names of the coroutines that are not done."""

    tasks: list[str]
    descriptors: int
    threads: int
    rss_mib: float

    def __str__(self) -> str:
        return (
            f"{len(self.tasks)} tasks, {self.descriptors} descriptors, {self.threads} threads, "
            f"{self.rss_mib:.1f} MiB"
        )


class Census:
    """`directory` is this one's alone; processes started with `env` can be asked."""

    def __init__(self, directory: str) -> None:
        self._answer = os.path.join(directory, "tasks")
        self._directory = directory
        with open(os.path.join(directory, "sitecustomize.py"), "w") as file:
            file.write(_SITECUSTOMIZE)

    @property
    def env(self) -> Mapping[str, str]:
        """What the environment of such a process needs."""
        return {"PYTHONPATH": self._directory, "JTUNNEL_TEST_CENSUS": self._answer}

    def take(self, process: psutil.Process) -> Holding:
        """Count what it holds now."""
        process.send_signal(signal.SIGUSR2)
        give_up_at = time.monotonic() + _COUNT_TIMEOUT_S
        while not os.path.exists(self._answer):
            assert time.monotonic() < give_up_at, "it does not count its tasks"
            time.sleep(_POLL_S)
        with open(self._answer) as file:
            tasks = file.read().splitlines()
        os.unlink(self._answer)
        return Holding(tasks, process.num_fds(), process.num_threads(), process.memory_info().rss / _MIB)
