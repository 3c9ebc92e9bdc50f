"""A stand-in for the daemon: speaks the control protocol over a real socket, and says what a test scripts.

It looks after no tunnel; each client has a thread of its own.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

from jtunnel import wire
from jtunnel.errors import JTunnelError
from jtunnel.status import ForwardStatus, JupyterStatus, Problem, ServiceStatus, StatusDocument, TunnelStatus

WAIT_S = 20.0


class Talk:
    """One client's connection, as a script sees it while it answers a call."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._lines = stream.makefile("rb")
        self._identifier: Any = None
        self._last_id = 0

    def reply(self, value: Any) -> None:
        """Answer the call."""
        self.send(wire.result(self._identifier, value))

    def fail(self, code: int, message: str, data: Any = None) -> None:
        """Answer the call with an error."""
        self.send(wire.failure(self._identifier, code, message, data))

    def snapshot(self, document: StatusDocument) -> None:
        """Send a snapshot."""
        self.send(wire.notification("snapshot", {"document": document}))

    def prompt(self, **params: Any) -> Any:
        """Send a prompt and return what the client answers."""
        self._last_id += 1
        self.send(wire.request(self._last_id, "prompt", params))
        return self.read_message()["result"]["answer"]

    def read_message(self) -> dict[str, Any]:
        """The client's next message; raises EOFError when it has left."""
        line = self._lines.readline()
        if not line:
            raise EOFError
        return wire.decode(line)

    def take_call(self) -> dict[str, Any]:
        """The client's next call, which `reply` then answers."""
        message = self.read_message()
        self._identifier = message.get("id")
        return message

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._stream.sendall(data)

    def hang_up(self) -> None:
        """End the conversation from the daemon's side."""
        self._stream.shutdown(socket.SHUT_RDWR)


Script = Callable[[Talk, dict[str, Any]], None]


class ScriptedDaemon:
    """Listens at the control socket of a runtime directory while the block runs.

    `answers` has for each method a result, a JTunnelError, or a script that answers by itself.
    `calls` lists the calls of all clients but `hello`, in order.
    """

    def __init__(
        self, runtime_dir: str, answers: Mapping[str, Any], *, protocol: int = wire.PROTOCOL_VERSION
    ) -> None:
        self.path = os.path.join(runtime_dir, "control.sock")
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failures: list[BaseException] = []
        self._answers: dict[str, Any] = {
            "hello": {"protocol": protocol, "version": "9.9.9", "pid": os.getpid()},
            **answers,
        }
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._streams: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listener.bind(self.path)
        self._listener.listen()
        self._start(self._accept)
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        self.close()
        if kind is None and self.failures:
            raise self.failures[0]

    def close(self) -> None:
        """End as a daemon does: the socket is gone, and so are all conversations."""
        if self._listener.fileno() < 0:
            return  # what is at the path by now is its successor's
        if os.path.exists(self.path):
            os.unlink(self.path)
        _shut(self._listener)
        for stream in self._streams:
            _shut(stream)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(WAIT_S)
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self._streams.append(stream)
            self._start(self._serve, stream)

    def _serve(self, stream: socket.socket) -> None:
        try:
            with stream:
                talk = Talk(stream)
                while True:
                    message = talk.take_call()
                    if message["method"] != "hello":
                        self.calls.append((message["method"], message["params"]))
                    self._answer(talk, message["method"], message["params"])
        except (EOFError, ConnectionError):
            return
        except (AssertionError, LookupError, TypeError, ValueError) as error:
            self.failures.append(error)

    def _answer(self, talk: Talk, method: str, params: dict[str, Any]) -> None:
        answer = self._answers[method]
        if isinstance(answer, JTunnelError):
            talk.fail(wire.PROBLEM, answer.message, answer.problem)
        elif callable(answer):
            answer(talk, params)
        else:
            talk.reply(answer)


def document(*tunnels: TunnelStatus, config_problem: Problem | None = None) -> StatusDocument:
    """A status document of these tunnels."""
    return {
        "schema": 1,
        "daemon": {
            "version": "9.9.9",
            "pid": 4242,
            "started_at": "2026-11-22T04:00:00Z",
            "config_path": "/home/me/.config/jtunnel/config.toml",
            "config_problem": config_problem,
            "started_by": "hand",
        },
        "tunnels": list(tunnels),
    }


def tunnel(name: str = "gpu", state: str = "up", **changes: Any) -> TunnelStatus:
    """A tunnel with a Jupyter server, but for `changes`."""
    status: dict[str, Any] = {
        "name": name,
        "state": state,
        "since": "2026-11-22T04:00:00.250Z",
        "wanted": state != "down",
        "autostart": False,
        "tags": [],
        "alias": f"{name}-box",
        "host": f"{name}.example",
        "user": "me",
        "port": 22,
        "via": [],
        "attempt": 0,
        "retry_at": None,
        "reconnects": 0,
        "latency_ms": None,
        "problem": None,
        "forwards": [],
        "jupyter": jupyter(),
        "service": None,
    }
    assert changes.keys() <= status.keys()
    return status | changes  # type: ignore[return-value]


def jupyter(state: str = "ready", **changes: Any) -> JupyterStatus:
    """A Jupyter server at port 8888."""
    status: dict[str, Any] = {
        "state": state,
        "url": "http://localhost:8888/lab",
        "version": "2.21.1",
        "pid": 123,
        "host": "gpu.example",
        "target": "127.0.0.1:9999",
        "root_dir": "/home/me",
        "origin": "started",
        "kernels": 0,
        "busy": 0,
        "last_activity": None,
        "environment": None,
        "log": None,
        "password": False,
        "secure": False,
        "job": None,
    }
    assert changes.keys() <= status.keys()
    return status | changes  # type: ignore[return-value]


def service(state: str = "ready", **changes: Any) -> ServiceStatus:
    """Another server at port 8080."""
    status: dict[str, Any] = {
        "state": state,
        "url": "http://localhost:8080/",
        "pid": 321,
        "host": "gpu.example",
        "target": "127.0.0.1:8080",
        "origin": "started",
        "log": None,
    }
    assert changes.keys() <= status.keys()
    return status | changes  # type: ignore[return-value]


def forward(name: str = "6006", **changes: Any) -> ForwardStatus:
    """A local forward that listens."""
    status: dict[str, Any] = {
        "name": name,
        "kind": "local",
        "listen": f"127.0.0.1:{name}",
        "target": f"localhost:{name}",
        "listening": True,
        "temporary": False,
        "active": 0,
        "held": 0,
        "accepted": 0,
        "bytes_in": 0,
        "bytes_out": 0,
        "problem": None,
    }
    assert changes.keys() <= status.keys()
    return status | changes  # type: ignore[return-value]


def _shut(stream: socket.socket) -> None:
    try:
        stream.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
