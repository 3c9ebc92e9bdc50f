"""Clients that send junk to the control socket, or leave, or do not listen: the daemon answers all others."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Self

import psutil
import pytest

from jtunnel import wire
from tests.support.client import Jtunnel
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port

TIMEOUT_S = 10.0


class Rude:
    """A client that sends bytes as they are, and reads lines."""

    def __init__(self, jtunnel: Jtunnel) -> None:
        self.stream = socket.socket(socket.AF_UNIX)
        # Without a timeout, which would not wait for a place in the listener's queue.
        self.stream.connect(os.path.join(jtunnel.home.runtime_dir, "control.sock"))
        self.stream.settimeout(TIMEOUT_S)
        self._lines = self.stream.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._lines.close()
        self.stream.close()

    def send(self, data: bytes) -> None:
        self.stream.sendall(data)

    def read(self) -> dict[str, Any]:
        """The next message; {} at the end."""
        line = self._lines.readline()
        answer: dict[str, Any] = json.loads(line) if line else {}
        return answer

    def ask(self, data: bytes) -> dict[str, Any]:
        self.send(data)
        return self.read()


def call(method: object = "hello", params: object = None, **rest: object) -> bytes:
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params or {}, **rest}
    return json.dumps(message).encode() + b"\n"


@pytest.fixture(autouse=True)
def stream(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> Iterator[socket.socket]:
    """A stream through a tunnel that must notice nothing; the daemon must have no more open than before."""
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    daemon = psutil.Process(jtunnel.daemon_pid())
    with dial(port) as open_stream:
        assert echoes(open_stream)
        before = daemon.num_fds()
        yield open_stream
        give_up_at = time.monotonic() + TIMEOUT_S
        while (after := daemon.num_fds()) > before and time.monotonic() < give_up_at:
            time.sleep(0.01)
        assert after <= before
        assert echoes(open_stream)
    assert jtunnel.tunnel("a")["reconnects"] == 0
    log = jtunnel.log_tail(1000)
    assert "Traceback" not in log, log
    assert " error " not in log


JUNK = {
    "words": (b"hello?\n", wire.PARSE_ERROR),
    "binary": (b"\x00\xff\xfe\x80\n", wire.PARSE_ERROR),
    "http": (b"GET / HTTP/1.1\r\n", wire.PARSE_ERROR),
    "an empty line": (b"\n", wire.PARSE_ERROR),
    "a number": (b"1e400\n", wire.INVALID_REQUEST),
    "deep nesting": (b"[" * 100_000 + b"\n", wire.PARSE_ERROR),
    "a long number": (b"9" * 10_000 + b"\n", wire.PARSE_ERROR),
    "a batch": (b"[" + call().strip() + b"]\n", wire.INVALID_REQUEST),
    "another version": (call(jsonrpc="1.0"), wire.INVALID_REQUEST),
    "no version": (b'{"id": 7, "method": "hello"}\n', wire.INVALID_REQUEST),
    "a method that is no text": (call(5), wire.INVALID_REQUEST),
    "params in a list": (call(params=[1]), wire.INVALID_REQUEST),
    "an unknown method": (call("explode"), wire.METHOD_NOT_FOUND),
    "a private method": (call("_live"), wire.METHOD_NOT_FOUND),
    "an unknown parameter": (call("status", {"nmaes": []}), wire.INVALID_PARAMS),
    "a wrong type": (call("up", {"names": "a"}), wire.INVALID_PARAMS),
    "wrong items": (call("up", {"names": [1]}), wire.INVALID_PARAMS),
    "a number for a truth": (call("up", {"all": 1}), wire.INVALID_PARAMS),
    "a truth for a number": (call("remote_log", {"name": "a", "lines": True}), wire.INVALID_PARAMS),
    "a missing parameter": (call("url"), wire.INVALID_PARAMS),
    "null for what is needed": (call("url", {"name": None}), wire.INVALID_PARAMS),
    "an unknown profile": (call("up", {"names": ["\ud800"]}), wire.PROBLEM),
}


def test_each_wrong_line_is_answered_and_the_talk_goes_on(jtunnel: Jtunnel) -> None:
    with Rude(jtunnel) as client:
        for name, (line, code) in JUNK.items():
            answer = client.ask(line)
            assert answer["error"]["code"] == code, name
            assert answer["jsonrpc"] == "2.0"
        assert client.ask(call())["result"]["protocol"] == wire.PROTOCOL_VERSION


def test_answers_to_questions_that_nobody_asked(jtunnel: Jtunnel) -> None:
    identifiers: list[object] = [1, -1, "1", None, [1], {}, 1.5, True]
    with Rude(jtunnel) as client:
        for answer in ({"result": {"answer": "yes"}}, {"error": 5}, {"result": 5}):
            for identifier in identifiers:
                client.send(json.dumps({"jsonrpc": "2.0", "id": identifier, **answer}).encode() + b"\n")
        client.send(call())
        while (message := client.read())["id"] != 7:
            # Nothing but a complaint about what cannot be an identifier.
            assert message["error"]["code"] == wire.INVALID_REQUEST


def test_odd_identifiers_come_back_as_they_were(jtunnel: Jtunnel) -> None:
    with Rude(jtunnel) as client:
        for identifier in ("x", "", 1.5, -3, 0, None):
            assert client.ask(call(id=identifier))["id"] == identifier
        for wrong in ([1], {"a": None}):
            answer = client.ask(call(id=wrong))
            assert (answer["id"], answer["error"]["code"]) == (None, wire.INVALID_REQUEST)


def test_a_call_without_identifier_is_done_and_not_answered(jtunnel: Jtunnel) -> None:
    with Rude(jtunnel) as client:
        client.send(b'{"jsonrpc": "2.0", "method": "down", "params": {"names": ["nobody"]}}\n')
        assert client.ask(call("status"))["id"] == 7


def test_half_a_line(jtunnel: Jtunnel) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(Rude(jtunnel)).send(call("status")[:-5])
        jtunnel.check("status")
    with Rude(jtunnel) as client:
        client.send(call("status")[:-5])
        client.stream.shutdown(socket.SHUT_WR)
        assert client.read() == {}
    with Rude(jtunnel) as client:
        for byte in call("status"):
            client.send(bytes([byte]))
        assert client.read()["result"]["tunnels"][0]["name"] == "a"


def test_ten_megabytes_without_a_newline(jtunnel: Jtunnel) -> None:
    pid = jtunnel.daemon_pid()
    before = psutil.Process(pid).memory_info().rss
    with Rude(jtunnel) as client:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(160):
                client.send(b"x" * 65536)
        jtunnel.check("status")
        assert client.read()["error"]["code"] == wire.INVALID_REQUEST
        with pytest.raises(ConnectionResetError):
            client.read()
    assert psutil.Process(pid).memory_info().rss - before < 8 * 1024 * 1024
    # The longest line that there may be is one.
    line = call("status", names=None)
    with Rude(jtunnel) as client:
        longest = line[:-1] + b" " * (wire.MAX_LINE - len(line)) + b"\n"
        assert client.ask(longest)["result"]["schema"] == 1


def test_a_thousand_connections_that_are_dropped(jtunnel: Jtunnel) -> None:
    for number in range(1000):
        with Rude(jtunnel) as client:
            if number % 2:
                client.send(call("watch") if number % 4 == 1 else b'{"jsonrpc')
        if number % 250 == 249:
            jtunnel.check("status", timeout=5)


def test_many_connections_that_stay(jtunnel: Jtunnel) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Rude(jtunnel)) for _ in range(200)]
        for client in clients:
            client.send(call("watch"))
        jtunnel.check("status", timeout=5)
        for client in clients:
            assert client.read()["id"] == 7
            assert client.read()["method"] == "snapshot"


def test_clients_that_ask_and_do_not_read(jtunnel: Jtunnel, stream: socket.socket) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(Rude(jtunnel))
            client.stream.settimeout(0.2)
            with pytest.raises(TimeoutError):
                for _ in range(100_000):
                    client.send(call("status") * 100)
        watcher = stack.enter_context(Rude(jtunnel))
        watcher.send(call("watch"))
        assert echoes(stream, b"x" * 5_000_000)
        jtunnel.check("status", timeout=5)


def test_more_calls_at_once_than_allowed(jtunnel: Jtunnel) -> None:
    with Rude(jtunnel) as client:
        client.send(call("watch") * 200)
        codes: list[int | None] = []
        while len(codes) < 200:
            message = client.read()
            if message.get("id") == 7:
                codes.append(message.get("error", {}).get("code"))
        assert set(codes) <= {None, wire.INVALID_REQUEST}
    jtunnel.check("status", timeout=5)


def test_another_protocol_version(jtunnel: Jtunnel) -> None:
    with Rude(jtunnel) as client:
        hello = client.ask(call("hello", {"protocol": 999, "version": "9"}))
        assert hello["result"]["protocol"] == wire.PROTOCOL_VERSION
        answer = client.ask(call("status"))
        assert answer["error"]["data"]["kind"] == "protocol-mismatch"
