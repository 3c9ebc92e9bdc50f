"""`jtunnel status` as a program against a scripted daemon: output, exit codes, watching."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from jtunnel.errors import ConfigError
from jtunnel.status import Problem
from tests.support.pseudo_terminal import WAIT_S, screen_of
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, tunnel
from tests.support.thin_client import Client

PROBLEM: Problem = {"kind": "auth-failed", "message": "gpu-box refused the login", "advice": "check the key"}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def test_table(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel())}) as daemon:
        done = client.run("status")
        assert daemon.calls == [("status", {})]
    assert (done.returncode, done.stderr) == (0, "")
    heading, row = done.stdout.splitlines()
    assert heading.split() == ["NAME", "STATE", "SINCE", "ADDRESS"]
    assert [row.split()[0], *row.split()[-1:]] == ["gpu", "http://localhost:8888/lab"]


def test_json_is_the_document_alone(client: Client) -> None:
    shown = document(tunnel(), tunnel("ä", "down"))
    with ScriptedDaemon(client.runtime_dir, {"status": shown}):
        done = client.run("status", "--json")
    assert json.loads(done.stdout) == shown
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["up", "up"], 0),
        (["up", "retrying"], 1),
        (["down"], 1),
        (["blocked", "retrying", "up"], 4),
    ],
)
def test_named_tunnels_decide_the_exit_code(client: Client, states: list[str], code: int) -> None:
    tunnels = [tunnel(f"t{number}", state) for number, state in enumerate(states)]
    names = [status["name"] for status in tunnels]
    with ScriptedDaemon(client.runtime_dir, {"status": document(*tunnels)}) as daemon:
        assert client.run("status", *names).returncode == code
        assert client.run("status", "--json", *names).returncode == code
        assert daemon.calls == [("status", {"names": names})] * 2
        assert client.run("status").returncode == 0


def test_unknown_name(client: Client) -> None:
    error = ConfigError("unknown-profile", "no profile 'gpo' in c.toml", "did you mean gpu?")
    with ScriptedDaemon(client.runtime_dir, {"status": error}):
        done = client.run("status", "gpo")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "jtunnel: no profile 'gpo' in c.toml; did you mean gpu?\n"


def test_table_fits_the_terminal(client: Client) -> None:
    status = tunnel("a-rather-long-name", "blocked", problem=PROBLEM)
    with (
        ScriptedDaemon(client.runtime_dir, {"status": document(status)}),
        client.in_terminal("status", columns=30) as terminal,
    ):
        assert terminal.wait() == 0
        assert "\x1b[31mblocked\x1b[0m" in terminal.shown
        screen = terminal.screen(30)
    assert screen[0].startswith("NAME")
    assert screen[2:] == ["  gpu-box refused the login;", "  check the key"]


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(client: Client, variables: dict[str, str]) -> None:
    client.environ |= variables
    with (
        ScriptedDaemon(client.runtime_dir, {"status": document(tunnel())}),
        client.in_terminal("status") as terminal,
    ):
        assert terminal.wait() == 0
    assert "\x1b" not in terminal.shown


def test_reader_that_leaves_early(client: Client) -> None:
    # Much more than a pipe holds, so that the client is still writing when its reader is gone.
    tunnels = [tunnel(f"t{number}") for number in range(2000)]
    with ScriptedDaemon(client.runtime_dir, {"status": document(*tunnels)}):
        process = client.start("status")
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()
        process.wait(WAIT_S)


def test_full_disk_is_one_line(client: Client) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel())}), open("/dev/full", "w") as full:
        done = subprocess.run(
            client.command("status"), env=client.environ, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "jtunnel: failed: No space left on device\n"


def watch_twice(talk: Talk, params: dict[str, Any]) -> None:
    talk.reply({})
    talk.snapshot(document(tunnel(state="connecting")))
    talk.snapshot(document(tunnel()))


def test_watch_repaints_in_place_and_fits_a_resized_terminal(client: Client) -> None:
    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel(), tunnel("other", "connecting")))

    with (
        ScriptedDaemon(client.runtime_dir, {"watch": watch}),
        client.in_terminal("status", "--watch", columns=60, rows=10) as terminal,
    ):
        end = terminal.wait_for("other")
        terminal.resize(20, 10)
        terminal.wait_for("\n\x1b[J", after=terminal.wait_for("oth…", after=end))
        terminal.type("\x03")
        assert terminal.wait() == 0
    last = terminal.shown[terminal.shown.rindex("\x1b[H") :]
    assert [line.split()[0] for line in screen_of(last, 20)] == ["NAME", "gpu", "oth…", "^C"]


def test_watch_in_a_low_terminal(client: Client) -> None:
    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(*(tunnel(f"t{number}") for number in range(20))))

    with (
        ScriptedDaemon(client.runtime_dir, {"watch": watch}),
        client.in_terminal("status", "--watch", rows=6) as terminal,
    ):
        terminal.wait_for("more lines")
        terminal.type("\x03")
        assert terminal.wait() == 0
    assert [line.split()[0] for line in terminal.screen()[:5]] == ["NAME", "t0", "t1", "t2", "…"]


def test_watch_as_json_is_a_document_a_line(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"watch": watch_twice}):
        process = client.start("status", "--watch", "--json", "gpu")
        assert process.stdout is not None
        seen = [json.loads(process.stdout.readline())["tunnels"][0]["state"] for _ in range(2)]
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=WAIT_S)
    assert seen == ["connecting", "up"]
    assert (process.returncode, rest) == (0, ("", ""))


def test_watch_says_that_the_daemon_ended(client: Client) -> None:
    def watch_and_leave(talk: Talk, params: dict[str, Any]) -> None:
        watch_twice(talk, params)
        talk.hang_up()

    with ScriptedDaemon(client.runtime_dir, {"watch": watch_and_leave}):
        done = client.run("status", "--watch")
    assert done.returncode == 3
    assert done.stdout.count("gpu") == 2
    assert done.stderr == "jtunnel: the daemon has ended; start it with: jtunnel up\n"
