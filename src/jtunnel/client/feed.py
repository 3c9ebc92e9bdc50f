"""The daemon's status as it changes, through the daemon's end and return. It starts no daemon."""

from __future__ import annotations

import select
import time

from jtunnel.client.connection import ANSWER_S, result_of
from jtunnel.client.dial import dial
from jtunnel.errors import ControlError, JTunnelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final, Self

    from jtunnel.client.connection import Connection
    from jtunnel.status import StatusDocument

#: How long after a failure the daemon is looked for again.
AGAIN_S: Final = 0.5


def selection(names: Sequence[str], tags: Sequence[str]) -> dict[str, list[str]]:
    """The parameters of `status` and `watch`; what is empty is left out, as an older daemon likes it."""
    given = {"names": list(names), "tags": list(tags)}
    return {key: values for key, values in given.items() if values}


class Feed:
    """Follows `watch`; `document` is the newest there is, and None while `problem` says why there is none.

    `polled` counts the answers to `poll`: a document comes by itself when a state changes, and bytes
    that flow change none.
    """

    def __init__(self, environ: Mapping[str, str], params: Mapping[str, Any]) -> None:
        self.document: StatusDocument | None = None
        self.problem: JTunnelError | None = None
        self.polled = 0
        self._environ = environ
        self._params = params
        self._connection: Connection | None = None
        self._watch_id = self._poll_id = 0
        self._polled_at = self._dial_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._hang_up()

    def start(self) -> None:
        """Wait for the first document. Raises JTunnelError where there is no daemon, or no such tunnel."""
        self._dial()
        give_up_at = time.monotonic() + ANSWER_S
        while self.document is None:
            self.wait(max(0.0, give_up_at - time.monotonic()))
            if self.problem is not None:
                raise self.problem
            if time.monotonic() > give_up_at:
                raise ControlError(
                    "daemon-failed",
                    f"the daemon did not answer within {ANSWER_S:.0f} s",
                    "see what it does: jtunnel logs",
                )

    def wait(self, timeout_s: float | None, others: Sequence[int] = ()) -> list[int]:
        """Wait for news, or until one of the descriptors `others` can be read; return those."""
        now = time.monotonic()
        if self._connection is None and now >= self._dial_at:
            try:
                self._dial()
            except JTunnelError as error:
                self._fail(error)
                return []
        watched: list[Any] = list(others)
        if self._connection is not None:
            if self._take():
                return select.select(others, [], [], 0.0)[0]
            watched.append(self._connection)
        else:
            left_s = max(0.0, self._dial_at - now)
            timeout_s = left_s if timeout_s is None else min(timeout_s, left_s)
        ready = select.select(watched, [], [], timeout_s)[0]
        if self._connection in ready:
            self._take()
        return [descriptor for descriptor in others if descriptor in ready]

    def poll(self) -> None:
        """Ask for the counters of now, unless the daemon has not answered the last time yet."""
        if self._connection is not None and not self._poll_id:
            self._polled_at = time.monotonic()
            try:
                self._poll_id = self._connection.send("status", self._params)
            except JTunnelError as error:
                self._fail(error)

    @property
    def silent_s(self) -> float:
        """How long the daemon has not answered a `poll`."""
        return time.monotonic() - self._polled_at if self._poll_id else 0.0

    def _dial(self) -> None:
        self._connection = dial(self._environ)
        self._poll_id = 0
        self._watch_id = self._connection.send("watch", self._params)

    def _take(self) -> bool:
        """Take what has arrived up to the next document, so that none is passed over; False without one."""
        assert self._connection is not None
        try:
            while (message := self._connection.receive(0.0)) is not None:
                if self._heed(message):
                    return True
        except JTunnelError as error:
            self._fail(error)
            return True
        return False

    def _heed(self, message: Mapping[str, Any]) -> bool:
        if message.get("method") == "snapshot":
            self._show(message["params"]["document"])
            return True
        if "method" not in message and message.get("id") == self._watch_id:
            result_of(message)
        elif "method" not in message and message.get("id") == self._poll_id:
            self._poll_id = 0
            self._show(result_of(message))
            self.polled += 1
            return True
        return False

    def _show(self, document: StatusDocument) -> None:
        self.document, self.problem = document, None

    def _fail(self, error: JTunnelError) -> None:
        self._hang_up()
        self.document, self.problem = None, error
        self._dial_at = time.monotonic() + AGAIN_S

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.__exit__()
        self._connection, self._poll_id = None, 0
