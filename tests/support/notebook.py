"""A Jupyter server as a notebook uses it: REST, and kernels over their websocket. Knows nothing of jtunnel.

Every request is a connection of its own, as to a server that was never asked before.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import ssl
import time
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import websockets.sync.client

ANSWER_TIMEOUT_S = 20.0
RUN_TIMEOUT_S = 30.0


class Jupyter:
    """The server at an address as `jtunnel url` prints one, with a token in it or without.

    A server's certificate is taken as it is: `certificate` tells which one it has.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url.strip())
        assert parts.hostname is not None
        assert parts.port is not None
        self.host = parts.hostname
        self.port = parts.port
        self.token = parse_qs(parts.query).get("token", [""])[0]
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context()
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE

    def ask(self, method: str, path: str, body: object = None, *, token: str | None = None) -> Any:
        """The answer's JSON; AssertionError for a status that is no success, OSError without an answer."""
        status, text = self._exchange(method, path, body, self.token if token is None else token)
        assert 200 <= status < 300, f"{method} {path} answers {status}: {text[:500]}"
        return json.loads(text) if text else None

    def status_code(self, path: str, *, token: str | None = None) -> int:
        """Only the HTTP status that a GET is answered with."""
        return self._exchange("GET", path, None, self.token if token is None else token)[0]

    def certificate(self) -> str:
        """The certificate that the server shows, as PEM."""
        return ssl.get_server_certificate((self.host, self.port), timeout=ANSWER_TIMEOUT_S)

    def begin_kernel(self) -> str:
        """Start a Python kernel; the answer is its id."""
        return str(self.ask("POST", "/api/kernels", {"name": "python3"})["id"])

    def end_kernel(self, kernel_id: str) -> None:
        """End a kernel; returns when its process is gone."""
        self.ask("DELETE", f"/api/kernels/{kernel_id}")

    def kernel_ids(self) -> list[str]:
        """The kernels that run."""
        return [str(kernel["id"]) for kernel in self.ask("GET", "/api/kernels")]

    @contextlib.contextmanager
    def kernel(self, kernel_id: str) -> Iterator[Kernel]:
        """A connection to a kernel, with a session of its own."""
        session = secrets.token_hex(8)
        with websockets.sync.client.connect(
            f"{'wss' if self._tls else 'ws'}://{self.host}:{self.port}/api/kernels/{kernel_id}/channels?session_id={session}",
            additional_headers={"Authorization": f"token {self.token}"},
            open_timeout=ANSWER_TIMEOUT_S,
            close_timeout=ANSWER_TIMEOUT_S,
            proxy=None,
            ssl=self._tls,
        ) as channel:
            yield Kernel(channel, session)

    def run(self, kernel_id: str, code: str) -> str:
        """Run code in a kernel over a connection of its own; see `Kernel.run`."""
        with self.kernel(kernel_id) as kernel:
            return kernel.run(code)

    def _exchange(self, method: str, path: str, body: object, token: str) -> tuple[int, str]:
        connection: http.client.HTTPConnection
        if self._tls is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_TIMEOUT_S)
        else:
            connection = http.client.HTTPSConnection(
                self.host, self.port, timeout=ANSWER_TIMEOUT_S, context=self._tls
            )
        with contextlib.closing(connection):
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Authorization": f"token {token}"} if token else {})
            response = connection.getresponse()
            return response.status, response.read().decode()


class Kernel:
    """One session with a kernel, in Jupyter's message protocol 5.3."""

    def __init__(self, channel: websockets.sync.client.ClientConnection, session: str) -> None:
        self._channel = channel
        self._session = session

    def run(self, code: str, *, timeout_s: float = RUN_TIMEOUT_S) -> str:
        """Run code to its end; the answer is what it printed, then its value. AssertionError if it fails."""
        request = self._send(code)
        shown = []
        for kind, content in self._replies(request, timeout_s):
            if kind == "stream":
                shown.append(content["text"])
            elif kind == "execute_result":
                shown.append(content["data"]["text/plain"])
            elif kind == "error":
                raise AssertionError(f"{code!r} fails: {content['ename']}: {content['evalue']}")
            elif kind == "status" and content["execution_state"] == "idle":
                break
        return "".join(shown)

    def keep_busy(self) -> None:
        """Have the kernel at work for the next ten minutes; returns once it is."""
        request = self._send("import time\nprint('begun', flush=True)\ntime.sleep(600)")
        for kind, _ in self._replies(request, RUN_TIMEOUT_S):
            if kind == "stream":
                return

    def _send(self, code: str) -> str:
        """Ask for the execution; the answer is the id that its replies carry."""
        header = {
            "msg_id": secrets.token_hex(16),
            "username": "",
            "session": self._session,
            "msg_type": "execute_request",
            "version": "5.3",
        }
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self._channel.send(json.dumps({**message, "channel": "shell", "buffers": []}))
        return header["msg_id"]

    def _replies(self, request: str, timeout_s: float) -> Iterator[tuple[str, dict[str, Any]]]:
        """What is published about a request: the kind and content of each message."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = json.loads(self._channel.recv(timeout=max(0.0, deadline - time.monotonic())))
            about = message["parent_header"].get("msg_id")
            if message["channel"] == "iopub" and about == request:
                yield message["header"]["msg_type"], cast("dict[str, Any]", message["content"])
