"""A long conversation over TCP, as a notebook's websocket holds one: both sides talk and count.

Shows whether an established stream survives a fault, what it loses, and how it ends.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Literal, Self

from tests.support.lab.namespace import Namespace

#: How a stream ended for the one who reads it.
Ending = Literal["reset", "closed", "timed out"]

_JOIN_TIMEOUT_S: Final = 5.0
_TICK_S: Final = 0.5
_WORD_S: Final = 0.25


class TalkServer:
    """Sends `tick N` to each client twice a second, and each of its lines back; a context manager."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._listener = namespace.open_socket()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="talk-server", daemon=True)
        self._talks: list[threading.Thread] = []
        self.port = 0

    def __enter__(self) -> Self:
        self._listener.bind(("0.0.0.0", 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in (self._thread, *self._talks):
            thread.join(_JOIN_TIMEOUT_S)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            talk = threading.Thread(target=self._talk, args=(stream,), name="talk", daemon=True)
            self._talks.append(talk)
            talk.start()

    def _talk(self, stream: socket.socket) -> None:
        ticks = 0
        with stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.setblocking(False)
            conversation = _Conversation(stream)
            while conversation.ending is None and not self._stop.is_set():
                if conversation.is_time_to_speak(_TICK_S):
                    conversation.say(f"tick {ticks}")
                    ticks += 1
                for line in conversation.hear():
                    conversation.say(line)


class Talk:
    """The client of one conversation: says `word N` four times a second. A context manager.

    `ticks` and `words` are the numbers heard so far, in order; `longest_silence_s` the longest time
    without any.
    """

    def __init__(self, namespace: Namespace, host: str, port: int) -> None:
        self.ticks: list[int] = []
        self.words: list[int] = []
        self.longest_silence_s = 0.0
        self.ending: Ending | None = None
        self.ended_at: float | None = None
        self._stream = namespace.dial(host, port)
        self._stream.setblocking(False)
        self._stop = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._talk, name="talking", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop = True
        self._thread.join(_JOIN_TIMEOUT_S)
        self._stream.close()

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost, doubled or out of order in what was heard so far."""
        return self.ticks == list(range(len(self.ticks))) and self.words == list(range(len(self.words)))

    def wait_for(self, predicate: Callable[[Talk], bool], timeout_s: float) -> None:
        """Block until the predicate holds; AssertionError after the timeout."""
        with self._news:
            if not self._news.wait_for(lambda: predicate(self), timeout_s):
                raise AssertionError(f"not within {timeout_s} s: {self}")

    def wait_heard(self, timeout_s: float = 10.0) -> None:
        """Block until a tick and a word have come that were not there before."""
        ticks, words = len(self.ticks), len(self.words)
        self.wait_for(lambda talk: len(talk.ticks) > ticks and len(talk.words) > words, timeout_s)

    def __str__(self) -> str:
        return (
            f"{len(self.ticks)} ticks, {len(self.words)} words, "
            f"{'whole' if self.is_whole else 'with gaps'}, "
            f"silent for {self.longest_silence_s:.1f} s at most, {self.ending or 'open'}"
        )

    def _talk(self) -> None:
        conversation = _Conversation(self._stream)
        said = 0
        heard_at = time.monotonic()
        while not self._stop and conversation.ending is None:
            if conversation.is_time_to_speak(_WORD_S):
                conversation.say(f"word {said}")
                said += 1
            lines = conversation.hear()
            with self._news:
                now = time.monotonic()
                self.longest_silence_s = max(self.longest_silence_s, now - heard_at)
                if lines:
                    heard_at = now
                for line in lines:
                    kind, number = line.split()
                    (self.ticks if kind == "tick" else self.words).append(int(number))
                if conversation.ending is not None:
                    self.ending, self.ended_at = conversation.ending, now
                self._news.notify_all()


class _Conversation:
    """Lines over a socket that does not block; what cannot be sent waits here."""

    def __init__(self, stream: socket.socket) -> None:
        self.ending: Ending | None = None
        self._stream = stream
        self._unsent = b""
        self._unread = b""
        self._speak_at = time.monotonic()

    def is_time_to_speak(self, interval_s: float) -> bool:
        """Whether the interval has passed since this last said yes."""
        if time.monotonic() < self._speak_at:
            return False
        self._speak_at = time.monotonic() + interval_s
        return True

    def say(self, line: str) -> None:
        """Send a line, or as much of it as the kernel takes now."""
        self._unsent += f"{line}\n".encode()
        self._send()

    def hear(self) -> list[str]:
        """Wait until it is time to speak or there is something to read; the answer is the whole lines."""
        patience_s = max(0.0, self._speak_at - time.monotonic())
        writing = [self._stream] if self._unsent else []
        readable, writable, _ = select.select([self._stream], writing, [], patience_s)
        if writable:
            self._send()
        if not readable:
            return []
        try:
            data = self._stream.recv(65536)
        except BlockingIOError:
            return []
        except OSError as error:
            self._end(error)
            return []
        if not data:
            self.ending = "closed"
        *lines, self._unread = (self._unread + data).split(b"\n")
        return [line.decode() for line in lines]

    def _send(self) -> None:
        try:
            self._unsent = self._unsent[self._stream.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> None:
        # What a read tells first counts: a write after it only says EPIPE.
        if self.ending is None:
            self.ending = "timed out" if isinstance(error, TimeoutError) else "reset"
