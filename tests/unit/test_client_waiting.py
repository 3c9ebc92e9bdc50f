"""`jtunnel wait` as a program against a scripted daemon: it follows, and asks for nothing itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jtunnel.errors import ConfigError
from jtunnel.status import Problem, StatusDocument
from tests.support.pseudo_terminal import WAIT_S
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, tunnel
from tests.support.thin_client import Client

REFUSED: Problem = {"kind": "auth-failed", "message": "gpu-box refused the login", "advice": "check the key"}
UNREACHABLE: Problem = {"kind": "host-unreachable", "message": "gpu-box: no route", "advice": "check the VPN"}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def snapshots(*shown: StatusDocument) -> dict[str, Any]:
    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        for each in shown:
            talk.snapshot(each)

    return {"watch": watch}


def test_up_is_waited_for_without_a_word(client: Client) -> None:
    retrying = tunnel("b", "retrying", problem=UNREACHABLE)
    answers = snapshots(
        document(tunnel("a", "down"), retrying),
        document(tunnel("a"), retrying),
        document(tunnel("a"), tunnel("b")),
    )
    with ScriptedDaemon(client.runtime_dir, answers) as daemon:
        done = client.run("wait", "[ab]", "--tag", "work")
        assert daemon.calls == [("watch", {"names": ["[ab]"], "tags": ["work"]})]
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_down_is_waited_for(client: Client) -> None:
    answers = snapshots(
        document(tunnel(), tunnel("b", "blocked", problem=REFUSED)),
        document(tunnel(), tunnel("b", "down")),
        document(tunnel(state="down")),
    )
    with ScriptedDaemon(client.runtime_dir, answers):
        done = client.run("wait", "--for", "down")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_terminal_sees_how_it_goes(client: Client) -> None:
    go_on = threading.Event()

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel(state="connecting")))
        assert go_on.wait(WAIT_S)
        talk.snapshot(document(tunnel()))

    with (
        ScriptedDaemon(client.runtime_dir, {"watch": watch}),
        client.in_terminal("wait", "gpu") as terminal,
    ):
        terminal.wait_for("gpu  connecting to gpu-box")
        go_on.set()
        assert terminal.wait() == 0
    assert terminal.screen() == ["gpu  up  http://localhost:8888/lab"]


def test_blocked_is_said_at_once(client: Client) -> None:
    blocked = document(tunnel(state="blocked", problem=REFUSED), tunnel("b", "connecting"))
    with ScriptedDaemon(client.runtime_dir, snapshots(blocked)):
        done = client.run("wait", "gpu", "b")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "jtunnel: gpu: gpu-box refused the login; check the key\n"


def test_time_that_is_up(client: Client) -> None:
    shown = document(tunnel(), tunnel("b", "retrying", problem=UNREACHABLE), tunnel("c", "down"))
    with ScriptedDaemon(client.runtime_dir, snapshots(shown)):
        done = client.run("wait", "*", "--timeout", "0.2")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines() == [
            "jtunnel: b: not up after 0.2 s (retrying: gpu-box: no route): jtunnel status b",
            "jtunnel: c: not up after 0.2 s (down): jtunnel up c",
        ]
        done = client.run("wait", "gpu", "--for", "down", "--timeout", "0")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "jtunnel: gpu: not down after 0 s (up): jtunnel down gpu",
    )


def test_without_names_it_is_all_that_are_wanted(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, snapshots(document(tunnel(), tunnel("b", "down")))):
        assert client.run("wait").returncode == 0
    with ScriptedDaemon(client.runtime_dir, snapshots(document(tunnel(state="down")))):
        done = client.run("wait")
    assert (done.returncode, done.stderr) == (
        1,
        "jtunnel: no tunnel is wanted; want one with: jtunnel up NAME\n",
    )


def test_one_that_leaves_the_config(client: Client) -> None:
    answers = snapshots(document(tunnel(state="connecting")), document())
    with ScriptedDaemon(client.runtime_dir, answers):
        done = client.run("wait", "gpu")
        assert (done.returncode, done.stderr) == (
            1,
            "jtunnel: gpu: gone from the config; see: jtunnel status\n",
        )
        assert client.run("wait", "gpu", "--for", "down").returncode == 0


def test_it_starts_no_daemon(client: Client) -> None:
    done = client.run("wait", "gpu")
    assert (done.returncode, done.stderr) == (3, "jtunnel: no daemon runs; start it with: jtunnel up\n")


def test_wrong_names(client: Client) -> None:
    error = ConfigError("unknown-profile", "no profile 'gpo' in c.toml", "did you mean gpu?")
    with ScriptedDaemon(client.runtime_dir, {"watch": error}):
        done = client.run("wait", "gpo")
    assert (done.returncode, done.stderr) == (2, "jtunnel: no profile 'gpo' in c.toml; did you mean gpu?\n")


def test_a_daemon_that_is_renewed_is_waited_for(client: Client) -> None:
    has_shown = threading.Event()

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel(state="connecting")))
        has_shown.set()

    with ScriptedDaemon(client.runtime_dir, {"watch": watch}) as daemon:
        process = client.start("wait", "gpu")
        # One that ends before it has answered is none that was there.
        assert has_shown.wait(WAIT_S)
        daemon.close()
    with ScriptedDaemon(client.runtime_dir, snapshots(document(tunnel()))):
        assert process.communicate(timeout=WAIT_S) == ("", "")
    assert process.returncode == 0
