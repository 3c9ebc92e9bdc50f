"""`jtunnel status` as a program against a scripted daemon: output, exit codes, colours."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from jtunnel.errors import ConfigError
from jtunnel.status import Problem
from tests.support.pseudo_terminal import WAIT_S
from tests.support.scripted_daemon import ScriptedDaemon, document, tunnel
from tests.support.thin_client import Client

PROBLEM: Problem = {"kind": "auth-failed", "message": "gpu-box refused the login", "advice": "check the key"}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def test_table(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel(), tunnel("db"))}) as daemon:
        done = client.run("status")
        assert daemon.calls == [("status", {})]
    assert (done.returncode, done.stderr) == (0, "")
    heading, row, _ = done.stdout.splitlines()
    assert heading.split() == ["NAME", "STATE", "SINCE", "ADDRESS"]
    assert [row.split()[0], *row.split()[-1:]] == ["gpu", "http://localhost:8888/lab"]


def test_names_and_tags_are_the_daemons_to_resolve(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel(), tunnel("db", "down"))}) as daemon:
        assert client.run("status", "gpu*", "--tag", "work", "--tag", "home").returncode == 1
        assert client.run("status", "--tag", "work", "--json").returncode == 1
        assert daemon.calls == [
            ("status", {"names": ["gpu*"], "tags": ["work", "home"]}),
            ("status", {"tags": ["work"]}),
        ]


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
    status = tunnel("a-rather-long-name", "blocked", jupyter=None, user=None, problem=PROBLEM)
    with (
        ScriptedDaemon(client.runtime_dir, {"status": document(status)}),
        client.in_terminal("status", columns=30) as terminal,
    ):
        assert terminal.wait() == 0
        assert "\x1b[31mblocked\x1b[0m" in terminal.shown
        screen = terminal.screen(30)
    assert screen[0].startswith("a-rather-long-name  blocked")
    assert screen[2:] == ["  gpu-box refused the login;", "  check the key"]


@pytest.mark.parametrize(
    ("variables", "words", "coloured"),
    [
        ({}, [], True),
        ({"NO_COLOR": "1"}, [], False),
        ({"NO_COLOR": ""}, [], True),
        ({"CLICOLOR": "0"}, [], False),
        ({"TERM": "dumb"}, [], False),
        ({"TERM": "dumb", "CLICOLOR_FORCE": "1"}, [], True),
        ({"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, [], False),
        ({"NO_COLOR": "1"}, ["--color", "always"], True),
        ({}, ["--color=never"], False),
    ],
)
def test_colours_in_a_terminal(
    client: Client, variables: dict[str, str], words: list[str], coloured: bool
) -> None:
    client.environ |= variables
    with (
        ScriptedDaemon(client.runtime_dir, {"status": document(tunnel())}),
        client.in_terminal("status", *words) as terminal,
    ):
        assert terminal.wait() == 0
    assert ("\x1b" in terminal.shown) == coloured


@pytest.mark.parametrize(
    ("variables", "words", "coloured"),
    [
        ({}, [], False),
        ({"CLICOLOR_FORCE": "0"}, [], False),
        ({"CLICOLOR_FORCE": "1"}, [], True),
        ({}, ["--color", "always"], True),
    ],
)
def test_colours_in_a_pipe(
    client: Client, variables: dict[str, str], words: list[str], coloured: bool
) -> None:
    client.environ |= variables
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel())}):
        assert ("\x1b" in client.run("status", *words).stdout) == coloured


def test_another_config_than_the_daemons_is_said(client: Client) -> None:
    client.environ["JTUNNEL_CONFIG"] = os.path.join(client.path, "other.toml")
    shown = document(tunnel())
    with ScriptedDaemon(client.runtime_dir, {"status": shown}):
        done = client.run("status", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, shown)
    assert done.stderr == (
        f"jtunnel: JTUNNEL_CONFIG is {client.path}/other.toml, but the daemon reads "
        "/home/me/.config/jtunnel/config.toml; to change that: jtunnel service restart\n"
    )
    os.symlink("/home/me/.config/jtunnel/config.toml", os.path.join(client.path, "other.toml"))
    with ScriptedDaemon(client.runtime_dir, {"status": shown}):
        assert client.run("status").stderr == ""


def test_reader_that_leaves_early(client: Client) -> None:
    # Much more than a pipe holds, so that the client is still writing when its reader is gone.
    tunnels = [tunnel(f"t{number}") for number in range(1000)]
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
