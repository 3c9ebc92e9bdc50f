"""A conversation with the daemon: ask it, and take what it sends unasked.

Blocking, with a deadline on every wait. Reaching the daemon is `dial`'s, starting one `launch`'s,
answering its prompts `prompts`' business.
"""

from __future__ import annotations

import select
import time

from jtunnel import __version__, wire
from jtunnel.errors import ControlError, problem_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from typing import Any, Final, Self

#: How long the daemon may take over a call that is all local work.
ANSWER_S: Final = 10.0
_HELLO_ID: Final = 0
_CHUNK: Final = 65536


class Connection:
    """A conversation with the daemon; `hello` travels with the first request.

    `path` names the socket in messages. With `any_protocol` a daemon of another protocol version is
    talked to all the same, which is right for `shutdown` alone.
    """

    def __init__(self, stream: socket.socket, path: str, *, any_protocol: bool = False) -> None:
        self._stream = stream
        self._path = path
        self._any_protocol = any_protocol
        greeting = {"protocol": wire.PROTOCOL_VERSION, "version": __version__}
        self._unsent = wire.request(_HELLO_ID, "hello", greeting)
        self._received = bytearray()
        self._messages: list[dict[str, Any]] = []
        self._last_id = _HELLO_ID

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stream.close()

    def fileno(self) -> int:
        """The socket's descriptor, for select(2)."""
        return self._stream.fileno()

    def send(self, method: str, params: Mapping[str, Any]) -> int:
        """Ask without waiting; the number returned is the answer's `id`."""
        self._last_id += 1
        self._write(wire.request(self._last_id, method, params))
        return self._last_id

    def answer(self, identifier: Any, value: Any) -> None:
        """Answer a request of the daemon."""
        self._write(wire.result(identifier, value))

    def refuse(self, identifier: Any, method: str) -> None:
        """Tell the daemon that this client does not know `method`."""
        self._write(wire.failure(identifier, wire.METHOD_NOT_FOUND, f"no such method: {method}"))

    def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float = ANSWER_S) -> Any:
        """Ask, wait, and return the result. Raises what the daemon's error stands for."""
        return result_of(self.exchange(method, params, timeout_s=timeout_s))

    def exchange(
        self, method: str, params: Mapping[str, Any], *, timeout_s: float = ANSWER_S
    ) -> dict[str, Any]:
        """Ask and return the answer as it came; other messages wait for `receive`."""
        identifier = self.send(method, params)
        return self.wait_for(identifier, method, timeout_s=timeout_s)

    def wait_for(self, identifier: int, method: str, *, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """Wait for the answer to `send`; other messages wait for `receive`."""
        give_up_at = time.monotonic() + timeout_s
        seen = 0
        while True:
            for index in range(seen, len(self._messages)):
                if "method" not in self._messages[index] and self._messages[index].get("id") == identifier:
                    return self._messages.pop(index)
            seen = len(self._messages)
            if not self._wait(give_up_at - time.monotonic()):
                raise ControlError(
                    "daemon-failed",
                    f"the daemon did not answer `{method}` within {timeout_s:.0f} s",
                    "see what it does: jtunnel logs",
                )
            self.pump()

    def receive(self, timeout_s: float | None) -> dict[str, Any] | None:
        """The oldest message not yet taken; None after `timeout_s` seconds without one."""
        give_up_at = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._messages:
            left_s = None if give_up_at is None else give_up_at - time.monotonic()
            if not self._wait(left_s):
                return None
            self.pump()
        return self._messages.pop(0)

    def pump(self) -> None:
        """Take in what has arrived, waiting for it if nothing has.

        Raises ControlError (`no-daemon`) when the daemon has hung up, `protocol-mismatch` when it
        speaks another version, `daemon-failed` when it is no jtunnel at all.
        """
        try:
            chunk = self._stream.recv(_CHUNK)
        except (ConnectionError, TimeoutError):
            chunk = b""
        if not chunk:
            raise ControlError("no-daemon", "the daemon has ended", "start it with: jtunnel up")
        self._received += chunk
        while (end := self._received.find(b"\n")) >= 0:
            line = bytes(self._received[:end])
            del self._received[: end + 1]
            self._take(line)
        if len(self._received) > wire.MAX_LINE:
            raise self._nonsense()

    def _take(self, line: bytes) -> None:
        try:
            message = wire.decode(line)
        except wire.WireError:
            raise self._nonsense() from None
        if "method" in message or message.get("id") != _HELLO_ID:
            self._messages.append(message)
        elif not self._any_protocol:
            self._check_hello(result_of(message))

    def _check_hello(self, hello: Any) -> None:
        if not isinstance(hello, dict) or not isinstance(hello.get("protocol"), int):
            raise self._nonsense()
        if hello["protocol"] != wire.PROTOCOL_VERSION:
            raise _mismatch(hello["protocol"], str(hello.get("version")))

    def _write(self, line: bytes) -> None:
        # One write for hello and the first request: one wake-up of the daemon instead of two.
        data, self._unsent = self._unsent + line, b""
        self._stream.settimeout(ANSWER_S)
        try:
            self._stream.sendall(data)
        except ConnectionError:
            raise ControlError("no-daemon", "the daemon has ended", "start it with: jtunnel up") from None
        except TimeoutError:
            raise ControlError(
                "daemon-failed", "the daemon does not read what it is sent", "see what it does: jtunnel logs"
            ) from None

    def _wait(self, timeout_s: float | None) -> bool:
        if timeout_s is not None:
            timeout_s = max(timeout_s, 0.0)
        return bool(select.select([self._stream], [], [], timeout_s)[0])

    def _nonsense(self) -> ControlError:
        return ControlError(
            "daemon-failed",
            f"what listens at {self._path} does not speak jtunnel's protocol",
            "end that program, then: jtunnel up",
        )


def result_of(message: Mapping[str, Any]) -> Any:
    """The result in an answer. Raises the JTunnelError that its error stands for."""
    error = message.get("error")
    if error is None:
        return message.get("result")
    code, text = (error.get("code"), str(error.get("message"))) if isinstance(error, dict) else (None, "")
    if code == wire.PROBLEM and isinstance(problem := error.get("data"), dict):
        raise problem_error(
            {
                "kind": str(problem.get("kind")),
                "message": str(problem.get("message")),
                "advice": str(problem.get("advice") or ""),
            }
        )
    if code == wire.METHOD_NOT_FOUND:
        raise ControlError(
            "protocol-mismatch",
            f"the daemon does not know this call: {text}",
            "where it is older than this jtunnel: jtunnel shutdown, then jtunnel up",
        )
    raise ControlError("daemon-failed", f"the daemon refused the call: {text}", "see its log: jtunnel logs")


def _mismatch(protocol: int, version: str) -> ControlError:
    daemon = f"daemon (jtunnel {version}, protocol {protocol})"
    client = f"this jtunnel ({__version__}, protocol {wire.PROTOCOL_VERSION})"
    if protocol < wire.PROTOCOL_VERSION:
        return ControlError(
            "protocol-mismatch",
            f"the {daemon} is older than {client}",
            "run: jtunnel shutdown, then jtunnel up",
        )
    return ControlError(
        "protocol-mismatch", f"{client} is older than the {daemon}", "upgrade it, or use the newer jtunnel"
    )
