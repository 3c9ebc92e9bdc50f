"""A conversation with the daemon: ask it, and take what it sends unasked.

Blocking, with a deadline on every wait. Reaching the daemon is `dial`'s, starting one `launch`'s,
answering its prompts `prompts`' business.
"""

from __future__ import annotations

import select
import sys
import time

from jtunnel import __version__, wire
from jtunnel.client import terminal
from jtunnel.errors import ControlError, problem_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from typing import Any, Final, Self

#: How long the daemon may take over a call that is all local work.
ANSWER_S: Final = 10.0
_HELLO_ID: Final = 0
_RENEW: Final = "renew it with: jtunnel service restart"
_CHUNK: Final = 65536


class Connection:
    """A conversation with the daemon; `hello` travels with the first request.

    `path` names the socket in messages. With `any_protocol` a daemon of another protocol version is
    talked to all the same, which is right for `hello` and `shutdown` alone. With `remarks`, a person at the
    terminal is told that the daemon is older than this client.
    """

    def __init__(
        self, stream: socket.socket, path: str, *, any_protocol: bool = False, remarks: bool = False
    ) -> None:
        self._stream = stream
        self._path = path
        self._any_protocol = any_protocol
        self._remarks = remarks
        self._hello: dict[str, Any] | None = None
        greeting = {"protocol": wire.PROTOCOL_VERSION, "version": __version__}
        self._unsent = wire.request(_HELLO_ID, "hello", greeting)
        self._received = bytearray()
        self._messages: list[dict[str, Any]] = []
        self._last_id = _HELLO_ID

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._stream.close()

    def hello(self) -> dict[str, Any]:
        """What the daemon says of itself: its `protocol`, its `version` and its `pid`."""
        if self._unsent:
            self._write(b"")
        give_up_at = time.monotonic() + ANSWER_S
        while self._hello is None:
            if not self._wait(give_up_at - time.monotonic()):
                raise _mute("hello", ANSWER_S)
            self.pump()
        return self._hello

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
        answer = self.exchange(method, params, timeout_s=timeout_s)
        error = answer.get("error")
        if isinstance(error, dict) and error.get("code") in (wire.METHOD_NOT_FOUND, wire.INVALID_PARAMS):
            version = str((self._hello or {}).get("version"))
            if _is_older(version):
                raise ControlError(
                    "protocol-mismatch",
                    f"the daemon ({version}) is older than this jtunnel ({__version__}) and cannot do this",
                    _RENEW,
                )
        return result_of(answer)

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
                raise _mute(method, timeout_s)
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
        elif "result" in message or not self._any_protocol:
            self._take_hello(result_of(message))

    def _take_hello(self, hello: Any) -> None:
        if not isinstance(hello, dict) or not isinstance(hello.get("protocol"), int):
            raise self._nonsense()
        self._hello = hello
        version = str(hello.get("version"))
        if hello["protocol"] != wire.PROTOCOL_VERSION:
            if not self._any_protocol:
                raise _mismatch(hello["protocol"], version)
        elif self._remarks and _is_older(version) and terminal.is_terminal(sys.stderr):
            terminal.say(f"the daemon is older ({version}) than this jtunnel ({__version__}); {_RENEW}")

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
            f"where it is older than this jtunnel, {_RENEW}",
        )
    raise ControlError("daemon-failed", f"the daemon refused the call: {text}", "see its log: jtunnel logs")


def _mute(method: str, timeout_s: float) -> ControlError:
    return ControlError(
        "daemon-failed",
        f"the daemon did not answer `{method}` within {timeout_s:.0f} s",
        "see what it does: jtunnel logs",
    )


def _is_older(version: str) -> bool:
    """Whether a daemon's version is below this client's; one that cannot be read is not."""
    theirs, ours = _numbers(version), _numbers(__version__)
    return bool(theirs) and theirs < ours


def _numbers(version: str) -> list[int]:
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return numbers


def _mismatch(protocol: int, version: str) -> ControlError:
    daemon = f"daemon (jtunnel {version}, protocol {protocol})"
    client = f"this jtunnel ({__version__}, protocol {wire.PROTOCOL_VERSION})"
    if protocol < wire.PROTOCOL_VERSION:
        return ControlError(
            "protocol-mismatch",
            f"the {daemon} is older than {client}",
            _RENEW,
        )
    return ControlError(
        "protocol-mismatch", f"{client} is older than the {daemon}", "upgrade it, or use the newer jtunnel"
    )
