"""Reaching the daemon, and every way in which that can fail: one helpful line, never a traceback."""

from __future__ import annotations

import json
import os
import pwd
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from jtunnel import __version__, wire
from jtunnel.errors import ControlError, LinkError
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, tunnel
from tests.support.thin_client import Client

NO_DAEMON = "jtunnel: no daemon runs; start it with: jtunnel up\n"


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["down"], ["url", "x"], ["shutdown"]])
def test_no_daemon(client: Client, command: list[str]) -> None:
    done = client.run(*command)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", NO_DAEMON)


def test_socket_of_a_killed_daemon(client: Client) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(os.path.join(client.runtime_dir, "control.sock"))
    left.close()
    done = client.run("status")
    assert (done.returncode, done.stderr) == (3, NO_DAEMON)


def test_runtime_dir_that_cannot_be_one(client: Client) -> None:
    client.environ["JTUNNEL_RUNTIME_DIR"] = os.path.join(client.path, "missing", "dir")
    assert client.run("status").stderr == NO_DAEMON
    with open(client.config_file, "w"):
        client.environ["JTUNNEL_RUNTIME_DIR"] = client.config_file
    assert client.run("status").stderr == NO_DAEMON


def test_runtime_dir_too_long_for_a_socket(client: Client) -> None:
    client.environ["JTUNNEL_RUNTIME_DIR"] = "/tmp/" + "x" * 120
    done = client.run("status")
    assert done.returncode == 2
    assert "is longer than the" in done.stderr
    assert "JTUNNEL_RUNTIME_DIR" in done.stderr


@pytest.mark.root
def test_somebody_elses_socket_is_not_talked_to(client: Client) -> None:
    nobody = pwd.getpwnam("nobody")
    with ScriptedDaemon(client.runtime_dir, {"status": document()}) as daemon:
        os.chown(daemon.path, nobody.pw_uid, -1)
        done = client.run("status")
        assert daemon.calls == []
    assert done.returncode == 1
    assert f"belongs to nobody (uid {nobody.pw_uid}), not to you" in done.stderr


def test_hello_travels_with_the_first_call(client: Client) -> None:
    first: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(client.runtime_dir, "control.sock"))
    listener.listen()
    process = client.start("status")
    stream, _ = listener.accept()
    with listener, stream:
        first.append(stream.recv(65536))
    _, stderr = process.communicate(timeout=20)
    hello, call, rest = first[0].split(b"\n")
    assert json.loads(hello) == {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "hello",
        "params": {"protocol": wire.PROTOCOL_VERSION, "version": __version__},
    }
    assert json.loads(call) == {"jsonrpc": "2.0", "id": 1, "method": "status", "params": {}}
    assert rest == b""
    assert (process.returncode, stderr) == (3, "jtunnel: the daemon has ended; start it with: jtunnel up\n")


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (0, "the daemon (jtunnel 9.9.9, protocol 0) is older than this jtunnel"),
        (wire.PROTOCOL_VERSION + 1, "is older than the daemon (jtunnel 9.9.9"),
    ],
)
def test_another_protocol_version(client: Client, protocol: int, words: str) -> None:
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel())}, protocol=protocol):
        done = client.run("status")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert ("jtunnel service restart" in done.stderr) == (protocol == 0)


def test_shutdown_works_over_versions(client: Client) -> None:
    def shut_down(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        daemon.close()

    with ScriptedDaemon(client.runtime_dir, {"shutdown": shut_down}, protocol=0) as daemon:
        done = client.run("shutdown")
    assert done.returncode == 0
    assert "the daemon has ended" in done.stderr


@pytest.mark.parametrize(
    "junk", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"[]\n", b"x" * (wire.MAX_LINE + 2), b"\xff\n"]
)
def test_what_does_not_speak_the_protocol(client: Client, junk: bytes) -> None:
    def answer(talk: Talk, params: dict[str, Any]) -> None:
        talk.send(junk)

    with ScriptedDaemon(client.runtime_dir, {"hello": answer, "status": answer}):
        done = client.run("status")
    assert done.returncode == 1
    assert "does not speak jtunnel's protocol" in done.stderr
    assert done.stderr.count("\n") == 1


def test_answer_in_pieces(client: Client) -> None:
    def answer(talk: Talk, params: dict[str, Any]) -> None:
        line = wire.result(1, document(*(tunnel(f"t{number}") for number in range(300))))
        for start in range(0, len(line), 1000):
            talk.send(line[start : start + 1000])

    with ScriptedDaemon(client.runtime_dir, {"status": answer}):
        done = client.run("status")
    assert len(done.stdout.splitlines()) == 301


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ControlError("not-up", "gpu is not connected", "connect with: jtunnel up gpu"), 1),
        (LinkError("auth-failed", "gpu-box refused the login", "check the key"), 4),
    ],
)
def test_problems_become_lines_and_exit_codes(client: Client, error: ControlError, code: int) -> None:
    with ScriptedDaemon(client.runtime_dir, {"url": error, "status": document()}):
        done = client.run("url", "gpu")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == f"jtunnel: {error}\n"


def test_problem_of_a_kind_that_is_not_known(client: Client) -> None:
    def answer(talk: Talk, params: dict[str, Any]) -> None:
        talk.fail(wire.PROBLEM, "m", {"kind": "from-the-future", "message": "m", "advice": "a"})

    with ScriptedDaemon(client.runtime_dir, {"url": answer}):
        done = client.run("url", "gpu")
    assert (done.returncode, done.stderr) == (1, "jtunnel: m; a\n")


@pytest.mark.parametrize("code", [wire.METHOD_NOT_FOUND, wire.INVALID_PARAMS, wire.INTERNAL_ERROR])
def test_other_errors_of_the_daemon(client: Client, code: int) -> None:
    def answer(talk: Talk, params: dict[str, Any]) -> None:
        talk.fail(code, "it is so")

    with ScriptedDaemon(client.runtime_dir, {"url": answer}):
        done = client.run("url", "gpu")
    assert done.returncode == 1
    assert "it is so" in done.stderr
    assert done.stderr.count("\n") == 1
