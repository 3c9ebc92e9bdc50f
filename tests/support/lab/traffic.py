"""Short requests to a local port, one after another in a steady beat, each with its outcome.

A request is a new connection, a few bytes, and the same bytes back: what a browser's request is to a forward.
Nobody waits for one before the next begins, so a port that holds connections fills up as it would.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from tests.support.lab.namespace import Namespace

#: `open` waits for its answer; `closed` was ended in order without one.
Outcome = Literal["open", "answered", "refused", "reset", "closed"]

#: Beats: while an outage lasts, and from the return on.
STEADY_S: Final = 0.5
HURRY_S: Final = 0.05
#: Requests that may wait at the same time: fewer than a profile holds (256).
OPEN_AT_MOST: Final = 200
_JOIN_TIMEOUT_S: Final = 5.0
_LOOPBACK: Final = "127.0.0.1"


@dataclass(slots=True)
class Request:
    """One of them; times are `time.monotonic`'s."""

    number: int
    began_at: float
    outcome: Outcome = "open"
    ended_at: float | None = None
    received: bytes = b""

    @property
    def text(self) -> bytes:
        """What is sent, and has to come back."""
        return f"request {self.number}\n".encode()


class Traffic:
    """Requests to a port of loopback, `namespace`'s or this machine's, for as long as the block runs."""

    def __init__(self, namespace: Namespace | None, port: int, *, beat_s: float = STEADY_S) -> None:
        self.requests: list[Request] = []
        self.beat_s = beat_s
        self._namespace = namespace
        self._port = port
        self._stop = False
        self._news = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._paused = False

    def __enter__(self) -> Self:
        if self._namespace is not None:
            self._thread = self._namespace.start_thread(self._run, "traffic")
        else:
            self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop = True
        self._thread.join(_JOIN_TIMEOUT_S)

    def hurry(self) -> None:
        """Begin requests so fast that the first answer tells when the port works again."""
        self.beat_s = HURRY_S
        self._paused = False

    def pause(self) -> None:
        """Begin no more requests; those that wait go on."""
        self._paused = True

    def wait_for(self, predicate: Callable[[Traffic], bool], timeout_s: float) -> bool:
        """Block until the predicate holds, at most so long; whether it does."""
        with self._news:
            return self._news.wait_for(lambda: predicate(self), timeout_s)

    def wait_usable(self, since: float, timeout_s: float) -> float:
        """Block until a request that began after `since` is answered; return the seconds from `since` on.

        AssertionError after the timeout.
        """

        def first() -> float | None:
            ended = (
                request.ended_at
                for request in self.requests
                if request.outcome == "answered" and request.began_at >= since
            )
            return min((at for at in ended if at is not None), default=None)

        if not self.wait_for(lambda _: first() is not None, timeout_s):
            raise AssertionError(f"no request is answered within {timeout_s} s: {self.count(since)}")
        return (first() or 0.0) - since

    def settle(self, timeout_s: float) -> list[Request]:
        """Begin no more, and wait until each has ended; the answer is those that still hang."""
        self.pause()
        self.wait_for(lambda traffic: not traffic.count()["open"], timeout_s)
        return [request for request in self.requests if request.outcome == "open"]

    def count(self, since: float = 0.0) -> Counter[Outcome]:
        """How many have ended in which way, or not at all, of those that began after `since`."""
        return Counter(request.outcome for request in self.requests if request.began_at >= since)

    def _run(self) -> None:
        began_at = 0.0
        try:
            while not self._stop:
                is_time = time.monotonic() >= began_at + self.beat_s and not self._paused
                if is_time and len(self._selector.get_map()) < OPEN_AT_MOST:
                    began_at = time.monotonic()
                    self._begin()
                for key, _ in self._selector.select(min(self.beat_s, HURRY_S)):
                    assert isinstance(key.fileobj, socket.socket)
                    self._go_on(key.fileobj, key.data)
        finally:
            for key in list(self._selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
            self._selector.close()

    def _begin(self) -> None:
        request = Request(len(self.requests), time.monotonic())
        with self._news:
            self.requests.append(request)
        stream = socket.socket()
        stream.setblocking(False)
        # It goes on in the background; whether it was refused is told when the socket is writable.
        stream.connect_ex((_LOOPBACK, self._port))
        self._selector.register(stream, selectors.EVENT_WRITE, request)

    def _go_on(self, stream: socket.socket, request: Request) -> None:
        """Send, or receive, or note how it ended."""
        try:
            if not self._selector.get_key(stream).events & selectors.EVENT_READ:
                stream.sendall(request.text)
                self._selector.modify(stream, selectors.EVENT_READ, request)
                return
            data = stream.recv(4096)
        except BlockingIOError:
            return
        except ConnectionRefusedError:
            self._end(stream, request, "refused")
        except OSError:
            self._end(stream, request, "reset")
        else:
            request.received += data
            if request.received == request.text:
                self._end(stream, request, "answered")
            elif not data:
                self._end(stream, request, "closed")

    def _end(self, stream: socket.socket, request: Request, outcome: Outcome) -> None:
        self._selector.unregister(stream)
        with contextlib.suppress(OSError):
            stream.close()
        with self._news:
            request.outcome = outcome
            request.ended_at = time.monotonic()
            self._news.notify_all()
