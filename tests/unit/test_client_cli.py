"""The command line: help, wrong usage, and the commands that are one call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from jtunnel import __version__, wire
from jtunnel.client.arguments import COMMANDS, FOREIGN, parse
from jtunnel.errors import ControlError
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, tunnel
from tests.support.thin_client import Client

TOKEN = "s3cret-token"
URL = "http://localhost:8888/lab"


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def test_alone_it_helps(client: Client) -> None:
    done = client.run()
    assert (done.returncode, done.stdout) == (2, "")
    asked = client.run("--help")
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, done.stderr, "")
    for command in (*COMMANDS, *FOREIGN):
        assert f"  {command} " in asked.stdout
    assert all(len(line) <= 100 for line in asked.stdout.splitlines())


def test_version(client: Client) -> None:
    done = client.run("--version")
    assert (done.returncode, done.stdout) == (0, f"jtunnel {__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(client: Client, command: str) -> None:
    done = client.run(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: jtunnel {command}" in done.stdout
    assert f"example: jtunnel {command}" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stauts"], "jtunnel: there is no command stauts; did you mean: jtunnel status\n"),
        (["x"], "jtunnel: there is no command x; see them with: jtunnel --help\n"),
        (["--frob"], "jtunnel: there is no command --frob"),
        (["status", "--jsn"], "unrecognized arguments: --jsn"),
        (["restart"], "the following arguments are required: NAME"),
        (["url"], "the following arguments are required: NAME"),
        (["up", "--timeout", "soon"], "invalid number of seconds value: 'soon'"),
        (["up", "--timeout", "-1"], "invalid number of seconds value: '-1'"),
        (["up", "--timeout", "nan"], "invalid number of seconds value: 'nan'"),
        (["logs", "--lines", "-1"], "invalid number value: '-1'"),
        (["rpc", "status", "[]"], "one JSON object"),
        (["rpc", "status", "{"], "one JSON object"),
    ],
)
def test_wrong_usage(client: Client, words: list[str], said: str) -> None:
    done = client.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_the_short_way_to_status_is_the_same_as_the_long_one() -> None:
    short, long = vars(parse("status", [])), vars(parse("status", ["--json"]))
    assert short == {**long, "json": False}


def test_closed_standard_streams(client: Client) -> None:
    close = "import os, sys; os.close(0); os.close(1); os.close(2); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", close, *client.command("status")], env=client.environ, timeout=20
    )
    assert done.returncode == 3


def test_output_of_a_terminal_that_knows_no_unicode(client: Client) -> None:
    client.environ["PYTHONIOENCODING"] = "ascii"
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel("größe"))}):
        done = client.run("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr??e" in done.stdout


def test_a_bug_of_ours_is_one_line(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"url": {}}):
        done = client.run("url", "gpu")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("jtunnel: internal error: KeyError at control.py, line ")
    assert done.stderr.count("\n") == 1


def test_down(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"down": {"names": ["gpu", "database"]}}):
        done = client.run("down", "--all")
    assert (done.returncode, done.stdout) == (0, "gpu       down\ndatabase  down\n")


def test_url_alone_prints_the_token(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"url": {"url": f"{URL}?token={TOKEN}"}}) as daemon:
        done = client.run("url", "gpu")
        assert daemon.calls == [("url", {"name": "gpu"})]
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{URL}?token={TOKEN}\n", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"added": ["a", "b"], "removed": [], "changed": ["c"]}, "added: a, b\nchanged: c\n"),
        ({"added": [], "removed": ["x"], "changed": []}, "removed: x\n"),
        ({"added": [], "removed": [], "changed": []}, "nothing changed\n"),
    ],
)
def test_reload(client: Client, changes: dict[str, list[str]], said: str) -> None:
    with ScriptedDaemon(client.runtime_dir, {"reload": {**changes, "unchanged": ["z"]}}):
        done = client.run("reload")
    assert (done.returncode, done.stdout) == (0, said)


def test_shutdown_waits_for_the_end(client: Client) -> None:
    def shut_down(talk: Talk, params: dict[str, Any]) -> None:
        talk.hang_up()
        daemon.close()

    with ScriptedDaemon(client.runtime_dir, {"shutdown": shut_down}) as daemon:
        done = client.run("shutdown")
    assert (done.returncode, done.stdout) == (0, "")
    assert not os.path.exists(daemon.path)


def test_rpc(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"url": {"url": "ä"}}) as daemon:
        done = client.run("rpc", "url", '{"name": "gpu"}')
        assert daemon.calls == [("url", {"name": "gpu"})]
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, {"url": "ä"}, "")


def test_rpc_shows_errors_as_they_are(client: Client) -> None:
    def unknown(talk: Talk, params: dict[str, Any]) -> None:
        talk.fail(wire.METHOD_NOT_FOUND, "there is no method 'x'")

    problem = ControlError("not-up", "gpu is not connected", "jtunnel up gpu")
    blocked = ControlError("auth-failed", "gpu-box refused the login", "check the key")
    with ScriptedDaemon(client.runtime_dir, {"x": unknown, "url": problem, "page": blocked}):
        for method, code, error in (
            ("x", 1, {"code": wire.METHOD_NOT_FOUND, "message": "there is no method 'x'"}),
            ("url", 1, {"code": wire.PROBLEM, "message": problem.message, "data": problem.problem}),
            ("page", 4, {"code": wire.PROBLEM, "message": blocked.message, "data": blocked.problem}),
        ):
            done = client.run("rpc", method)
            assert (done.returncode, done.stdout, json.loads(done.stderr)) == (code, "", error)
