"""The lab's own witness of when the network works: a datagram to the server and back, fifty times a second.

It is what "from the moment the network works again" is counted from.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from types import TracebackType
from typing import Final, Self

from tests.support.lab.namespace import Namespace

_INTERVAL_S: Final = 0.02
_JOIN_TIMEOUT_S: Final = 5.0
_NUMBER_BYTES: Final = 8


class Beacon:
    """A context manager; `near` asks, and an address of `far` answers."""

    def __init__(self, near: Namespace, far: Namespace, address: str) -> None:
        # Bound to no address: each datagram leaves from what the machine has at that moment.
        self._asking = near.open_socket(socket.SOCK_DGRAM)
        self._answering = far.open_socket(socket.SOCK_DGRAM)
        self._address = address
        self._stop = False
        self._news = threading.Condition()
        self._answered: list[tuple[float, float]] = []
        """When each datagram that came back was sent, and when it came (`time.monotonic`)."""
        self._thread = threading.Thread(target=self._run, name="beacon", daemon=True)

    def __enter__(self) -> Self:
        self._answering.bind((self._address, 0))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop = True
        self._thread.join(_JOIN_TIMEOUT_S)
        self._asking.close()
        self._answering.close()

    def wait_works(self, since: float | None = None, timeout_s: float = 10.0) -> float:
        """Block until a datagram sent after `since`, else after now, is back; the answer is when it came."""
        since = time.monotonic() if since is None else since
        with self._news:
            if not self._news.wait_for(lambda: self._first_since(since), timeout_s):
                raise AssertionError(f"the network does not work within {timeout_s} s")
            return self._first_since(since) or 0.0

    def works_within(self, seconds: float) -> bool:
        """Whether any of the datagrams of the coming seconds comes back in that time."""
        try:
            self.wait_works(timeout_s=seconds)
        except AssertionError:
            return False
        return True

    def _first_since(self, since: float) -> float | None:
        return next((came_at for sent_at, came_at in self._answered if sent_at >= since), None)

    def _run(self) -> None:
        target = self._answering.getsockname()
        sent_at: list[float] = []
        while not self._stop:
            if not sent_at or time.monotonic() >= sent_at[-1] + _INTERVAL_S:
                sent_at.append(time.monotonic())
                with contextlib.suppress(OSError):  # there may be no route now
                    self._asking.sendto((len(sent_at) - 1).to_bytes(_NUMBER_BYTES), target)
            left_s = max(0.0, sent_at[-1] + _INTERVAL_S - time.monotonic())
            readable, _, _ = select.select([self._asking, self._answering], [], [], left_s)
            with contextlib.suppress(OSError):
                if self._answering in readable:
                    data, sender = self._answering.recvfrom(_NUMBER_BYTES)
                    self._answering.sendto(data, sender)
                if self._asking in readable:
                    number = int.from_bytes(self._asking.recv(_NUMBER_BYTES))
                    with self._news:
                        self._answered.append((sent_at[number], time.monotonic()))
                        self._news.notify_all()
