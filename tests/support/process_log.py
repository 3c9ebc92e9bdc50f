"""What a process writes, read by a thread so that it never waits for the test. Starts and ends no process."""

from __future__ import annotations

import re
import threading
import time
from typing import IO

JOIN_TIMEOUT_S = 5.0


class ProcessLog:
    """The lines that one or several processes wrote, in the order they came."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._threads: list[threading.Thread] = []

    def follow(self, stream: IO[str], pid: int) -> int:
        """Read another process's output, up to the line `end_line(pid)`; the answer is where it starts."""
        mark = self.mark()
        thread = threading.Thread(target=self._pump, args=(stream, end_line(pid)), daemon=True)
        self._threads.append(thread)
        thread.start()
        return mark

    def mark(self) -> int:
        """The number of lines so far: a point to wait from."""
        with self._news:
            return len(self._lines)

    def wait_for(self, pattern: str, timeout_s: float, since: int = 0) -> str:
        """The first line from `since` on that the pattern is found in; AssertionError after the timeout."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while True:
                for line in self._lines[since:]:
                    if re.search(pattern, line):
                        return line
                if not self._news.wait(deadline - time.monotonic()):
                    break
        raise AssertionError(f"the log has no {pattern!r} after {timeout_s} s:\n{self.tail()}")

    def tail(self, count: int = 30) -> str:
        """The last lines."""
        with self._news:
            return "\n".join(self._lines[-count:])

    def join(self) -> None:
        """Wait until all that wrote here has ended."""
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT_S)
            assert not thread.is_alive(), "a process still holds its log open"

    def _pump(self, stream: IO[str], last_line: str) -> None:
        with stream:
            for line in stream:
                self._append(line.rstrip())
        self._append(last_line)

    def _append(self, line: str) -> None:
        with self._news:
            self._lines.append(line)
            self._news.notify_all()


def end_line(pid: int) -> str:
    """The line that stands for the end of a process's output, its children's included."""
    return f"<end of the log of {pid}>"
